"""Switches and numbers of the interpreter and its standard library, which can be set back."""
from __future__ import annotations

import decimal
import gc
import locale
import os
import socket
import sys
import threading
import time
from typing import Any

from .baseline import Baseline

NAME = "settings"
_ARGUMENTS = list(sys.argv)  # those that the kernel has by itself: they name its own files
_CONTEXTS = (decimal.DefaultContext, decimal.BasicContext, decimal.ExtendedContext)


def _now() -> dict[str, Any]:
    context = decimal.getcontext()
    return {
        "arguments": [_ARGUMENTS.index(a) if a in _ARGUMENTS else a for a in sys.argv],
        "decimal": (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp,
                    sorted(t.__name__ for t, on in context.traps.items() if on)),
        "decimal defaults": [(c.prec, c.rounding, c.Emin, c.Emax) for c in _CONTEXTS],
        "digits": getattr(sys, "get_int_max_str_digits", int)(),
        "gc": (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
        "libraries": sys.getdlopenflags(),
        "locale": locale.setlocale(locale.LC_ALL),
        "origins": sys.get_coroutine_origin_tracking_depth(),
        "recursion": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
        "timeout": socket.getdefaulttimeout(),
        "umask": _umask(),
        "thread": threading.main_thread().name,
        "zone": time.tzname,
    }


_BASE = Baseline(_now)
start, capture = _BASE.start, _BASE.capture


def restore(state: bytes) -> None:
    """Set the baseline and what differs from it."""
    for name, value in _BASE.missing(state).items():
        _SET[name](value)
    if capture() != state:
        raise ValueError("a setting of the interpreter could not be restored")


def _umask() -> int:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return int(next(line.split()[1] for line in status if line.startswith("Umask")), 8)
    except (OSError, StopIteration):
        return -1


def _decimal(value: Any) -> None:
    context = decimal.getcontext()
    context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps = value
    for trap in context.traps:
        context.traps[trap] = trap.__name__ in traps


def _defaults(value: Any) -> None:
    for context, of in zip(_CONTEXTS, value, strict=True):
        context.prec, context.rounding, context.Emin, context.Emax = of


def _gc(value: Any) -> None:
    (gc.enable if value[0] else gc.disable)()
    gc.set_threshold(*value[1])
    gc.set_debug(value[2])


def _arguments(value: Any) -> None:
    sys.argv[:] = [_ARGUMENTS[a] if type(a) is int else a for a in value]


_SET = {
    "arguments": _arguments,
    "decimal": _decimal,
    "decimal defaults": _defaults,
    "digits": lambda v: sys.set_int_max_str_digits(v),
    "gc": _gc,
    "libraries": sys.setdlopenflags,
    "locale": lambda v: locale.setlocale(locale.LC_ALL, v),
    "origins": sys.set_coroutine_origin_tracking_depth,
    "recursion": sys.setrecursionlimit,
    "switch": sys.setswitchinterval,
    "thread": lambda v: setattr(threading.main_thread(), "name", v),
    "timeout": socket.setdefaulttimeout,
    "umask": os.umask,
    "zone": lambda _: time.tzset(),  # the environment says which
}
