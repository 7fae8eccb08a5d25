"""What a cell would leave of which it is on record what it left in other company.

The cell looked at some names; the record holds all that share with them, and some of those, at which it did not
look, are not what they were. What it did look at is. If it left that as it was, each object that its new values hold
is their own or has a twin in the kernel. If it changed it in place, those others hold what the record has of it.
"""
from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from . import arrays, forked, groups, live, memory, pickler, proof, saving


@dataclass
class Names:
    """See kedge_graft in PROTOCOL.md."""

    known: list[str]
    bound: list[str]
    mates: list[str]
    changed: bool


def graft(where: live.Live, read: Callable[[], dict[str, Any]], names: Names, user: dict[str, Any],
          spool: str) -> list[dict[str, Any]]:
    """Capture what user would be after the cell: the groups, in spool, with known or bound names.

    read gives the recorded values. Works in a fork, so that nothing of it stays. ValueError if the record does not
    fit, forked.Died if the fork does not come to its end.
    """
    def work(report: saving.Report) -> None:
        with open(spool, "w+b") as file:
            forked.deny()
            try:
                recorded = read()
                forked.keep(recorded)
                find = _rebased if names.changed else _values
                table = {**user, **find(where, recorded, names, user)}
                saving.Task(where, {*names.known, *names.bound}, table, spool, None, set()).fill(report, file)
            except Exception as err:
                report({"lost": [], "why": f"{type(err).__name__}: {err}"})

    found: list[dict[str, Any]] = []
    for message in forked.run(work):
        if "lost" in message:
            raise ValueError(message["why"])
        if "tokens" in message:
            where.learn({int(i): token for i, token in message["tokens"].items()})
        if "group" in message:
            message["group"].pop("odd")  # what pickling changes is seen where the group is compared with the record
            found.append(message["group"])
    return found


def _values(where: live.Live, recorded: dict[str, Any], names: Names, user: dict[str, Any]) -> dict[str, Any]:
    """The values of bound names. proof.Differs if what is recorded of known ones is not what is there."""
    others = [v for n, v in recorded.items() if n not in names.known and n not in names.bound]
    known = _keys(where, [recorded[n] for n in names.known])
    if _keys(where, [recorded[n] for n in names.bound]) & _keys(where, others) - known:
        raise ValueError("it shares what the cell reached in another way")
    walk = proof.Walk(where.ns)
    walk.compare({n: user[n] for n in names.known}, {n: recorded[n] for n in names.known})
    same = {id(recorded[n]): user[n] for n in names.known}
    twins = _Twins(walk.twins())
    values = {n: same[id(recorded[n])] if id(recorded[n]) in same else recorded[n] for n in names.bound}
    return {**values, **_copied(where, {n: v for n, v in values.items() if v is recorded[n]}, twins)}


def _rebased(where: live.Live, recorded: dict[str, Any], names: Names, user: dict[str, Any]) -> dict[str, Any]:
    """The values of all: recorded ones, and those of mates, which hold the recorded ones in place of the present.

    Names alone tell which objects of the record and of the kernel are one: mates may hold the values of known names,
    and nothing that is only reached through these.
    """
    others = {n: v for n, v in recorded.items() if n not in names.known and n not in names.bound}
    own = _keys(where, [recorded[n] for n in (*names.known, *names.bound)])
    _copied(where, others, _Twins([(recorded[n], recorded[n]) for n in names.known], own))  # the record is such a case
    pairs = [(recorded[n], user[n]) for n in names.known]
    holders = {n: user[n] for n in names.mates}
    moved = _copied(where, holders, _Twins(pairs, _keys(where, [user[n] for n in names.known])))
    walk = proof.Walk(where.ns)
    walk.know([(now, then) for then, now in pairs])
    walk.compare(holders, moved)
    return {**{n: recorded[n] for n in (*names.known, *names.bound)}, **moved}


def _keys(where: live.Live, values: list[Any]) -> set[Hashable]:
    """The keys of all that can be shared of values."""
    reach = groups.Reach(values, where.ns)
    return reach.seen | reach.owned


def _copied(where: live.Live, values: dict[str, Any], twins: _Twins) -> dict[str, Any]:
    """Copies of values with twins in place of what has some."""
    parts = groups.partition(values, where.ns)
    sink = io.BytesIO()
    interned = set().union(*parts.interned.values())
    buffers, _ = pickler.dump(values, where, parts.plain, sink, True, interned, twins.pickler)
    sink.seek(0)
    back = pickler.load(sink, buffers, where, twins.there)
    forked.keep(back)
    return back


class _Twins:
    """What stands for objects and memory, as pairs of twins; what has none may have none of the keys alone."""

    def __init__(self, pairs: list[tuple[Any, Any]], alone: set[Hashable] = frozenset()) -> None:  # type: ignore
        self.there: list[Any] = []
        self._alone = alone
        self._numbers: dict[int, int] = {}  # address of an object → where its twin is in there
        self._memories: dict[int, int] = {}  # the same, address of memory
        self._keep = pairs
        for now, was in pairs:
            self._add(self._numbers, id(was), now)
            if issubclass(type(was), memory.numpy_arrays()) and was.nbytes:
                self._lend(now, was)

    def _add(self, table: dict[int, int], address: int, now: Any) -> None:
        if address not in table:
            table[address] = len(self.there)
            self.there.append(now)

    def _lend(self, now: Any, was: Any) -> None:
        """Views of what was shows are views of what now shows, if that is as long."""
        start, length, _ = memory.owner(was)
        begin, size, holder = memory.owner(now)
        if length == size and memory.address(was) - start == memory.address(now) - begin:
            self._add(self._memories, start, holder)
            one, other = memory.root(was), memory.root(now)
            if one.shape == other.shape and one.strides == other.strides and one.dtype == other.dtype:
                self._add(self._numbers, id(one), other)

    def find(self, obj: Any) -> int | None:
        """The number of the twin of obj, if it has one."""
        if type(obj) is arrays.Memory:
            return self._memories.get(obj.start())
        number = self._numbers.get(id(obj))
        if number is None and self._alone:
            span = memory.span(obj)
            lent = span is not None and ("memory", span[0]) in self._alone and span[0] not in self._memories
            if lent or id(obj) in self._alone:
                raise ValueError("others hold a part of it that has no name")
        return number

    def pickler(self, *args: Any) -> pickler.SetPickler:
        """A pickler that refers to twins by their numbers."""
        return _Pickler(self, *args)


class _Pickler(pickler.SetPickler):
    def __init__(self, twins: _Twins, *args: Any) -> None:
        super().__init__(*args)
        self._twins = twins

    def persistent_id(self, obj: Any) -> Any:
        """The number of a twin, or what a SetPickler says."""
        number = self._twins.find(obj)
        return super().persistent_id(obj) if number is None else number
