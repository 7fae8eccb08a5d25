"""Matplotlib's settings, as differences from its defaults."""
from __future__ import annotations

import pickle
import sys
from typing import Any

NAME = "matplotlib.rcParams"
_SKIPPED = ("backend", "backend_fallback")  # reading them would choose a backend


def _differ(value: Any, default: Any) -> bool:
    if value is default:
        return False
    if type(value) is type(default) and type(value) in (str, float, int, bool):
        return bool(value != default)
    return repr(value) != repr(default)


def capture() -> bytes:
    """The settings that differ; empty while matplotlib is not loaded."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None or not hasattr(matplotlib, "rcParamsDefault"):
        return b""
    defaults = matplotlib.rcParamsDefault
    changed = sorted((k, v) for k, v in dict.items(matplotlib.rcParams)
                     if k not in _SKIPPED and _differ(v, dict.get(defaults, k)))
    return pickle.dumps(changed, 5) if changed else b""


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    import matplotlib
    changed = dict(pickle.loads(state)) if state else {}
    for key in list(dict.keys(matplotlib.rcParams)):
        value = changed.get(key, dict.get(matplotlib.rcParamsDefault, key))
        if key not in _SKIPPED and _differ(dict.__getitem__(matplotlib.rcParams, key), value):
            dict.__setitem__(matplotlib.rcParams, key, value)
