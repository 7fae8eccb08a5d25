"""Real clients against a kernelspec of Jupyter. Each function is one test; run as: clients.py NAME KERNEL [ARGS]."""
import json
import os
import signal
import sys
import time

import psutil
from jupyter_client.manager import KernelManager, start_new_kernel



def output(kc, code, **kw):
    got = []
    reply = kc.execute_interactive(code, output_hook=got.append, timeout=60, **kw)["content"]
    return reply, "".join(m["content"].get("text", "") for m in got if m["msg_type"] == "stream")


def children(pid):
    return [p.pid for p in psutil.Process(pid).children(recursive=True)]


def gone(pids, seconds=10):
    deadline = time.time() + seconds
    while time.time() < deadline:
        # A zombie is gone: its parent has not asked for its status yet.
        alive = [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {[(p, psutil.Process(p).cmdline()) for p in alive]}")


def lifecycle(kernel, transport):
    """Interrupt, restart, shutdown through a KernelManager; nothing is left behind."""
    km, kc = start_new_kernel(kernel_name=kernel, extra_arguments=[]) if transport == "tcp" else start_ipc(kernel)
    file = km.connection_file
    try:
        assert output(kc, "x = 1; print('one')")[1] == "one\n"
        kc.execute("import subprocess, time\nprint('go', flush=True)\nsubprocess.run(['sleep', '1000'])\nn = 0\n")
        while kc.get_iopub_msg(timeout=30)["msg_type"] != "stream":
            pass
        begin = time.time()
        km.interrupt_kernel()
        reply = kc.get_shell_msg(timeout=30)["content"]
        assert reply["ename"] == "KeyboardInterrupt", reply
        assert time.time() - begin < 5
        # A second interrupt would come here. A kernel still aborts what reaches it right behind an error.
        for _ in range(100):
            answer, text = output(kc, "import time; time.sleep(0.3); print('on')")
            if answer["status"] != "aborted":
                break
        assert (answer["status"], text) == ("ok", "on\n")
        ports = [getattr(km, p) for p in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")]
        before = children(os.getpid())
        km.restart_kernel()
        kc.wait_for_ready(timeout=60)
        gone(before)
        assert ports == [getattr(km, p) for p in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")]
        assert output(kc, "'x' in globals()")[0]["status"] == "ok"
        assert output(kc, "print('x' in globals())")[1] == "False\n"
    finally:
        left = children(os.getpid())
        begin = time.time()
        km.shutdown_kernel()
    assert time.time() - begin < 4, "the shutdown was not asked for but forced"
    gone(left)
    assert not os.path.exists(file)


def start_ipc(kernel):
    km = KernelManager(kernel_name=kernel, transport="ipc")
    km.start_kernel()
    kc = km.client()
    kc.start_channels()
    kc.wait_for_ready(timeout=60)
    return km, kc


def killed(kernel, victim):
    """kill -9 of one process: the rest ends, subprocesses of the notebook too, and no file stays."""
    km, kc = start_new_kernel(kernel_name=kernel)
    _, text = output(kc, "import os, subprocess; p = subprocess.Popen(['sleep', '1000']); print(os.getpid(), p.pid, os.environ.get('JPY_PARENT_PID'))"
                         "\nimport ipykernel; print(os.path.dirname(ipykernel.get_connection_file()))")
    line, folder = text.split("\n")[:2]
    kernel_pid, sleeper, proxy = map(int, line.split())
    everything = children(os.getpid())
    assert {kernel_pid, sleeper, proxy} <= set(everything), everything
    os.kill({"kernel": kernel_pid, "proxy": proxy}[victim], signal.SIGKILL)
    status = km.provisioner.process.wait(10)
    assert status == {"kernel": 128 + 9, "proxy": -9}[victim], status
    gone(everything)
    deadline = time.time() + 5
    while os.path.exists(folder) and time.time() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(folder), folder
    if victim == "kernel":  # as Jupyter restarts a kernel that died
        km.restart_kernel(now=True)
        kc.wait_for_ready(timeout=60)
        assert output(kc, "print(2)")[1] == "2\n"
    km.shutdown_kernel(now=True)
    kc.stop_channels()


def orphan(kernel):
    """The process that started the kernel is killed."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        km, kc = start_new_kernel(kernel_name=kernel)
        _, text = output(kc, "import os, subprocess; p = subprocess.Popen(['sleep', '1000']); print(os.getpid(), p.pid, os.environ['JPY_PARENT_PID'])")
        os.write(writer, text.encode())
        time.sleep(1000)
    pids = list(map(int, os.read(reader, 1000).split()))
    everything = children(os.getpid())
    assert set(pids) <= set(everything)
    everything.remove(middle)
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
    gone(everything)


def several(kernel):
    """Clients at once: each gets its own replies and its own questions, and all see all output."""
    km, kc = start_new_kernel(kernel_name=kernel)
    others = [km.client() for _ in range(4)]
    for i, c in enumerate(others):
        c.session.session = f"session-{i}"
        c.start_channels()
        c.wait_for_ready(timeout=60)
    ids = [c.execute(f"print(input('{i}?'))", allow_stdin=True) for i, c in enumerate(others)]
    waiting, deadline = dict(enumerate(others)), time.time() + 60
    while waiting and time.time() < deadline:  # the kernel decides whose turn it is
        for i, c in list(waiting.items()):
            if not c.stdin_channel.msg_ready():
                time.sleep(0.01)
                continue
            question = c.get_stdin_msg(timeout=0)
            assert question["content"]["prompt"] == f"{i}?" and question["parent_header"]["msg_id"] == ids[i]
            c.input(f"answer {i}")
            reply = c.get_shell_msg(timeout=30)
            while reply["parent_header"]["msg_id"] != ids[i]:
                reply = c.get_shell_msg(timeout=30)
            assert reply["content"]["status"] == "ok"
            del waiting[i]
    assert not waiting
    for c in others:
        texts = []
        while len(texts) < len(others):
            m = c.get_iopub_msg(timeout=30)
            if m["msg_type"] == "stream":
                texts.append(m["content"]["text"])
        assert sorted(texts) == [f"answer {i}\n" for i in range(len(others))], texts
        c.stop_channels()
    km.shutdown_kernel()


def notebook(kernel):
    """nbclient gives the same document as for a plain kernel."""
    import nbformat
    from nbclient import NotebookClient

    cells = ["import ipywidgets\nipywidgets.IntSlider(value=3)", "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass", "h = display('a', display_id=True)",
             "h.update('b')", "print('x' * 5_000_000)", "raise ValueError('v')", "In[-2], _ih[1][:6]"]

    def run(name):
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        NotebookClient(nb, kernel_name=name, allow_errors=True, timeout=120).execute()
        text = json.dumps([[c.outputs, c.execution_count] for c in nb.cells], sort_keys=True)
        return without_ids(text), widgets(nb)

    plain, proxied = run(sys.argv[3]), run(kernel)
    assert len(plain[1]) > 10
    assert plain[1] == proxied[1], [(a, b) for a, b in zip(plain[1], proxied[1]) if a != b]
    for a, b in zip(json.loads(plain[0]), json.loads(proxied[0]), strict=True):
        assert a == b, (str(a)[:2000], str(b)[:2000])


def widgets(nb):
    saved = nb.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    return sorted(without_ids(json.dumps(state, sort_keys=True, ensure_ascii=False)) for state in saved.values())


def without_ids(text):
    import re

    text = re.sub(r"[0-9a-f]{32}|ipykernel_\d+/\d+|\d\d:\d\d(<|&lt;)\d\d:\d\d,\s*[\d.?]+it/s", "ID", text)
    return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)


def console(kernel):
    """jupyter console in a terminal."""
    import pexpect

    p = pexpect.spawn(sys.executable, ["-m", "jupyter_console", "--kernel", kernel, "--simple-prompt"], timeout=60, encoding="utf-8",
                      env=dict(os.environ, TERM="dumb"))
    p.expect(r"In \[1\]: ")
    p.sendline("6*7")
    p.expect(r"Out\[1\]: 42")
    p.expect(r"In \[2\]: ")
    p.sendline("input('name? ')")
    p.expect(r"name\? ")
    p.sendline("Ann")
    p.expect("Out.2.: 'Ann'")
    everything = children(p.pid)
    p.sendline("exit")
    p.expect(pexpect.EOF)
    gone(everything)


def debugger(kernel):
    """Attach, break, look, go on: through control and iopub."""
    km, kc = start_new_kernel(kernel_name=kernel)
    seq = 0

    def ask(command, **arguments):
        nonlocal seq
        seq += 1
        msg = kc.session.msg("debug_request", {"type": "request", "seq": seq, "command": command, "arguments": arguments})
        kc.control_channel.send(msg)
        reply = kc.get_control_msg(timeout=30)
        assert reply["content"].get("success"), reply["content"]
        return reply["content"].get("body")

    def event(name):
        while True:
            m = kc.get_iopub_msg(timeout=30)
            if m["msg_type"] == "debug_event" and m["content"]["event"] == name:
                return m["content"]["body"]

    ask("initialize", clientID="t", adapterID="", linesStartAt1=True, columnsStartAt1=True, pathFormat="path")
    ask("attach")
    code = "def f(a):\n    b = a + 1\n    return b\nf(41)"
    source = ask("dumpCell", code=code)["sourcePath"]
    ask("setBreakpoints", breakpoints=[{"line": 3}], source={"path": source}, sourceModified=False)
    ask("configurationDone")
    msg_id = kc.execute(code)
    thread = event("stopped")["threadId"]
    frame = ask("stackTrace", threadId=thread)["stackFrames"][0]
    scope = ask("scopes", frameId=frame["id"])["scopes"][0]
    variables = ask("variables", variablesReference=scope["variablesReference"])["variables"]
    assert any(v["name"] == "b" and v["value"] == "42" for v in variables), variables
    ask("continue", threadId=thread)
    reply = kc.get_shell_msg(timeout=30)
    while reply["parent_header"]["msg_id"] != msg_id:
        reply = kc.get_shell_msg(timeout=30)
    assert reply["content"]["status"] == "ok"
    ask("disconnect", restart=False, terminateDebuggee=False)
    km.shutdown_kernel()


def subshell(kernel):
    """A subshell answers while the main shell is busy."""
    km, kc = start_new_kernel(kernel_name=kernel)
    info = kc.kernel_info(reply=True, timeout=30)["content"]
    if "kernel subshells" not in info.get("supported_features", []):
        km.shutdown_kernel()
        return
    kc.control_channel.send(kc.session.msg("create_subshell_request"))
    subshell_id = kc.get_control_msg(timeout=30)["content"]["subshell_id"]
    main = kc.execute("import time; time.sleep(3)")
    msg = kc.session.msg("execute_request", {"code": "1", "silent": False, "allow_stdin": False})
    msg["header"]["subshell_id"] = subshell_id
    begin = time.time()
    kc.shell_channel.send(msg)
    reply = kc.get_shell_msg(timeout=30)
    assert reply["parent_header"]["msg_id"] == msg["header"]["msg_id"] and time.time() - begin < 2.5
    while kc.get_shell_msg(timeout=30)["parent_header"]["msg_id"] != main:
        pass
    km.shutdown_kernel()


def burst(kernel):
    """Nothing of what a kernel publishes is lost while the proxy does not get to read it."""
    km, kc = start_new_kernel(kernel_name=kernel)
    proxy = psutil.Process(km.provisioner.process.pid)
    msg_id = kc.execute("import time\ntime.sleep(0.5)\nfor i in range(5000): display({'text/plain': str(i)}, raw=True)")
    while kc.get_iopub_msg(timeout=30)["msg_type"] != "execute_input":
        pass
    proxy.suspend()
    time.sleep(4)
    proxy.resume()
    seen = []
    while (m := kc.get_iopub_msg(timeout=30))["content"].get("execution_state") != "idle":
        assert m["parent_header"]["msg_id"] == msg_id
        seen.append(m["content"]["data"]["text/plain"])
    assert seen == [str(i) for i in range(5000)], len(seen)
    km.shutdown_kernel()
    kc.stop_channels()


def foreign(kernel):
    """Another language: only what any kernel can do."""
    km, kc = start_new_kernel(kernel_name=kernel, startup_timeout=120)
    reply, text = output(kc, sys.argv[3])
    assert reply["status"] == "ok" and sys.argv[4] in text, (reply, text)
    kc.execute(sys.argv[5])
    while kc.get_iopub_msg(timeout=30)["content"].get("execution_state") != "busy":
        pass
    time.sleep(1)  # nothing tells that the cell's own code has begun
    begin = time.time()
    km.interrupt_kernel()
    kc.get_shell_msg(timeout=30)
    assert time.time() - begin < 10
    left = children(os.getpid())
    km.shutdown_kernel()
    gone(left)


if __name__ == "__main__":
    test = {"lifecycle": lifecycle, "killed": killed, "orphan": orphan, "several": several, "notebook": lambda k, *a: notebook(k), "console": console,
            "debugger": debugger, "subshell": subshell, "burst": burst, "foreign": lambda k, *a: foreign(k)}[sys.argv[1]]
    test(*sys.argv[2:])
    print("ok")
