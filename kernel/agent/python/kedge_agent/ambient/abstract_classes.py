"""The place of classes that the notebook registered with abstract classes of libraries (``Number.register``).

Those of the notebook's own abstract classes are part of the class (../classes.py).
"""
from __future__ import annotations

import _abc
import abc
import sys
from typing import Any

from .. import live

NAME = "abc"
_last: dict[str, Any] = {"token": None, "entries": {}}  # what was found, and abc's count of registrations then


def start() -> None:
    """See places.Place: the notebook has no classes yet."""
    _last.update(token=abc.get_cache_token(), entries={})


def entries() -> dict[str, Any]:
    """See places.Place: the classes registered, in order of names, by the abstract class."""
    token = abc.get_cache_token()
    if token != _last["token"]:
        _last.update(token=token, entries=_find())
    return dict(_last["entries"])


def _find() -> dict[str, Any]:
    found = {}
    for cls in live.subclasses():
        if issubclass(type(cls), abc.ABCMeta) and not live.local(cls) and "_abc_impl" in vars(cls):
            own = [c for c in _registered(cls) if live.local(c)]
            if own and _cls(_title(cls)) is cls:
                found[_title(cls)] = own
    return found


def _registered(cls: type) -> list[type]:
    alive = [c for c in (ref() for ref in _abc._get_dump(cls)[0]) if c is not None]
    return sorted(alive, key=lambda c: (live.module(c), live.name(c)))


def _title(cls: type) -> str:
    return f"registered with {live.module(cls)} {cls.__qualname__}"


def _cls(title: str) -> Any:
    module, _, path = title.removeprefix("registered with ").partition(" ")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def bind(name: str, value: Any) -> None:
    """See places.Place."""
    cls = _cls(name)
    _keep(cls, lambda c: not live.local(c))
    for sub in value:
        cls.register(sub)


def unbind(name: str) -> None:
    """See places.Place."""
    _keep(_cls(name), lambda c: not live.local(c))


def _keep(cls: Any, wanted: Any) -> None:
    """Let only the wanted ones of the registered classes be registered."""
    kept = [c for c in _registered(cls) if wanted(c)]
    _abc._reset_registry(cls)
    for sub in kept:
        _abc._abc_register(cls, sub)
    _abc._reset_caches(cls)
