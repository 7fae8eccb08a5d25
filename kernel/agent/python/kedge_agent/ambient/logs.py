"""Levels and switches of loggers; handlers and filters are kept by the place of logging.

A cell observes them if its code leads to logging, or if something asked a logger or a handler for anything while it
ran. Not seen is a library that reads a level past the methods of loggers, other than while it is imported.
"""
from __future__ import annotations

import logging
import pickle
import sys
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

from .. import noting
from . import canonical

NAME = "logging"
_ASKED: deque[Any] = deque(maxlen=10_000)  # loggers and handlers asked for anything since begin; None for others
_METHODS = {logging.Logger: ("isEnabledFor", "getEffectiveLevel", "handle", "callHandlers", "hasHandlers", "setLevel",
                             "addHandler", "removeHandler"),
            logging.Filterer: ("filter", "addFilter", "removeFilter"),
            logging.Handler: ("handle", "format", "setLevel", "setFormatter")}
_FUNCTIONS = ("basicConfig", "getLevelNamesMapping", "addLevelName", "disable", "captureWarnings", "_showwarning")
_OWN: dict[str, list[Any]] = {}  # the handlers that the kernel's loggers had at the start
_noted = [False]  # whether all calls are noted
_START: dict[str, tuple[int, bool, bool, str]] = {}
_UNTOUCHED = 0, False, True, ""  # the switches of a logger that was just made
_LEVELS: dict[int, str] = {}


def loggers() -> list[tuple[str, logging.Logger]]:
    """All loggers by name, in order of names; the root's name is "root"."""
    made = logging.root.manager.loggerDict
    return [("root", logging.root), *((n, log) for n, log in sorted(made.items()) if isinstance(log, logging.Logger))]


def _switches(log: logging.Logger) -> tuple[int, bool, bool, str]:
    """Level, disabled, propagate, and the name of the parent where another was set than the one above it."""
    parent = log.parent
    moved = parent is not None and parent is not _above(log)
    return log.level, log.disabled, log.propagate, parent.name if parent is not None and moved else ""


def _above(log: logging.Logger) -> logging.Logger:
    """The nearest logger above log by its name."""
    made, name = logging.root.manager.loggerDict, log.name
    while "." in name:
        name = name.rpartition(".")[0]
        above = made.get(name)
        if isinstance(above, logging.Logger):
            return above
    return logging.root


def start() -> None:
    """The loggers as they are now are the baseline."""
    _START.update((n, _switches(log)) for n, log in loggers())
    _LEVELS.update(logging._levelToName)  # type: ignore[attr-defined]
    _OWN.update((n, list(log.handlers)) for n, log in loggers())


def listen() -> None:
    """From now on calls are noted."""
    noting.note_forks(_ASKED.append)
    _noted[0] = all([noting.note(function, _ASKED.append, argument) for function, argument in watched()])


def watched() -> list[tuple[Any, str]]:
    """The functions whose calls are noted, and the argument that is noted."""
    methods = [(vars(owner)[name], "self") for owner, names in _METHODS.items() for name in names]
    return methods + [(vars(logging)[name], "None") for name in _FUNCTIONS if hasattr(logging, name)]


def named(words: Iterable[str]) -> bool:
    """Whether names of modules, or words, lead to logging."""
    return any("logging" in word.split(".") for word in words)


def begin() -> None:
    """A cell comes."""
    _ASKED.clear()


def touched(fresh: Iterable[str]) -> bool:
    """Whether something asked or set anything since begin; fresh are modules that were imported since."""
    if not _noted[0] or len(_ASKED) == _ASKED.maxlen or not all(map(_own, _ASKED)):
        return True
    modules = [m for m in map(sys.modules.get, fresh) if issubclass(type(m), types.ModuleType)]
    held = [v for m in modules for v in list(object.__getattribute__(m, "__dict__").values())]
    return any(v is logging or issubclass(type(v), logging.Logger) for v in held)


def _own(asked: Any) -> bool:
    """Whether asked is a logger or handler of the kernel's that the notebook's settings have no part in."""
    if isinstance(asked, logging.Handler):
        return any(asked is h for handlers in _OWN.values() for h in handlers)
    if not isinstance(asked, logging.Logger) or asked.name not in _START or logging.root.manager.disable:
        return False
    level, disabled, propagate, _ = now = _switches(asked)
    return (bool(level) and not disabled and not propagate and _START[asked.name] == now
            and _OWN[asked.name] == asked.handlers)


def capture() -> bytes:
    """What differs from the baseline, and from loggers that nobody has touched."""
    changed = [(n, *now) for n, log in loggers() if (now := _switches(log)) != _START.get(n, _UNTOUCHED)]
    names = sorted(logging._levelToName.items() - _LEVELS.items())  # type: ignore[attr-defined]
    disable = logging.root.manager.disable
    return canonical.dumps((changed, names, disable)) if changed or names or disable else b""


def restore(state: bytes) -> None:
    """Set all of it."""
    changed, names, disable = pickle.loads(state) if state else ((), (), 0)
    wanted: dict[str, Any] = {n: rest for n, *rest in changed}
    for name, _ in loggers():
        wanted.setdefault(name, _START.get(name, _UNTOUCHED))
    for name, (level, disabled, propagate, parent) in wanted.items():
        log = logging.root if name == "root" else logging.getLogger(name)
        if _switches(log) != (level, disabled, propagate, parent):
            log.setLevel(level)
            log.disabled, log.propagate = disabled, propagate
            if log is not logging.root:
                log.parent = logging.getLogger(parent) if parent else _above(log)
    for level, text in names:
        logging.addLevelName(level, text)
    logging.disable(disable)
