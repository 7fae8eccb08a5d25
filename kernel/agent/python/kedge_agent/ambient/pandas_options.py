"""Pandas' options, as differences from their defaults; functions among them are kept by the place of pandas."""
from __future__ import annotations

import pickle
import sys
from typing import Any

from . import canonical

NAME = "pandas.options"


def _registered() -> dict[str, Any]:
    if not hasattr(sys.modules.get("pandas"), "get_option"):  # not loaded, or not to the end
        return {}
    return sys.modules["pandas._config"].config._registered_options


def _place(key: str) -> tuple[dict[str, Any], str]:
    """The table that holds an option, and its name there."""
    place = sys.modules["pandas._config"].config._global_config
    *path, last = key.split(".")
    for part in path:
        place = place[part]
    return place, last


def changed() -> dict[str, Any]:
    """The options that differ, in order of names."""
    found = {}
    for key, option in sorted(_registered().items()):
        place, last = _place(key)
        value = place[last]
        if value is not option.defval and repr(value) != repr(option.defval):
            found[key] = value
    return found


def default(key: str) -> Any:
    """What an option is in a fresh process."""
    return _registered()[key].defval


def put(key: str, value: Any) -> None:
    """Set an option, unless it is what it is."""
    place, last = _place(key)
    option = _registered()[key]
    if place[last] is not value and repr(place[last]) != repr(value):
        place[last] = value
        if option.cb is not None:
            option.cb(key)


def capture() -> bytes:
    """The options that differ; empty while pandas is not loaded."""
    found = [(k, v) for k, v in changed().items() if not callable(v)]
    return canonical.dumps(found) if found else b""


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    import pandas  # noqa: F401
    wanted = dict(pickle.loads(state)) if state else {}
    for key, option in _registered().items():
        place, last = _place(key)
        if not callable(place[last]):
            put(key, wanted.get(key, option.defval))
