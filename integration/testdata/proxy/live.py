"""Notebooks with steps in kernels behind Kedge, beside a plain kernel that gets the same requests.

Each function is one test; run as: live.py NAME KERNEL PLAIN.
"""
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import nbformat
import psutil
from jupyter_client.manager import start_new_kernel

TIMEOUT = 60


def kernels(proxy):
    """The kernels below a proxy, oldest first; a copy that captures what a cell left has the command of its kernel."""
    found = {}
    for p in sorted(proxy.children(), key=lambda p: p.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "kedge_launch" in " ".join(command := p.cmdline()):
                found.setdefault(tuple(command), p)
    return list(found.values())


class Kernel:
    """A kernel in a folder of its own, asked as JupyterLab asks."""

    def __init__(self, name, folder, **env):
        self.name, self.folder, self.env = name, folder, env
        self.notebook = os.path.join(folder, "nb.ipynb")
        self.start()

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("VSCODE")}
        env.update({"JPY_SESSION_NAME": self.notebook, **self.env})
        self.km, self.kc = start_new_kernel(kernel_name=self.name, cwd=self.folder, env=env)

    def restart(self):
        self.kc.stop_channels()
        self.km.shutdown_kernel()
        self.start()

    def send(self, code, metadata, **content):
        full = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
        msg = self.kc.session.msg("execute_request", {**full, **content}, metadata=metadata)
        self.kc.shell_channel.send(msg)
        return msg["header"]["msg_id"]

    def answer(self, msg_id):
        """(iopub messages, reply), once both have ended."""
        seen, busy = [], 0
        while True:
            m = self.kc.get_iopub_msg(timeout=TIMEOUT)
            if m["parent_header"].get("msg_id") != msg_id:
                continue
            state = m["content"].get("execution_state")
            busy += state == "busy"
            if state == "idle":
                break
            if m["msg_type"] != "status":
                seen.append((m["msg_type"], m["content"]))
        assert busy == 1, f"{busy} times busy"
        reply = self.kc.get_shell_msg(timeout=TIMEOUT)
        while reply["parent_header"].get("msg_id") != msg_id:
            reply = self.kc.get_shell_msg(timeout=TIMEOUT)
        return seen, reply

    def close(self):
        self.kc.stop_channels()
        self.km.shutdown_kernel()


def printed(messages):
    """What messages of iopub print, in one."""
    return "".join(c["text"] for kind, c in messages if kind == "stream")


class Desk:
    """The two kernels. Cells are (id, tags, source)."""

    def __init__(self, cells, kedge, plain, **env):
        root = tempfile.mkdtemp(prefix="kedge-live-")
        self.cells = {c[0]: c for c in cells}
        self.folders = [os.path.join(root, side) for side in ("kedge", "plain")]
        for folder in self.folders:
            os.mkdir(folder)
            write(os.path.join(folder, "nb.ipynb"), cells)
        self.kedge, self.plain = Kernel(kedge, self.folders[0], **env), Kernel(plain, self.folders[1], PYTHONHASHSEED="0")

    def metadata(self, cell):
        found = self.cells.get(cell)
        if found is None:
            return {}
        tags = {"tags": found[1]} if found[1] else {}
        return {**tags, "trusted": True, "deletedCells": [], "recordTiming": False, "cellId": cell}

    def run(self, cell, want, code=None, **content):
        """Ask both for a cell, or for code that is none if cell is empty, and compare. Returns Kedge's messages and reply."""
        code = self.cells[cell][2] if code is None else code
        got, expected = [k.answer(k.send(code, self.metadata(cell), **content)) for k in (self.kedge, self.plain)]
        self.same(code, got, expected)
        mark = got[1]["metadata"].get("kedge", {})
        assert mark.get("status") == want, f"{cell or code!r}: {mark}, want {want}"
        assert want != "restored" or mark["snapshot"] and mark["saved_seconds"] >= 0, mark
        return got

    @staticmethod
    def same(code, got, expected):
        a, b = [normal(got[0]), reply(got[1])], [normal(expected[0]), reply(expected[1])]
        assert a == b, f"{code}\nkedge {a}\nplain {b}"

    def calm(self):
        """Wait until no kernel aborts any more what reaches it right behind an error."""
        for k in (self.kedge, self.plain):
            while k.answer(k.send("None", {}, store_history=False))[1]["content"]["status"] == "aborted":
                pass

    def restart(self):
        self.kedge.restart()
        self.plain.restart()

    def close(self):
        self.kedge.close()
        self.plain.close()


def write(path, cells):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s, id=i, metadata={"tags": t} if t else {}) for i, t, s in cells])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)


def normal(messages):
    """Messages without what differs between any two kernels; parts of a stream joined, what is cleared left out."""
    out, widgets = [], {}
    for kind, content in messages:
        content = dict(content)
        if folded(kind, content, widgets):
            continue
        if kind == "clear_output" and not content["wait"]:
            out = out[:1]  # the input
            continue
        if kind == "error":
            content["traceback"] = len(content["traceback"]) > 0
        if out and kind == "stream" == out[-1][0] and out[-1][1]["name"] == content["name"]:
            out[-1][1]["text"] += content["text"]
        else:
            out.append([kind, content])
    text = re.sub(r"0x[0-9a-f]{6,}|ipykernel_\d+", "ADDRESS", json.dumps(resolved(out, widgets), sort_keys=True))
    ids = {}
    return re.sub(r"\b[0-9a-f]{32}\b", lambda m: ids.setdefault(m.group(), f"ID{len(ids)}"), text)


def folded(kind, content, widgets):
    """Take what a message says of a widget into widgets: only where it all ends is the same for one that is shown again."""
    key, data = content.get("comm_id"), content.get("data", {})
    if kind == "comm_open" and content["target_name"] == "jupyter.widget":
        widgets[key] = {"state": data["state"]}
    elif kind == "comm_msg" and key in widgets and data.get("method") == "update":
        widgets[key]["state"].update(data["state"])
    elif kind == "comm_close" and key in widgets:
        widgets[key]["closed"] = True
    else:
        return False
    return True


def resolved(value, widgets):
    """A part of messages with widgets in place of their ids."""
    if isinstance(value, dict):
        view = value.get("application/vnd.jupyter.widget-view+json")
        known = isinstance(view, dict) and view["model_id"] in widgets
        return {**{k: resolved(v, widgets) for k, v in value.items()}, **({"widget": resolved(widgets[view["model_id"]], widgets)} if known else {})}
    if isinstance(value, list):
        return [resolved(v, widgets) for v in value]
    if isinstance(value, str) and value.startswith("IPY_MODEL_"):
        return resolved(widgets.get(value[10:], value[10:]), widgets)
    return value


def reply(message):
    content = {k: v for k, v in message["content"].items() if k not in ("traceback", "engine_info")}
    return content, sorted(set(message["metadata"]) - {"kedge"}), message["metadata"].get("status")


A, B, C = ("a", ["step:one"], "x = [1]\nx"), ("b", ["step:two"], "x.append(2)\nprint(len(x))\nx"), ("c", [], "y = {'k': x}")


def notebook(kedge, plain):
    """Cold, restarted, edited, twice in a row, with other code between, and what the history then holds."""
    d = Desk([A, B, C], kedge, plain)
    for cell in "abc":
        d.run(cell, "ran")
    d.restart()
    for cell in "abc":
        d.run(cell, "restored")
    d.run("", None, "print(y['k'] is x, Out[1] is x, _, In, sorted(Out), _i)")
    d.run("a", "restored")
    d.run("a", "ran")
    d.run("b", "ran", "x.append(3)\nprint(len(x))\nx")
    d.run("", None, "x = [1]")
    d.run("b", "restored")
    d.run("", None, "print(x, _, Out)")
    d.run("", None, "%history")
    d.restart()
    d.run("a", "restored")
    d.run("b", "restored", "x.append(2)  # only a comment is new\nprint(len(x))\nx")
    d.run("c", "restored")
    d.close()


def runall(kedge, plain):
    """Run All: all cells wait behind the first. Then again after a restart, with an edited cell, and with other requests between."""
    cells = [("a", ["step:one"], "x = [1]"), ("b", ["step:two"], "x.append(2)"), ("c", [], "x"), ("d", ["step:three"], "y = {'k': x}\nprint(len(y))"),
             ("e", [], "x.append(3)"), ("f", ["step:four"], "_ is x, y['k'] is x, x"), ("g", [], "print(x)")]
    d = Desk(cells, kedge, plain)

    def every(want, **sources):
        full = {"store_history": True}
        ids = [[k.send(sources.get(c, d.cells[c][2]), d.metadata(c), **full) for c in "abcdefg"] for k in (d.kedge, d.plain)]
        if "asks" in sources:  # a front end asks for something else meanwhile
            for k in (d.kedge, d.plain):
                k.kc.complete("x.app")
        for cell, ours, theirs, status in zip("abcdefg", *ids, want, strict=True):
            got, expected = d.kedge.answer(ours), d.plain.answer(theirs)
            d.same(cell, got, expected)
            assert got[1]["metadata"]["kedge"]["status"][:3] == {"r": "res", "n": "ran"}[status], (cell, got[1]["metadata"]["kedge"])
        d.run("", None, "print(x, y, In, Out, _)")

    every("nnnnnnn")
    d.restart()
    every("rrrrrrr")
    d.restart()
    every("rrnrrnn", c="print(x, 0)", g="print(x, 1)")
    d.restart()
    every("rrrrrrr", asks="")
    d.close()


def errors(kedge, plain):
    """A cell that fails half-way, with Run All behind it; one that may fail."""
    cells = [("a", ["step:one"], "l = []"), ("b", ["step:two"], "l.append(1)\n1/0\nl.append(2)"), ("c", ["step:three"], "print(l)"),
             ("d", ["step:four", "raises-exception"], "l.append(9)\nint('no')")]
    d = Desk(cells, kedge, plain)
    for life in range(2):
        ids = [[k.send(d.cells[c][2], d.metadata(c)) for c in "abc"] for k in (d.kedge, d.plain)]
        for cell, ours, theirs in zip("abc", *ids, strict=True):
            got, expected = d.kedge.answer(ours), d.plain.answer(theirs)
            d.same(cell, got, expected)
            assert got[1]["content"]["status"] == {"a": "ok", "b": "error", "c": "aborted"}[cell]
        d.calm()
        d.run("c", "ran" if life == 0 else "restored")
        d.run("d", "ran", stop_on_error=False)  # the kernel would not know of its exception
        d.run("", None, "print(l, In)")
        d.restart()
    d.close()


def displays(kedge, plain):
    """Display ids outlive restores; an update of a restored output reaches it."""
    cells = [("a", ["step:one"], "h = display('first', display_id='fixed')\nk = display('own', display_id=True)\nprint('p')"),
             ("b", ["step:two"], "k.update('changed'); h.update('too')"),
             ("c", ["step:three"], "from IPython.display import clear_output\nprint(1); clear_output(); print(2)")]
    d = Desk(cells, kedge, plain)
    d.run("a", "ran")
    d.run("b", "ran")
    for _ in range(2):
        d.restart()
        got, _ = d.run("a", "restored")
        ids = [c["transient"]["display_id"] for kind, c in got if kind == "display_data"]
        got, r = d.run("b", "ran")  # it updates what an earlier cell shows
        assert [c["transient"]["display_id"] for kind, c in got if kind == "update_display_data"] == ids[::-1], (got, ids)
    d.run("c", "ran")
    d.restart()
    d.run("c", "restored")
    d.close()


def requests(kedge, plain):
    """Silent requests, requests outside the history and with expressions are no cells, but count."""
    d = Desk([("a", ["step:one"], "x = 1"), ("b", ["step:two"], "print(x)")], kedge, plain)
    d.run("a", "ran")
    d.run("b", "ran")
    d.run("a", None, silent=True, store_history=False, code="x = 5")
    d.run("b", "ran")
    d.run("a", None, store_history=False, code="x = 1")
    d.run("b", "restored")
    d.run("b", None, user_expressions={"v": "x + 1"})
    d.run("", None, "")
    d.run("", None, "x = 7")
    d.run("b", "ran")
    d.restart()
    d.run("", None, "'under the number of the next cell, before IPython 9'", store_history=False)
    d.run("a", "ran", "x = 2")
    d.restart()
    d.run("a", "restored", "x = 2")
    d.run("", None, "print(sorted(Out))")
    d.close()


def interrupt(k, code, metadata, **content):
    """Run a cell until it prints, and interrupt it. Returns what it published, and the reply."""
    msg_id = k.send(code, metadata, **content)
    seen = []
    while not seen or seen[-1]["msg_type"] != "stream":
        seen.append(k.kc.get_iopub_msg(timeout=TIMEOUT))
    k.km.interrupt_kernel()
    while seen[-1]["parent_header"].get("msg_id") != msg_id or seen[-1]["content"].get("execution_state") != "idle":
        seen.append(k.kc.get_iopub_msg(timeout=TIMEOUT))
    r = k.kc.get_shell_msg(timeout=TIMEOUT)
    while r["parent_header"]["msg_id"] != msg_id:  # more answers to the first question
        r = k.kc.get_shell_msg(timeout=TIMEOUT)
    return [m for m in seen if m["parent_header"].get("msg_id") == msg_id], r


def interrupted(kedge, plain):
    """An interrupt stops a cell of a step, which is not kept; the next ones run."""
    d = Desk([("a", ["step:one"], "n = 0\nprint('go', flush=True)\nimport time\nwhile True: time.sleep(0.01)"), ("b", ["step:two"], "n = 1"), ("c", ["step:three"], "print(n)")],
             kedge, plain)
    for life in range(2):
        got = []
        for k in (d.kedge, d.plain):
            seen, r = interrupt(k, d.cells["a"][2], d.metadata("a"))
            assert r["content"]["ename"] == "KeyboardInterrupt", r
            got.append([(m["msg_type"], m["content"]) for m in seen])
        assert normal(got[0]) == normal(got[1]), got
        d.calm()
        d.run("b", "restored" if life else "ran")
        d.run("c", "restored" if life else "ran")
        d.restart()
    d.close()


def leaves(kedge, plain):
    """A client that goes away right after Run All: all of it runs, and is kept."""
    cells = [("a", ["step:one"], "import time\ntime.sleep(1)\nx = [1]"), ("b", ["step:two"], "x.append(2)"), ("c", ["step:three"], "x.append(3)")]
    d = Desk(cells, kedge, plain)
    for k in (d.kedge, d.plain):
        for cell in "abc":
            k.send(d.cells[cell][2], d.metadata(cell))
        while k.kc.get_iopub_msg(timeout=TIMEOUT)["msg_type"] != "execute_input":
            pass
        k.kc.stop_channels()
        k.kc = k.km.client()
        k.kc.start_channels()
        k.kc.wait_for_ready(timeout=TIMEOUT)
    d.run("", None, "print(x, len(In))")
    d.restart()
    for cell in "abc":
        d.run(cell, "restored")
    d.close()


def vscode(kedge, plain):
    """VS Code: code before it names the notebook, ids of cells that are addresses, cells that are sent one by one and not stopped by errors."""
    sources = {"a": "x = [1]\nx", "b": "x.append(2)\nprint(len(x))\nx", "c": "y = {'k': x}", "d": "print('same')", "e": "print('same')"}
    tags = {"a": ["step:one"], "b": ["step:two"], "c": [], "d": ["step:three"], "e": ["step:four"]}
    d = Desk([(c, tags[c], s) for c, s in sources.items()], kedge, plain, JPY_SESSION_NAME="", VSCODE_PID="1")

    def probe(k):
        """It looks whether somebody listens before it connects."""
        import socket
        for port in (k.km.shell_port, k.km.iopub_port):
            socket.create_connection(("127.0.0.1", port)).close()

    def begin(k, listed):
        """What runs before the first cell."""
        probe(k)
        widgets = "try:\n    import ipywidgets as _VSCODE_ipywidgets\n    print('version ' + _VSCODE_ipywidgets.__version__)\n    del _VSCODE_ipywidgets\nexcept:\n    pass"
        module = "def __VSCODE_add():\n    import sys as __s, IPython as __i\n    def ask(f, then): display({'x/y': f}, raw=True)\n    __s.modules['vscode'] = type(__i)('vscode')\n    __s.modules['vscode'].ask = ask\n__VSCODE_add()\ndel __VSCODE_add"
        path = f'__vsc_ipynb_file__ = "{k.notebook}"\n%config Completer.use_jedi = False'
        for code in (widgets, f"{module}\n{path}"):
            listed.append(k.answer(k.send(code, {}, silent=True, store_history=False)))

    def ask(cell, want, code=None):
        code = sources[cell] if code is None else code
        got = []
        for k in (d.kedge, d.plain):
            number = "abcde".index(cell)
            metadata = {"cellId": f"vscode-notebook-cell:{k.notebook}#W{number}sZmlsZQ%3D%3D", **({"tags": tags[cell]} if tags[cell] else {})}
            got.append(k.answer(k.send(code, metadata, stop_on_error=False)))
        d.same(code, *got)
        mark = got[0][1]["metadata"].get("kedge", {})
        assert mark.get("status") == want or want is None, (cell, mark)

    def life(wants):
        for k in (d.kedge, d.plain):
            begin(k, [])
        for cell, want in zip("abcde", wants, strict=True):
            ask(cell, want)
        ask("c", "ran" if wants[2] == "ran" else "restored", "y = {'k': x, 'l': 2}  # not saved")
        d.run("", None, "import sys\nprint(sorted(n for n in globals() if not n.startswith('_')), 'ipywidgets' in sys.modules, 'vscode' in sys.modules, x, y, In)")
        seen = "[m for m in sys.modules if m.startswith('ipywidgets')][:3], get_ipython().Completer.use_jedi"
        d.run("", None, seen)
        d.restart()

    life(["ran"] * 4 + [None])  # the last is as the one before, whose record may be on its way
    life(["restored"] * 5)
    d.close()


def early(kedge, plain):
    """What runs before VS Code has named the notebook counts as any code that is no cell of a step."""
    d = Desk([("a", ["step:one"], "print(z)"), ("b", ["step:two"], "import os\nprint(os.environ.get('EARLY'))")], kedge, plain, JPY_SESSION_NAME="", VSCODE_PID="1")

    def life(first, wants, why=""):
        for k in (d.kedge, d.plain):
            for code in (first, f'__vsc_ipynb_file__ = "{k.notebook}"'):
                k.answer(k.send(code, {}, silent=True, store_history=False))
        for cell, want in zip("ab", wants, strict=True):
            _, r = d.run(cell, want)
            assert why in r["metadata"]["kedge"]["why"], r
        d.restart()

    life("z = [1]", ["ran", "ran"])
    life("z = [1]", ["restored", "restored"])
    life("z = [2]", ["ran", "restored"])
    life("z = [1]; import os; os.environ['EARLY'] = '1'", ["ran", "ran"])  # every cell depends on the environment
    life("z = [1]; open('f', 'w').close()", ["ran", "ran"], "before the notebook was known")
    d.close()


def late(kedge, plain):
    """Steps that a notebook gets after code has run there count from then on; so do those that go and come back."""
    sources = {"a": "x = [1, 2]", "b": "print(sum(x))", "c": "x.append(5)\nx"}
    d = Desk([(i, [], s) for i, s in sources.items()], kedge, plain)

    def tag(steps):
        d.cells = {i: (i, ["step:" + i] if steps else [], s) for i, s in sources.items()}
        for k in (d.kedge, d.plain):
            write(k.notebook, d.cells.values())

    def every(want):
        for cell in sources:
            d.run(cell, want)

    every(None)
    d.run("", None, "1", user_expressions={"n": "x.append(6)"})
    tag(True)
    every("ran")
    d.run("", None, "x.append(6)")
    every("restored")
    tag(False)
    every(None)
    tag(True)
    every("restored")
    d.restart()
    every("restored")
    d.run("", None, "print(x, Out, In)")
    d.close()


def auto(kedge, plain):
    """All cells of a notebook become steps after code has run."""
    d = Desk([("a", [], "x = 1"), ("b", [], "print(x)")], kedge, plain)
    d.run("a", None)
    d.run("b", None)
    for k in (d.kedge, d.plain):
        nb = nbformat.read(k.notebook, 4)
        nb.metadata.kedge = {"auto": True}
        nbformat.write(nb, k.notebook)
    for want in ("ran", "restored", "restored"):
        d.run("a", want)
        d.run("b", want)
        if want == "restored":
            d.restart()
    d.close()


def before(kedge, plain):
    """What code did before the notebook had steps is in what its cells see then, as in a plain kernel."""
    for early, cell in (
            (["import pandas as pd", "pd.set_option('display.max_rows', 4)"], "pd.Series(range(9))"),
            (["x = [1]", "y = x", "x.append(2)"], "y.append(3); print(x, y)"),
            (["f = open('log', 'w+')", "f.write('1');"], "f.write('2'); f.flush(); print(open('log').read())"),
            (["import random; random.seed(3)", "random.random()"], "print(random.random())"),
            (["import textwrap\ndef p(m): m.dedent = len", "p(textwrap)", "del p"], "print(textwrap.dedent('  x'))"),
            (["import os; os.environ['A'] = 'b'; os.chdir('/')"], "print(os.getcwd(), os.environ['A'])"),
            (["n = (i for i in range(9))", "next(n);"], "print(next(n))")):
        d = Desk([("a", [], cell)], kedge, plain)
        for code in early:
            d.run("", None, code)
        d.run("", None, "z = 1", silent=True, store_history=False)
        d.cells["a"] = ("a", ["step:one"], cell)
        d.run("a", "ran")
        d.restart()
        if "log" not in cell:  # it may not begin with what the other life has left open
            d.run("", None, early[0])
            d.run("a", "ran" if early[1:] else "restored")
        d.close()


def magics(kedge, plain):
    """%kedge in any front end: it counts as a cell, and steers."""
    d = Desk([A, B, C], kedge, plain)

    def say(line):
        seen, r = d.kedge.answer(d.kedge.send(line, {}))
        d.plain.answer(d.plain.send("None", {}))
        assert r["content"]["status"] == "ok" and seen[0][1]["execution_count"] == r["content"]["execution_count"], (seen, r)
        return seen[1][1]["text"]

    assert d.kedge.notebook in say("%kedge status")
    d.run("a", "ran")
    assert "never run" in say("%kedge why")
    d.run("b", "ran")
    d.run("a", "restored")
    d.run("b", "restored")
    d.run("a", "restored")
    say("%kedge rerun")
    d.run("b", "ran")
    say("%kedge off")
    d.run("a", None)
    d.run("b", None)
    say("%kedge on")
    d.run("a", "restored")
    d.run("b", "restored")
    text = say("%kedge status")
    assert "restored" in text and "nothing changed" in text, text
    assert "usage" in say("%kedge")
    d.run("", None, "print(len(In), sorted(Out), x)")
    d.close()


def client(kedge, _):
    """nbclient sends no metadata: cells are found by text and order; the last one is in the store when it has shut the kernel down."""
    from nbclient import NotebookClient

    folder = tempfile.mkdtemp(prefix="kedge-live-")
    path = os.path.join(folder, "nb.ipynb")
    write(path, [("a", ["step:one"], "import time\nprint(time.time_ns())"), ("b", ["step:two"], "data = bytearray(30_000_000)\nprint(time.time_ns())")])

    def run(**env):
        nb = nbformat.read(path, 4)
        os.environ.update(env)
        NotebookClient(nb, kernel_name=kedge, timeout=TIMEOUT, resources={"metadata": {"path": folder}}).execute()
        return [c.outputs[0].text for c in nb.cells], [c.execution_count for c in nb.cells]

    first, second = run(KEDGE_NOTEBOOK=path), run(KEDGE_NOTEBOOK=path)
    assert first == second, (first, second)
    assert first != run(KEDGE_NOTEBOOK=""), "nothing names the notebook"


def commands(kedge, _):
    """Programs that run notebooks name them on their command line; papermill adds a cell."""
    folder = tempfile.mkdtemp(prefix="kedge-live-")
    path = os.path.join(folder, "nb.ipynb")
    write(path, [("p", ["parameters"], "alpha = 1"), ("a", ["step:one"], "import time\nprint(time.time_ns())"), ("b", ["step:two"], "print(alpha, time.time_ns())")])

    def run(*argv):
        subprocess.run([sys.executable, "-m", *argv], cwd=folder, check=True, capture_output=True)
        return ["".join(o.text for o in c.outputs) for c in nbformat.read(os.path.join(folder, "out.ipynb"), 4).cells if c.outputs]

    convert = ["nbconvert", "--to", "notebook", "--execute", f"--ExecutePreprocessor.kernel_name={kedge}", "--output", "out", "nb.ipynb"]
    papermill = ["papermill", "-k", kedge, "--no-progress-bar", "nb.ipynb", "out.ipynb"]
    first = run(*convert)
    assert first == run(*convert) and first[0].strip().isdigit()
    assert first == run(*papermill), "the same notebook"
    other = run(*papermill, "-p", "alpha", "2")
    assert other[0] == first[0] and other[1].startswith("2 ") and other[1] != first[1], (first, other)
    assert other == run(*papermill, "-p", "alpha", "2")


def engine(kedge, plain):
    """papermill --engine kedge: behind Kedge whichever kernel it is, and cells are known by their ids and tags."""
    folder = tempfile.mkdtemp(prefix="kedge-live-")
    same = "import time\nprint(time.time_ns())"
    write(os.path.join(folder, "nb.ipynb"), [
        ("p", ["parameters"], "alpha = 1"), ("n", ["skip"], same), ("a", ["step:one"], same), ("b", ["step:two"], "print(alpha, time.time_ns())")])

    def run(kernel, *argv):
        argv = [sys.executable, "-m", "papermill", "--engine", "kedge", "-k", kernel, "--no-progress-bar", "nb.ipynb", "out.ipynb", *argv]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        nb = nbformat.read(os.path.join(folder, "out.ipynb"), 4)
        assert nb.metadata.papermill.exception is None
        return ["".join(o.text for o in c.outputs) for c in nb.cells if c.outputs]

    first = run(plain)
    assert first[0] != first[1] and first[2].startswith("1 "), first
    for kernel in (plain, kedge):
        again = run(kernel)
        assert again[1:] == first[1:] and again[0] != first[0], (first, again)  # what is skipped is no cell of a step
    other = run(plain, "-p", "alpha", "2")
    assert other[1] == first[1] and other[2].startswith("2 "), (first, other)
    assert run(kedge, "-p", "alpha", "2")[1:] == other[1:]


def comms(kedge, plain):
    """What a widget's callback changes is seen by the next cell, on the main shell and in a subshell."""
    d = Desk([("a", ["step:one"], "x = 1"), ("b", ["step:two"], "print(x)")], kedge, plain)
    target = """from comm import get_comm_manager
def opened(comm, _):
    @comm.on_msg
    def _(message):
        global x
        x = message['content']['data']['x']
        comm.send({'done': True})
get_comm_manager().register_target('t', opened)"""

    def tell(k, kind, subshell, **content):
        msg = k.kc.session.msg(kind, {"comm_id": "c", **content})
        msg["header"]["subshell_id"] = subshell
        k.kc.shell_channel.send(msg)
        while True:
            m = k.kc.get_iopub_msg(timeout=TIMEOUT)
            if m["parent_header"].get("msg_id") == msg["header"]["msg_id"] and m["content"].get("execution_state") == "idle":
                return

    d.run("a", "ran")
    d.run("b", "ran")
    d.run("", None, target)
    subshells = [None] * 2
    if "kernel subshells" in d.plain.kc.kernel_info(reply=True, timeout=TIMEOUT)["content"].get("supported_features", []):
        for i, k in enumerate((d.kedge, d.plain)):
            k.kc.control_channel.send(k.kc.session.msg("create_subshell_request"))
            subshells[i] = k.kc.get_control_msg(timeout=TIMEOUT)["content"]["subshell_id"]
    for k in (d.kedge, d.plain):
        tell(k, "comm_open", None, target_name="t", data={})
    d.run("b", "restored")
    for n, through in enumerate(([None] * 2, subshells)):
        for i, k in enumerate((d.kedge, d.plain)):
            tell(k, "comm_msg", through[i], data={"x": 5})
        d.run("b", "restored" if n else "ran")
        for i, k in enumerate((d.kedge, d.plain)):
            tell(k, "comm_msg", through[i], data={"x": 7})
            tell(k, "comm_msg", through[i], data={"x": 1})
        d.run("b", "restored")
    d.close()


def widgets(kedge, plain):
    """Widgets that only show something come back, in the front end and in the kernel; other ones are made anew."""
    show = "from IPython.display import display\n"
    d = Desk([("a", ["step:one"], "import ipywidgets as w\nimport tqdm.auto as bars"),
              ("b", ["step:two"], "for i in bars.tqdm(range(3), bar_format='{n_fmt}{bar}'): pass\nprint('done')"),
              ("c", ["step:three"], show + "display(w.HBox([w.Label('x'), w.IntProgress(3), w.Image(value=b'png')]))"),
              ("d", ["step:four"], show + "display(w.IntSlider(4))"),
              ("e", ["step:five"], show + "level = w.IntProgress(1)\ndisplay(level)"),
              ("f", ["step:six"], "for i in bars.tqdm(range(3), leave=False, bar_format='{bar}'): pass"),
              ("g", ["step:seven"], "w.HTML('result')")], kedge, plain)
    states = []

    def check():
        d.run("", None, "from ipywidgets.widgets.widget import _instances\nprint([type(i).__name__ for i in _instances.values()].__len__())")
        for k in (d.kedge, d.plain):
            states.append(manager(k))
        assert states[-2] == states[-1], states[-2:]

    for cell in "abcdefg":
        d.run(cell, "ran")
    check()
    d.restart()
    for life in range(2):  # the second time the kernel has had the widgets of the first
        for cell, want in zip("abcdefg", ["restored"] * 3 + ["ran", "ran", "restored", "ran"], strict=True):
            d.run(cell, want)
        check()
    d.run("", None, "level.value = 9")
    d.run("", None, "next(i for i in _instances.values() if type(i) is w.Label).value = 'found'")
    check()
    d.run("", None, "w.Widget.close_all()")
    check()
    d.close()


def manager(kernel):
    """What the kernel tells a page that is loaded again of its widgets, and which comms it says there are."""
    comm = os.urandom(16).hex()

    def tell(kind, **content):
        msg = kernel.kc.session.msg(kind, {"comm_id": comm, **content}, metadata={"version": "1.0.0"})
        kernel.kc.shell_channel.send(msg)
        got = []
        while True:
            m = kernel.kc.get_iopub_msg(timeout=TIMEOUT)
            if m["parent_header"].get("msg_id") == msg["header"]["msg_id"]:
                if m["content"].get("execution_state") == "idle":
                    return got
                got.append(m)

    tell("comm_open", target_name="jupyter.widget.control", data={})
    (told,) = [m["content"]["data"]["states"] for m in tell("comm_msg", data={"method": "request_states"}) if m["msg_type"] == "comm_msg"]
    tell("comm_close", data={})
    info = kernel.kc.comm_info(target_name="jupyter.widget", reply=True, timeout=TIMEOUT)["content"]["comms"]
    assert set(told) == set(info), (set(told), set(info))
    return sorted(json.dumps(resolved(s["state"], told), sort_keys=True) for s in told.values())


def dies(kedge, plain):
    """A kernel that ends in a cell: what was kept before is there after the restart."""
    d = Desk([A, ("b", ["step:two"], "import os\nos._exit(3)"), C], kedge, plain)
    d.run("a", "ran")
    d.kedge.send(d.cells["b"][2], d.metadata("b"))
    assert d.kedge.km.provisioner.process.wait(TIMEOUT) == 3
    d.restart()
    d.run("a", "restored")
    d.run("c", "ran")
    d.close()


def run(kedge, plain):
    """kedge run, plan and log share what a live kernel keeps, and the other way round."""
    d = Desk([A, B, C, ("e", ["step:four"], "import numpy as np\nnp.arange(3)")], kedge, plain)
    program = os.environ["KEDGE_TEST_BINARY"]

    def kedge_json(command):
        out = subprocess.run([program, command, "--json", d.kedge.notebook], stdout=subprocess.PIPE, check=True).stdout
        return json.loads(out)

    for cell in "abc":
        d.run(cell, "ran")
    d.kedge.close()
    report = kedge_json("run")
    assert [c["status"] for c in report["cells"]] == ["restored"] * 3 + ["ran"], report
    d.kedge.start()
    d.plain.restart()
    for cell in "abce":
        d.run(cell, "restored")
    assert {s["cell"] for s in kedge_json("log")} == set("abce")
    d.close()


def server(kedge, _):
    """Through Jupyter's server: it names the notebook, and drops what it gets too fast, but nothing of a restored cell."""
    import socket
    import urllib.request

    import websocket

    folder = tempfile.mkdtemp(prefix="kedge-live-")
    size = 5_000_000
    cells = {"a": ["step:one"], "b": []}
    sources = {"a": f"print('x' * {size})", "b": "print(6 * 7)"}
    write(os.path.join(folder, "nb.ipynb"), [(c, t, sources[c]) for c, t in cells.items()])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    argv = [sys.executable, "-m", "jupyter_server", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
            "--IdentityProvider.token=t", f"--ServerApp.root_dir={folder}"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", method="GET" if body is None else "POST",
                                         data=None if body is None else json.dumps(body).encode(), headers={"Authorization": "token t"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def run(socket, cell):
        """(what it printed, the mark of the reply)"""
        header = {"msg_id": os.urandom(8).hex(), "msg_type": "execute_request", "session": "s", "username": "", "version": "5.2", "date": "2026-01-01T00:00:00Z"}
        content = {"code": sources[cell], "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True, "stop_on_error": True}
        metadata = {"tags": cells[cell], "cellId": cell, "trusted": True, "deletedCells": [], "recordTiming": False}
        socket.send(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": metadata, "content": content}))
        text, mark, idle = "", None, False
        while mark is None or not idle:
            m = json.loads(socket.recv())
            if m["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            if m["header"]["msg_type"] == "stream" and m["content"]["name"] == "stdout":
                text += m["content"]["text"]
            idle = idle or m["content"].get("execution_state") == "idle"
            if m["header"]["msg_type"] == "execute_reply":
                mark = m["metadata"].get("kedge")
        return text, mark

    try:
        deadline = time.time() + TIMEOUT
        while True:
            try:
                ask("status")
                break
            except OSError:
                assert process.poll() is None and time.time() < deadline, "the server does not answer"
                time.sleep(0.1)
        session = ask("sessions", {"path": "some-uuid", "type": "notebook", "name": "nb.ipynb", "kernel": {"name": kedge}})
        kernel = session["kernel"]["id"]
        for want in ("ran", "restored"):
            socket = websocket.create_connection(f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels?token=t&session_id={want}", timeout=TIMEOUT)
            text, mark = run(socket, "a")
            assert mark["status"] == want, mark
            assert want == "ran" or len(text) == size + 1, (want, len(text))
            text, mark = run(socket, "b")
            assert (text, mark["status"]) == ("42\n", want), (text, mark)
            socket.close()
            ask(f"kernels/{kernel}/restart", {})
    finally:
        process.terminate()
        process.wait()


def unusable(kedge, plain):
    """A store that cannot be used: everything runs."""
    d = Desk([A, B, C], kedge, plain, KEDGE_HOME="/proc/nowhere")
    for cell in "abc":
        d.run(cell, None)
    d.close()


def children(kedge, plain):
    """What makes the copy that captures a cell is no child of the kernel's any more soon after: on its way out ipykernel
    waits seconds for those."""
    d = Desk([("a", ["step:one"], "import numpy as np\nx = np.ones(1 << 20)")], kedge, plain)
    d.run("a", "ran")
    kernel, until = kernels(psutil.Process(d.kedge.km.provisioner.process.pid))[0], time.monotonic() + TIMEOUT
    while left := kernel.children():
        assert time.monotonic() < until, left
        time.sleep(0.05)
    d.close()


def fills(kedge, plain):
    """A disk that fills while what a cell has left is captured: the cell has run, and nothing of it comes back by half."""
    cells = [("a", ["step:one"], "x = 1"), ("b", ["step:two"], "y = bytes(range(256)) * 40_000 + {who}\nprint(len(y))"), ("c", ["step:three"], "print(sum(y) + x)")]
    for who in ("kernel", "proxy"):
        d = Desk([(i, t, s.replace("{who}", repr(who.encode()))) for i, t, s in cells], kedge, plain)
        d.run("a", "ran" if who == "kernel" else "restored")
        proxy = psutil.Process(d.kedge.km.provisioner.process.pid)
        full = proxy if who == "proxy" else kernels(proxy)[0]
        full.rlimit(psutil.RLIMIT_FSIZE, (100_000, psutil.RLIM_INFINITY))  # as a disk with as much room for each file
        d.run("b", "ran")
        d.run("c", "ran")
        full.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        d.restart()
        d.run("a", "restored")
        d.run("b", "ran")
        d.run("c", "ran")
        d.restart()
        for cell in "abc":
            d.run(cell, "restored")
        d.close()


def payloads(kedge, plain):
    """What a cell asks a front end to do, once it ran, is not asked for again."""
    d = Desk([("a", ["step:one"], "x = 1\nget_ipython().set_next_input('x = 2')\nx")], kedge, plain)
    _, ran = d.run("a", "ran")
    assert [p["source"] for p in ran["content"]["payload"]] == ["set_next_input"], ran
    d.restart()
    _, again = d.kedge.answer(d.kedge.send(d.cells["a"][2], d.metadata("a")))
    assert again["metadata"]["kedge"]["status"] == "restored" and again["content"]["payload"] == [], again
    d.close()


def bash(kedge, _):
    """Another language passes; %kedge says why nothing is restored."""
    folder = tempfile.mkdtemp(prefix="kedge-live-")
    write(os.path.join(folder, "nb.ipynb"), [("a", ["step:one"], "echo 1")])
    k = Kernel(kedge, folder)
    for _ in range(2):
        seen, r = k.answer(k.send("echo $((6*7))", {"tags": ["step:one"], "cellId": "a"}))
        assert "42" in str(seen) and "kedge" not in r["metadata"], (seen, r)
    seen, r = k.answer(k.send("%kedge status", {}))
    assert "no snapshots for language bash yet" in seen[1][1]["text"], seen
    seen, r = k.answer(k.send("echo $((6*7))", {}))
    assert "42" in str(seen), seen
    k.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print("ok")
