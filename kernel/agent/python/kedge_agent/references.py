"""Parts of variables by where they lie: what a cell shows as its result, and shares with variables, refers to them.

A path leads by way of what a capture of the variable brings back: elements, attributes that are pickled as they are,
blocks and axes of frames, the array that a view shows.
"""
from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

from . import builtin, classes, columnar, forked, frames, groups, libraries, live, memory, named, proof
from .paths import attributes, quiet

Path = tuple[tuple[str, Any], ...]

_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)
_KEYS = (str, int, bool, type(None))
_LIMIT = 100_000  # objects among which a part is looked for
_DEEPEST = 40  # steps of a path
_PANDAS = ("_mgr", "_attrs", "_data", "_references", "_categories")  # what pandas' pickling keeps


class Reference:
    """Stands in a stream for a part of a variable."""

    def __init__(self, obj: Any, name: str, path: Path) -> None:
        self.obj, self.name = obj, name  # what has an address in a table has to live
        self._found = (name, path, _shape(obj))

    def reduce(self) -> tuple[Any, ...]:
        """A reduction that gives the part where the stream is read."""
        return part, self._found


def part(name: str, path: Path, shape: tuple[Any, ...]) -> Any:
    """The part of the variable, as it is where the stream is read. LookupError if there is none of that shape."""
    where = live.current()
    obj = where.fresh[name] if name in where.fresh else where.ns[name]
    for way in path:
        obj = step(obj, *way)
    if _shape(obj) != shape:
        raise LookupError(f"a part of {name} is another than it was")
    return obj


def _shape(obj: Any) -> tuple[Any, ...]:
    """What is compared of a part, so that a path that leads elsewhere is noticed."""
    kind = type(obj)
    title = (live.module(kind), live.name(kind))
    if issubclass(kind, memory.numpy_arrays()):
        return (*title, obj.dtype.str, obj.shape, obj.strides, bool(obj.flags.writeable))
    return title


def step(obj: Any, how: str, key: Any) -> Any:
    """What one step of a path leads to."""
    kind = type(obj)
    if how == "key":
        return dict(dict.items(obj))[key] if kind is not dict else obj[key]  # past what a missing key does
    if how == "at":
        return (list if issubclass(kind, list) else tuple).__getitem__(obj, key)
    if how == "viewed":
        return builtin.viewed(obj)
    if how == "base":
        bottom = memory.root(obj)
        if memory.address(obj) - memory.address(bottom) != key:
            raise LookupError("a view lies elsewhere")
        return bottom
    if how == "element":
        return memory.numpy_arrays().ravel(obj)[key]
    if how == "own":  # of a type written in C
        return object.__getattribute__(obj, key)
    if how == "block":
        return obj.blocks[key]
    if how == "axis":
        return obj.axes[key]
    return attributes(obj)[key]


def _kept(kind: type) -> bool:
    """Whether objects of a class come back with all their attributes, and looking at those runs nothing."""
    if not quiet(kind):
        return False
    if proof.plain(kind):
        return True
    base = getattr(sys.modules.get("sklearn.base"), "BaseEstimator", None)
    return (base is not None and issubclass(kind, base) and kind.__getstate__ is base.__getstate__
            and kind.__reduce_ex__ is object.__reduce_ex__)


def _inside(obj: Any, ns: dict[str, Any]) -> Iterator[tuple[Any, tuple[str, Any]]]:
    """What obj holds, each with the step that leads there."""
    kind = type(obj)
    if obj is ns or issubclass(kind, (type, types.ModuleType, types.FunctionType)) or named.name(obj) is not None:
        return
    if issubclass(kind, (dict, list, tuple)):
        yield from _elements(obj, kind)
    elif issubclass(kind, memory.numpy_arrays()):
        yield from _array(obj)
    elif kind in (types.MethodType, types.BuiltinFunctionType):
        yield obj.__self__, ("own", "__self__")
    elif kind is memoryview:
        yield obj.obj, ("own", "obj")
    elif kind in builtin.VIEWS:
        yield builtin.viewed(obj), ("viewed", None)
    elif frames.is_block(obj):
        yield from ((object.__getattribute__(obj, key), ("own", key)) for key in ("values", "refs"))
    elif frames.is_array(obj):
        yield from ((object.__getattribute__(obj, key), ("own", key)) for key in ("_ndarray", "_dtype"))
    elif frames.is_manager(obj):
        yield from ((v, ("block", i)) for i, v in enumerate(obj.blocks))
        yield from ((v, ("axis", i)) for i, v in enumerate(obj.axes))
    if not issubclass(kind, memory.numpy_arrays()):
        yield from _attributes(obj, kind)


def _elements(obj: Any, kind: type) -> Iterator[tuple[Any, tuple[str, Any]]]:
    base = dict if issubclass(kind, dict) else list if issubclass(kind, list) else tuple
    if base.__len__(obj) > _LIMIT:
        return
    if base is dict:
        yield from ((v, ("key", k)) for k, v in dict.items(obj) if type(k) in _KEYS)
    else:
        yield from ((v, ("at", i)) for i, v in enumerate(base.__iter__(obj)))


def _array(obj: Any) -> Iterator[tuple[Any, tuple[str, Any]]]:
    bottom = memory.root(obj)
    if bottom is not obj:
        yield bottom, ("base", memory.address(obj) - memory.address(bottom))
    if obj.dtype.hasobject and obj.dtype.names is None and obj.size <= 1000:
        yield from ((v, ("element", i)) for i, v in enumerate(memory.numpy_arrays().ravel(obj).tolist()))


def _attributes(obj: Any, kind: type) -> Iterator[tuple[Any, tuple[str, Any]]]:
    if _kept(kind):
        left = libraries.cached(obj)
        yield from ((v, ("attribute", k)) for k, v in attributes(obj).items() if k not in left)
        try:
            yield object.__getattribute__(obj, "__dict__"), ("own", "__dict__")
        except AttributeError:
            return
    elif live.module(kind).partition(".")[0] == "pandas":
        yield from ((v, ("attribute", k)) for k, v in attributes(obj).items() if k in _PANDAS)


def _walk(roots: list[tuple[Any, str, Path]], ns: dict[str, Any]) -> Iterator[tuple[Any, tuple[str, Path]]]:
    """Every object that paths lead to, the nearest first. Numbers and strings count only as a root."""
    queue, seen = list(roots), set()
    keep: list[Any] = []
    for obj, name, path in queue:
        if id(obj) in seen or _single(obj):
            continue
        seen.add(id(obj))
        keep.append(obj)
        forked.pulse[0] += 1
        if len(seen) > _LIMIT or len(path) > _DEEPEST:
            raise LookupError("too much to look at")
        yield obj, (name, path)
        if not groups.immutable(type(obj)):
            queue.extend((child, name, (*path, step)) for child, step in _inside(obj, ns) if not _single(child))


def _single(obj: Any) -> bool:
    """Whether obj stands for itself wherever it is met."""
    kind = type(obj)
    return (kind in _ATOMS or (kind is tuple or kind is frozenset) and not obj
            or issubclass(kind, (type, types.ModuleType, types.CodeType)))


def _reach(values: Iterable[Any], ns: dict[str, Any]) -> groups.Reach:
    """What is reached from values, by way of the notebook's classes too."""
    found, met = list(values), set()
    while True:
        reach = groups.Reach(found, ns)
        new = [c for i, c in reach.classes.items() if i not in met]
        if not new:
            return reach
        met.update(map(id, new))
        found.extend(value for c in new for value in (*classes.held(c).values(), *c.__bases__, type(c)))


def _lends(one: groups.Reach, other: groups.Reach) -> bool:
    """Whether Arrow or polars shows memory of the other in one, or something may that does not tell."""
    memories = columnar.Memories(other.extents.values())
    return one.silent and bool(other.extents) or memories.meet(one.lent)


class Shared:
    """What a result shares with variables. others are all values that a program can reach by other ways.

    LookupError if there is too much to look at.
    """

    def __init__(self, result: Any, variables: dict[str, Any], others: Iterable[Any], ns: dict[str, Any]) -> None:
        self._ns = ns
        wanted = {id(obj) for obj, _ in _walk([(result, "", ())], ns)}
        self.parts: dict[int, Reference] = {}  # by address
        self.any = bool(wanted)
        if not self.any:  # a number, a string
            return
        self._others = _reach(others, ns)  # lives as long as the addresses are compared
        self.keys = self._others.seen | self._others.owned
        # These have no key by which they are met, and may be parts: categories are held by a dtype.
        whole = type(result) is tuple or groups.immutable(type(result)) or frames.is_index(result)
        if not whole and not self._of(result):
            self.any = False
            return
        for obj, (name, path) in _walk([(v, n, ()) for n, v in variables.items()], ns):
            if id(obj) in wanted and id(obj) not in self.parts:
                self.parts[id(obj)] = Reference(obj, name, path)
        self.any = bool(self.parts) or bool(self._of(result))

    def names(self) -> list[str]:
        """The variables that are referred to."""
        return sorted({part.name for part in self.parts.values()})

    def seen(self, plain: groups.Seen) -> groups.Seen:
        """plain, with what variables have."""
        made = groups.Seen()
        made |= plain | self.keys
        made.joined, made.memories = plain.joined, plain.memories
        return made

    def differs(self, values: dict[str, Any], back: dict[str, Any]) -> str:
        """How what is read back shares in another way than what was saved; empty if it does not."""
        for name, value in values.items():
            if self._of(value) != self._of(back[name]):
                return f"{name} is shared in another way when it comes back"
        return ""

    def _of(self, value: Any) -> set[Any]:
        """What a program, or pandas, has of value in others too."""
        reach = groups.Reach([value], self._ns)
        if _lends(reach, self._others) or _lends(self._others, reach):
            raise LookupError("shares memory by way of a library")
        return (reach.seen | reach.owned) & self.keys
