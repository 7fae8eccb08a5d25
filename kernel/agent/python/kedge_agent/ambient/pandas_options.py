"""Pandas' options, as differences from their defaults; functions among them are kept by the place of pandas.

This adapter has those that decide what pandas computes, pandas_display the others.
"""
from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable
from typing import Any

from . import canonical

NAME = "pandas.options"
DECIDING = ("compute", "future", "mode")  # sections


def loaded() -> bool:
    """Whether pandas is loaded to its end."""
    return hasattr(sys.modules.get("pandas"), "get_option")


def _registered(deciding: bool | None = None) -> dict[str, Any]:
    """The options by name: those that decide, the others, or all."""
    if not loaded():
        return {}
    options = sys.modules["pandas._config"].config._registered_options
    return {k: o for k, o in options.items() if deciding is None or (k.partition(".")[0] in DECIDING) is deciding}


def sections() -> Any:
    """The dict that holds all options, as pandas has it."""
    return sys.modules["pandas._config"].config._global_config


def section(path: Iterable[str]) -> dict[str, Any]:
    """The table at a path in it."""
    place: dict[str, Any] = sections()
    for part in path:
        place = dict.__getitem__(place, part)
    return place


def _place(key: str) -> tuple[dict[str, Any], str]:
    """The table that holds an option, and its name there."""
    *path, last = key.split(".")
    return section(path), last


def _value(key: str) -> Any:
    place, last = _place(key)
    return dict.__getitem__(place, last)


def changed(deciding: bool | None = None) -> dict[str, Any]:
    """The options that differ, in order of names."""
    found = {}
    for key, option in sorted(_registered(deciding).items()):
        value = _value(key)
        if value is not option.defval and repr(value) != repr(option.defval):
            found[key] = value
    return found


def default(key: str) -> Any:
    """What an option is in a fresh process."""
    return _registered()[key].defval


def put(key: str, value: Any) -> None:
    """Set an option, unless it is what it is."""
    (place, last), now = _place(key), _value(key)
    option = _registered()[key]
    if now is not value and repr(now) != repr(value):
        dict.__setitem__(place, last, value)
        if option.cb is not None:
            option.cb(key)


def differing(deciding: bool) -> bytes:
    """The state of one of the adapters; empty while pandas is not loaded."""
    found = [(k, v) for k, v in changed(deciding).items() if not callable(v)]
    return canonical.dumps(found) if found else b""


def lay(state: bytes, deciding: bool) -> None:
    """Defaults, then the differences."""
    import pandas  # noqa: F401
    wanted = dict(pickle.loads(state)) if state else {}
    for key, option in _registered(deciding).items():
        if not callable(_value(key)):
            put(key, wanted.get(key, option.defval))


def capture() -> bytes:
    """The options that decide and differ."""
    return differing(True)


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    lay(state, True)
