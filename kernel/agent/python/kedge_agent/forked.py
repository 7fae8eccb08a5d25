"""Work in a fork of this process: whatever the work does, this process and the world stay as they are."""
from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
import resource
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

PATIENCE = 10.0  # seconds that one step of the work may take, not counting the wait for a processor
LONGEST = 300.0  # seconds that all of it may take, likewise
_LAST = 1800.0  # seconds that a copy may work beside this process, however many forks it takes
_SPARE = 256 << 20  # bytes that are left to others where a copy is made
_STACK = 120 << 20  # bytes; the kernel keeps at least 128 MiB below the main stack free
_DEPTH = 60_000  # frames; what is nested deeper than the stack holds ends the fork alone
_OPENMP = re.compile(r"(/\S*/lib(?:gomp|omp|iomp5)[^/\s]*\.so\S*)")
_READS = {"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr", "os.listxattr", "os.add_dll_directory"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DENIED = ("os.", "shutil.", "socket.", "subprocess.", "sqlite3.", "fcntl.", "pty.", "webbrowser.", "urllib.",
           "ftplib.", "smtplib.", "tempfile.", "signal.", "syslog.", "winreg.")

pulse = [0]  # counts steps of the work; whoever works adds to it
_kept: list[Any] = []  # what was unpickled in a fork is never freed, so that no __del__ runs
_inside = [False]  # whether this process is a fork of here
_reader: list[int] = []  # in a copy that works beside this process: where its result goes, once
_lending = [False]  # whether somebody may read what this fork keeps, or forks of this copy keep
_leaving: list[int] = []  # those that have made a copy, until they are waited for
_os_fork = os.fork
_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)  # prctl(2)
_QUIET = ("ignore", None, DeprecationWarning, re.compile("kedge_agent"), 0)
_openmp: dict[str, Any] = {}
_scanned = [0]  # modules loaded when OpenMP was last looked for


class Died(Exception):
    """The fork ended before the work did, or was ended because the work went on for too long."""


class Stalled(BaseException):
    """One step of the work went on for too long. Raised in the fork."""


def keep(*things: Any) -> None:
    """Never free these, in a fork."""
    if _inside[0]:
        _kept.append(things)


def lend(*things: Any) -> int:
    """Keep these, in a fork of a copy that works beside the program, until nobody waits for that: this process's id."""
    keep(*things)
    _lending[0] = True
    return os.getpid()


def inside() -> bool:
    """Whether this process is a fork of here."""
    return _inside[0]


def run(work: Callable[[Callable[[dict[str, Any]], None]], None]) -> Iterator[dict[str, Any]]:
    """Call work(report) in a fork and yield what it reports. Died if it does not come to its end.

    The fork has one thread, no signals but its own, no open files but those that work opens for reading, and
    none of its own that it could write to but file descriptors opened since; OpenMP regions have one thread.
    A fork that lends stays as long as this process.
    """
    _find_openmp()
    out, into = os.pipe()
    pid = _fork()
    if pid == 0:
        _child(work, into)
    lends = False
    try:
        os.close(into)
        lends = yield from _messages(out)
    finally:
        os.close(out)
        if lends:
            _lending[0] = True
        else:
            _end(pid)


def beside(work: Callable[[], bytes], into: int) -> None:
    """Write a process id and what work returns to the descriptor into, a line each, from a copy of this process.

    The copy stays as this process is now. Nobody waits for it, and it outlives this process. It ends once it has
    written, or if a fork of it lends when nobody reads any more. It is no child of this process, but who made it is
    until reap. into is closed here. Died if there can be no copy.
    """
    _find_openmp()
    try:
        pid = _fork()
        if pid == 0:
            _copy(work, into)
    finally:
        os.close(into)
    _leaving.append(pid)


def leaving() -> bool:
    """Whether there is somebody to reap."""
    return bool(_leaving)


def reap() -> None:
    """Wait for those that have made copies, before code of the program runs, which could wait for any child itself.

    One takes as long to end as it has memory to give back.
    """
    while _leaving:
        try:
            os.waitpid(_leaving.pop(), 0)
        except ChildProcessError:  # a thread of the program has waited for it
            pass


def _copy(work: Callable[[], bytes], into: int) -> None:
    try:
        _inside[0] = True
        _unobserved()  # else it might be told only during the next cell that there is a copy
        if _os_fork() != 0:
            os._exit(0)
        into = _settle(into)
        _reader.append(into)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(_LAST))
        os.write(into, b"%d\n" % os.getpid())
        data = memoryview(work() + b"\n")
        while data:
            data = data[os.write(into, data):]
        if _lending[0]:
            poll = select.poll()
            poll.register(into, 0)  # an error is told in any case: nobody reads
            poll.poll()
    except BaseException:
        os._exit(1)
    os._exit(0)


def roomy() -> bool:
    """Whether there is memory for all that this process may write while a copy of it lives."""
    free = [_number(r"MemAvailable:\s+(\d+) kB", "/proc/meminfo", 1024)]
    with contextlib.suppress(OSError):
        with open("/proc/self/cgroup", encoding="ascii") as file:
            group = file.read().strip().rpartition("0::")[2]
        limit = _number(r"(\d+)", f"/sys/fs/cgroup{group}/memory.max")
        if limit is not None:
            free.append(limit - (_number(r"(\d+)", f"/sys/fs/cgroup{group}/memory.current") or 0))
    mine = _number(r"RssAnon:\s+(\d+) kB", "/proc/self/status", 1024)
    return mine is not None and all(n is None or n > mine + _SPARE for n in free)


def _number(pattern: str, path: str, unit: int = 1) -> int | None:
    """What pattern finds in a file, times unit; None if there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            found = re.search(pattern, file.read())
    except OSError:
        return None
    return int(found[1]) * unit if found else None


def _fork() -> int:
    """os.fork without its warning about threads: the child starts none and waits for no lock of theirs.

    Calling fork and PyOS_AfterFork_Child one by one would let the child's interpreter run between them, where it
    may wait forever for a thread that had asked for the lock of the interpreter.
    """
    filters = warnings.filters
    filters.insert(0, _QUIET)  # type: ignore[attr-defined]
    try:
        return _os_fork()
    except Exception as err:  # no memory, no process left, or an audit hook of the user's says no
        raise Died(f"this process cannot be forked: {err}") from err
    finally:
        filters.remove(_QUIET)  # type: ignore[attr-defined]


def _find_openmp() -> None:
    if _scanned[0] == len(sys.modules):
        return
    _scanned[0] = len(sys.modules)
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        for path in set(_OPENMP.findall(file.read())) - set(_openmp):
            try:
                _openmp[path] = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            except OSError:
                continue


def _messages(out: int) -> Generator[dict[str, Any], None, bool]:
    """The reports, each a line; an empty line is a sign of life. Returns whether the fork lends."""
    end, rest = time.monotonic() + LONGEST, b""
    poll = select.poll()
    poll.register(out, select.POLLIN)
    for reader in _reader:
        poll.register(reader, 0)
    while True:
        ready = poll.poll(1000 * max(0.0, min(3 * PATIENCE, end - time.monotonic())))
        if not ready:
            raise Died("it takes too long")
        if all(fd != out for fd, _ in ready):  # nobody waits for the result: the fork goes with this process
            os._exit(1)
        data = os.read(out, 1 << 16)
        if not data:
            raise Died("the process that pickled it died")
        *lines, rest = (rest + data).split(b"\n")
        for line in filter(None, lines):
            message = json.loads(line)
            if isinstance(message, bool):
                return message
            yield message


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):  # a thread of the program has waited for it
        pass


def _child(work: Callable[[Callable[[dict[str, Any]], None]], None], into: int) -> None:
    try:
        _inside[0], _lending[0] = True, False
        into = _settle(into)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        _watch(into)

        def report(message: dict[str, Any] | bool) -> None:
            data = json.dumps(message).encode() + b"\n"
            while data:
                data = data[os.write(into, data):]

        work(report)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if _lending[0]:
            ctypes.CDLL(None).prctl(_SET_PTRACER, _ANY)  # where only ancestors may read, and the reader is none
        report(_lending[0])
        while _lending[0]:
            signal.pause()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _unobserved() -> None:
    """What this process does from now on is no access of a cell's."""
    off = getattr(ctypes.CDLL(None), "kedge_observe_off", None)
    if off is not None:
        off(1)


def _settle(into: int) -> int:
    """Make this child harmless; returns where its reports go."""
    _unobserved()
    for library in _openmp.values():
        limit = getattr(library, "omp_set_max_active_levels", None)
        if limit is not None:
            limit(0)
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGPIPE else signal.SIG_IGN)
    gc.disable()
    gc.freeze()
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    kept = os.dup2(into, 3) if into != 3 else 3
    os.closerange(4, max(int(n) for n in os.listdir("/proc/self/fd")) + 1)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))
    sys.setrecursionlimit(_DEPTH)
    return kept


def _watch(into: int) -> None:
    """From now on say that there is life, and end a step that takes too long."""
    last, since = [-1], [0.0]
    schedule = _open("/proc/self/schedstat")

    def alarm(_: int, __: Any) -> None:
        now = time.monotonic() - _waited(schedule)
        if last[0] != pulse[0]:
            last[0], since[0] = pulse[0], now
        if now - since[0] < 3 * PATIENCE:  # who catches Stalled is killed
            os.write(into, b"\n")
        if now - since[0] >= PATIENCE:
            raise Stalled

    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE / 2, PATIENCE / 2)


def _waited(schedule: int) -> float:
    """Seconds that this process has waited for a processor that others had; 0 if that is not known."""
    return int(os.pread(schedule, 100, 0).split()[1]) / 1e9 if schedule >= 0 else 0.0


def _open(path: str) -> int:
    """A descriptor to read from; -1 if there is no such file."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def deny() -> None:
    """From now on this process may only read. Cannot be undone."""
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        flags = args[2] if len(args) > 2 else 0
        if isinstance(flags, int) and flags & _WRITES and not isinstance(args[0], int):  # a number is open already
            raise PermissionError("its pickling writes files")
    elif event.startswith(_DENIED) and event not in _READS:
        raise PermissionError(f"its pickling has effects of its own ({event})")
