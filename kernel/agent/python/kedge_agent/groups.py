"""Partition names into groups that share mutable objects or memory."""
from __future__ import annotations

import enum
import gc
import sys
import types
from typing import Any, Hashable, Iterable

_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)
_STOP = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType,
         types.GetSetDescriptorType, types.MethodDescriptorType, types.WrapperDescriptorType,
         types.FrameType, enum.Enum)
_LIMIT = 20_000_000  # objects visited in one partition


class TooLarge(Exception):
    """More objects are reachable than a partition may visit."""


def children(obj: Any, ns: dict[str, Any]) -> Iterable[Any]:
    """What obj holds and a snapshot of it must hold too."""
    if isinstance(obj, types.FunctionType):
        if obj.__globals__ is not ns:
            return ()
        return [x for x in (obj.__defaults__, obj.__kwdefaults__, obj.__closure__,
                            obj.__dict__) if x is not None]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(obj, numpy.ndarray):
        held = gc.get_referents(obj)
        return held + obj.ravel().tolist() if obj.dtype.hasobject else held
    return gc.get_referents(obj)


def memory_key(obj: Any) -> Hashable | None:
    """The address of the memory that obj is a view of; None if obj is no array."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(obj, numpy.ndarray) or obj.nbytes == 0:
        return None
    from .arrays import owner
    return ("memory", owner(obj)[0])


def reach(root: Any, ns: dict[str, Any]) -> set[Hashable]:
    """Keys of the shareable things reachable from root."""
    seen: set[Hashable] = set()
    visited: set[int] = set()
    keep: list[Any] = []  # lists made by children() must outlive their ids
    stack = [root]
    while stack:
        obj = stack.pop()
        if isinstance(obj, _ATOMS) or isinstance(obj, _STOP) or obj is ns or id(obj) in visited:
            continue
        visited.add(id(obj))
        keep.append(obj)
        if len(visited) > _LIMIT:
            raise TooLarge(f"more than {_LIMIT} objects")
        if isinstance(obj, types.FunctionType) and obj.__globals__ is not ns:
            continue
        key = memory_key(obj)
        if key is not None:
            seen.add(key)
        if not isinstance(obj, (tuple, frozenset)):
            seen.add(id(obj))
        stack.extend(children(obj, ns))
    return seen


def partition(table: dict[str, Any], ns: dict[str, Any]) -> list[list[str]]:
    """Groups of names, each sorted, ordered by first name."""
    parent = {name: name for name in table}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    holder: dict[Hashable, str] = {}
    for name in sorted(table):
        own = {id(table[name])} if isinstance(table[name], type) else set()
        for key in reach(table[name], ns) | own:
            other = holder.setdefault(key, name)
            parent[find(name)] = find(other)
    groups: dict[str, list[str]] = {}
    for name in sorted(table):
        groups.setdefault(find(name), []).append(name)
    return sorted(groups.values())
