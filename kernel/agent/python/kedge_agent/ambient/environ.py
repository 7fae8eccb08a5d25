"""Environment variables, as differences from the first cell."""
from __future__ import annotations

import os
import pickle

from . import canonical

NAME = "environ"
_START: dict[str, str] = dict(os.environ)


def start() -> None:
    """What is set now is the machine's."""
    _START.clear()
    _START.update(os.environ)


def capture() -> bytes:
    """What was set and unset since the start; a value that extends the machine's own names it and not its text."""
    now = dict(os.environ)
    changed = sorted((k, _pieces(v, _START.get(k, ""))) for k, v in now.items() if _START.get(k) != v)
    unset = sorted(_START.keys() - now.keys())
    return canonical.dumps((changed, unset)) if changed or unset else b""


def _pieces(value: str, old: str) -> list[str]:
    """value, split where the old value stands in it."""
    return value.split(old, 1) if old else [value]


def restore(state: bytes) -> None:
    """Go back to the start, then apply the differences."""
    changed, unset = pickle.loads(state) if state else ([], [])
    wanted = {**_START, **{k: _START.get(k, "").join(pieces) for k, pieces in changed}}
    for name in [k for k in os.environ if k not in wanted or k in unset]:
        del os.environ[name]
    for name, value in wanted.items():
        if name not in unset and os.environ.get(name) != value:
            os.environ[name] = value
