"""Which open files the objects of a group lead to, where that can be told without running anything of theirs."""
from __future__ import annotations

import builtins
import collections
import gc
import io
import os
import threading
import types
import weakref
from collections.abc import Iterable
from typing import Any

from . import live
from .functions import by_name
from .groups import immutable

_MOST = 100_000  # objects looked at
_LAYERS = {io.TextIOWrapper: "buffer", io.BufferedReader: "raw", io.BufferedWriter: "raw", io.BufferedRandom: "raw"}
_HOLDS_NONE = (type(threading.Lock()), type(threading.RLock()), weakref.ref, types.CodeType, types.ModuleType)
# Everything that an object of these kinds holds is known to the garbage collector.
_THROUGH = {list, tuple, dict, set, frozenset, types.CellType, types.MethodType, types.MappingProxyType,
            types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, collections.deque,
            collections.OrderedDict, collections.defaultdict, property, staticmethod, classmethod,
            enumerate, zip, map, filter, reversed,
            *map(type, (iter([]), iter(()), iter({}), iter({}.items()), iter({}.values()), iter(set()), iter(""),
                        iter(range(0)), iter(range(1 << 64))))}


def held(values: Iterable[Any], ns: dict[str, Any]) -> list[str] | None:
    """The absolute paths of the files that values hold open, sorted; None if it cannot be told.

    What functions find in ns by name is not theirs, nor what modules hold.
    """
    found: set[str] = set()
    seen: set[int] = set()
    keep: list[Any] = []
    stack = list(values)
    while stack:
        obj = stack.pop()
        kind = type(obj)
        if id(obj) in seen or obj is ns or obj is vars(builtins) or immutable(kind) or kind in _HOLDS_NONE:
            continue
        seen.add(id(obj))
        keep.append(obj)
        if len(seen) > _MOST:
            return None
        if kind is io.FileIO:
            if not obj.closed:
                if not isinstance(obj.name, str):
                    return None
                found.add(os.path.abspath(obj.name))
            continue
        inside = _inside(obj, kind, ns)
        if inside is None:
            return None
        stack.extend(inside)
    return sorted(found)


def _inside(obj: Any, kind: type, ns: dict[str, Any]) -> list[Any] | None:
    """What obj holds; None if that is not known."""
    if kind in _THROUGH:
        return gc.get_referents(obj)
    if kind in _LAYERS:
        try:
            return [getattr(obj, _LAYERS[kind])]
        except ValueError:  # it has been detached
            return []
    if kind is types.FunctionType:
        if obj.__globals__ is not ns:
            return [] if by_name(obj) else None
        return [obj.__defaults__, obj.__kwdefaults__, obj.__closure__, obj.__dict__]
    if kind is types.BuiltinFunctionType:
        return [obj.__self__]
    if issubclass(kind, type):
        return [*vars(obj).values(), *obj.__bases__] if live.local(obj) else []
    if live.local(kind) and all(live.local(c) or c is object or c in _THROUGH for c in type.mro(kind)):
        return gc.get_referents(obj)
    if kind in (types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType,
                types.MethodDescriptorType, types.ClassMethodDescriptorType):
        return []
    return None
