"""Partition names into groups that share mutable objects or memory."""
from __future__ import annotations

import enum
import gc
import sys
import types
from collections.abc import Hashable, Iterable
from typing import Any

from . import frames
from .arrays import owner

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
        deep = obj.dtype.hasobject and not frames.flat(obj)
        return held + obj.ravel().tolist() if deep else held
    known = frames.parts(obj)
    if known is not None:
        return [*known[0], *known[1]]
    return gc.get_referents(obj)


def memory_key(obj: Any) -> Hashable | None:
    """The address of the memory that obj is a view of; None if obj is no array."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(obj, numpy.ndarray) or obj.nbytes == 0:
        return None
    return ("memory", owner(obj)[0])


def owned_keys(values: Any) -> tuple[set[Hashable], bool]:
    """(keys of what values of pandas consist of, whether some are views of a part of their memory)."""
    keys: set[Hashable] = set()
    partial = False
    stack = [values]
    while stack:
        obj = stack.pop()
        if id(obj) in keys:
            continue
        keys.add(id(obj))
        key = memory_key(obj)
        if key is not None:
            keys.add(key)
            partial = partial or owner(obj)[1] != obj.nbytes
        stack.extend(frames.inside(obj)[1])
    return keys, partial


def reach(root: Any, ns: dict[str, Any]) -> tuple[set[Hashable], set[Hashable]]:
    """Keys of the shareable things reachable from root: (seen by the user, owned by pandas)."""
    seen: set[Hashable] = set()
    owned: set[Hashable] = set()
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
        known = frames.parts(obj)
        if known is None:
            stack.extend(children(obj, ns))
            continue
        stack.extend(known[0])
        values = list(known[1])
        while values:
            value = values.pop()
            if id(value) in owned:
                continue
            keep.append(value)
            owned.add(id(value))
            key = memory_key(value)
            if key is not None:
                owned.add(key)
            elements, more = frames.inside(value)
            stack.extend(elements)
            values.extend(more)
    return seen, owned


def partition(table: dict[str, Any], ns: dict[str, Any]) -> tuple[list[list[str]], set[Hashable]]:
    """(groups of names, each sorted, ordered by first name; keys that the user sees).

    What only pandas objects share joins names only where copy-on-write does not hide it.
    """
    parent = {name: name for name in table}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    holder: dict[Hashable, str] = {}
    plain: set[Hashable] = set()
    hidden: dict[str, set[Hashable]] = {}
    for name in sorted(table):
        own = {id(table[name])} if isinstance(table[name], type) else set()
        seen, hidden[name] = reach(table[name], ns)
        plain |= seen
        for key in seen | own:
            other = holder.setdefault(key, name)
            parent[find(name)] = find(other)
    for name, keys in hidden.items():
        for key in keys & plain if frames.lazy() else keys:
            other = holder.setdefault(key, name)
            parent[find(name)] = find(other)
    groups: dict[str, list[str]] = {}
    for name in sorted(table):
        groups.setdefault(find(name), []).append(name)
    return sorted(groups.values()), plain
