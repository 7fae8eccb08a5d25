"""Going back in a live kernel: %kedge restore STEP, beside a plain kernel that runs the same cells top to bottom.

Each function is one test; run as: swap.py NAME KERNEL PLAIN.
"""
import os
import signal
import sys
import tempfile
import time

import psutil
from jupyter_client import BlockingKernelClient
from live import TIMEOUT, Desk, kernels, printed

LOOK = """import os, sys, warnings, threading, math
print([m for m in sys.modules if m in ('math', 'numpy', 'pandas', 'sqlite3', 'IPython')])
print(warnings.filters, os.environ.get('LATE'), os.path.exists('nb.ipynb'), sys.path, sys.argv[1:2], math.tau)
print(sorted(n for n in globals() if not n.startswith('_')), x, y, y['k'] is x, df.to_dict(), sorted(os.listdir('.')), open('f.txt').read())
print(sorted(t.name for t in threading.enumerate() if t.name == 'mine'), In, sorted(Out), Out[1] is x, _, _i, In is _ih)"""
CELLS = [("a", ["step:one"], "import pandas as pd\nx = [1]\nx"),
         ("b", ["step:two"], "y = {'k': x}\ndf = pd.DataFrame({'v': [1, 2]})\nx.append(2)\nopen('f.txt', 'w').write('two')\nprint(len(x))"),
         ("c", ["step:three"], "open('f.txt', 'w').write('three')\ndel y\nx = 'changed'"),
         ("d", ["step:four"], "import math, os, threading, time\nmath.tau = 3\nos.environ['LATE'] = '1'\nos.chdir('/')\n"
          "import sqlite3\nt = threading.Thread(target=time.sleep, args=(1e5,), name='mine', daemon=True)\nt.start()")]


def say(kernel, line):
    """What %kedge answers."""
    seen, r = kernel.answer(kernel.send(line, {}))
    assert r["content"]["status"] == "ok" and seen[0][1]["execution_count"] == r["content"]["execution_count"], (seen, r)
    return seen[1][1]["text"]


def again(d, cells, line="%kedge restore two"):
    """The plain kernel runs these cells top to bottom, and one more for the %kedge line."""
    d.plain.restart()
    for cell in cells:
        d.plain.answer(d.plain.send(d.cells[cell][2], d.metadata(cell)))
    d.plain.answer(d.plain.send(line, {}))


def pid(kernel):
    return int(kernel.answer(kernel.send("import os; print(os.getpid(), end='')", {}, store_history=False))[0][-1][1]["text"])


def straight(kedge, plain):
    """After everything that cannot be undone the kernel is as after a straight run, and goes on as one."""
    d = Desk(CELLS, kedge, plain)
    for cell in "abcd":
        d.run(cell, "ran")
    for k in (d.kedge, d.plain):
        os.remove(os.path.join(k.folder, "f.txt"))
    assert "2 cells are restored" in say(d.kedge, "%kedge restore two")
    again(d, "ab")
    d.run("", None, LOOK)
    d.run("c", "restored")
    d.run("", None, "print(x, open('f.txt').read())")
    d.run("", None, "%history")
    assert "2 cells are restored" in say(d.kedge, "%kedge restore two")
    again(d, "ab")
    d.run("", None, LOOK)
    d.close()


def unnoticed(kedge, plain):
    """The same connections and session, one busy and one idle; all that reaches the kernel reaches the fresh one."""
    d = Desk(CELLS, kedge, plain)
    k = d.kedge
    for cell in "abc":
        d.run(cell, "ran")
    k.answer(k.send("from ipykernel.comm import Comm\nComm(target_name='t', comm_id='open')", {}))
    first = pid(k)
    subshell = None
    if "kernel subshells" in k.kc.kernel_info(reply=True)["content"].get("supported_features", []):
        k.kc.control_channel.send(k.kc.session.msg("create_subshell_request", {}))
        subshell = k.kc.get_control_msg(timeout=TIMEOUT)["content"]["subshell_id"]
    other = BlockingKernelClient(connection_file=k.km.connection_file)
    other.load_connection_file()
    other.start_channels()
    other.wait_for_ready(timeout=TIMEOUT)
    sessions = set()
    msg_id = k.send("%kedge restore two", {})
    states, closed = [], []
    while states[-1:] != ["idle"]:
        m = k.kc.get_iopub_msg(timeout=TIMEOUT)
        sessions.add(m["header"]["session"])
        if m["parent_header"].get("msg_id") == msg_id:
            states += [m["content"]["execution_state"]] if m["msg_type"] == "status" else []
            closed += [m["content"]["comm_id"]] if m["msg_type"] == "comm_close" else []
    reply = k.kc.get_shell_msg(timeout=TIMEOUT)
    while reply["parent_header"].get("msg_id") != msg_id:
        reply = k.kc.get_shell_msg(timeout=TIMEOUT)
    assert states == ["busy", "idle"] and closed == ["open"], (states, closed)
    engine = reply["metadata"]["engine"]
    seen, reply = k.answer(k.send("x", {}))
    assert reply["metadata"]["engine"] == engine and seen[-1][1]["data"]["text/plain"] == "[1, 2]", (seen, reply)
    for client in (k.kc, other):
        for ask, get in ((client.kernel_info, client.get_shell_msg), (client.history, client.get_shell_msg)):
            asked = ask()
            while (m := get(timeout=TIMEOUT))["parent_header"].get("msg_id") != asked:
                pass
            sessions.add(m["header"]["session"])
        msg = client.session.msg("usage_request", {})
        client.control_channel.send(msg)
        m = client.get_control_msg(timeout=TIMEOUT)
        sessions.add(m["header"]["session"])
        until = time.monotonic() + TIMEOUT
        while not client.is_alive():  # a heart that has not beaten for a second is listened to again
            assert time.monotonic() < until
            time.sleep(0.05)
    assert len(sessions) == 1, sessions
    if subshell:
        msg = k.kc.session.msg("execute_request", {"code": "y", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                                                   "stop_on_error": True})
        msg["header"]["subshell_id"] = subshell
        k.kc.shell_channel.send(msg)
        assert k.answer(msg["header"]["msg_id"])[0][-1][1]["data"]["text/plain"] == "{'k': [1, 2]}"
    second = pid(k)
    assert second != first and not psutil.pid_exists(first)
    child = k.send("input('? ')", {}, allow_stdin=True)
    while k.kc.get_stdin_msg(timeout=TIMEOUT)["msg_type"] != "input_request":
        pass
    k.kc.input("yes")
    assert k.answer(child)[0][-1][1]["data"]["text/plain"] == "'yes'"
    loop = k.send("import time\nprint('go', flush=True)\nwhile True: time.sleep(0.01)", {})
    while k.kc.get_iopub_msg(timeout=TIMEOUT)["msg_type"] != "stream":
        pass
    k.km.interrupt_kernel()
    while (m := k.kc.get_shell_msg(timeout=TIMEOUT))["parent_header"].get("msg_id") != loop:
        pass
    assert m["content"]["ename"] == "KeyboardInterrupt", m
    other.stop_channels()
    d.close()
    assert not psutil.pid_exists(second)


def refused(kedge, plain):
    """Where a cell would have to run nothing happens, and the kernel goes on."""
    cells = [*CELLS[:2], ("g", ["step:gen"], "g = (i for i in [7])"), CELLS[2]]
    d = Desk(cells, kedge, plain)
    for cell in "abgc":
        d.run(cell, "ran")
    first = pid(d.kedge)
    for line, why in (("%kedge restore three", "cannot be captured"), ("%kedge restore no", "no step no")):
        text = say(d.kedge, line)
        assert why in text and "nothing was done" in text, text
        d.plain.answer(d.plain.send("None", {}))
    d.run("", None, "print(x, next(g), open('f.txt').read(), len(In))")
    assert pid(d.kedge) == first
    d.run("c", "ran", "x = 'again'")
    assert "2 cells are restored" in (text := say(d.kedge, "%kedge restore")) and "next is cell g" in text, text
    again(d, "ab", "%kedge restore")
    d.run("", None, LOOK)
    d.close()


TRAP = """class Trap:
    def __setstate__(self, state):
        import os, time
        self.__dict__.update(state)
        what = open({flag!r}).read() if os.path.exists({flag!r}) else ''
        if what == 'fail': raise ValueError('sprung')
        if what == 'die': os._exit(7)
        if what == 'wait':
            open({flag!r} + '-waits', 'w').close()
            time.sleep(1000)
trap = Trap()
trap.v = [1]"""


def trapped():
    """A desk whose last step cannot be restored as long as a file says so: (desk, set the trap, what the kernel shows)."""
    folder = tempfile.mkdtemp()
    flag = os.path.join(folder, "flag")
    return flag, [("a", ["step:one"], "x = [1]\nopen('f.txt', 'w').write('one')\nopen('g.txt', 'w').write('x' * 100_000);"), ("b", ["step:two"], TRAP.format(flag=flag)), ("c", ["step:three"], "x.append(3)")]


def arm(flag, what):
    for path in (flag, flag + "-waits"):
        if os.path.exists(path):
            os.remove(path)
    if what:
        with open(flag, "w") as f:
            f.write(what)


def waits(flag):
    until = time.monotonic() + TIMEOUT
    while not os.path.exists(flag + "-waits"):
        assert time.monotonic() < until
        time.sleep(0.01)


STATE = "print(x, trap.v, late, sorted(os.listdir('.')), open('f.txt').read(), len(open('g.txt').read()), len(In))"


def faults(kedge, plain):
    """Whatever fails while a fresh kernel is made ready, the old one goes on as if nothing had been asked."""
    flag, cells = trapped()
    d = Desk(cells, kedge, plain)
    for cell in "abc":
        d.run(cell, "ran")
    d.run("", None, "import os\nlate = 5\nopen('f.txt', 'w').write('two')\nos.remove('g.txt')\nopen('g.txt', 'w').write('y');")
    first, proxy = pid(d.kedge), psutil.Process(d.kedge.km.provisioner.process.pid)
    open_before = None

    def unharmed(text, *words):
        nonlocal open_before
        assert all(w in text for w in words), (text, words)
        d.plain.answer(d.plain.send("None", {}))
        d.run("", None, STATE)
        assert pid(d.kedge) == first
        d.plain.answer(d.plain.send("import os; print(os.getpid(), end='')", {}, store_history=False))
        open_before = open_before or proxy.num_fds()
        assert proxy.num_fds() <= open_before + 12, (open_before, proxy.num_fds())  # a spare kernel's

    arm(flag, "fail")
    unharmed(say(d.kedge, "%kedge restore two"), "sprung", "nothing was done")
    arm(flag, "die")
    unharmed(say(d.kedge, "%kedge restore two"), "the kernel died", "nothing was done")
    arm(flag, "wait")
    msg_id = d.kedge.send("%kedge restore two", {})
    waits(flag)
    d.kedge.km.interrupt_kernel()
    unharmed(d.kedge.answer(msg_id)[0][1][1]["text"], "interrupted", "nothing was done")
    arm(flag, "wait")
    msg_id = d.kedge.send("%kedge restore two", {})
    waits(flag)
    for p in proxy.children():
        if "kedge_launch" in " ".join(p.cmdline()) and p.pid != first:
            p.kill()
    unharmed(d.kedge.answer(msg_id)[0][1][1]["text"], "the kernel died", "nothing was done")
    arm(flag, "")
    until = time.monotonic() + TIMEOUT
    while len([p for p in proxy.children() if "kedge_launch" in " ".join(p.cmdline())]) < 2:  # a kernel is ready: its ring is large
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1)
    proxy.rlimit(psutil.RLIMIT_FSIZE, (50_000, proxy.rlimit(psutil.RLIMIT_FSIZE)[1]))  # as a disk that is full: g.txt has no place
    unharmed(say(d.kedge, "%kedge restore two"), "g.txt", "nothing was done")
    proxy.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    assert "2 cells are restored" in say(d.kedge, "%kedge restore two")
    again(d, "ab")
    d.run("", None, STATE.replace("late", "'late' in globals()"))
    d.run("c", "restored")
    d.close()


def leaving(kedge, plain):
    """A client that goes away while a fresh kernel is made ready: it takes its place, and whoever comes next finds it."""
    flag, cells = trapped()
    d = Desk(cells, kedge, plain)
    for cell in "abc":
        d.run(cell, "ran")
    first = pid(d.kedge)
    d.kedge.send("%kedge restore two", {})
    d.kedge.kc.stop_channels()
    d.kedge.kc = d.kedge.km.client()
    d.kedge.kc.start_channels()
    d.kedge.kc.wait_for_ready(timeout=TIMEOUT)
    again(d, "ab")
    d.run("", None, STATE.replace("late", "'late' in globals()"))
    assert pid(d.kedge) != first
    d.close()


def dying(kedge, plain):
    """The old kernel, or the proxy, ends while a fresh kernel is made ready: the kernel has ended, and nothing is left."""
    for victim in ("old", "proxy", "asked"):
        flag, cells = trapped()
        d = Desk(cells, kedge, plain)
        d.plain.close()
        for cell in "abc":
            d.kedge.answer(d.kedge.send(d.cells[cell][2], d.metadata(cell)))
        first, process = pid(d.kedge), d.kedge.km.provisioner.process
        arm(flag, "wait")
        d.kedge.send("%kedge restore two", {})
        waits(flag)
        everything = [p for p in psutil.Process(process.pid).children(recursive=True)]
        if victim == "asked":
            begin = time.monotonic()
            d.kedge.km.shutdown_kernel()
            assert time.monotonic() - begin < 8, time.monotonic() - begin
        else:
            os.kill(first if victim == "old" else process.pid, signal.SIGKILL)
            status = process.wait(10)
            assert status == {"old": 128 + 9, "proxy": -9}[victim], status
        left = psutil.wait_procs(everything, timeout=TIMEOUT)[1]
        assert not left, (victim, left)
        d.kedge.kc.stop_channels()
        d.kedge.km.shutdown_kernel(now=True)


def spare(kedge, plain):
    """A kernel that was kept ready, with what the notebook imports, is as one that starts now."""
    d = Desk(CELLS, kedge, plain)
    for cell in "abcd":
        d.run(cell, "ran")
    proxy = psutil.Process(d.kedge.km.provisioner.process.pid)

    until = time.monotonic() + TIMEOUT
    while len(kernels(proxy)) < 2 or not any("pandas" in m.path for p in kernels(proxy)[1:] for m in p.memory_maps()):
        assert time.monotonic() < until, kernels(proxy)
        time.sleep(0.05)
    ready = kernels(proxy)[1].pid
    assert "2 cells are restored" in say(d.kedge, "%kedge restore two")
    again(d, "ab")
    assert pid(d.kedge) == ready
    d.plain.answer(d.plain.send("import os; print(os.getpid(), end='')", {}, store_history=False))
    d.run("", None, LOOK)
    d.run("", None, "print(get_ipython().history_manager.session_number > 0)\n%history")
    d.run("c", "restored")
    seen = "import sys, os, warnings\nprint(list(sys.modules), warnings.filters, sorted(os.environ), __import__('numpy').random.get_state()[1][:3].size)"
    texts = []
    for _ in range(2):  # the second is started when it is needed
        say(d.kedge, "%kedge restore two")
        texts.append(printed(d.kedge.answer(d.kedge.send(seen, {}))[0]))
    assert texts[0] == texts[1]
    while len(kernels(proxy)) < 2:
        assert time.monotonic() < until + TIMEOUT
        time.sleep(0.05)
    left = kernels(proxy)
    proxy.kill()
    assert not psutil.wait_procs(left, timeout=TIMEOUT)[1]
    d.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
