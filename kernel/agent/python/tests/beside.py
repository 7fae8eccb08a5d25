"""What stands for the session in tests of captures beside the next cell."""
import ctypes
import json
import os
import pathlib
import signal
import time

from IPython.core.interactiveshell import InteractiveShell

PATIENCE = 60  # seconds until a capture counts as hanging


class Kernel:
    """As much of a kernel as the agent needs."""

    def __init__(self):
        self.shell = InteractiveShell.instance()
        self.shell_handlers, self.control_handlers = {}, {}


class Beside:
    """One capture after the other."""

    def __init__(self, agent, folder):
        self.agent, self.fifo, self.spool = agent, os.path.join(folder, "late"), os.path.join(folder, "spool")
        os.mkfifo(self.fifo)

    def capture(self, lend):
        """Let a copy begin with it."""
        self._reader = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
        reply = self.agent.after({"spool": self.spool, "mates": [], "later": self.fifo, "lend": lend})
        assert reply.get("late"), "captured without a fork"

    def told(self):
        """What the copy tells."""
        os.set_blocking(self._reader, True)
        signal.alarm(PATIENCE)
        told = b""
        while told.count(b"\n") < 2:
            part = os.read(self._reader, 1 << 20)
            assert part, "the copy told nothing"
            told += part
        signal.alarm(0)
        self.pid = int(told.partition(b"\n")[0])
        return json.loads(told.partition(b"\n")[2])

    def read(self, buffer):
        """The bytes of a buffer, wherever they are."""
        at, length, _, *lender = buffer
        if lender:
            return remote(lender[0], at, length)
        with open(self.spool, "rb") as file:
            file.seek(at)
            return file.read(length)

    def close(self):
        """Wait for nothing more; the copy and its forks end."""
        forks = [int(n) for n in pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]\
            if alive(self.pid) else []
        os.close(self._reader)
        end = time.monotonic() + PATIENCE
        while any(map(alive, [self.pid, *forks])):
            assert time.monotonic() < end, "a copy goes on that nobody waits for"
            time.sleep(0.001)


def alive(pid):
    """Whether a process runs."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def remote(pid, at, length):
    """Memory of another process."""
    here = ctypes.create_string_buffer(length)
    one, other = _Vector(ctypes.addressof(here), length), _Vector(at, length)
    read = ctypes.CDLL(None, use_errno=True).process_vm_readv
    read.restype = ctypes.c_ssize_t
    read.argtypes = [ctypes.c_int, *([ctypes.c_void_p, ctypes.c_ulong] * 2), ctypes.c_ulong]
    got = read(pid, ctypes.byref(one), 1, ctypes.byref(other), 1, 0)
    assert got == length, f"{got} of {length} bytes: {os.strerror(ctypes.get_errno())}"
    return here.raw
