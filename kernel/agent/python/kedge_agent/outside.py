"""Everything outside of the namespace that a cell can reach, change and find again."""
from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import ambient, containers, localmodules, patches, places, registrations, stores, streams
from .ambient import (
    abstract_classes,
    codec_tables,
    held_options,
    ipython_tables,
    library_settings,
    log_handlers,
    process,
    pyplot_figures,
    signals,
)
from .reads import Reads

PATCHED = "patched"  # the ambient state that says which pseudo-names there are
MODULE = "module "  # the same for the pieces of one local module


@dataclass
class After:
    """What a cell left outside of the namespace."""

    table: dict[str, Any]  # pseudo-name → object
    wanted: set[str]  # those that it read or changed
    deleted: list[str]  # those that it took away
    reached: list[str]  # more ambient states that it observed: of modules that it imported, of streams
    definitions: list[str]  # files of local modules that only define things and that it reached or imported


class _Local:
    """The rest of the pseudo-names: pieces of local modules, and what was set on libraries."""

    NAME = ""

    def __init__(self, local: localmodules.LocalModules, patched: patches.Patches) -> None:
        self._local, self._patched = local, patched
        self.start, self.entries = patched.start, patched.entries

    def _of(self, pseudo: str) -> places.Place:
        return self._local if self._local.owns(pseudo) else self._patched

    def bind(self, name: str, value: Any) -> None:
        """See places.Place."""
        self._of(name).bind(name, value)

    def unbind(self, name: str) -> None:
        """See places.Place."""
        self._of(name).unbind(name)


class Outside:
    """The ambient state, the places and the local modules of one kernel, before and after each cell."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self.local = localmodules.LocalModules()
        self._patches = patches.Patches(ns)
        options = [held_options.Pandas(), held_options.Numpy(), held_options.Plotly()]
        tables = [ipython_tables, log_handlers, pyplot_figures, signals, codec_tables, abstract_classes]
        self._places = places.Places([*tables, *options],  # type: ignore
                                     _Local(self.local, self._patches))
        self._started = self._watches = False
        self._entries: dict[str, Any] = {}
        self._reached: set[str] = set()
        self._named: set[str] = set()  # the watched adapters to which the cell's code leads
        self._pieces: dict[str, dict[str, str]] = {}
        self._before: dict[str, str] = {}
        self._known: set[str] = set()  # the local modules loaded before the cell
        self._asks: set[str] = set()  # streams whose state the cell's code may ask for
        self._seeded: set[str] = set()  # streams that are what the cell makes them, whatever they were before
        self._watched: dict[str, Any] = {}
        self._faults: dict[str, str] = {}
        self._containers = containers.Containers(ns)
        self._registrations = registrations.Registrations(ns)
        self._calls: list[str] = []
        self._modules: set[str] = set()  # loaded before the cell
        self._idle: set[str] = set()  # the watched adapters that the cell had nothing to do with
        self._first: dict[str, Any] = {}  # what is watched, as the kernel began
        self._fresh: set[str] = set()  # the modules that were loaded then

    def start(self) -> None:
        """No cell has come yet: what is there now is what a fresh kernel has."""
        if not self._started:
            self._started = True
            ambient.start()
            self._places.start()

    def watch(self, past: bool) -> None:
        """The first message comes: from now on what libraries are asked for is noted. past: code has run before."""
        self.start()
        if not self._watches:
            self._watches = True
            ambient.listen()
            if not past:
                ambient.renew()

    def remember(self) -> None:
        """Cells of steps may come after code that nobody watched."""
        self.start()
        self._patches.remember()
        self._first, self._fresh = process.describe(), set(sys.modules)

    def past(self, found: Reads, shown: bool) -> list[str]:
        """Code has run since remember was called that nobody watched: found is what its text says, and shown whether
        that is all. The next after is told of all that it left; returned is what cannot be known of it.
        """
        self._known, self._pieces, self._entries = set(), {}, {}
        self._reached, self._modules = set(self.local.loaded()), self._fresh
        doubts = self._patches.past(found.stored(), found.targets, found.roots)
        if stores.deletes(found.codes()):
            doubts.append("may have deleted attributes of a library")
        if found.tree is not None and set(stores.made_up(found.tree)) - {"self"}:
            doubts.append("may have set attributes of a library by names that its text does not show")
        if "modules" in found.mentioned:
            doubts.append("may have changed sys.modules")
        self._watched, self._before, self._seeded = self._first, {}, set()
        self._named = set(ambient.WATCHED)
        self._calls = _calls(found)
        self._settle_streams()
        for adapter in ambient.WATCHED.values():
            adapter.begin()
        doubts += self._containers.past(found) + self._registrations.past()
        return doubts + ([] if shown else ["ran code that its text does not show"])

    def imported(self, module: types.ModuleType) -> None:
        """A module was just executed from source."""
        self.local.imported(module)
        if module.__name__ in library_settings.MODULES:
            library_settings.look()

    def reach(self, found: Reads, user: dict[str, Any], more: bool) -> None:
        """Add what a cell reads outside of the namespace, and the names that definitions there read.

        What libraries and IPython hold is reached by every cell; a local module by code that names it, or what
        lives in it. With more, what was reached since the last capture stays reached.
        """
        self._entries = self._places.entries()
        words = found.modules | found.mentioned | found.spelled
        said = {n for n, a in ambient.WATCHED.items() if a.named(words)}
        if any(name.startswith("IPython:transformers ") for name in self._entries):
            found.all = True  # code is not what it looks like
        for name, value in self._entries.items():
            found.follow(name, value)
        found.close()
        self._reached = self._reached if more else set()
        table = self.local.table() if self.local.loaded() else {}
        done: set[str] = set()
        while True:
            new = set(self.local.loaded()) if found.all else self.local.reached(
                found.modules | found.mentioned | found.spelled | found.names,
                found.objects | found.mentioned | found.spelled)
            if new <= done:
                break
            for name in sorted(new - done):
                inner = self.local.submodules(name)
                for path in sorted(self.local.present.get(name, ())):
                    if f"{name}.{path}" in inner:
                        found.names.add(f"{name}:{path}")  # that it is there; what it holds counts if it is reached
                    else:
                        found.follow(f"{name}:{path}", table.get(f"{name}:{path}"))
                found.names |= {n for n in found.known if n.startswith(name + ":")}  # also what was not captured
            done |= new
            found.close()
        self._reached |= done
        own = {word for name in done for word in self.local.mentions(name)}
        said |= {n for n, a in ambient.WATCHED.items() if found.all or a.named(own)}
        self._named = self._named | said if more else said
        asks = set(ambient.STREAMS) if found.all or streams.asks(words | own) else set()
        self._asks = self._asks | asks if more else asks
        if more:
            self._settle_streams()
        if found.all:
            found.names |= set(user)

    def _settle_streams(self) -> None:
        """What the cell asks for it may compare with what later cells draw."""
        for name in self._asks:
            ambient.STREAMS[name].settle()

    def before(self, found: Reads) -> dict[str, str]:
        """The ambient state that the cell observes, by adapter: digests, empty where nothing differs."""
        self._known = set(self.local.loaded())
        self.local.executed.clear()
        self._pieces = self.local.look(self._reached)
        self._patches.before(found.stored(), found.targets, found.roots)
        self._watched = process.describe()
        self._containers.before(found)
        self._registrations.before(found)
        self._calls = _calls(found)
        self._before = ambient.digests(self._states(self._entries))
        self._settle_streams()
        observed = {*ambient.ADAPTERS, PATCHED, *(MODULE + n for n in self._reached)}
        self._seeded = streams.seeded(found.tree)
        self._modules = set(sys.modules)
        for adapter in ambient.WATCHED.values():
            adapter.begin()
        return {n: self._before.get(n, "") for n in sorted(observed - self._seeded)}

    def more(self, found: Reads) -> None:
        """More code comes before after is called: code that is no cell of a step."""
        self._patches.more(found.stored(), found.targets, found.roots)
        self._containers.more(found)
        self._calls = sorted({*self._calls, *_calls(found)})

    def after(self, failed: bool) -> After:
        """The cell has run, to its end or not: what is to be captured and what it did, apart from the namespace."""
        fresh = sys.modules.keys() - self._modules
        self._idle = {n for n, a in ambient.WATCHED.items() if n not in self._named and not a.touched(fresh)}
        self._patches.after()
        unsure = self._seeded if failed else set()  # streams that it may not have come to seed
        self._seeded = self._seeded - unsure
        was, self._entries = self._entries, self._places.entries()
        loaded = set(self.local.loaded())
        new = loaded - self._known
        changed = self.local.differing(self._pieces, self.local.look(self._reached & loaded | new))
        for pseudo in changed:
            self.local.keep(pseudo)
        return After(table={**self._entries, **self.local.table()}, wanted=changed | set(was) | set(self._entries),
                     deleted=sorted(was.keys() - self._entries.keys()),
                     reached=sorted({*(MODULE + n for n in new), *unsure, *self._asks}),
                     definitions=self.local.definitions(self._reached | new))

    def table(self) -> dict[str, Any]:
        """Every pseudo-name that holds something, with its object."""
        return {**self._places.entries(), **self.local.table()}

    def saved(self, names: list[str]) -> None:
        """These names were captured in one group: pieces that share something with a variable go with it."""
        for name in names:
            if self.local.owns(name):
                self.local.keep(name)

    def changes(self) -> tuple[dict[str, bytes], dict[str, str], list[str]]:
        """(ambient states that differ since before, digests of all, why the cell may not be cached)."""
        states = self._states(self._entries)
        after = ambient.digests(states)
        differ = {n: states.get(n, b"") for n in self._before.keys() | after.keys()
                  if self._before.get(n) != after.get(n) or n in self._seeded}
        refused = [f"left {n} in a state that cannot be captured ({why})" for n, why in sorted(self._faults.items())]
        refused += self._containers.after() + self._registrations.after() + self._patches.refused()
        refused += [f"calls {name}" for name in self._calls]
        refused += [f"imported {name}, which has changed since" for name in self.local.edited()]
        refused += [f"changed {what}" for what in process.changes(self._watched, process.describe())]
        return differ, after, refused

    def unused(self, changed: Iterable[str]) -> list[str]:
        """The adapters and pseudo-names that the cell did not observe; changed are the adapters that it changed."""
        idle = self._idle - set(changed)
        return sorted(idle | {n for n in self._entries if places.is_pseudo(n) and n.partition(":")[0] in idle
                              and " " in n})

    def hooks(self) -> list[str]:
        """What of the cell's own is called whatever the next ones do."""
        found = ["an audit hook"] if "addaudithook" in self._calls else []
        return found + (["a hook that traces calls"] if process.traced() else [])

    def _states(self, entries: dict[str, Any]) -> dict[str, bytes]:
        states, self._faults = ambient.capture()
        if entries:
            states[PATCHED] = json.dumps(sorted(entries)).encode()
        for name in self.local.loaded():  # what it reads while it is imported shows in the values that it is born with
            kept = sorted(self.local.present.get(name, ()))
            states[MODULE + name] = json.dumps([kept, self.local.born[name]]).encode()
        return states

    def lead(self, states: dict[str, bytes]) -> Callable[[], None]:
        """Put in place what importing modules depends on. Returns what undoes it."""
        folder, applied = os.getcwd(), [n for n in ambient.LEADING if n in states]
        before, _ = ambient.capture(applied)
        ambient.restore({n: states[n] for n in applied})

        def undo() -> None:
            os.chdir(folder)
            ambient.restore({n: before.get(n, b"") for n in applied})

        return undo

    def restore(self, states: dict[str, bytes], values: dict[str, Any], deleted: list[str]) -> Callable[[], None]:
        """Put ambient states and pseudo-named objects in place, and take deleted ones away.

        Returns what undoes it; if it raises, it is undone.
        """
        folder, applied = os.getcwd(), [n for n in states if n in ambient.ADAPTERS]
        before, _ = ambient.capture(applied)
        held = {**self._places.entries(), **{n: self.local.value(n) for n in values if self.local.owns(n)}}

        def undo() -> None:
            os.chdir(folder)
            ambient.restore({n: before.get(n, b"") for n in applied})
            for name in (*values, *deleted):
                if name in held:
                    self._places.bind(name, held[name])
                elif name in values:
                    self._places.unbind(name)

        try:
            ambient.restore(states)
            for name, value in values.items():
                self._places.bind(name, value)
            for name in deleted:
                self._places.unbind(name)
            if PATCHED in states:
                self._settle(json.loads(states[PATCHED] or "[]"))
        except BaseException:
            undo()
            raise
        return undo

    def _settle(self, wanted: list[str]) -> None:
        """Take away what is not among the wanted; ValueError if one of those is not there."""
        there = self._places.entries()
        for name in there.keys() - set(wanted):
            self._places.unbind(name)
        missing = set(wanted) - there.keys()
        if missing:
            raise ValueError(f"{min(missing)} could not be restored")


def _calls(found: Reads) -> list[str]:
    """The functions that code names and that change what cannot be looked at."""
    # Counting what the collector leaves out takes as long as there is of it.
    frozen = {"freeze", "unfreeze"} & found.mentioned if "gc" in found.mentioned | found.modules else set()
    return sorted(process.CALLS & found.mentioned | process.lasting(found.tree) | frozen)
