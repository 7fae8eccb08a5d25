"""Where something lies inside a variable, for people: ``model.cache[3].lock``."""
from __future__ import annotations

import sys
import types
from typing import Any

from . import functions, live, tensors

_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)

LONGEST = 1000  # characters of a path


def key_path(path: str, key: Any) -> str:
    """The path of an element."""
    return f"{path}[{key!r:.40}]" if type(key) in (str, int, float, bytes, bool) else inner_path(path)


def inner_path(path: str) -> str:
    """The path of what has no name inside its container."""
    return f"{path}[…]"


def slots(obj: Any) -> dict[str, Any]:
    """What obj holds in slots of classes written in Python, past their own ways of looking attributes up."""
    found = {}
    for cls in type.mro(type(obj))[:-1]:
        if not vars(cls).get("__slots__"):
            continue
        for key, value in vars(cls).items():
            if type(value) is types.MemberDescriptorType and key not in found:
                try:
                    found[key] = value.__get__(obj)
                except AttributeError:
                    continue
    return found


def quiet(kind: type) -> bool:
    """Whether looking at the dict of an object of this class runs nothing of the program."""
    return all(type(vars(c).get("__dict__")) in (type(None), types.GetSetDescriptorType) for c in type.mro(kind))


def own_dict(obj: Any) -> dict[str, Any]:
    """The dict of what obj itself holds, which it has once somebody looks; empty if it is of no class that has one."""
    try:
        held = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        held = None
    return held if type(held) is dict else {}


def attributes(obj: Any) -> dict[str, Any]:
    """The attributes that obj itself holds."""
    return {**own_dict(obj), **slots(obj)}


def locate(values: dict[str, Any], target: Any, limit: int = 200_000) -> str | None:
    """The path to target inside values; None if it is not found among the first limit objects."""
    queue = [(v, n) for n, v in values.items()]
    seen = {id(v) for v in values.values()}
    keep: list[Any] = []
    for obj, path in queue:
        if obj is target:
            return path
        for child, where in _inside(obj, path):
            if id(child) in seen or len(seen) >= limit:
                continue
            if child is target or type(child) not in _ATOMS:
                seen.add(id(child))
                keep.append(child)
                queue.append((child, where[:LONGEST]))
    return None


def _inside(obj: Any, path: str) -> list[tuple[Any, str]]:
    kind, numpy = type(obj), sys.modules.get("numpy")
    out: list[tuple[Any, str]] = []
    if issubclass(kind, dict):
        pairs = list(dict.items(obj))
        out = [(v, key_path(path, k)) for k, v in pairs] + [(k, inner_path(path)) for k, _ in pairs]
    elif issubclass(kind, list):
        out = [(v, f"{path}[{i}]") for i, v in enumerate(list.__iter__(obj))]
    elif issubclass(kind, tuple):
        out = [(v, f"{path}[{i}]") for i, v in enumerate(tuple.__iter__(obj))]
    elif issubclass(kind, (set, frozenset)):
        base = set if issubclass(kind, set) else frozenset
        out = [(v, f"{path}{{…}}") for v in base.__iter__(obj)]
    elif kind is types.FunctionType:
        names = obj.__code__.co_freevars
        out = [(c, f"{path}.<{n}>") for n, c in zip(names, obj.__closure__ or (), strict=False)]
        out += [(c, path) for c in (obj.__defaults__, obj.__kwdefaults__) if c is not None]
    elif kind is types.CellType:
        out = [(v, path) for v in functions.reduce_cell(obj)[2]]
    elif kind is types.MethodType:
        out = [(obj.__self__, f"{path}.__self__")]
    elif numpy is not None and issubclass(kind, numpy.ndarray) and obj.dtype.hasobject:
        out = [(v, f"{path}[{i}]") for i, v in enumerate(numpy.ndarray.ravel(obj).tolist()[:1000])]
    elif issubclass(kind, type) and live.local(obj):
        out = [(v, f"{path}.{k}") for k, v in vars(obj).items()]
    if tensors.is_exact(kind) and tensors.storage(obj) is not None:
        out += [(v, f"{path}.{k}") for k, v in tensors.others(obj).items()]
    if not issubclass(kind, type):
        out += [(v, f"{path}.{k}") for k, v in attributes(obj).items()]
        if live.local(kind):
            out.append((kind, f"{path}.__class__"))
    return out
