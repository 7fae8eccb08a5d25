"""Matplotlib's settings, as differences from its defaults.

A cell observes them if its code leads to matplotlib, or if something called a method of the settings while it ran: all
of matplotlib, and the libraries that draw with it, read and set them that way. After each cell pyplot asks whether it
is to draw at once; that is part of the backend's state, which every cell observes. Not seen is a library that gets at
the settings with the methods of dict.
"""
from __future__ import annotations

import pickle
import sys
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

from .. import noting
from . import backend, canonical

NAME = "matplotlib.rcParams"
_SKIPPED = ("backend", "backend_fallback")  # reading them would choose a backend
_WORDS = {"matplotlib", "mpl", "plt", "pylab", "rcParams"}  # of code that may get at the dict itself
_NEEDED = {"__getitem__", "__setitem__", "__iter__", "__len__", "copy", "find_all"}
_READS = {"__getitem__", "_get"}
_AT_ONCE = "interactive"
_ASKED: deque[Any] = deque(maxlen=1_000)  # the keys that were read since begin; None for anything else
_known = [False]  # whether the state of the backend said when the cell began if pyplot draws at once
_noted: dict[str, Any] = {}  # the methods that are noted, by name; empty if one could not be


def listen() -> None:
    """What a forked child calls is not noted, so a cell that forks observes them."""
    noting.note_forks(_ASKED.append)


def _params() -> Any:
    """The settings; None while matplotlib is not loaded to its end."""
    matplotlib = sys.modules.get("matplotlib")
    return matplotlib.rcParams if hasattr(matplotlib, "rcParamsDefault") else None  # type: ignore[union-attr]


def named(words: Iterable[str]) -> bool:
    """Whether names of modules, or words, lead to matplotlib."""
    return any(not _WORDS.isdisjoint(word.split(".")) for word in words)


def begin() -> None:
    """A cell comes. Once matplotlib is loaded its settings are watched from the next cell on."""
    params = _params()
    if params is not None and _methods(params) != _noted:
        _note(params)
    _known[0] = bool(backend.capture())
    _ASKED.clear()


def _methods(params: Any) -> dict[str, Any]:
    return {n: f for n, f in vars(type(params)).items() if type(f) is types.FunctionType and n != "__init__"}


def _note(params: Any) -> None:
    """All methods of the settings are noted from now on, if they can be."""
    methods = _methods(params)
    done = [noting.note(f, _ASKED.append, "key" if n in _READS else "None") for n, f in methods.items()]
    _noted.clear()
    if methods.keys() >= _NEEDED and all(done):
        _noted.update(methods)


def touched(fresh: Iterable[str]) -> bool:
    """Whether something asked or set anything since begin; fresh are modules that were imported since."""
    params = _params()
    if params is None:
        return "matplotlib" in fresh
    if "matplotlib" in fresh or not _noted or _methods(params) != _noted or len(_ASKED) == _ASKED.maxlen:
        return True
    return not all(_known[0] and type(key) is str and key == _AT_ONCE for key in _ASKED)


def _differ(value: Any, default: Any) -> bool:
    if value is default:
        return False
    if type(value) is type(default) and type(value) in (str, float, int, bool):
        return bool(value != default)
    return repr(value) != repr(default)


def capture() -> bytes:
    """The settings that differ; empty while matplotlib is not loaded."""
    params = _params()
    if params is None:
        return b""
    defaults = sys.modules["matplotlib"].rcParamsDefault
    changed = sorted((k, v) for k, v in dict.items(params) if k not in _SKIPPED and _differ(v, dict.get(defaults, k)))
    return canonical.dumps(changed) if changed else b""


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    import matplotlib
    changed = dict(pickle.loads(state)) if state else {}
    for key in list(dict.keys(matplotlib.rcParams)):
        value = changed.get(key, dict.get(matplotlib.rcParamsDefault, key))
        if key not in _SKIPPED and _differ(dict.__getitem__(matplotlib.rcParams, key), value):
            dict.__setitem__(matplotlib.rcParams, key, value)
