"""Levels and switches of loggers; handlers and filters are kept by the place of logging."""
from __future__ import annotations

import logging
import pickle
import warnings
from typing import Any

NAME = "logging"
_START: dict[str, tuple[int, bool, bool]] = {}
_LEVELS: dict[int, str] = {}


def loggers() -> list[tuple[str, logging.Logger]]:
    """All loggers by name, in order of names; the root's name is "root"."""
    made = logging.root.manager.loggerDict
    return [("root", logging.root), *((n, log) for n, log in sorted(made.items()) if isinstance(log, logging.Logger))]


def _switches(log: logging.Logger) -> tuple[int, bool, bool]:
    return log.level, log.disabled, log.propagate


def start() -> None:
    """The loggers as they are now are the baseline."""
    _START.update((n, _switches(log)) for n, log in loggers())
    _LEVELS.update(logging._levelToName)  # type: ignore[attr-defined]


def _captured() -> bool:
    """Whether warnings go to logging."""
    return getattr(warnings.showwarning, "__module__", "") == "logging"


def capture() -> bytes:
    """What differs from the baseline, and from loggers that nobody has touched."""
    touched = [(n, *_switches(log)) for n, log in loggers() if _switches(log) != _START.get(n, (0, False, True))]
    names = sorted(logging._levelToName.items() - _LEVELS.items())  # type: ignore[attr-defined]
    disable, captured = logging.root.manager.disable, _captured()
    if not (touched or names or disable or captured):
        return b""
    return pickle.dumps((touched, names, disable, captured), 5)


def restore(state: bytes) -> None:
    """Set all of it."""
    touched, names, disable, captured = pickle.loads(state) if state else ((), (), 0, False)
    wanted: dict[str, Any] = {n: rest for n, *rest in touched}
    for name, _ in loggers():
        wanted.setdefault(name, _START.get(name, (0, False, True)))
    for name, (level, disabled, propagate) in wanted.items():
        log = logging.root if name == "root" else logging.getLogger(name)
        if _switches(log) != (level, disabled, propagate):
            log.setLevel(level)
            log.disabled, log.propagate = disabled, propagate
    for level, text in names:
        logging.addLevelName(level, text)
    logging.disable(disable)
    if _captured() != captured:
        logging.captureWarnings(captured)
