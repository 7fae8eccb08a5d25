"""Binds names as a recorded cell did to parts of what the kernel holds now.

The cell bound names to values that hold parts of others, which it left as they were. The record holds all of them
together, and some of the others, which the cell never looked at, are not what they were. What the cell did look at
is, so each object that its new values hold is either their own, or has a twin in the kernel.
"""
from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from typing import Any

from . import arrays, forked, groups, live, memory, pickler, proof, saving


def graft(where: live.Live, read: Callable[[], dict[str, Any]], known: list[str], bound: list[str],
          user: dict[str, Any], spool: str) -> list[dict[str, Any]]:
    """Capture what user would be after the cell: the groups, in spool, with the names in known or bound.

    read gives the recorded values; those of the names in known are the ones in user. Works in a fork, so that
    nothing of it stays. ValueError if the record does not fit, forked.Died if the fork does not come to its end.
    """
    def work(report: saving.Report) -> None:
        with open(spool, "w+b") as file:
            forked.deny()
            try:
                there = set(where.sharers)
                recorded = read()
                forked.keep(recorded)
                for token in where.sharers.keys() - there:
                    del where.sharers[token]  # the copies are to have memory of their own, not that of the record
                table = {**user, **_values(where, recorded, known, bound, user)}
                saving.Task(where, {*known, *bound}, table, spool, None, set()).fill(report, file)
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


def _values(where: live.Live, recorded: dict[str, Any], known: list[str], bound: list[str],
            user: dict[str, Any]) -> dict[str, Any]:
    """The values of bound names. proof.Differs if what is recorded of known ones is not what is there."""
    others = [v for n, v in recorded.items() if n not in known and n not in bound]
    reached = _keys(where, [recorded[n] for n in known])
    if _keys(where, [recorded[n] for n in bound]) & _keys(where, others) - reached:
        raise ValueError("it shares what the cell reached in another way")
    walk = proof.Walk(where.ns)
    walk.compare({n: user[n] for n in known}, {n: recorded[n] for n in known})
    same = {id(recorded[n]): user[n] for n in known}
    values = {n: same[id(recorded[n])] if id(recorded[n]) in same else recorded[n] for n in bound}
    return {**values, **_copied(where, {n: v for n, v in values.items() if v is recorded[n]}, _Twins(walk.twins()))}


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
    """What stands in the kernel for objects and memory of the record."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.there: list[Any] = []
        self._numbers: dict[int, int] = {}  # address of an object of the record → where its twin is in there
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
        return self._numbers.get(id(obj))

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
