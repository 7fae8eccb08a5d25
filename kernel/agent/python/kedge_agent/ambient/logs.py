"""Levels and switches of loggers, and the root's plain handlers to the standard streams."""
from __future__ import annotations

import logging
import pickle
import sys
from typing import Any

NAME = "logging"


def plain(handler: logging.Handler) -> bool:
    """Whether a handler can be made again: it writes to a standard stream, with a common formatter."""
    return (type(handler) is logging.StreamHandler and _stream(handler) != "" and not handler.filters
            and type(handler.formatter) in (type(None), logging.Formatter))


def _stream(handler: Any) -> str:
    return next((n for n in ("stderr", "stdout") if handler.stream is getattr(sys, n)), "")


def _handler(handler: Any) -> Any:
    form = handler.formatter
    return (_stream(handler), handler.level,
            None if form is None else (form._fmt, form.datefmt, type(form._style).__name__))


def capture() -> bytes:
    """What differs from a logger that nobody has touched."""
    root = logging.root
    touched = [(n, log.level, log.disabled, log.propagate) for n, log in sorted(root.manager.loggerDict.items())
               if isinstance(log, logging.Logger) and (log.level or log.disabled or not log.propagate)]
    return pickle.dumps((root.level, root.manager.disable, touched,
                         [_handler(h) for h in root.handlers if plain(h)]), 5)


def restore(state: bytes) -> None:
    """Set all of it; handlers that are already there stay the objects that they are."""
    level, disable, touched, handlers = pickle.loads(state)
    root = logging.root
    root.setLevel(level)
    root.manager.disable = disable
    wanted = {n: rest for n, *rest in touched}
    for name, log in list(root.manager.loggerDict.items()):
        if isinstance(log, logging.Logger) and name not in wanted:
            log.setLevel(0)
            log.disabled, log.propagate = False, True
    for name, (own, disabled, propagate) in wanted.items():
        log = logging.getLogger(name)
        log.setLevel(own)
        log.disabled, log.propagate = disabled, propagate
    if [_handler(h) for h in root.handlers if plain(h)] == handlers:
        return
    for old in [h for h in root.handlers if plain(h)]:
        root.removeHandler(old)
    styles = {type(s).__name__: k for k, (s, _) in
              ((k, (v[0](""), v[1])) for k, v in logging._STYLES.items())}  # type: ignore[attr-defined]
    for stream, own, form in handlers:
        handler = logging.StreamHandler(getattr(sys, stream))
        handler.setLevel(own)
        if form is not None:
            handler.setFormatter(logging.Formatter(form[0], form[1], styles.get(form[2], "%")))
        root.addHandler(handler)
