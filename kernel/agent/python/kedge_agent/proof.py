"""Whether what a stream gives back is what was captured: a walk over both, side by side."""
from __future__ import annotations

import copyreg
import pickle
import sys
import types
from typing import Any

from . import figures, frames, functions
from .groups import _ATOMS

_SKIPPED = {"_parents", "_cid_gen"}  # of matplotlib: addresses and counters that no program looks at
_EXACT = (list, dict, set, bytearray)  # two of these are never one after a restore


class Differs(Exception):
    """What does not come back, and where: the path starts with the variable's name."""


def key_path(path: str, key: Any) -> str:
    """The path of an element."""
    return f"{path}[{key!r:.40}]" if isinstance(key, (str, int, float, bytes, bool)) else f"{path}[…]"


def _name(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _local(cls: type) -> bool:
    """Whether the program may have given cls a way of pickling that is not right."""
    path = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    installed = "-packages" in path or "/lib/python" in path
    return cls.__module__ == "__main__" or bool(path) and not installed


def _plain(cls: type) -> bool:
    """Whether instances of cls are pickled by their attributes."""
    return (cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__
            and getattr(cls, "__getstate__", None) is getattr(object, "__getstate__", None)
            and not hasattr(cls, "__setstate__") and cls not in copyreg.dispatch_table)


def _slots(obj: Any) -> dict[str, Any]:
    names = copyreg._slotnames(type(obj)) or ()  # type: ignore[attr-defined]
    return {n: getattr(obj, n) for n in names if hasattr(obj, n)}


def attributes(obj: Any) -> dict[str, Any]:
    """The attributes that obj itself holds."""
    held = getattr(obj, "__dict__", None)
    return {**(held if type(held) is dict else {}), **_slots(obj)}


class Walk:
    """One comparison. sets says whether a set of several elements was met."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self.ns, self.sets = ns, False
        self._there: dict[int, int] = {}
        self._back: dict[int, int] = {}
        self._keep: list[Any] = []
        self._stack: list[tuple[Any, Any, str, bool]] = []

    def compare(self, values: dict[str, Any], back: dict[str, Any]) -> None:
        """Raise Differs unless every name in values has an equal value in back."""
        self._stack = [(v, back[n], n, False) for n, v in values.items()]
        while self._stack:
            self._pair(*self._stack.pop())

    def _need(self, ok: bool, path: str, why: str) -> None:
        if not ok:
            raise Differs(f"{path} {why}")

    def _pair(self, a: Any, b: Any, path: str, owned: bool) -> None:
        if a is b or a is self.ns:
            return
        kind = type(a)
        if kind is not type(b):
            self._need(_name(kind) == _name(type(b)), path,
                       f"is a {kind.__qualname__} and comes back as {type(b).__qualname__}")
        if kind in (str, bytes, int, bool):
            self._need(a == b, path, "changes")
            return
        if isinstance(a, _ATOMS) and kind in (float, complex, range):
            self._need(repr(a) == repr(b), path, "changes")
            return
        if id(a) in self._there or id(b) in self._back:
            same = self._there.get(id(a)) == id(b)
            exact = kind in _EXACT or kind.__module__ == "__main__" and not isinstance(a, type)
            self._need(same or owned or not exact, path, "is shared in another way when it comes back")
            if same:
                return
        self._there[id(a)] = id(b)
        self._back[id(b)] = id(a)
        self._keep.append((a, b))
        self._visit(a, b, path, owned)

    def _push(self, a: Any, b: Any, path: str, owned: bool = False) -> None:
        if a is not b:
            self._stack.append((a, b, path, owned))

    def _visit(self, a: Any, b: Any, path: str, owned: bool) -> None:
        numpy = sys.modules.get("numpy")
        if isinstance(a, type):
            self._class(a, b, path)
        elif isinstance(a, types.FunctionType):
            self._function(a, b, path)
        elif isinstance(a, types.CodeType):
            self._need(a.co_code == b.co_code and a.co_names == b.co_names, path, "changes")
        elif isinstance(a, types.CellType):
            for x, y in zip(functions.reduce_cell(a)[2], functions.reduce_cell(b)[2], strict=True):
                self._push(x, y, path)
        elif isinstance(a, (list, tuple)):
            self._elements(a, b, path, owned)
        elif isinstance(a, dict):
            self._dict(a, b, path)
        elif isinstance(a, (set, frozenset)):
            self._set(a, b, path)
        elif numpy is not None and isinstance(a, numpy.ndarray):
            self._array(a, b, path, owned)
        elif numpy is not None and isinstance(a, numpy.dtype):
            self._need(a == b and a.metadata == b.metadata, path, "changes")
            return
        elif isinstance(a, pickle.PickleBuffer):
            self._need(a.raw() == b.raw(), path, "changes")
        elif frames.parts(a) is not None:
            self._pandas(a, b, path, owned)
            return
        elif not isinstance(a, types.ModuleType):
            self._object(a, b, path)
            return
        if type(a) not in (list, tuple, dict, set, frozenset, types.FunctionType) and not isinstance(a, type):
            self._attributes(a, b, path)

    def _elements(self, a: Any, b: Any, path: str, owned: bool) -> None:
        self._need(len(a) == len(b), path, "comes back with another length")
        if len(a) > 64:
            kinds = set(map(type, a))
            if kinds <= {str, int, bytes, bool, type(None)}:
                same = list(map(type, a)) == list(map(type, b)) and all(map(_same, a, b))
                self._need(same, path, "changes")
                return
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            if not _equal_atoms(x, y):
                self._push(x, y, f"{path}[{i}]", owned)

    def _dict(self, a: Any, b: Any, path: str) -> None:
        self._need(len(a) == len(b), path, "comes back with another length")
        for (k, x), (m, y) in zip(a.items(), b.items(), strict=True):
            if not _equal_atoms(k, m):
                self._push(k, m, path)
            if not _equal_atoms(x, y):
                self._push(x, y, key_path(path, k))
        factory = getattr(a, "default_factory", None)
        self._push(factory, getattr(b, "default_factory", None), path)

    def _set(self, a: Any, b: Any, path: str) -> None:
        self._need(len(a) == len(b), path, "comes back with another length")
        self.sets = self.sets or len(a) > 1
        if len(a) > 1:
            self._need(not any(type(x).__hash__ is object.__hash__ for x in a), path,
                       "is a set in the order of addresses")
        for x, y in zip(a, b, strict=True):
            self._push(x, y, f"{path}{{…}}")

    def _array(self, a: Any, b: Any, path: str, owned: bool) -> None:
        same = (a.dtype == b.dtype and a.shape == b.shape
                and (owned or a.size < 2 or a.strides == b.strides)
                and a.flags.writeable == b.flags.writeable)
        self._need(same, path, "is laid out in another way when it comes back")
        self._push(a.dtype, b.dtype, path)
        if a.dtype.hasobject:
            self._elements(a.ravel().tolist(), b.ravel().tolist(), path, owned)
        elif type(a.dtype).__name__ == "StringDType":
            self._elements(a.ravel().tolist(), b.ravel().tolist(), path, owned)
        elif a.size and a.__array_interface__["data"][0] != b.__array_interface__["data"][0]:
            self._need(a.tobytes() == b.tobytes(), path, "changes")

    def _pandas(self, a: Any, b: Any, path: str, inner: bool) -> None:
        for owned, (x, y) in enumerate(zip(frames.parts(a), frames.parts(b), strict=True)):  # type: ignore
            if inner and not owned:  # the name of a level of a MultiIndex is that of the MultiIndex
                continue
            self._need(len(x) == len(y), path, "is made of other parts when it comes back")
            for one, other in zip(x, y, strict=True):
                self._push(one, other, path, bool(owned))

    def _function(self, a: Any, b: Any, path: str) -> None:
        if a.__globals__ is not self.ns:
            self._need(_name(a) == _name(b), path, "is a function that comes back as another")
            return
        for key in ("__code__", "__defaults__", "__kwdefaults__", "__closure__", "__dict__",
                    "__annotations__", "__qualname__", "__doc__"):
            self._push(getattr(a, key), getattr(b, key), f"{path}.{key}" if key != "__dict__" else path)

    def _class(self, a: type, b: type, path: str) -> None:
        self._need(_name(a) == _name(b), path, "is a class that comes back as another")
        skip = functions._CLASS_SKIP | {"__slots__", "__doc__"} | set(copyreg._slotnames(a) or ())  # type: ignore
        if a.__module__ != "__main__" or hasattr(a, "__members__"):
            return
        for key, value in vars(a).items():
            if key in skip:
                continue
            self._need(key in vars(b), path, f"loses its attribute {key}")
            self._push(value, vars(b)[key], f"{path}.{key}")

    def _attributes(self, a: Any, b: Any, path: str, strict: bool = True) -> None:
        have, got = attributes(a), attributes(b)
        for key in have:
            if key in got:
                if strict:
                    self._push(have[key], got[key], f"{path}.{key}")
            elif strict or not key.startswith("_"):
                raise Differs(f"{path}.{key} is not kept by the pickling of {type(a).__qualname__}")

    def _object(self, a: Any, b: Any, path: str) -> None:
        cls = type(a)
        plain = _plain(cls)
        strict = plain and attributes(a) != {} or _local(cls)
        self._attributes(a, b, path, strict)
        if plain and attributes(a):
            return
        x, y = reduction(a), reduction(b)
        self._need(type(x) is type(y), path, "changes")
        if isinstance(x, str):
            self._need(x == y, path, "changes")
            return
        self._keep.append((x, y))
        for i, (one, other) in enumerate(zip(x, y, strict=False)):
            if i == 2 and type(one) is dict and type(other) is dict:
                for key in one:
                    if key not in _SKIPPED or not cls.__module__.startswith(("matplotlib", "mpl_")):
                        self._need(key in other, f"{path}.{key}", "is lost")
                        self._push(one[key], other[key], f"{path}.{key}")
            elif one is not None or other is not None:
                self._push(one, other, path)


def _same(x: Any, y: Any) -> bool:
    return x is y or x == y


def _equal_atoms(x: Any, y: Any) -> bool:
    """Whether both are one and the same, or equal and of a kind whose equality says all."""
    return x is y or type(x) in (str, int, bytes, bool) and type(x) is type(y) and x == y


def reduction(obj: Any) -> Any:
    """How obj is pickled, with what would be iterated as lists."""
    made = figures.reduce(obj)
    if made is NotImplemented:
        own = copyreg.dispatch_table.get(type(obj))
        made = obj.__reduce_ex__(5) if own is None else own(obj)
    if isinstance(made, str):
        return made
    parts = list(made) + [None] * (6 - len(made))
    parts[3:5] = [None if p is None else list(p) for p in parts[3:5]]
    return tuple(parts)


def locate(values: dict[str, Any], target: Any, limit: int = 200_000) -> str | None:
    """The path to target inside values; None if it is not found among the first limit objects."""
    queue = [(v, n) for n, v in values.items()]
    seen = {id(v) for v in values.values()}
    for obj, path in queue:
        if obj is target:
            return path
        for child, where in _inside(obj, path):
            if id(child) in seen or len(seen) >= limit:
                continue
            if child is target or not isinstance(child, _ATOMS):
                seen.add(id(child))
                queue.append((child, where))
    return None


def _inside(obj: Any, path: str) -> list[tuple[Any, str]]:
    out: list[tuple[Any, str]] = []
    if isinstance(obj, dict):
        out = [(v, key_path(path, k)) for k, v in obj.items()] + [(k, f"{path}[…]") for k in obj]
    elif isinstance(obj, (list, tuple)):
        out = [(v, f"{path}[{i}]") for i, v in enumerate(obj)]
    elif isinstance(obj, (set, frozenset)):
        out = [(v, f"{path}{{…}}") for v in obj]
    elif isinstance(obj, types.FunctionType):
        out = [(c, path) for c in (obj.__closure__, obj.__defaults__, obj.__kwdefaults__) if c is not None]
    elif isinstance(obj, types.CellType):
        out = [(v, path) for v in functions.reduce_cell(obj)[2]]
    elif isinstance(obj, types.MethodType):
        out = [(obj.__self__, f"{path}.__self__")]
    elif hasattr(obj, "dtype") and getattr(obj.dtype, "hasobject", False) and hasattr(obj, "ravel"):
        out = [(v, f"{path}[{i}]") for i, v in enumerate(obj.ravel().tolist()[:1000])]
    if not isinstance(obj, type):
        out += [(v, f"{path}.{k}") for k, v in attributes(obj).items()]
    return out
