"""Send the same requests to a plain kernel and to one behind the proxy, and print what differs.

usage: record.py KEDGE PYTHON. Ids, dates, sessions, addresses and process ids apart, every frame must be the same.
"""
import difflib
import json
import re
import sys

from rawclient import Kernel

PATTERNS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "HEX"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{24}(_\d+)+"), "MSGID"),
    (re.compile(r"0x[0-9a-f]{6,}"), "ADDRESS"),
    (re.compile(r"ipykernel_\d+"), "ipykernel_PID"),
    (re.compile(r"Tip: [^\"]*?\\n(?=\")"), "TIP"),
    (re.compile(r"[\d.e+]+ (ns|\\u03bcs|ms|s)\b"), "TIME"),
    (re.compile(r"/tmp/[-\w./]*kt-[^/\"\\]+"), "DIR"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)"), "DATE"),
]
CELLS = [
    "", "1", "1+1;", "print('a'); print('b', flush=True); 3", "import sys; sys.stderr.write('e')", "x = 41", "x + 1", "_ + 1", "Out[5] if 5 in Out else In[-1]",
    "1/0", "def f(:", "raise SystemExit", "raise KeyboardInterrupt", "print('\\u00e4\\U0001F600\\x00')", "x?", "x??", "print?",
    "%who_ls", "%time 1", "%%time\n1", "!echo shell", "%lsmagic", "%nosuch", "%history", "%set_next_input" , "get_ipython().set_next_input('next')",
    "from IPython.display import *; display(HTML('<b>x</b>'))", "h = display('one', display_id='d1')", "h.update('two')", "update_display('three', display_id='d1')",
    "clear_output(); print(1); clear_output(wait=True); print(2)", "Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + b'0' * 100)",
    "import warnings; warnings.warn('careful')", "import threading\nt = threading.Thread(target=print, args=('thread',)); t.start(); t.join()",
    "await __import__('asyncio').sleep(0.01)", "print('x' * 3_000_000)", "for i in range(300): print(i)", "{'a': [1, 2]}", "lambda: 0", "float('nan')",
    "import os; os.getcwd() != ''", "__name__, __builtins__.__name__", "import sys; sys.argv[1:2], [p for p in sys.path if 'kedge' in p]",
    "sorted(n for n in globals() if not n.startswith('_'))", "import os; [k for k in os.environ if 'KEDGE' in k or k in ('LD_PRELOAD', 'PYTHONHASHSEED')]",
    "get_ipython().kernel.get_parent()['header']['msg_type']", "get_ipython().kernel.shell.history_manager.session_number",
    "import multiprocessing, signal; signal.getsignal(signal.SIGINT).__name__", "a = 1\nb = 2\na\nb", "print('no newline', end='')", "display({'text/plain': 'raw'}, raw=True)",
    "from comm import create_comm\nc = create_comm(target_name='t', data={'a': 1}, buffers=[b'\\x00\\xff' * 50])", "c.send({'b': 2}, buffers=[b'', b'z' * 100_000])", "c.close()",
    "import json, ipykernel; print(ipykernel.get_connection_file().rsplit('/')[-1])",
]
SHELL = [
    ("complete_request", {"code": "pri", "cursor_pos": 3}), ("complete_request", {"code": "sys.", "cursor_pos": 4}),
    ("complete_request", {"code": "import o", "cursor_pos": 8}), ("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0}),
    ("inspect_request", {"code": "nosuch", "cursor_pos": 6, "detail_level": 1}), ("is_complete_request", {"code": "for i in x:"}),
    ("is_complete_request", {"code": "1"}), ("is_complete_request", {"code": "def f(:"}),
    ("history_request", {"hist_access_type": "tail", "n": 3, "output": False, "raw": True}),
    ("history_request", {"hist_access_type": "search", "n": 2, "pattern": "x*", "output": True, "raw": True, "unique": True}),
    ("history_request", {"hist_access_type": "range", "session": 0, "start": 1, "stop": 3, "output": False, "raw": True}),
    ("kernel_info_request", {}), ("comm_info_request", {}), ("comm_info_request", {"target_name": "t"}), ("connect_request", {}),
]


class Recorder:
    def __init__(self, kernel):
        self.client = kernel.client()
        self.client.drain(0.5)
        self.log = []
        self.count = 0

    def note(self, title, messages):
        for channel in ("shell", "control", "stdin", "iopub"):
            for m in joined([m for m in messages if m["channel"] == channel]):
                self.log.append(f"{title} | {channel} | {normal(m)}")
        self.count += 1

    def shell(self, kind, content, channel="shell", replies=True, title=None, **options):
        msg_id = self.client.request(kind, content, channel, **options)
        self.note(title or f"{kind} {json.dumps(content)[:70]}", self.client.answer(msg_id, channel, replies=replies))

    def features(self):
        """What the kernel says it can do, [] for ipykernel 6: it does not answer what it does not know."""
        got = self.client.answer(self.client.request("kernel_info_request", {}))
        return next(m for m in got if m["channel"] == "shell")["content"].get("supported_features", [])

    def cell(self, code, metadata=None, **content):
        full = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True, "stop_on_error": True}
        self.shell("execute_request", {**full, **content}, metadata=metadata, title=f"cell {code[:60]!r} {content}")

    def batch(self, codes, **content):
        """Cells sent at once, as Run All does."""
        full = {"silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True, "stop_on_error": True}
        ids = [self.client.request("execute_request", {**full, "code": c, **content}) for c in codes]
        ids.append(self.client.request("kernel_info_request", {}))
        self.note(f"batch {codes}", self.client.answer(ids[-1]))

    def asks(self, code, reply):
        msg_id = self.client.execute(code)
        question = self.client.receive("stdin")
        assert question, "no input_request"
        self.client.request("input_reply", {"value": reply, "status": "ok"}, "stdin", parent=question["header"])
        self.note(f"asks {code}", [question, *self.client.answer(msg_id)])

    def interrupted(self, code):
        """Interrupt a cell once it has printed something: before, the interrupt may come too early for any kernel."""
        msg_id = self.client.execute(code)
        seen = []
        while not seen or seen[-1]["header"]["msg_type"] != "stream":
            seen.append(self.client.receive("iopub"))
        stop = self.client.request("interrupt_request", {}, "control")
        rest = self.client.answer(msg_id)
        mine = [m for m in rest if m["parent"]["msg_id"] == stop]
        if not any(m["channel"] == "control" for m in mine):
            rest.append(self.client.receive("control"))
        # The two requests end at the same time: their messages are compared apart.
        both = seen + rest
        while not any(m["parent"]["msg_id"] == stop and m["content"].get("execution_state") == "idle" for m in both):
            both.append(self.client.receive("iopub"))
        self.note(f"interrupted {code}", [m for m in both if m["parent"]["msg_id"] == msg_id])
        self.note("interrupt", [m for m in both if m["parent"]["msg_id"] == stop])

    def refused(self, title, send):
        """Something that no kernel answers, and then a sign of life."""
        send()
        msg_id = self.client.request("kernel_info_request", {})
        self.note(title, self.client.answer(msg_id))


def joined(messages):
    """The messages with consecutive parts of one stream as one: where a stream is cut depends on time."""
    out = []
    for m in messages:
        last = out[-1] if out else None
        if last and m["header"]["msg_type"] == last["header"]["msg_type"] == "stream" and m["idents"] == last["idents"] \
                and m["parent"] == last["parent"] and m["content"]["name"] == last["content"]["name"]:
            last["content"]["text"] += m["content"]["text"]
        else:
            out.append(m)
    return out


def normal(m):
    """A message without what differs between any two kernels."""
    head = dict(m["header"], msg_id="", date="", session="")
    topic = [t if b"\x00" not in t else b"" for t in m["idents"]]
    if m["content"].get("ename") == "KeyboardInterrupt":
        m["content"]["traceback"] = "where it was"
    if m["header"]["msg_type"] == "usage_reply":
        m["content"] = sorted(set(m["content"]) - {"host_cpu_percent"})  # absent if 0
    if m["header"]["msg_type"] == "stream" and len(m["content"]["text"]) > 500:
        m["content"]["text"] = "LONG"
    parts = [topic, head, m["parent"] and dict(m["parent"], msg_id="", session="", date=""), m["metadata"], m["content"], [len(b) for b in m["buffers"]]]
    text = json.dumps(parts, default=lambda b: b.decode("latin1"), sort_keys=True)
    for pattern, word in PATTERNS:
        text = pattern.sub(word, text)
    return text


def record(argv):
    with Kernel(argv) as kernel:
        r = Recorder(kernel)
        for code in CELLS:
            r.cell(code)
        for kind, content in SHELL * 3:
            r.shell(kind, content)
        for kind, content in SHELL:
            r.shell(kind, content, "control")
        for i in range(15):
            r.cell(f"y{i} = {i}; print(y{i}); y{i}", metadata={"tags": ["foreign"], "cellId": f"c{i}"})
        r.cell("1/0", silent=True)
        r.cell("quiet = 1", silent=True)
        r.cell("2", store_history=False)
        r.cell("3", user_expressions={"a": "x", "b": "1/0", "c": "nosuch"})
        r.cell("input()", allow_stdin=False)
        r.cell("1/0", stop_on_error=False)
        r.batch(["10", "1/0", "11", "12"])
        r.batch(["10", "1/0", "11", "12"], stop_on_error=False)
        r.batch(["import time; time.sleep(0.2)", "raise ValueError('v')", "13"])
        r.asks("input('name? ')", "Ann")
        r.asks("import getpass; getpass.getpass('pw')", "s3cret")
        r.asks("print(input(), flush=True)", "\u00e4\U0001F600")
        # Python takes up an interrupt that comes right before it sleeps when the sleep ends: within what is waited for.
        r.interrupted("import time; print('go', flush=True); time.sleep(10)")
        r.interrupted("print('go', flush=True)\nwhile True: pass")
        r.interrupted("import subprocess; p = subprocess.Popen(['sleep', '60']); print('go', flush=True); p.wait()")
        r.cell("print('still here')")
        r.shell("interrupt_request", {}, "control")
        r.shell("usage_request", {}, "control")
        if r.features():
            r.shell("list_subshell_request", {}, "control")
        r.shell("debug_request", {"type": "request", "seq": 1, "command": "debugInfo"}, "control")
        r.shell("debug_request", {"type": "request", "seq": 2, "command": "nosuch"}, "control")
        comm = "ab" * 16
        r.shell("comm_open", {"comm_id": comm, "target_name": "nosuch", "data": {}}, replies=False, buffers=[b"\x00\x01", b""])
        r.shell("comm_msg", {"comm_id": comm, "data": {}}, replies=False)
        r.shell("comm_close", {"comm_id": comm, "data": {}}, replies=False)
        c = r.client
        for i in range(5):
            r.shell("kernel_info_request", {}, title="future version", version=f"{i + 6}.0")
        r.refused("unknown type", lambda: c.request("nosuch_request", {}))
        r.refused("wrong key", lambda: c.request("execute_request", {"code": "print('wrong key')"}, key=b"other"))
        r.refused("no content", lambda: c.request("execute_request", {}))
        again = c.send_parts("shell", [json.dumps(p).encode() for p in (c.header("is_complete_request"), {}, {}, {"code": "1"})])
        c.answer(json.loads(again[2])["msg_id"])
        r.refused("repeated signature", lambda: c.sockets["shell"].send_multipart(again))
        r.refused("few frames", lambda: c.sockets["shell"].send_multipart([b"<IDS|MSG>", b"x", b"{}"]))
        r.refused("no JSON", lambda: c.send_parts("shell", [b"{", b"{}", b"{}", b"{}"]))
        for i in range(45):
            r.cell(f"z = {i}\nprint(z)\nz if z % 3 else None")
        # A plain kernel does not always get to say shutdown_reply on iopub.
        c.request("shutdown_request", {"restart": False}, "control")
        r.note("shutdown", [c.receive("control")])
        return r


def main():
    kedge, python = sys.argv[1:]
    plain = record([python, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    proxied = record([kedge, "kernel", "-f", "{connection_file}", "--python", python])
    differences = [d for d in difflib.unified_diff(plain.log, proxied.log, "plain", "proxied", n=0, lineterm="")]
    print(f"{proxied.count} requests, {len(proxied.log)} messages, {len(differences)} lines of differences")
    for d in differences:
        print(d[:2000])
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
