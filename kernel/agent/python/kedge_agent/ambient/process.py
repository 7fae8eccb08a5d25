"""Process state that is watched but not restored: a cell that changes it is not cached."""
from __future__ import annotations

import ast
import contextvars
import copyreg
import faulthandler
import functools
import os
import signal
import sys
import threading
import types
import weakref
from dataclasses import dataclass, field
from typing import Any

from .. import live
from . import sqlite_dates
from .ipython_settings import shell

NAME = "process"
_PARTS = ("IPython", "ipykernel")  # the packages of the shell's parts
_PRIORITY = os.getpriority(os.PRIO_PROCESS, 0)
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
# Functions that change what cannot be looked at: a cell whose code names one is not cached.
CALLS = {"addaudithook", "putenv", "unsetenv", "install_opener", "setrlimit", "sched_setaffinity", "stack_size",
         "clearcache", "set_custom_exc", "register_logger", "register_projection", "register_scale",
         "set_global_backend", "register_backend", "register_extension", "register_open", "register_save",
         "register_mime", "register_decoder", "register_encoder", "register_extension_type",
         "register_adapter", "register_converter", "unregister_extension_type", "set_io_thread_count",
         "set_memory_pool", "setxattr", "removexattr", "utime", "atexit", "set_task_factory", "set_exception_handler",
         "slow_callback_duration", "set_event_loop_policy", "set_event_loop", "set_default_executor",
         "pthread_sigmask", "set_wakeup_fd", "add_constructor", "add_multi_constructor", "add_representer",
         "add_multi_representer", "add_implicit_resolver", "add_path_resolver", "register_extension_dtype",
         "register_scalar_function", "register_vector_function", "register_aggregate_function",
         "register_tabular_function", "ionice", "flock", "lockf", "register_at_fork", "set_hook",
         "set_default_whitespace_chars", "enable_packrat", "enable_left_recursion", "inline_literals_using",
         "CDLL", "PyDLL", "LoadLibrary", "pythonapi", "set_errno", "dlopen"}
# Likewise, where they do not stand in a with statement, which takes back what they did.
LASTING = {"parallel_config", "parallel_backend", "threadpool_limits", "set_backend", "skip_backend"}


def lasting(tree: ast.AST | None) -> set[str]:
    """Those of LASTING that a cell calls for good."""
    if tree is None:
        return set()
    brief = {id(item.context_expr) for node in ast.walk(tree) if isinstance(node, (ast.With, ast.AsyncWith))
             for item in node.items}
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in brief)
    return LASTING & {getattr(func, "attr", getattr(func, "id", "")) for func in calls}


def describe() -> dict[str, Any]:
    """What is watched, by the name under which people know it; equal in every process that did the same."""
    found = {
        "the tracing hooks": [_name(h) for h in _tracers() if h is not None],
        "the hooks of asynchronous generators": [_name(h) for h in sys.get_asyncgen_hooks() if not _of_the_loop(h)],
        "the standard streams": [_name(type(s)) for s in (sys.stdin, sys.stdout, sys.stderr)],
        "the streams of the process": [_stream(s) for s in (sys.__stdin__, sys.__stdout__, sys.__stderr__)],
        "copyreg": sorted(_name(c) for c, f in copyreg.dispatch_table.items()
                          if "__main__" in (c.__module__, getattr(f, "__module__", ""))),
        "the finders of imports": [_name(f if isinstance(f, type) else type(f)) for f in sys.meta_path
                                   if live.local(f if isinstance(f, type) else type(f))],
        "the priority of the process": os.getpriority(os.PRIO_PROCESS, 0) - _PRIORITY,
        "a timer": any(signal.getitimer(n)[0] > 0 for n in _TIMERS),
        "faulthandler": faulthandler.is_enabled(),
        "tracemalloc": "tracemalloc" in sys.modules and sys.modules["tracemalloc"].is_tracing(),
        "finalizers": sorted(_name(type(f.peek()[0])) for f in _finalizers()),
        "attributes of the shell": _shell(),
        "context variables": sorted(v.name for v in contextvars.copy_context() if not _known(v)),
        **_loaded(),
    }
    return {k: v for k, v in found.items() if v}


_START: dict[str, Any] = {}


def traced() -> bool:
    """Whether a function of the notebook's is told of calls."""
    return any(getattr(h, "__module__", None) == "__main__" for h in _tracers())


def _tracers() -> tuple[Any, ...]:
    """What is told of calls, in this thread and in those to come."""
    return (sys.gettrace(), sys.getprofile(), threading._trace_hook, threading._profile_hook)  # type: ignore[attr-defined]


def _stream(stream: Any) -> Any:
    """How a stream of the process is set up."""
    try:
        return (stream.encoding, stream.errors, stream.line_buffering, stream.write_through)
    except (AttributeError, ValueError):  # it is another one, or was detached
        return _name(type(stream))


def _of_the_loop(hook: Any) -> bool:
    """Whether a hook is none, or the one that an event loop sets while it runs."""
    return hook is None or type(getattr(hook, "__self__", None)).__module__.startswith(("asyncio.", "uvloop"))


def start() -> None:
    """What is there now is the baseline."""
    _START.update(describe())


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two descriptions, for people."""
    return sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))


def capture() -> bytes:
    """What differs from the baseline, in bytes."""
    now = describe()
    changed = [(k, now.get(k)) for k in changes(_START, now)]
    return repr(changed).encode("utf-8", "surrogatepass") if changed else b""


def restore(state: bytes) -> None:
    """Nothing to do if it is as it was; an error otherwise."""
    if capture() != state:
        raise ValueError("this process state cannot be restored")


def _name(obj: Any) -> str:
    return getattr(obj, "__qualname__", None) or (str(obj) if isinstance(obj, int) else type(obj).__qualname__)


def _shell() -> list[Any]:
    """What of the notebook was set on IPython's shell, or a part of it, and whether it writes a log."""
    ip = shell()
    if ip is None:
        return []
    parts = [ip, *(v for v in list(vars(ip).values()) if type(v).__module__.partition(".")[0] in _PARTS)]
    # The module of the shell has the namespace as its own.
    spaces = [space for p in parts if (space := getattr(p, "__dict__", {})) is not ip.user_ns]
    found: list[Any] = [_Entry(n, id(v)) for space in spaces for n, v in list(space.items())
                        if n[:1] != "_"  # among those are the last results
                        and (live.local(type(v)) or type(v) is types.FunctionType and v.__module__ == "__main__")]
    return [*found, *(["log"] if getattr(getattr(ip, "logger", None), "log_active", False) else [])]


def _finalizers() -> list[Any]:
    """Those that the notebook has left."""
    table = list(weakref.finalize._registry)  # type: ignore[attr-defined]
    return [f for f in table if (p := f.peek()) is not None
            and ("__main__" in (getattr(p[1], "__module__", None), live.module(type(p[0]))))]


def _known(variable: contextvars.ContextVar[Any]) -> bool:
    """Whether a context variable is of the kernel's own machinery, or of a library's."""
    return "." in variable.name or variable.name.startswith("_") or variable.name in (
        "decimal_context", "format_options", "numpy_extobj", "numpy.errstate", "parent_header", "shell_parent",
        "execution_count")


@dataclass(frozen=True)
class _Entry:
    """Something of the notebook in a registry: another one of the same name is another entry."""

    name: str
    place: int = field(repr=False)


def _loaded() -> dict[str, Any]:
    """Registries of modules of the standard library that are loaded."""
    found: dict[str, Any] = {}
    if "csv" in sys.modules:
        found["csv dialects"] = sorted(set(sys.modules["csv"].list_dialects()) - {"excel", "excel-tab", "unix"})
    if "sqlite3" in sys.modules:
        dbapi = sys.modules["sqlite3"]
        found["sqlite3 adapters"] = sorted({k[0].__qualname__ for k in sqlite_dates.others(dbapi.adapters)})
        found["sqlite3 converters"] = sorted({str(k) for k in sqlite_dates.others(dbapi.converters)})
    table = getattr(sys.modules.get("pandas.tseries.holiday"), "holiday_calendars", {})
    found["calendars of pandas"] = [_Entry(n, id(c)) for n, c in table.items() if live.local(c)]
    mime = sys.modules.get("mimetypes")
    if mime is not None and mime.inited:
        found["mimetypes"] = sorted(mime.types_map.items() - _machine_types(mime))
    return found


@functools.cache
def _machine_types(types: Any) -> frozenset[tuple[str, str]]:
    """What the machine's files say of file types."""
    table = types.MimeTypes()
    for file in filter(os.path.isfile, types.knownfiles):
        table.read(file)
    return frozenset(table.types_map[True].items())
