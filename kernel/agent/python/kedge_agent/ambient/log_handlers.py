"""The place of the handlers and filters of loggers, and how handlers are captured.

Handlers hold a lock and a stream: the lock is made anew, a standard stream is named, and a file is opened again
at its end, by its path from the folder that the kernel was started in.
"""
from __future__ import annotations

import copyreg
import logging
import os
import sys
import weakref
from typing import Any

from .logs import loggers

NAME = "logging"
_START: dict[str, list[Any]] = {}  # "handlers root" → those of the baseline
# Handlers that open their file when they first write, as with delay=True: a restore places files after objects.
_WAITING: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
_STREAMS: dict[str, Any] = {}
_FOLDER = os.getcwd()
_PROCESS = os.getpid()  # a fork of it only compares handlers, and opens no files


def _lists() -> dict[str, tuple[logging.Logger, str]]:
    return {f"{kind} {name}": (log, kind) for name, log in loggers() for kind in ("handlers", "filters")
            if vars(log).get(kind) or f"{kind} {name}" in _START}


def start() -> None:
    """See places.Place."""
    _START.update((key, list(getattr(log, kind))) for key, (log, kind) in _lists().items())


def entries() -> dict[str, Any]:
    """See places.Place: the lists that differ, with numbers for what was there before."""
    _streams()
    found = {}
    for key, (log, kind) in _lists().items():
        was = _START.get(key, [])
        now = [next((i for i, old in enumerate(was) if old is h), h) for h in getattr(log, kind)]
        silent = log.name.partition(".")[0] in sys.modules and all(type(h) is logging.NullHandler for h in now)
        if now != list(range(len(was))) and (was or not silent):  # a library's own comes with it
            found[key] = now
    return found


def bind(name: str, value: Any) -> None:
    """See places.Place."""
    kind, _, logger = name.partition(" ")
    was = _START.get(name, [])
    log = logging.root if logger == "root" else logging.getLogger(logger)
    getattr(log, kind)[:] = [was[h] if isinstance(h, int) else h for h in value]


def unbind(name: str) -> None:
    """See places.Place."""
    bind(name, list(range(len(_START.get(name, [])))))


def _streams() -> dict[str, Any]:
    """The standard streams of this process; in a fork of it those that it had."""
    if os.getpid() == _PROCESS:
        _STREAMS.update(stderr=sys.stderr, stdout=sys.stdout)
    return _STREAMS


def parts(handler: logging.Handler) -> list[Any]:
    """What a handler holds and a snapshot of it must hold too."""
    return [v for k, v in vars(handler).items() if k not in ("lock", "stream")]


def reduce(obj: Any) -> Any:
    """The reduction of a handler; NotImplemented for other objects. ValueError if it cannot be made again."""
    if not issubclass(type(obj), logging.Handler):
        return NotImplemented
    state = {k: v for k, v in vars(obj).items() if k not in ("lock", "stream", "baseFilename")}
    stream, path = vars(obj).get("stream"), vars(obj).get("baseFilename")
    if path is not None:
        inside = path.startswith(_FOLDER + os.sep)
        state["baseFilename"] = os.path.relpath(path, _FOLDER) if inside else path
        stream = stream is not None or obj in _WAITING and not vars(obj).get("_closed")
    elif "stream" in vars(obj):
        name = next((n for n, s in _streams().items() if stream is s), None)
        if name is None:
            raise ValueError("a handler that writes to a stream of its own cannot be made again")
        stream = name
    return copyreg.__newobj__, (type(obj),), (state, stream), None, None, set_handler


def set_handler(obj: Any, state: tuple[dict[str, Any], Any]) -> None:
    """Fill a handler."""
    held, stream = state
    vars(obj).update(held)
    obj.createLock()
    if "baseFilename" in held:
        obj.baseFilename = os.path.join(_FOLDER, held["baseFilename"])
        obj.stream = None
        if stream and obj.mode == "a":
            _WAITING.add(obj)
        elif stream:
            mode, obj.mode = obj.mode, "a"
            obj.stream = obj._open() if os.getpid() == _PROCESS else False
            obj.mode = mode
    elif stream is not None:
        obj.stream = _streams()[stream]
    logging._addHandlerRef(obj)  # type: ignore[attr-defined]
    if obj._name:
        logging._handlers[obj._name] = obj  # type: ignore[attr-defined]
