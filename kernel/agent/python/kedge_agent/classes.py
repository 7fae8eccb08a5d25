"""Classes of the notebook by value, and enumerations' members; one class stays one class over all groups.

A stream names a class by a token and holds its definition too. Where a class of that token lives, reading a
stream updates it in place; else it makes one.
"""
from __future__ import annotations

import _abc
import abc
import contextlib
import enum
import types
from collections.abc import Iterator
from typing import Any

from . import learning
from . import live as live_
from .live import Live, current, local, name

_MIXED = (int, str, float, bytes, complex, tuple)


def _own_descriptor(cls: type, value: Any) -> bool:
    """Whether value comes into being with cls: a slot, or the way to its dict."""
    kind = type(value)
    return (kind in (types.MemberDescriptorType, types.GetSetDescriptorType)
            and value.__objclass__ is cls)


def held(cls: type) -> dict[str, Any]:
    """The attributes of cls that its definition consists of, the docstring first: where it stands depends on Python."""
    skipped = {*live_.SKIPPED, *learning.made_by(type(cls))}
    found = {k: v for k, v in vars(cls).items() if k not in skipped and not _own_descriptor(cls, v)}
    return {"__doc__": found.pop("__doc__", None), **found}


def registered(cls: type) -> list[type]:
    """The classes that were registered with an abstract one, by name."""
    if not isinstance(type(cls), type) or not issubclass(type(cls), abc.ABCMeta) or "_abc_impl" not in vars(cls):
        return []
    found = [ref() for ref in _abc._get_dump(cls)[0]]
    return sorted((c for c in found if c is not None), key=lambda c: (str(live_.module(c)), name(c)))


def reduce_class(cls: type, live: Live) -> Any:
    """By value for classes of the notebook; NotImplemented for those of modules."""
    if not local(cls):
        return NotImplemented
    slots = vars(cls).get("__slots__")
    qualified = type.__dict__["__qualname__"].__get__(cls)  # type: ignore[index]
    return (make_class, (live.token(cls), type(cls), name(cls), cls.__bases__, slots),
            (qualified, held(cls), registered(cls)), None, None, set_class)


@contextlib.contextmanager
def _quiet(bases: tuple[type, ...]) -> Iterator[None]:
    """Nothing of the program runs when a subclass of bases is made."""
    def nothing(cls: type, **_: Any) -> None:
        return None

    found = {id(c): c for base in bases for c in type.mro(base) if "__init_subclass__" in vars(c)}
    hooks = []
    for c in found.values():
        hook = vars(c)["__init_subclass__"]
        with contextlib.suppress(TypeError):  # a built-in class
            type.__setattr__(c, "__init_subclass__", classmethod(nothing))
            hooks.append((c, hook))
    try:
        yield
    finally:
        for c, hook in hooks:
            type.__setattr__(c, "__init_subclass__", hook)


def make_class(token: str, meta: type, title: str, bases: tuple[type, ...], slots: Any) -> type:
    """The live class of this token, or a new one without attributes."""
    live = current()
    found = live.find(token)
    if found is not None:
        return found
    body: dict[str, Any] = {"__module__": "__main__"}
    if slots is not None:
        body["__slots__"] = slots
    with _quiet(bases):
        made = type.__new__(meta, title, bases, body)
    if learning.made_by(meta):
        meta.__init__(made, title, bases, body)
    live.put(token, made)
    return made


def set_class(cls: type, state: tuple[str, dict[str, Any], list[type]]) -> None:
    """Fill a class made by make_class, or lay over a live one what differs."""
    from . import proof
    qualified, attributes, subs = state
    live, have = current(), held(cls)
    if live.journal is not None:
        live.journal.append((cls, have))
    cls.__qualname__ = qualified
    for key in have.keys() - attributes.keys():
        if key != "__doc__":
            type.__delattr__(cls, key)
    for key, value in attributes.items():
        if key not in have or not proof.equal(have[key], value, live.ns):
            type.__setattr__(cls, key, value)
    if issubclass(type(cls), abc.ABCMeta) and "_abc_impl" not in vars(cls):
        _abc._abc_init(cls)
    for sub in subs:
        _abc._abc_register(cls, sub)


def is_member(obj: Any) -> bool:
    """Whether obj is a member of an enumeration of the notebook."""
    return issubclass(type(obj), enum.Enum) and local(type(obj))


def reduce_member(obj: Any) -> tuple[Any, ...]:
    """A member by what it consists of: its class may not be filled yet when it is read."""
    cls = type(obj)
    mixed = next((base for base in _MIXED if issubclass(cls, base)), None)
    args = () if mixed is None else (base_value(mixed, obj),)
    state = dict(vars(obj))
    return make_member, (cls, state.get("_name_"), state.get("_value_"), args), state, None, None, set_member


def base_value(mixed: type, obj: Any) -> Any:
    """The plain value of an instance of a subclass of a built-in type."""
    if mixed is tuple:
        return tuple(tuple.__iter__(obj))
    if mixed is str:
        return str.__str__(obj)
    if mixed is bytes:
        return bytes.__add__(obj, b"")
    return mixed.__pos__(obj)  # type: ignore[attr-defined]


def make_member(cls: type, title: Any, value: Any, args: tuple[Any, ...]) -> Any:
    """The member that cls has under this name or value, else one without attributes."""
    found = vars(cls).get("_member_map_", {}).get(title)
    if found is None and type(value) is int:
        found = vars(cls).get("_value2member_map_", {}).get(value)
    base = type(args[0]) if args else object
    return base.__new__(cls, *args) if found is None else found


def set_member(obj: Any, state: dict[str, Any]) -> None:
    """Fill a new member."""
    if "_name_" not in vars(obj):
        vars(obj).update(state)
