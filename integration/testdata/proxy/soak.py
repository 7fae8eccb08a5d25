"""Start, end and use kernels behind Kedge over and over, and see that nothing is left behind.

usage: soak.py KEDGE PYTHON CYCLES ACTIONS SEED. Prints what it did and measured.
"""
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import psutil
from rawclient import CHANNELS, Kernel
from traffic import Traffic, Visitors

CELLS = [("a", "x = [1]"), ("b", "x.append(2)\nprint(len(x))"), ("c", "data = bytes(300_000)\nprint(len(data))")]
SPARE = 0.02  # of the cycles wait until a spare kernel is there
PATIENCE = 15  # seconds for what is killed to be gone


def notebook(folder):
    """A notebook with steps; only its path is news to Kedge, so what is restored in it is of the same cells every time."""
    path = os.path.join(folder, "nb.ipynb")
    cells = [{"cell_type": "code", "id": i, "metadata": {"tags": [f"step:{i}"]}, "outputs": [], "execution_count": None, "source": s} for i, s in CELLS]
    with open(path, "w") as f:
        json.dump({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}, f)
    return path


class Site:
    """Where it all happens: every process that anything here starts and leaves becomes a child of ours."""

    def __init__(self):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        self.temp = tempfile.mkdtemp(prefix="soak-", dir="/tmp")  # short: sockets lie in it
        self.home = os.path.join(self.temp, "home")
        os.environ.update(TMPDIR=self.temp, KEDGE_HOME=self.home, JUPYTER_RUNTIME_DIR=os.path.join(self.temp, "run"))
        os.environ.pop("XDG_RUNTIME_DIR", None)
        tempfile.tempdir = self.temp
        os.mkdir(os.path.join(self.temp, "nb"))
        os.environ["KEDGE_NOTEBOOK"] = notebook(os.path.join(self.temp, "nb"))
        os.mkdir(os.path.join(self.temp, "ipython"))
        self.keep = {p.pid for p in psutil.Process().children(recursive=True)}
        self.files = self.left()

    def left(self):
        """Files and folders outside of the store."""
        return {os.path.join(self.temp, name) for name in os.listdir(self.temp)} - {self.home}

    def strangers(self):
        """Processes that are not gone; those that are and wait for us are asked for their status."""
        strangers = []
        for p in psutil.Process().children(recursive=True):
            if p.pid in self.keep:
                continue
            try:
                if p.status() == psutil.STATUS_ZOMBIE and p.ppid() == os.getpid():
                    os.waitpid(p.pid, os.WNOHANG)
                strangers.append(f"{p.pid} {p.status()} {' '.join(p.cmdline())[:120]}")
            except (psutil.NoSuchProcess, ChildProcessError):
                pass
        return strangers

    def clean(self, kernel, sockets=True):
        """Wait until nothing of a kernel is left: no process, no file, no port."""
        shutil.rmtree(kernel.dir) if sockets else None
        deadline = time.time() + PATIENCE
        while True:
            left = [*self.strangers(), *sorted(self.left() - self.files - {kernel.dir})]
            if kernel.info["transport"] == "tcp":
                left += [f"port {kernel.info[c + '_port']}" for c in CHANNELS if not free(kernel.info[c + "_port"])]
            else:
                left += [name for name in (os.listdir(kernel.dir) if not sockets else []) if name.startswith("s-")]
            if not left:
                break
            assert time.time() < deadline, f"left behind: {left}"
            time.sleep(0.01)
        shutil.rmtree(kernel.dir, ignore_errors=True)


def free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def start(argv, transport, wait=60):
    # The IPython folder and the working folder are the same every time: both are seen by cells.
    return Kernel(argv, transport=transport, wait=wait, env={"IPYTHONDIR": os.path.join(os.environ["TMPDIR"], "ipython")}, cwd=os.path.dirname(os.environ["KEDGE_NOTEBOOK"]), stderr=subprocess.DEVNULL)


def shutdown(kernel, client, _):
    client.request("shutdown_request", {"restart": False}, "control")
    assert client.receive("control", 20), "no shutdown_reply"
    assert kernel.process.wait(20) == 0, kernel.process.returncode


def terminated(kernel, *_):
    kernel.process.terminate()
    kernel.process.wait(20)


def busy(kernel, client, _):
    """Asked to end while a cell runs, then forced to."""
    client.execute("print('go', flush=True)\nwhile True: pass")
    while client.receive("iopub", 20)["header"]["msg_type"] != "stream":
        pass
    client.request("shutdown_request", {"restart": False}, "control")
    client.receive("control", 20)
    try:
        kernel.process.wait(1)
    except subprocess.TimeoutExpired:
        terminated(kernel, client, _)


def kernel_killed(kernel, _, pid):
    os.kill(pid, signal.SIGKILL)
    assert kernel.process.wait(20) == 128 + 9, kernel.process.returncode


def proxy_killed(kernel, *_):
    kernel.process.kill()
    kernel.process.wait(20)


ENDS = [shutdown, shutdown, terminated, busy, kernel_killed, proxy_killed]


def cycle(site, argv, number, dice):
    """One start, some use, one end."""
    transport, end = dice.choice(["tcp", "ipc"]), dice.choice(ENDS)
    kernel = start(argv, transport)
    try:
        client = kernel.client()
        marks = []
        for i, (cell, source) in enumerate(CELLS):
            msg_id = client.request("execute_request", {"code": source, "silent": False, "store_history": True, "user_expressions": {},
                                                        "allow_stdin": False, "stop_on_error": True}, metadata={"cellId": cell, "tags": [f"step:{cell}"]})
            reply = next(m for m in client.answer(msg_id, timeout=60) if m["header"]["msg_type"] == "execute_reply")
            assert reply["content"]["status"] == "ok" and reply["content"]["execution_count"] == i + 1, reply
            marks.append(reply["metadata"]["kedge"])
        assert number == 0 or [m["status"] for m in marks] == ["restored"] * 3, (number, marks)
        pid = int(client.run("import os\nprint(os.getpid())")[1])
        if end is not shutdown:  # after which ipykernel waits for its own dead children, with or without Kedge
            client.run("import subprocess\np = subprocess.Popen(['sleep', '1000'])")
        if dice.random() < SPARE:
            time.sleep(3)
        end(kernel, client, pid)
    finally:
        kernel.__exit__()
    site.clean(kernel, sockets=end is proxy_killed)
    return f"{transport} {end.__name__}"


def early(site, argv, dice):
    """A start that is killed at any moment."""
    kernel = start(argv, "tcp", wait=0)
    time.sleep(dice.random() * 1.5)
    dice.choice([kernel.process.kill, kernel.process.terminate])()
    kernel.process.wait(20)
    kernel.__exit__()
    site.clean(kernel)
    return "killed while it starts"


def orphaned(site, argv):
    """The process that has started the kernel is killed."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            kernel = start(argv, "tcp")
            client = kernel.client()
            client.run("import subprocess\np = subprocess.Popen(['sleep', '1000'])")
            os.write(writer, json.dumps([kernel.dir, kernel.info]).encode())
            time.sleep(1000)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as f:
        raw = os.read(f.fileno(), 10000)
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
    kernel = Kernel.__new__(Kernel)
    kernel.dir, kernel.info = json.loads(raw)
    site.clean(kernel)
    return "tcp orphaned"


def cycles(site, argv, count, seed):
    """Starts and ends; prints how many of each kind, and what the store has grown by."""
    done, sizes, dice = {}, [], random.Random(seed)
    begin = time.time()
    for number in range(count):
        if number and dice.random() < 0.1:
            kind = early(site, argv, dice)
        elif number and dice.random() < 0.1:
            kind = orphaned(site, argv)
        else:
            kind = cycle(site, argv, number, dice)
        done[kind] = done.get(kind, 0) + 1
        sizes.append(store(site.home))
        if number % 50 == 49:
            print(f"{number + 1} starts and ends in {time.time() - begin:.0f} s", flush=True)
    print(f"{count} starts and ends in {time.time() - begin:.0f} s: nothing is left", json.dumps(done))
    if count > 1:
        print(f"the store has grown from {sizes[0] >> 10} KiB to {sizes[-1] >> 10} KiB", flush=True)


def store(folder):
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.path.getsize(os.path.join(root, name))
            except OSError:
                pass
    return total


def main():
    kedge, python, count, actions, seed = sys.argv[1:3] + [int(a) for a in sys.argv[3:]]
    argv = [kedge, "kernel", "-f", "{connection_file}", "--python", python]
    visitors = Visitors()  # before any thread of zmq's
    site = Site()
    cycles(site, argv, count, seed)
    if actions:
        traffic = Traffic(start(argv, "tcp"), visitors, CELLS, random.Random(seed))
        traffic.run(actions)
        traffic.end()
        site.clean(traffic.kernel)
        print(*traffic.report(), sep="\n")
    visitors.close()
    shutil.rmtree(site.temp, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
