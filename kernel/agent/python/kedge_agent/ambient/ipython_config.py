"""What ``%config`` and code of a cell's own set in IPython's parts: their configuration and their plain traits.

IPython's output formatters come into being when something is shown for the first time, with the configuration of that
moment, so they are not asked for before.
"""
from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

from . import canonical
from .ipython_settings import SHELL, shell

NAME = "IPython.config"
_PLAIN = (bool, int, float, str, bytes, type(None))
_start: dict[str, dict[str, Any]] = {}  # by class: plain traits and sections of the configuration


def start() -> None:
    """What is set now is the baseline."""
    _start.update(_now())


def _parts() -> dict[str, Any]:
    """IPython's configurable objects, by class."""
    ip = shell()
    return {} if ip is None else {type(c).__name__: c for c in reversed(ip.configurables)}


def _plain(value: Any) -> bool:
    if type(value) in (list, tuple, set, dict):
        return all(map(_plain, value.items() if type(value) is dict else value))
    return type(value) in _PLAIN


def _sections(config: Any) -> dict[str, Any]:
    """The sections of a configuration that hold something, as plain dicts."""
    found = {name: {k: v for k, v in section.items() if _plain(v)} for name, section in dict(config).items()
             if isinstance(section, dict)}
    return {name: section for name, section in found.items() if section}


@functools.cache
def _traits(kind: type) -> list[str]:
    """The traits of a class that can be configured, but for those that have an adapter."""
    others = SHELL if kind is type(shell()) else ()
    return [t for t in kind.class_trait_names(config=True) if t not in others]  # type: ignore[attr-defined]


def _now() -> dict[str, dict[str, Any]]:
    found = {}
    for name, part in _parts().items():
        values = part._trait_values  # only what is there: defaults may be made by being asked for
        traits = {t: values[t] for t in _traits(type(part)) if t in values and _plain(values[t])}
        found[name] = {"traits": traits, "config": _sections(part.config)}
    return found


def capture() -> bytes:
    """What differs, of the parts that were there at the start."""
    changed = []
    now = _now()
    for name in sorted(_start.keys() & now.keys()):
        for kind in ("config", "traits"):
            was, values = _start[name][kind], now[name][kind]
            keys = was.keys() | values.keys() if kind == "config" else was.keys() & values.keys()
            changed += [(name, kind, k, values.get(k)) for k in sorted(keys) if was.get(k) != values.get(k)]
    return canonical.dumps(changed) if changed else b""


def restore(state: bytes) -> None:
    """Set what differs, and the baseline elsewhere."""
    wanted = {(n, kind, k): v for n, kind, k, v in (pickle.loads(state) if state else [])}
    parts = _parts()
    for name, kind, key, _ in pickle.loads(capture() or canonical.dumps([])):
        wanted.setdefault((name, kind, key), _start[name][kind].get(key))
    for (name, kind, key), value in wanted.items():
        if kind == "traits":
            setattr(parts[name], key, value)
            continue
        config = copy.deepcopy(parts[name].config)
        config.pop(key, None)
        if value is not None:
            config[key].update(value)
        parts[name]._trait_values["config"] = config
