"""Saves groups into a spool file, from a fork: nothing that happens there reaches this process.

What nothing of the program has a part in is saved without one, see unforked.py.
"""
from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from . import forked, groups, live, memory, named, openfiles, pickler, previews, proof, references, unforked
from .namespace import describe

PAGE = 4096
_LENT = 64 << 10  # bytes; smaller buffers are written to the spool file, also by who may lend them
Report = Callable[[dict[str, Any]], None]


class _Recalled(Exception):
    """What a fork lent may not be what it was when it was saved."""


class Beside:
    """What a cell showed as its result, under a name that no variable has."""

    def __init__(self, name: str, value: Any, near: set[str], others: dict[str, Any]) -> None:
        self.name, self.value = name, value
        self.near = near  # the variables that it may refer to: those that the cell read or bound
        self.others = others  # what else it may share with, in vain


class Saver:
    """What is known between captures of one kernel."""

    def __init__(self, where: live.Live) -> None:
        self.live = where

    def save(self, wanted: set[str], user: dict[str, Any], spool: str, beside: Beside | None = None,
             forks: bool = True, lend: bool = False) -> dict[str, Any]:
        """The groups of user that hold a wanted name, or an object of a class that has changed, in spool.

        Large buffers stay in the memory of a fork if lend is set, which takes a copy that works beside the program.
        A result beside them is saved too, if it has a captured form. Returns groups and uncaptured of PROTOCOL.md,
        and the groups of results. Raises unforked.Needed if it takes a fork and there may be none, else nothing on
        account of what user holds.
        """
        with open(spool, "wb"):
            pass
        saved: list[dict[str, Any]] = []
        extra: list[dict[str, Any]] = []
        lost: dict[str, dict[str, Any]] = {}
        named.find()
        while wanted - set(lost) or beside is not None:
            done = {n for g in saved for n in g["names"]} | set(lost)
            task = Task(self.live, wanted, user, spool, beside, done, lend)
            names = sorted(wanted - set(lost))
            try:
                for message in self._messages(task, forks):
                    names = message.get("begin", names)
                    self._note(message, extra if message.get("result") else saved)
                    if "lost" in message:
                        self._lose(lost, message["lost"], message["why"], user)
                    if "recalled" in message:
                        raise _Recalled
                break
            except _Recalled:
                saved, extra, lend = [g for g in saved if not lent(g)], [], False
            except forked.Died as err:
                kept, extra, lend = [g for g in saved if not lent(g)], [], False
                again, saved = len(kept) < len(saved), kept  # what it had lent went with it
                if beside is None or names != [beside.name]:
                    self._lose(lost, names, str(err), user)
                elif not again:
                    break
                beside = None
        extra = [g for g in extra if not g.pop("odd")]
        for group in [g for g in saved if g.pop("odd")]:
            if not forks:
                raise unforked.Needed
            why = self._prove(group, user, spool)
            if why:
                saved.remove(group)
                self._lose(lost, group["names"], why, user)
        self._open(lost, user)
        return {"groups": saved, "uncaptured": [lost[n] for n in sorted(lost)], "results": extra}

    def _open(self, lost: dict[str, dict[str, Any]], user: dict[str, Any]) -> None:
        """Add to what is lost the files that it holds open, where that is known."""
        known: dict[str, list[str] | None] = {}
        for one in lost.values():
            first = one["with"][0]
            if first not in known:
                known[first] = openfiles.held([user[n] for n in one["with"]], self.live.ns)
            if known[first] is not None:
                one["open"] = known[first]

    @staticmethod
    def _messages(task: Task, forks: bool) -> Iterable[dict[str, Any]]:
        """What the task reports, from a fork if it takes one."""
        found: list[dict[str, Any]] = []
        try:
            task.here(found.append, not forks)
        except Exception as err:  # also what cannot be captured: the fork says why
            if not forks:
                raise unforked.Needed from err
            return forked.run(task.run)
        return found

    @staticmethod
    def _lose(lost: dict[str, dict[str, Any]], names: list[str], why: str, user: dict[str, Any]) -> None:
        for n in names:
            lost[n] = {"name": n, "reason": f"{live.name(type(user[n]))}: {why}", "with": names}

    def _note(self, message: dict[str, Any], saved: list[dict[str, Any]]) -> None:
        if "tokens" in message:
            self.live.learn({int(i): token for i, token in message["tokens"].items()})
        self.live.definitions.update(message.get("definitions", {}))
        self.live.slow.update(message.get("slow", ()))
        if "group" in message:
            saved.append(message["group"])

    def _prove(self, group: dict[str, Any], user: dict[str, Any], spool: str) -> str:
        """How what was saved differs from the values as they are, which pickling may have changed in the fork."""
        def work(report: Report) -> None:
            with open(spool, "rb") as file:
                buffers = list(pickler.pieces(file, group["buffers"]))
                file.seek(group["stream"][0])
                forked.deny()
                values = {n: user[n] for n in group["names"]}
                report({"why": pickler.prove(proof.Walk(self.live.ns), values, file, buffers, self.live)})

        try:
            return str(next(iter(list(forked.run(work))))["why"])
        except forked.Died as err:
            return str(err)


def lent(group: dict[str, Any]) -> bool:
    """Whether buffers of a group are in the memory of a fork."""
    return any(len(b) > 3 for b in group["buffers"])


class Task:
    """One capture, in a fork or here."""

    def __init__(self, where: live.Live, wanted: set[str], user: dict[str, Any], spool: str, beside: Beside | None,
                 done: set[str], lend: bool = False) -> None:
        self._live, self._wanted, self._user, self._spool, self._done = where, wanted, user, spool, done
        self._beside, self._lost = beside, set(done)
        self._lend = lend and "numpy" in sys.modules  # which tells addresses
        self._lent = self._foreign = False  # whether a buffer was lent; whether code of the program has run

    def run(self, report: Report) -> None:
        """Report a message for each group, and for what was found of classes. Runs in a fork."""
        with open(self._spool, "r+b") as file:
            file.seek(0, os.SEEK_END)
            forked.deny()
            self.fill(report, file)

    def fill(self, report: Report, file: Any) -> None:
        """Write the groups into file, which is the spool, and report them. Runs in a fork."""
        parts = groups.partition(groups.enough(self._wanted, self._user), self._live.ns)
        due, tokens, definitions = self._due(parts)
        report({"tokens": tokens, "definitions": definitions})
        for names in due:
            report({"begin": names})
            try:
                report({"group": self._group(file, names, parts, self._user)})
            except Exception as err:
                self._foreign |= getattr(err, "odd", True)
                file.seek(0, os.SEEK_END)
                self._lost.update(names)
                report({"lost": names, "why": str(err), "slow": sorted(self._live.slow)})
        if self._beside is not None:
            report({"begin": [self._beside.name]})
            try:
                report({"result": True, "group": self._result(file, self._beside)})
            except Exception as err:
                self._foreign |= getattr(err, "odd", True)
                file.seek(0, os.SEEK_END)
        if self._lent and self._foreign:  # which may have written to what was lent before
            report({"recalled": True})

    def _result(self, file: Any, beside: Beside, watch: unforked.Watch | None = None) -> dict[str, Any]:
        """A result as a group: by itself, or with references to the variables with which it shares."""
        name, most = beside.name, 0 if watch is None else watch.longest
        others = {**self._user, **beside.others}
        table = groups.enough([name], {**others, name: beside.value})
        parts = groups.partition(table, self._live.ns, watch)
        if watch is not None and name not in parts.here:
            raise unforked.Needed
        near = {n: self._user[n] for n in sorted(beside.near - self._lost)}
        alone = [name] in parts.groups
        with unforked.unmarked(cls for cls in parts.classes[name].values()) if watch else contextlib.nullcontext():
            try:
                shared = references.Shared(beside.value, near, others.values(), self._live.ns)
                if shared.any:
                    made = self._group(file, [name], parts, table, most, shared)
                    return {**made, "within": shared.names()}
            except (pickler.Uncapturable, LookupError) as err:
                self._foreign |= getattr(err, "odd", True)
                if watch is not None:  # a fork may do more
                    raise
                file.seek(0, os.SEEK_END)
            if not alone:
                raise pickler.Uncapturable("shares with what it cannot refer to")
            return self._group(file, [name], parts, table, most)

    def here(self, report: Report, beside: bool = False) -> None:
        """Report all that run does, without a fork. Raises if that takes one, or if something cannot be captured."""
        if not unforked.quiet(self._user, self._live.ns):
            raise unforked.Needed
        with unforked.undisturbed(), self._live.attempt(), open(self._spool, "r+b") as file:
            file.seek(0, os.SEEK_END)
            watch = unforked.Watch(self._live.ns, beside)
            parts = groups.partition(groups.enough(self._wanted, self._user), self._live.ns, watch)
            if not parts.here >= {n for names in parts.groups if not self._wanted.isdisjoint(names) for n in names}:
                raise unforked.Needed
            with unforked.unmarked(cls for found in parts.classes.values() for cls in found.values()):
                self._groups_here(report, file, parts, watch.longest)
            if self._beside is not None:
                report({"result": True, "group": self._result(file, self._beside, watch)})

    def _groups_here(self, report: Report, file: Any, parts: groups.Parts, longest: int) -> None:
        due, _, definitions = self._due(parts)
        for names in due:
            report({"group": self._plain(file, names, parts, longest)})
        report({"definitions": definitions})

    def _plain(self, file: Any, names: list[str], parts: groups.Parts, longest: int) -> dict[str, Any]:
        """A group, saved here. Needed if that takes a fork."""
        if not parts.here.issuperset(names):
            raise unforked.Needed
        return self._group(file, names, parts, self._user, longest)

    def _due(self, parts: groups.Parts) -> tuple[list[list[str]], dict[int, str], dict[str, str]]:
        """(the groups to be saved, tokens of the classes by address, definitions by token)."""
        changed, tokens, definitions = self._changed(parts)
        wanted = self._wanted | {n for n, found in parts.classes.items() if changed & found.keys()}
        due = [g for g in parts.groups if not wanted.isdisjoint(g) and self._done.isdisjoint(g)]
        return due, tokens, definitions

    def _changed(self, parts: groups.Parts) -> tuple[set[int], dict[int, str], dict[str, str]]:
        """(addresses of the classes whose token or definition is not the one last saved, tokens, definitions).

        Only the classes that wanted names reach can have changed.
        """
        before = self._live.tokens()
        near: dict[int, type] = {}
        for n in self._wanted & parts.classes.keys():
            near.update(parts.classes[n])
        for cls in near.values():
            self._live.token(cls)
        found, changed = {}, set()
        for i, cls in near.items():
            token = self._live.token(cls)
            found[token] = pickler.digest(cls, self._live)
            if found[token] != self._live.definitions.get(token):
                changed.add(i)
        tokens = self._live.tokens()
        return changed | {i for i, t in tokens.items() if before.get(i, t) != t}, tokens, found

    def _group(self, file: Any, names: list[str], parts: groups.Parts, table: dict[str, Any],
               most: int = 0, shared: references.Shared | None = None) -> dict[str, Any]:
        values = {n: table[n] for n in names}
        at, plain = file.tell(), parts.seen(names)
        if shared is not None:
            plain = shared.seen(plain)
        length, buffers, odd = pickler.capture(
            values, self._live, plain, file, not parts.special.isdisjoint(names), most,
            set().union(*(parts.interned[n] for n in names)), shared)
        self._foreign |= odd
        extents = [self._extent(file, b, self._lend and most == 0 and not self._foreign) for b in buffers]
        file.flush()
        return {"names": names, "stream": [at, length], "buffers": extents, "odd": odd,
                "bytes": length + sum(e[1] for e in extents), "vars": [describe(n, values[n]) for n in names],
                "previews": {n: shown for n in names if (shown := previews.preview(values[n])) is not None}}

    def _extent(self, file: Any, buffer: memoryview, lend: bool) -> list[Any]:
        """Where a buffer is from now on: in the file, or in this process."""
        size, readonly = buffer.nbytes, buffer.readonly
        if lend and size >= _LENT:
            self._lent = True
            return [memory.address(sys.modules["numpy"].frombuffer(buffer, "u1")), size, readonly, forked.lend(buffer)]
        file.write(bytes(-file.tell() % PAGE))
        at = file.tell()
        file.write(buffer)
        return [at, size, readonly]
