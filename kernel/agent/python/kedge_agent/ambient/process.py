"""Process state that is watched but not restored yet: a cell that changes it is not cached."""
import decimal
import itertools
import locale
import logging
import signal
import socket
import sys

from .. import figures

NAME = "process"
_looks = itertools.count()


def capture() -> bytes:
    """A description that changes when any of it does."""
    root = logging.getLogger()
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    loaded = sorted(getattr(getattr(shell, "extension_manager", None), "loaded", ()))
    events = {k: [getattr(f, "__qualname__", "") for f in v]
              for k, v in sorted(getattr(getattr(shell, "events", None), "callbacks", {}).items())}
    hooks = [getattr(h, "__qualname__", type(h).__qualname__)
             for h in (sys.excepthook, sys.gettrace(), sys.getprofile(), sys.unraisablehook)]
    signals = [getattr(signal.getsignal(s), "__qualname__", str(signal.getsignal(s)))
               for s in sorted(signal.valid_signals()) if s not in (signal.SIGINT, signal.SIGCHLD)]
    return repr((
        root.level, root.disabled, logging.root.manager.disable,
        [(type(h).__qualname__, h.level) for h in root.handlers],
        repr(decimal.getcontext()).partition(", flags=")[0],
        locale.setlocale(locale.LC_ALL), sys.getrecursionlimit(), hooks, signals,
        socket.getdefaulttimeout(), loaded, events, sys.getswitchinterval(), _pyplot(),
    )).encode()


def _pyplot() -> object:
    """The open figures; they can be drawn on by code that names none, so no two looks are equal."""
    numbers = figures.open_numbers()
    return (numbers, next(_looks)) if numbers else ()


def restore(state: bytes) -> None:
    """Nothing to do if it is as it was; an error otherwise."""
    if capture() != state:
        raise ValueError("this process state cannot be restored")
