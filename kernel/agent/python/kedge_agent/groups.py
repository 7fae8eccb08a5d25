"""Partition names into groups that share mutable objects or memory.

An object refers to its class by token (see classes.py), so it is in a group of its own, whatever else is an
instance of that class, unless something of the class is reached past it: r in ``class C: registry = r``.
"""
from __future__ import annotations

import datetime
import enum
import functools
import gc
import logging
import sys
import types
import weakref
from collections.abc import Hashable, Iterable
from typing import Any, Protocol

from . import (
    atoms,
    classes,
    columnar,
    figures,
    forked,
    frames,
    functions,
    libraries,
    live,
    memory,
    named,
    paths,
    tensors,
)
from .ambient import log_handlers

_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)
_STOP = (types.ModuleType, types.CodeType, logging.Logger, types.BuiltinFunctionType,
         types.GetSetDescriptorType, types.MethodDescriptorType, types.WrapperDescriptorType,
         types.FrameType, enum.Enum)
_IMMUTABLE = {"datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "datetime.timezone",
              "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "re.Pattern", "zoneinfo.ZoneInfo",
              "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib._local.PosixPath",
              "pandas._libs.tslibs.timestamps.Timestamp", "pandas._libs.tslibs.timedeltas.Timedelta",
              "pandas._libs.tslibs.period.Period"}
# Those of them that hold a time zone, which a class of the notebook may be of.
_ZONED = {"datetime.datetime", "datetime.time", "pandas._libs.tslibs.timestamps.Timestamp"}
# What objects hold for themselves: no program looks at it, pickling leaves it out, and the library makes it again.
_INCIDENTAL = {"sympy.core.assumptions.StdFactKB"}
_CONTAINERS = {list, dict, set, frozenset, tuple}
_LIMIT = 20_000_000  # objects visited in one partition


class TooLarge(Exception):
    """More objects are reachable than a partition may visit."""


def immutable(kind: type) -> bool:
    """Whether two names for one such object are as good as two equal ones."""
    title = f"{live.module(kind)}.{live.name(kind)}"
    if title in _ZONED:
        return not _has_zones(datetime.tzinfo)
    if kind in _ATOMS or title in _IMMUTABLE or title in _INCIDENTAL or _is_shared(kind) or ours(kind):
        return True
    numpy = sys.modules.get("numpy")
    return (numpy is not None and issubclass(kind, (numpy.generic, numpy.dtype)) and not memory.is_record(kind)
            and not live.local(kind))


def _has_zones(kind: type) -> bool:
    """Whether a class below kind is of the notebook."""
    return any(live.local(c) or _has_zones(c) for c in type.__subclasses__(kind))


def ours(kind: type) -> bool:
    """Whether kind is the agent's: what a widget holds leads to the kernel, and from there to all that we know."""
    return live.module(kind) == f"{__package__}.handlers"


def is_offset(kind: type) -> bool:
    """Whether kind is an offset of pandas (the step of an index of dates) to which nothing can be attached."""
    return (live.module(kind) == "pandas._libs.tslibs.offsets" and kind.__dictoffset__ == 0
            and "calendar" not in getattr(kind, "_attributes", ("calendar",)))


def enough(wanted: Iterable[str], table: dict[str, Any]) -> dict[str, Any]:
    """As much of table as it takes to know the groups of wanted names.

    With what is immutable, other than a NaN, only a name for the same object shares. A module is saved by its name.
    """
    def single(value: Any) -> bool:
        return immutable(type(value)) or type(value) is types.ModuleType

    values = (table[n] for n in wanted if n in table)
    if all(single(v) and not (isinstance(v, float) and v != v) for v in values):
        return {n: v for n, v in table.items() if single(v)}
    return table


def _is_shared(kind: type) -> bool:
    """Whether a library hands out such objects to many, for they never change: offsets of pandas, numbers of sympy,
    the validators in plotly's figures.
    """
    if is_offset(kind):
        return True
    for module, name in (("_plotly_utils.basevalidators", "BaseValidator"), ("sympy.core.numbers", "Number")):
        base = getattr(sys.modules.get(module), name, None)
        if base is not None and issubclass(kind, base) and not live.local(kind):
            return True
    return False


def ordinary(kind: type) -> bool:
    """Whether objects of a class are what gc says that they hold: it and its bases are classes of the notebook."""
    bases = type.mro(kind)
    return type(kind) is type and len(bases) > 1 and bool(kind.__dictoffset__) and all(
        c is object or type(c) is type and live.local(c) for c in bases)


def children(obj: Any, ns: dict[str, Any]) -> Iterable[Any]:
    """What obj holds and a snapshot of it must hold too."""
    kind = type(obj)
    if kind is types.FunctionType:
        if obj.__globals__ is not ns and functions.by_name(obj):
            return ()
        held = [obj.__defaults__, obj.__kwdefaults__, obj.__closure__, obj.__dict__]
        if obj.__globals__ is not ns and sys.modules.get(obj.__globals__.get("__name__")) is None:
            held.append({k: v for k, v in obj.__globals__.items() if k != "__builtins__"})
        return [x for x in held if x is not None]
    if kind is weakref.ref:
        return (obj(),)
    if kind is types.MethodType and functions.method_owner(obj) is not None:
        return (obj.__self__,)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.ndarray):
        held = gc.get_referents(obj)
        deep = obj.dtype.hasobject and not frames.flat(obj)
        return held + numpy.ndarray.ravel(obj).tolist() if deep else held
    if memory.is_record(kind):
        return (obj.base,)
    if issubclass(kind, (datetime.datetime, datetime.time)):
        zoned = datetime.datetime if issubclass(kind, datetime.datetime) else datetime.time
        return [*gc.get_referents(obj), vars(zoned)["tzinfo"].__get__(obj)]
    if tensors.is_exact(kind):
        return tensors.parts(obj)
    known = frames.parts(obj)
    if known is not None:
        return [*known[0], *known[1]]
    if issubclass(kind, logging.Handler):
        return log_handlers.parts(obj)
    return [*gc.get_referents(obj), *libraries.hidden(obj), *figures.followers(obj)]


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
        key = memory.key(obj)
        if key is not None:
            keys.add(key)
            partial = partial or memory.owner(obj)[1] != obj.nbytes
        stack.extend(frames.inside(obj)[1])
    return keys, partial


class Watch(Protocol):
    """Looks at what a partition meets, before the partition does. May raise, which ends the partition."""

    def kind(self, kind: type) -> None:
        """Look at a type that is not of the type type."""

    def leaf(self, kind: type) -> bool:
        """Whether immutable objects of this kind are no objection."""

    def text(self, length: int) -> None:
        """Look at a string of this length."""

    def owned(self, value: Any) -> bool:
        """Whether a part of a value of pandas is no objection."""

    def object(self, obj: Any, kind: type) -> bool:
        """Whether obj, which is of this kind, is no objection."""


class Seen(set[Hashable]):
    """Keys of what the user can share, and what tensors share with others: address → (address, length, holder).

    own are the keys of memory that the group reaches which is being saved; None if that is not known.
    """

    own: set[Hashable] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.joined: dict[int, tuple[int, int, Any]] = {}
        self.memories = columnar.Memories(())


class Reach:
    """What can be reached from one name, or from one class by what it holds."""

    def __init__(self, roots: Iterable[Any], ns: dict[str, Any], watch: Watch | None = None) -> None:
        self.here = watch is not None  # whether watch has no objection to pickling any of it
        self.seen: set[Hashable] = set()  # keys of what the user can share
        self.owned: set[Hashable] = set()  # keys of what only pandas can
        self.memory: set[Hashable] = set()  # keys of memory among both
        self.classes: dict[int, type] = {}  # of the notebook
        self.spans: dict[int, tuple[int, int, Any, bool]] = {}  # address, length, holder, and whether a tensor's
        self._torch = tensors.tensor_class() != ()
        self.special = False  # whether the namespace is reached, or a NaN
        self.interned: set[str] = set()
        self._dicts: dict[type, bool] = {}  # whether looking at the dict of such an object runs nothing of the program
        self.extents: dict[int, tuple[int, int, Any]] = {}  # of memory that others may show: address, length, holder
        self.lent: list[columnar.Span] = []  # what Arrow and polars show
        self.silent = False  # whether something is met that may show memory and does not tell which
        self._shows = functools.cache(columnar.shows)
        self._keep: list[Any] = []  # lists made by children() must outlive their ids
        self._ns, self._watch = ns, watch
        self._walk(list(roots))

    def _walk(self, stack: list[Any]) -> None:
        visited: set[int] = set()
        leaves: dict[type, bool] = {}
        bare = functools.cache(lambda kind: kind in _CONTAINERS or ordinary(kind))
        numbers: set[type] = set()
        ns, watch = self._ns, self._watch
        while stack:
            obj = stack.pop()
            kind = type(obj)
            if id(obj) in visited:
                continue
            if watch is not None and type(kind) is not type:
                watch.kind(kind)
            leaf = leaves.get(kind)
            if leaf is None:
                leaf = leaves[kind] = immutable(kind)
                numbers.update([kind] if leaf and issubclass(kind, float) else ())
                if leaf and watch is not None:
                    self.here = watch.leaf(kind) and self.here
            if leaf:
                if watch is not None and (kind is str or kind is bytes):
                    watch.text(len(obj))
                if kind is str:
                    self._text(obj)
                if kind in numbers and obj != obj:
                    self._nan(obj)
                continue
            visited.add(id(obj))
            if obj is ns or named.name(obj) is not None:
                self.special = self.special or obj is ns
                continue
            if watch is not None:
                self.here = watch.object(obj, kind) and self.here
            if bare(kind):
                self._met(obj, visited)
                if kind is dict:
                    self._keys(obj)
                elif kind not in _CONTAINERS:
                    self._attributes(obj, kind)
                if kind is not tuple and kind is not frozenset:
                    self.seen.add(id(obj))
                stack.extend(gc.get_referents(obj))
                continue
            if issubclass(kind, type):
                if live.local(obj):
                    self.classes[id(obj)] = obj
                continue
            if issubclass(kind, _STOP):
                if live.local(kind):
                    self.classes[id(kind)] = kind
                if kind is types.BuiltinFunctionType:  # a method of an object, such as items.append
                    stack.append(obj.__self__)
                continue
            self._met(obj, visited)
            if kind is types.FunctionType and obj.__globals__ is not ns and functions.by_name(obj):
                continue
            if issubclass(kind, dict):
                self._keys(obj)
            self._memory(obj)
            if kind is not tuple and kind is not frozenset:
                self.seen.add(id(obj))
            known = frames.parts(obj)
            if known is None:
                if kind.__dictoffset__ and live.heap(kind):  # others pickle whether somebody has looked
                    self._attributes(obj, kind)
                stack.extend(children(obj, ns))
                continue
            stack.extend(known[0])
            stack.extend(self._own(list(known[1])))

    def shows(self, start: int) -> None:
        """Note that the user can share the memory at start."""
        self.memory.add(("memory", start))
        self.seen.add(("memory", start))

    def _met(self, obj: Any, visited: set[int]) -> None:
        self._keep.append(obj)
        forked.pulse[0] += 1
        if len(visited) > _LIMIT:
            raise TooLarge(f"more than {_LIMIT} objects")

    def _keys(self, obj: dict[Any, Any]) -> None:
        """Note the keys of a dict, which gc leaves out if all of them are strings."""
        for key in dict.__iter__(obj):
            if type(key) is str and key not in self.interned:
                self._text(key)

    def _memory(self, obj: Any) -> None:
        """Note which memory obj shows, if any."""
        if self._shows(type(obj)):
            self.lent.extend(columnar.spans(obj))
            self.silent = self.silent or columnar.silent(obj)
        found = memory.shown(obj)
        if found is None:
            return
        self.shows(found[0])
        self.extents[found[0]] = found
        if self._torch:
            lent = tensors.is_tensor(type(obj)) or issubclass(type(obj), tensors.storage_class())
            self.spans[found[0]] = (*found, lent or found[0] in self.spans and self.spans[found[0]][3])

    def _text(self, obj: str) -> None:
        if atoms.is_interned(obj) and obj not in self.interned:  # a hash of another may take long
            if len(obj) > 1 or obj and obj is not chr(ord(obj)):  # else unpickling gives the one that there is
                self.interned.add(obj)

    def _attributes(self, obj: Any, kind: type) -> None:
        """Note the names of what obj itself holds."""
        if kind not in self._dicts:
            self._dicts[kind] = paths.quiet(kind)
        if self._dicts[kind]:
            for name in paths.own_dict(obj).keys() - self.interned:
                if type(name) is str:
                    self._text(name)

    def _nan(self, obj: Any) -> None:
        """Two of them are never equal, so which one it is can be told."""
        self.special = True
        self._keep.append(obj)
        if atoms.nan(obj):
            self.seen.add(id(obj))

    def _own(self, values: list[Any]) -> list[Any]:
        """Note what is pandas' own; the elements that the user sees in it."""
        found: list[Any] = []
        while values:
            value = values.pop()
            if id(value) in self.owned:
                continue
            if self._watch is not None:
                self.here = self._watch.owned(value) and self.here
            self._keep.append(value)
            self.owned.add(id(value))
            span = memory.span(value)
            if span is not None:
                self.owned.add(("memory", span[0]))
                self.memory.add(("memory", span[0]))
                self.extents[span[0]] = span
            if self._shows(type(value)):
                self.lent.extend(columnar.spans(value))
            elements, more = frames.inside(value)
            found.extend(elements)
            values.extend(more)
        return found


class Parts:
    """The names of a table in groups, and what joins them."""

    def __init__(self, table: dict[str, Any], ns: dict[str, Any], watch: Watch | None = None) -> None:
        self._parent, self._watch = {n: n for n in table}, watch
        reached = {n: Reach([table[n]], ns, watch) for n in sorted(table)}
        for n, r in reached.items():
            if n.isidentifier() and n != "Out" and atoms.telling(table[n]):
                r.seen.add(("value", id(table[n])))
        self._of_class: dict[int, Reach] = {}
        self.classes = {n: self._closure(r.classes, ns) for n, r in reached.items()}  # of the notebook, by name
        self.here = {n for n, r in reached.items()  # names to which watch has no objection
                     if r.here and all(self._of_class[i].here for i in self.classes[n])}
        self.interned = {n: r.interned.union(*(self._of_class[i].interned for i in self.classes[n]))
                         for n, r in reached.items()}
        self.plain = Seen()  # keys that the user sees
        self.special = {n for n, r in reached.items()
                        if r.special or any(self._of_class[i].special for i in self.classes[n])}
        self._join(reached)
        self._memory = {n: r.memory.union(*(self._of_class[i].memory for i in self.classes[n]))
                        for n, r in reached.items()}
        groups: dict[str, list[str]] = {}
        for n in sorted(table):
            groups.setdefault(self._find(n), []).append(n)
        self.groups = sorted(groups.values())  # each sorted

    def seen(self, names: Iterable[str]) -> Seen:
        """Keys that the user sees, for saving a group of these names."""
        self.plain.own = set().union(*(self._memory[n] for n in names))
        return self.plain

    def _find(self, n: str) -> str:
        while self._parent[n] != n:
            self._parent[n] = self._parent[self._parent[n]]
            n = self._parent[n]
        return n

    def _overlaps(self, reached: list[Reach]) -> None:
        """Memory of tensors that overlaps with other memory is one with that."""
        spans: dict[int, tuple[int, int, Any, bool]] = {}
        for r in reached:
            for start, found in r.spans.items():
                if start not in spans or found[1] > spans[start][1]:
                    spans[start] = found
        run: list[tuple[int, int, Any, bool]] = []
        for found in [*sorted(spans.values(), key=lambda s: s[0]), None]:
            if found is not None and run and found[0] < max(s[0] + s[1] for s in run):
                run.append(found)
                continue
            if len(run) > 1 and any(s[3] for s in run):
                self._one(run, reached)
            run = [] if found is None else [found]

    def _one(self, run: list[tuple[int, int, Any, bool]], reached: list[Reach]) -> None:
        """Make one of memory that overlaps."""
        start, end = run[0][0], max(s[0] + s[1] for s in run)
        holder = next((s[2] for s in run if type(s[2]) in memory.EXPORTERS and s[:2] == (start, end - start)), None)
        for s in run:
            self.plain.joined[s[0]] = (start, end - start, holder)
        for r in reached:
            if not r.spans.keys().isdisjoint(s[0] for s in run):
                r.shows(start)

    def _lend(self, reached: list[Reach]) -> None:
        """What Arrow and polars show of the memory of others is shared with those."""
        if not any(r.lent or r.silent for r in reached):
            return
        self.plain.memories = columnar.Memories(m for r in reached for m in r.extents.values())
        for r in reached:
            for span in r.lent:
                found = self.plain.memories.at(span)
                if found is not None:
                    r.shows(found[0])

    def _closure(self, found: dict[int, type], ns: dict[str, Any]) -> dict[int, type]:
        """found with the classes that are reached through them."""
        closed, work = dict(found), list(found.values())
        while work:
            cls = work.pop()
            if id(cls) not in self._of_class:
                roots = [*classes.held(cls).values(), *cls.__bases__, type(cls)]
                self._of_class[id(cls)] = Reach(roots, ns, self._watch)
            for i, other in self._of_class[id(cls)].classes.items():
                if i not in closed:
                    closed[i] = other
                    work.append(other)
        return closed

    def _join(self, reached: dict[str, Reach]) -> None:
        users: dict[int, list[str]] = {}
        for n, found in self.classes.items():
            for i in found:
                users.setdefault(i, []).append(n)
        holders: dict[Hashable, list[tuple[str, ...]]] = {}
        entities = [((n,), r) for n, r in reached.items()]
        entities += [(tuple(users[i]), r) for i, r in self._of_class.items()]
        self._overlaps([r for _, r in entities])
        self._lend([r for _, r in entities])
        shared: set[Hashable] = set()
        for _, r in entities:
            shared |= r.seen & self.plain
            self.plain |= r.seen
        for _, r in entities:
            shared |= r.owned & self.plain if frames.lazy() else r.owned
        for names, r in entities:
            for key in (*(r.seen & shared), *(r.owned & shared)):
                holders.setdefault(key, []).append(names)
        for sharing in holders.values():
            if len(sharing) > 1:
                first = sharing[0][0]
                for n in (n for names in sharing for n in names):
                    self._parent[self._find(n)] = self._find(first)


def ties(values: dict[str, Any], there: dict[str, Any], ns: dict[str, Any]) -> list[str]:
    """Names of there whose pandas objects share memory with what values replace and tie to an array.

    By copy-on-write nobody sees that sharing, so they were saved apart; an array of the same memory shows it.
    """
    pandas = frames.pandas()
    arrays = [n for n, v in values.items() if issubclass(type(v), memory.numpy_arrays())]
    if not frames.lazy() or not arrays:
        return []
    kinds = (pandas.DataFrame, pandas.Series)
    seen = {key for n in arrays for key in Reach([values[n]], ns).seen if type(key) is tuple}
    tied = [n for n, v in values.items() if issubclass(type(v), kinds) and n in there
            and not seen.isdisjoint(Reach([v], ns).owned)]
    old = {key for n in tied for key in Reach([there[n]], ns).owned if type(key) is tuple}
    return [n for n, v in there.items() if n not in values and issubclass(type(v), kinds)
            and not old.isdisjoint(Reach([v], ns).owned)] if old else []


def partition(table: dict[str, Any], ns: dict[str, Any], watch: Watch | None = None) -> Parts:
    """The groups of a table of names.

    What only pandas objects share joins names only where copy-on-write does not hide it.
    """
    return Parts(table, ns, watch)
