"""Whether what a stream gives back is what was captured: a walk over both, side by side."""
from __future__ import annotations

import collections
import copyreg
import functools
import pickle
import sys
import types
from typing import Any

from . import (
    builtin,
    caches,
    classes,
    figures,
    forked,
    frames,
    functions,
    groups,
    learning,
    libraries,
    live,
    memory,
    tensors,
)
from .ambient import log_handlers
from .paths import LONGEST, attributes, inner_path, key_path, own_dict, quiet

_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)
_SKIPPED = {"_parents", "_cid_gen"}  # of matplotlib: addresses and counters that no program looks at
_CONTAINERS = (list, tuple, dict, set, frozenset)
_EXACT = (str, int, bytes, bool)  # whose equality says all, as that of numbers other than 0 does


class Differs(Exception):
    """What does not come back, and where: the path starts with the variable's name."""


def _name(cls: type) -> tuple[str, str]:
    return live.module(cls), live.name(cls)


def local(cls: type) -> bool:
    """Whether the program may have given cls a way of pickling that is not right."""
    module = live.module(cls)
    path = getattr(sys.modules.get(module), "__file__", None) or ""
    installed = "-packages" in path or "/lib/python" in path
    return module == "__main__" or bool(path) and not installed


def plain(cls: type) -> bool:
    """Whether instances of cls are pickled by their attributes."""
    return (cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__
            and getattr(cls, "__getstate__", None) is getattr(object, "__getstate__", None)
            and not hasattr(cls, "__setstate__") and cls not in copyreg.dispatch_table)


def simple(cls: type) -> bool:
    """Whether objects of cls are what their dict holds: a class of the notebook with no pickling of its own."""
    return (groups.ordinary(cls) and plain(cls) and quiet(cls)
            and not any(vars(c).get("__slots__") for c in type.mro(cls)[:-1])
            and not hasattr(cls, "__getnewargs__") and not hasattr(cls, "__getnewargs_ex__"))


def equal(a: Any, b: Any, ns: dict[str, Any]) -> bool:
    """Whether b is what a capture of a would give back."""
    try:
        Walk(ns).compare({"": a}, {"": b})
    except Exception:
        return False
    return True


class Walk:
    """One comparison. sets says whether a set of several elements was met."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self.ns, self.sets = ns, False
        self._there: dict[int, int] = {}
        self._back: dict[int, int] = {}
        self._moved: dict[int, int] = {}  # address of memory → by how far what comes back lies from it
        self._spans: list[tuple[int, int, int, str]] = []  # of memory: address, length, how far it is moved, where
        self._compared: set[int] = set()  # addresses of the memory of tensors
        self._keep: list[Any] = []
        self._stack: list[tuple[Any, Any, str, bool]] = []
        self._simple = functools.cache(simple)
        self._kinds: dict[type, type] = {}  # what comes back in place of a type; they are compared, or will be

    def compare(self, values: dict[str, Any], back: dict[str, Any]) -> None:
        """Raise Differs unless every name in values has an equal value in back."""
        self._stack = [(v, back[n], n, False) for n, v in values.items()]
        while self._stack:
            forked.pulse[0] += 1
            self._pair(*self._stack.pop())
        self._overlaps()

    def twins(self) -> list[tuple[Any, Any]]:
        """The objects met so far that have an identity, each with what came back in its place."""
        return [(a, b) for a, b in self._keep if self._back.get(id(b)) == id(a)]

    def _need(self, ok: bool, path: str, why: str) -> None:
        if not ok:
            raise Differs(f"{path} {why}")

    def _pair(self, a: Any, b: Any, path: str, owned: bool) -> None:
        if a is b or a is self.ns:
            return
        kind = type(a)
        if kind is not type(b) and self._kinds.get(kind) is not type(b):
            self._need(_name(kind) == _name(type(b)), path,
                       f"is a {kind.__qualname__} and comes back as {type(b).__qualname__}")
            self._push(kind, type(b), path)
            self._kinds[kind] = type(b)
        if kind in (str, bytes, int, bool):
            self._need(a == b, path, "changes")
            return
        if kind in (float, complex, range):
            self._need(repr(a) == repr(b) and (kind is not float or _bits(a) == _bits(b)), path, "changes")
            if kind is float and a != a:
                self._keep.append((a, b))
                same = self._there.setdefault(id(a), id(b)) == id(b) and self._back.setdefault(id(b), id(a)) == id(a)
                self._need(same, path, "is shared in another way when it comes back")
            return
        if id(a) in self._there or id(b) in self._back:
            same = self._there.get(id(a)) == id(b)
            exact = kind.__hash__ is None or kind.__eq__ is object.__eq__ or live.local(kind)
            self._need(same or owned or not exact, path, "is shared in another way when it comes back")
            if same:
                return
        self._there[id(a)] = id(b)
        self._back[id(b)] = id(a)
        self._keep.append((a, b))
        if self._simple(kind) and self._simple(type(b)):
            self._held(a, b, path)
        else:
            self._visit(a, b, path, owned)

    def _held(self, a: Any, b: Any, path: str) -> None:
        """What two objects of a simple class hold."""
        have, got = own_dict(a), own_dict(b)
        for key, value in have.items():
            if key not in got:
                raise Differs(f"{path}.{key} is not kept by the pickling of {type(a).__qualname__}")
            other = got[key]
            if not _equal_atoms(value, other):
                self._push(value, other, f"{path}.{key}")
        for key in got.keys() - have.keys():
            raise Differs(f"{path} comes back with an attribute {key}")

    def _push(self, a: Any, b: Any, path: str, owned: bool = False) -> None:
        if a is not b:
            self._stack.append((a, b, path[:LONGEST], owned))

    def _visit(self, a: Any, b: Any, path: str, owned: bool) -> None:
        kind, numpy = type(a), sys.modules.get("numpy")
        if issubclass(kind, type):
            self._class(a, b, path)
        elif kind is types.FunctionType and not caches.is_dispatcher(a):
            self._function(a, b, path)
        elif kind is types.CodeType:
            self._need(a.co_code == b.co_code and a.co_names == b.co_names, path, "changes")
            self._push(a.co_consts, b.co_consts, path)
        elif kind is types.CellType:
            self._push(functions.reduce_cell(a)[2], functions.reduce_cell(b)[2], path)
        elif issubclass(kind, _CONTAINERS):
            self._container(a, b, path, owned)
        elif numpy is not None and issubclass(kind, numpy.ndarray):
            self._array(a, b, path, owned)
        elif tensors.is_tensor(kind) or issubclass(kind, tensors.storage_class()):
            self._tensor(a, b, path)
        elif numpy is not None and issubclass(kind, numpy.dtype):
            self._need(a == b and a.metadata == b.metadata, path, "changes")
        elif kind is caches.Volatile:
            return
        elif kind is pickle.PickleBuffer:
            self._need(a.raw() == b.raw(), path, "changes")
        elif frames.parts(a) is not None:
            self._pandas(a, b, path, owned)
        elif kind is not types.ModuleType:
            self._object(a, b, path, owned)

    def _container(self, a: Any, b: Any, path: str, owned: bool) -> None:
        if issubclass(type(a), (list, tuple)):
            self._elements(a, b, path, owned)
        elif issubclass(type(a), dict):
            self._dict(a, b, path)
        else:
            self._set(a, b, path)
        if type(a) not in _CONTAINERS:
            self._attributes(a, b, path)

    def _elements(self, a: Any, b: Any, path: str, owned: bool) -> None:
        base = list if issubclass(type(a), list) else tuple
        self._need(base.__len__(a) == base.__len__(b), path, "comes back with another length")
        if base.__len__(a) > 64:
            kinds = set(map(type, base.__iter__(a)))
            if kinds <= {str, int, bytes, bool, type(None)}:
                x, y = list(base.__iter__(a)), list(base.__iter__(b))
                self._need(list(map(type, x)) == list(map(type, y)) and all(map(_same, x, y)), path, "changes")
                return
        for i, (x, y) in enumerate(zip(base.__iter__(a), base.__iter__(b), strict=True)):
            if not _equal_atoms(x, y):
                self._push(x, y, f"{path}[{i}]", owned)

    def _dict(self, a: Any, b: Any, path: str) -> None:
        one, other = list(_items(a)), list(_items(b))
        self._need(len(one) == len(other), path, "comes back with another length")
        for (k, x), (m, y) in zip(one, other, strict=True):
            if not _equal_atoms(k, m):
                self._push(k, m, inner_path(path))
            if not _equal_atoms(x, y):
                self._push(x, y, key_path(path, k))
        if type(a) is not dict:
            self._push(getattr(a, "default_factory", None), getattr(b, "default_factory", None), path)

    def _set(self, a: Any, b: Any, path: str) -> None:
        base = set if issubclass(type(a), set) else frozenset
        x, y = list(base.__iter__(a)), list(base.__iter__(b))
        self._need(len(x) == len(y), path, "comes back with another length")
        self.sets = self.sets or len(x) > 1
        if len(x) > 1:
            self._need(not any(type(e).__hash__ is object.__hash__ for e in x), path,
                       "is a set in the order of addresses")
        for e, f in zip(x, y, strict=True):
            self._push(e, f, f"{path}{{…}}")

    def _array(self, a: Any, b: Any, path: str, owned: bool) -> None:
        numpy = sys.modules["numpy"]
        flat = numpy.ndarray
        same = (a.dtype == b.dtype and a.shape == b.shape
                and (owned or a.strides == b.strides)
                and a.flags.writeable == b.flags.writeable)
        self._need(same, path, "is laid out in another way when it comes back")
        self._push(a.dtype, b.dtype, path)
        far = memory.address(b) - memory.address(a)
        if a.nbytes and not owned:
            start, length, _ = memory.owner(a)
            self._need(self._moved.setdefault(start, far) == far, path, "shares its memory in another way")
            self._spans.append((start, length, far, path))
        if a.dtype.hasobject or type(a.dtype).__name__ == "StringDType":
            self._elements(flat.ravel(a).tolist(), flat.ravel(b).tolist(), path, owned)
        elif a.size and far:
            self._need(flat.tobytes(a) == flat.tobytes(b), path, "changes")
        if type(a) is not flat:
            self._attributes(a, b, path)

    def _tensor(self, a: Any, b: Any, path: str) -> None:
        """Two tensors or two storages."""
        one, other = tensors.span(a), tensors.span(b)
        self._need((one and one[1]) == (other and other[1]), path, "comes back with another length")
        if one is not None and other is not None:
            far = other[0] - one[0]
            self._need(self._moved.setdefault(one[0], far) == far, path, "shares its memory in another way")
            if one[0] not in self._compared:
                self._compared.add(one[0])
                self._spans.append((*one, far, path))
                self._need(tensors.same_bytes(one[0], other[0], one[1]), path, "changes")
        if tensors.is_tensor(type(a)):
            self._need(not tensors.differs(a, b), path, "is laid out in another way when it comes back")
            for x, y in zip(tensors.parts(a), tensors.parts(b), strict=True):
                self._push(x, y, path)

    def _overlaps(self) -> None:
        """What overlapped must overlap again, in the same way: tensors may lie in the memory of arrays."""
        end, last = 0, 0
        for start, length, far, path in sorted(self._spans) if self._compared else ():
            self._need(start >= end or far == last, path, "shares its memory in another way")
            end, last = max(end, start + length), far

    def _pandas(self, a: Any, b: Any, path: str, inner: bool) -> None:
        for owned, (x, y) in enumerate(zip(frames.parts(a), frames.parts(b), strict=True)):  # type: ignore
            if inner and not owned:  # the name of a level of a MultiIndex is that of the MultiIndex
                continue
            self._need(len(x) == len(y), path, "is made of other parts when it comes back")
            for one, other in zip(x, y, strict=True):
                self._push(one, other, path, bool(owned))

    def _function(self, a: Any, b: Any, path: str) -> None:
        space = a.__globals__
        if space is not self.ns and functions.by_name(a):
            self._need(False, path, "is a function that comes back as another")
        if b.__globals__ is not space:
            known = self._there.setdefault(id(space), id(b.__globals__))
            back = self._back.setdefault(id(b.__globals__), id(space))
            self._need(known == id(b.__globals__) and back == id(space) and space is not self.ns, path,
                       "has other globals when it comes back")
            self._keep.append((space, b.__globals__))
            for key in space.keys() - {"__builtins__"}:
                self._push(space[key], b.__globals__.get(key), f"{path}.__globals__[{key!r}]")
        for key in ("__code__", "__defaults__", "__kwdefaults__", "__closure__", "__dict__",
                    "__annotations__", "__qualname__", "__doc__"):
            self._push(getattr(a, key), getattr(b, key), f"{path}.{key}" if key != "__dict__" else path)

    def _class(self, a: type, b: type, path: str) -> None:
        self._need(_name(a) == _name(b) and live.local(a), path, "is a class that comes back as another")
        x, y = classes.held(a), classes.held(b)
        for key, value in x.items():
            self._need(key in y, path, f"loses its attribute {key}")
            self._push(value, y[key], f"{path}.{key}")
        self._need(not y.keys() - x.keys() - {"__doc__"}, path, "comes back with more attributes")
        for one, other in ((a.__bases__, b.__bases__), (classes.registered(a), classes.registered(b))):
            self._need(len(one) == len(other), path, "is a class that comes back as another")
            for c, d in zip(one, other, strict=True):
                self._push(c, d, path)

    def _attributes(self, a: Any, b: Any, path: str, strict: bool = True, owned: bool = False) -> None:
        have, got = attributes(a), attributes(b)
        made_by_looking = libraries.cached(a)
        for key in (k for k in have if k not in made_by_looking):
            if key in got:
                if strict:
                    self._push(have[key], got[key], f"{path}.{key}", owned and _array(have[key]))
            elif strict or not key.startswith("_"):
                raise Differs(f"{path}.{key} is not kept by the pickling of {type(a).__qualname__}")
        if strict and local(type(a)):
            more = [k for k in got if k not in have]
            self._need(not more, path, f"comes back with an attribute {''.join(more[:1])}")

    def _object(self, a: Any, b: Any, path: str, owned: bool) -> None:
        """Compare two objects. The arrays that an owned one consists of are owned too: dates, what has a mask."""
        cls, own = type(a), _reducer(a)
        by_attributes = own is NotImplemented and (plain(cls) or local(cls)) and attributes(a) != {}
        strict = own is NotImplemented and (plain(cls) and attributes(a) != {} or local(cls))
        if own is NotImplemented:
            self._attributes(a, b, path, strict, owned)
        solid = next(c for c in type.mro(cls) if not local(c))
        if by_attributes and solid is object:
            return
        x, y = (reduction(v, solid if local(cls) and solid is not object else None) for v in (a, b))
        self._need(type(x) is type(y), path, "changes")
        if isinstance(x, str):
            self._need(x == y, path, "changes")
            return
        self._keep.append((x, y))
        for i, (one, other) in enumerate(zip(x, y, strict=True)):
            if i == 2:
                self._state(one, other, path, cls, owned)
            elif one is not None or other is not None:
                self._push(one, other, path)

    def _state(self, a: Any, b: Any, path: str, cls: type, owned: bool) -> None:
        """Two states of objects of one class; what only the second has was made by looking at it."""
        if type(a) is tuple and type(b) is tuple and len(a) == len(b) and not local(cls):
            for one, other in zip(a, b, strict=True):
                self._state(one, other, path, cls, owned)
        elif type(a) is dict and type(b) is dict:
            for key in a:
                if key not in _SKIPPED or not str(cls.__module__).startswith(("matplotlib", "mpl_")):
                    self._need(key in b, f"{path}.{key}", "is lost")
                    self._push(a[key], b[key], f"{path}.{key}", owned and _array(a[key]))
        elif a is not None or b is not None:
            self._push(a, b, path, owned and _array(a))


def _array(obj: Any) -> bool:
    return issubclass(type(obj), memory.numpy_arrays())


def _items(obj: Any) -> Any:
    """The items of a dict, past what a class of the program makes of them."""
    kind = type(obj)
    if kind is not dict and local(kind):
        return (collections.OrderedDict if issubclass(kind, collections.OrderedDict) else dict).items(obj)
    return obj.items()


def _bits(x: float) -> bytes:
    return pickle.dumps(x, 1)


def _same(x: Any, y: Any) -> bool:
    return x is y or x == y


def _equal_atoms(x: Any, y: Any) -> bool:
    """Whether both are one and the same, or equal and of a kind whose equality says all."""
    kind = type(x)
    return x is y or kind is type(y) and (kind in _EXACT or kind is float and x != 0) and x == y


def _reducer(obj: Any) -> Any:
    """Our own reduction of obj, NotImplemented if it has none."""
    kind = type(obj)
    if kind is types.MethodType:
        return functions.reduce_method(obj)
    if kind is types.FunctionType:
        return caches.reduce_dispatcher(obj)
    if classes.is_member(obj):
        return classes.reduce_member(obj)
    for family in (builtin, frames, libraries, figures, log_handlers, learning):
        made = family.reduce(obj, kind) if family is builtin else family.reduce(obj)  # type: ignore[call-arg]
        if made is not NotImplemented:
            return made
    return NotImplemented


def reduction(obj: Any, cls: type | None = None) -> Any:
    """How obj, seen as a cls, is pickled, with what would be iterated as lists."""
    made = _reducer(obj)
    if made is NotImplemented:
        own = copyreg.dispatch_table.get(cls or type(obj))
        made = (cls or type(obj)).__reduce_ex__(obj, 5) if own is None else own(obj)
    if isinstance(made, str):
        return made
    parts = list(made) + [None] * (6 - len(made))
    parts[3:5] = [None if p is None else list(p) for p in parts[3:5]]
    return tuple(parts)
