"""A warm parent that forks one IPython kernel, without sockets, for each request.

Usage: ``server.py FD AGENT_FOLDER libraries|bare``. Every request on the Unix socket FD is one JSON line, a fork with the child's end
of a socket attached. A child has what ``ipykernel_launcher`` gives a kernel: the same shell and kernel classes, the
same modules, the same ``sys.path``; its messages are kept instead of sent. Heavy libraries are loaded once, in the
parent, and hidden (see stash.py).
"""
from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import importlib.metadata
import json
import logging
import mmap
import os
import platform
import signal
import site
import socket
import sys
import sysconfig
import threading
import types
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 20_261


def load(name: str) -> Any:
    """A module of this folder, in no sys.modules."""
    module = types.ModuleType("oracle_" + name)
    with open(os.path.join(HERE, name + ".py"), encoding="utf-8") as file:
        exec(compile(file.read(), name + ".py", "exec"), vars(module))
    return module


def kernel(sent: list[tuple[str, dict[str, Any]]]) -> Any:
    """An IPython kernel whose messages go to sent."""
    from IPython.core.history import HistoryManager
    from ipykernel import kernelapp  # noqa: F401  what a kernel has loaded
    from ipykernel.ipkernel import IPythonKernel
    from jupyter_client.session import Session

    class Kept(Session):
        def send(self, stream: Any, kind: Any, content: Any = None, *args: Any, **kw: Any) -> Any:
            if isinstance(kind, dict):
                kind, content = kind["header"]["msg_type"], kind["content"]
            sent.append((kind, content))

    class OutStream:
        """What ipykernel's class of that name is to a cell."""

        encoding, errors, closed, name_ = "UTF-8", "strict", False, ""

        def __init__(self, name: str) -> None:
            self.name_ = name

        def write(self, text: str) -> int:
            if not isinstance(text, str):
                raise TypeError(f"write() argument must be str, not {type(text)}")
            if text:
                sent.append(("stream", {"name": self.name_, "text": text}))
            return len(text)

        def writelines(self, lines: Any) -> None:
            for line in lines:
                self.write(line)

        def flush(self) -> None:
            pass

        def isatty(self) -> bool:
            return False

        def writable(self) -> bool:
            return True

    HistoryManager.enabled = False
    sys.stdout, sys.stderr = OutStream("stdout"), OutStream("stderr")
    made = IPythonKernel(session=Kept(key=b""), iopub_socket="iopub")
    made.shell.InteractiveTB.set_mode("Minimal")  # tracebacks cost more than all else, and are not compared
    made.log = logging.getLogger("traitlets")
    made.shell_channel_thread = types.SimpleNamespace(parent_thread=threading.main_thread())
    return made


def warm(shell: Any) -> list[str]:
    """Have the formatting of errors ready: it compiles and caches much at its first use, and leaves no trace in the shell.

    Returns the modules that were loaded before.
    """
    code = compile("1/0", "<warm>", "exec")
    fresh = list(sys.modules)
    for _ in range(2):
        try:
            exec(code)
        except ZeroDivisionError:
            shell.InteractiveTB.structured_traceback(*sys.exc_info())
    return fresh


def describe() -> dict[str, Any]:
    """The environment, in the words of kedge's own probe."""
    modules = {}
    for name, dists in importlib.metadata.packages_distributions().items():
        modules[name] = " ".join(sorted(importlib.metadata.version(d) for d in set(dists)))
    paths = sysconfig.get_paths()
    libs = sorted({paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")} | set(site.getsitepackages()))
    return {"version": " ".join([sys.version, platform.system(), platform.machine(), *platform.libc_ver()]), "modules": modules,
            "prefixes": libs + [p for p in sys.path if p.endswith(".zip")]}


class Ring:
    """Where the preloaded library of this process writes to."""

    def __init__(self, path: str) -> None:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            line = next(ln for ln in maps if ln.rstrip().endswith(path))
        self.start, self.end = (int(x, 16) for x in line.split()[0].split("-"))
        self.mmap = ctypes.CDLL(None).mmap
        self.mmap.restype = ctypes.c_void_p
        self.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]

    def move(self, path: str) -> None:
        """From now on it writes to the file at path, which is as long."""
        fd = os.open(path, os.O_RDWR)
        both, shared_fixed = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | 0x10
        if self.mmap(self.start, self.end - self.start, both, shared_fixed, fd, 0) != self.start:
            raise OSError("the ring could not be mapped")
        os.close(fd)


class Child:
    """One kernel: serves its socket until that is closed."""

    def __init__(self, server: Server, request: dict[str, Any], sock: socket.socket) -> None:
        self.kernel, self.sent, self.sock = server.kernel, server.sent, sock
        self.probe = server.probe
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["dir"])
        if request.get("agent"):
            agent = sys.modules["kedge_agent"]
            for space, code in server.noting:
                exec(code, space)
            if request.get("patch"):
                exec(request["patch"], {"agent": agent, "sys": sys})
            self.agent = sys.modules["kedge_agent.handlers"].register(self.kernel)
        self.parent = {"header": {"msg_id": "1", "session": "s", "username": "", "msg_type": "execute_request"}, "content": {},
                       "metadata": {}}

    async def serve(self) -> None:
        """Answer until the other side hangs up."""
        file = self.sock.makefile("rwb")
        for line in file:
            request = json.loads(line)
            reply = await getattr(self, request.pop("do"))(**request)
            file.write(json.dumps(reply).encode() + b"\n")
            file.flush()

    async def execute(self, code: str) -> dict[str, Any]:
        """Run a cell; its messages and the reply."""
        self.sent.clear()
        self.kernel.set_parent([b""], self.parent)
        reply = await self.kernel.do_execute(code, False, True, {}, False)
        reply.pop("engine_info", None)
        messages = [{"type": k, "content": c} for k, c in self.sent]
        self.sent.clear()
        return {"reply": json.loads(json.dumps(reply, default=repr)), "messages": messages}

    async def call(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        """A private message, through the kernel's own table."""
        self.sent.clear()
        await self.kernel.shell_handlers[kind](None, [b""], {**self.parent, "content": content})
        replies = [c for k, c in self.sent if k.endswith("_reply")]
        self.sent.clear()
        return replies[0]

    async def begin(self) -> dict[str, Any]:
        """The agent takes its baselines: code comes that it is not told of."""
        self.agent.begin()
        return {}

    async def look(self) -> dict[str, Any]:
        """What there is to see, see probe.py."""
        return self.probe.look(self.kernel.shell)

    async def info(self) -> dict[str, Any]:
        """The content of kernel_info_reply."""
        return {"language_info": self.kernel.language_info, "implementation": self.kernel.implementation}


class Server:
    """The warm parent."""

    def __init__(self, fd: int, agent: str, libraries: bool) -> None:
        self.control = socket.socket(fileno=fd)
        self.ring = Ring(os.environ["ORACLE_RING"])
        sys.path.insert(0, agent)
        importlib.import_module("kedge_agent.handlers")
        sys.path.remove(agent)
        # What notes how the process started has to begin again in each child; compiling it there would take long.
        noting = [vars(sys.modules["kedge_agent.ambient." + n]) for n in ("cwd", "environ", "sys_path", "log_handlers")]
        self.noting = [(space, space["__loader__"].get_code(space["__name__"])) for space in noting]
        note = sys.modules["kedge_agent.noting"]
        for function, argument in sys.modules["kedge_agent.ambient.logs"].watched():
            note.compiled(function.__code__, function.__code__.co_filename, argument)
        for function in (vars(platform)[name] for name in sys.modules["kedge_agent.machine"]._TOLD):
            note.compiled(function.__code__, function.__code__.co_filename, "None")
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.stash, self.probe = load("stash"), load("probe")
        self.kernel = kernel(self.sent)
        self.stash.fill(SEED, warm(self.kernel.shell), libraries, sys.modules["kedge_agent.named"].find)
        if libraries:
            for name, watch in sys.modules["kedge_agent.ambient"].AT_ONCE.items():
                watched = {n: sys.meta_path[0].holder[n].modules[n] for n in (name, "pandas._config")}
                sys.modules.update(watched)
                watch()
                for n in watched:
                    del sys.modules[n]
        # A collection in a child would otherwise write to every page of the parent's objects.
        gc.collect()
        gc.freeze()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the parent itself does."""
        if request["do"] == "describe":
            return describe()
        normalise = sys.modules["kedge_agent.normalise"]
        return {"cells": [normalise.normalise(s) for s in request["cells"]]}

    def serve(self) -> None:
        """Fork until the other side hangs up."""
        while True:
            data, fds, _, _ = socket.recv_fds(self.control, 1 << 20, 1)
            while data and not data.endswith(b"\n"):
                data += self.control.recv(1 << 20)
            if not data:
                return
            request = json.loads(data)
            if request["do"] != "fork":
                self.control.sendall(json.dumps(self.answer(request)).encode() + b"\n")
                continue
            if request.get("ring"):  # before the fork, which is to be recorded there
                self.ring.move(request["ring"])
            pid = os.fork()
            if pid == 0:
                self.child(request, fds[0])
            os.close(fds[0])
            self.control.sendall(json.dumps({"pid": pid}).encode() + b"\n")
            while True:  # reap those that have ended
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break

    def child(self, request: dict[str, Any], fd: int) -> None:
        """Be a kernel; never returns."""
        status = 1
        try:
            self.control.close()
            import random
            random.seed(SEED)
            child = Child(self, request, socket.socket(fileno=fd))
            asyncio.run(child.serve())
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc(file=sys.__stderr__)
        os._exit(status)


def main() -> None:
    """Serve until the control socket is closed."""
    fd, agent = int(sys.argv[1]), sys.argv[2]
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    # As IPython's application does: the notebook's folder comes before the packages.
    at = next((i for i, p in enumerate(sys.path) if os.path.basename(p) in ("site-packages", "dist-packages")), 0)
    sys.path.insert(at, "")
    Server(fd, agent, sys.argv[3] == "libraries").serve()


if __name__ == "__main__":
    main()
