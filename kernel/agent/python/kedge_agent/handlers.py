"""The private messages of PROTOCOL.md."""
from __future__ import annotations

import base64
import json
import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from . import (
    ambient,
    annotations,
    categories,
    descriptors,
    environ,
    flow,
    forked,
    grafting,
    groups,
    history,
    importing,
    linked,
    localmodules,
    lookups,
    machine,
    natives,
    normalise,
    outside,
    pickler,
    places,
    reads,
    regions,
    running,
    sameness,
    saving,
    texts,
    unforked,
    widgets,
)
from .live import Live, local, subclasses
from .namespace import given, user_names


@dataclass
class Late:
    """A capture that goes on in a copy of this process."""

    learned: str  # the file in which the copy leaves what is known after it
    classes: dict[int, weakref.ref[type]]  # those of the notebook when the copy was made, by address


@dataclass
class First:
    """How the kernel began."""

    modules: list[str]
    threads: set[int]
    open: dict[int, str]  # descriptors, with what they lead to


class Agent:
    """State between the messages of one kernel. Used by the shell thread only."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.shell = kernel, kernel.shell
        self.ns = kernel.shell.user_ns
        self._given: dict[str, Any] = {}  # names that IPython put there
        self.live = Live(self.ns)
        texts.install(self.shell)
        self._saver = saving.Saver(self.live)
        self._late: Late | None = None
        self.history = history.History(self.shell)
        self._ids: dict[str, int] = {}
        self._touched: set[str] = set()
        self._binds: set[str] = set()  # names that the cell's code binds
        self._near: set[str] = set()  # names that the cell reads or binds, whatever happens
        self._asked = False  # whether it may read earlier results
        self._classes: set[int] = set()  # addresses of the notebook's classes before the cell
        self._modules: list[str] = []
        self._sure: set[str] = set()  # names that it binds if it runs to its end, whatever they were before
        self._again: list[str] = []  # modules that it imports then
        self._imports: set[str] = set()  # dotted names that the cell's code may import
        self._threads: set[int] = set()
        self._widgets: set[str] = set()
        self._folder = False  # whether it asks where the working folder lies
        self._asks: list[str] = []  # what it asks for that no observation tells
        self._placed = False  # whether the cell's code asks where in its file code stands
        self.lookups = lookups.Lookups(self.ns)
        self._descriptors = descriptors.Descriptors()
        self._categories = categories.Categories()
        self._natives = natives.Natives(self.ns)
        self.outside = outside.Outside(self.ns)
        self._first: First | None = None
        self._doubts: list[str] = []  # what is not known of code that nobody watched

    def user(self) -> dict[str, Any]:
        """The user's names."""
        return user_names(self.ns, self._given, self.history.taken)

    def _start(self, past: bool = False) -> None:
        """A message comes. What is there at the first one was not made by cells, unless it tells of the past."""
        self._known()
        self.outside.watch(past)

    def _known(self) -> None:
        if not self._given:
            self._given = given(self.ns, self.shell.user_ns_hidden)
        self.outside.start()

    def begin(self) -> None:
        """The kernel starts: code may come that nobody watches, before the first message."""
        self._known()
        self.outside.remember()
        self._first = First(list(sys.modules), running.alive(), descriptors.now())

    def past(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_past."""
        first = self._first
        if first is None:
            raise ValueError("how the kernel began is not known")
        self._caught_up()
        self._start(past=True)
        doubts = self.history.past()
        user = self.user()
        found, shown = reads.past(content["codes"], self.ns, user)
        self.outside.reach(found, user, False)
        self._doubts = doubts + self.outside.past(found, shown)
        self._doubts += self._descriptors.past(found.mentioned, found.names, first.open)
        for code in content["codes"]:
            texts.begin(code, int(self.shell.execution_count))
        texts.taken()
        self._ids, self._touched, self._classes, self._sure, self._again = {}, set(user), set(), set(), []
        self._binds, self._near, self._asked = set(), set(), False
        self._modules, self._threads, self._widgets = first.modules, first.threads, set()
        self._imports = {n for n in found.mentioned if "." in n or n == "modules"}
        self._natives.before("", found, ())
        self._categories.before((), set(), user)
        self._asks, self._placed, self._folder = [], False, False
        environ.read.clear()
        importing.taken()
        importing.missing()
        machine.begin(found.words(), True)
        self.lookups.begin(set())
        return {**found.reply(user, [], {}), "open": sorted(set(first.open.values()))}

    def ping(self, _: dict[str, Any]) -> dict[str, Any]:
        """kedge_ping."""
        return {"version": 1, "python": sys.version.split()[0]}

    def normalise(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_normalise."""
        return normalise.normalise(content["code"])

    def before(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_before: it comes before any code."""
        forked.reap()
        self._start()
        user = self.user()
        found, binds = reads.find(content["code"], self.ns, user, content.get("absent") or ())
        self.outside.reach(found, user, bool(content.get("more")))
        touched = (found.names & set(user)) | set(binds)
        if content.get("more"):  # nothing was captured since the last one
            self._touched |= touched
            self._binds |= set(binds)
            self._sure, self._again = set(), []
            self._imports |= {n for n in found.mentioned if "." in n or n == "modules"}
            self.outside.more(found)
            texts.begin(content["code"], int(self.shell.execution_count))
            return found.reply(user, binds, {})
        self.history.begin()
        self._ids, self._touched = {k: id(v) for k, v in user.items()}, touched
        self._binds = set(binds)
        self._near, self._asked = found.names - found.weak | set(binds), found.all
        self._sure = found.sure - found.names
        self._again = flow.imports(found.tree.body) if found.tree is not None else []
        self._modules, self._classes = list(sys.modules), set(self.live.tokens())
        self._imports = {n for n in found.mentioned if "." in n or n == "modules"}
        observed = self.outside.before(found)
        self._natives.before(content["code"], found, content.get("stateless") or ())
        self._threads = running.alive()
        self._widgets = widgets.alive()
        environ.read.clear()
        if found.environment():
            environ.read.add("*")
        importing.taken()
        importing.missing()
        texts.begin(content["code"], int(self.shell.execution_count))
        texts.taken()
        self._placed, self._folder = found.placed(), found.folder()
        self.lookups.install()  # before it is noted what is open
        self._descriptors.before(found.mentioned, found.names)
        found.doubt = self._categories.before(found.codes(), found.names, user)
        beyond = found.beyond()
        self._asks = (["asks for the exception of an earlier cell"] if found.failure() else []) + (
            [beyond] if beyond else [])
        if found.times():
            self._asks.append("asks when files were changed")
        if found.same == sameness.TOGETHER:
            self._asks.append("asks whether equal values are one object")
        machine.begin(found.words(), found.all)
        self.lookups.begin(found.compiled)
        return found.reply(user, binds, observed)

    def after(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_after."""
        self._caught_up()
        env, distributions, frames = environ.taken(), importing.taken(), self.lookups.frames
        facts = machine.asked()
        held, lost = self.history.under(self._binds)
        user = self.user()
        succeeded = getattr(self.shell, "last_execution_succeeded", True)
        changed = {n for n, v in user.items() if self._ids.get(n) != id(v) or succeeded and n in self._sure}
        looked = self.lookups.classes | (set(self._ids) if self.lookups.everything else set())
        classes = reads.reach(looked & (user.keys() | self._ids.keys()), self.ns, user)
        near = (self._near | changed) & user.keys()
        shown = self._shows({n: user[n] for n in near}) if content.get("result") else None
        left = self.outside.after(not succeeded)
        table = {**user, **left.table}
        renamed = self._categories.after() & user.keys()
        wanted = self._touched | renamed | classes | changed | left.wanted | set(content.get("mates") or ())
        tied = self._asked and self.history.tied(wanted & user.keys(), user, self.ns)
        beside = [saving.Beside(n, v, near, self.history.others() if self._asked else {})
                  for n, v in self.history.result().items() if shown == {}]

        def save(forks: bool = True, lend: bool = False) -> dict[str, Any]:
            return self._saver.save(wanted & table.keys(), table, content["spool"], *beside, forks=forks, lend=lend)

        saved = self._at_once(save) if content.get("later") else save()
        if saved is not None:
            self.outside.saved([n for g in saved["groups"] for n in g["names"]]
                               + [u["name"] for u in saved["uncaptured"]])
        states, digests, hidden = self.outside.changes()
        unused = self.outside.unused(states)  # what the cell did not observe it has not left either
        lend = bool(content.get("lend"))
        if saved is not None or not self._beside(lambda: self._left(save(lend=lend), shown, unused), content):
            reply = self._left(saved or save(), shown, unused)
        else:
            reply = {"groups": [], "uncaptured": [], "made": [], "result": None, "late": True}
        old = set(self._modules)
        new = [m for m in list(sys.modules) if m not in old and not m.startswith("_") and m != "kedge_agent"
               and (m in self._imports or "." not in m or m in importing.filtering)]
        again = [m for m in dict.fromkeys(self._again) if m in old and m in sys.modules] if succeeded else []
        modules = [m for m in again + new if importing.importable(m)]
        hidden += self._descriptors.left() + lost + self.history.changed()
        hidden += ["set the name of categories of an earlier cell"] if renamed else []
        hidden, self._doubts = self._doubts + hidden, []
        if "modules" in self._imports:  # of sys
            hidden += [f"put {m} into sys.modules" for m in new if m not in modules]
        refused = hidden + held + self._natives.after() + widgets.refused(self._widgets) + self._asks
        reply.update(
            deleted=sorted(set(self._ids) - set(user)) + left.deleted, bound=[n for n in user if n in changed],
            modules=modules,
            # The source of a local module is observed by the cell that executes it: its file may be another by now.
            module_versions=versions([m for m in modules if "." not in m and not (
                m in again and localmodules.is_local(sys.modules[m]))],
                                     set(sys.modules) - old | self.outside.local.executed), env=env,
            ambient_after=digests, reached=left.reached, unused=unused,
            search=importing.search(), missing=importing.missing(), frames=frames, facts=facts,
            refused=refused, hidden=bool(hidden), texts=texts.taken(), folder=self._folder,
            placed=self._placed or self.lookups.placed,
            tied=tied, distributions=distributions, classes=sorted(classes), definitions=left.definitions,
            running=running.threads(self.ns, self._threads) + running.tasks(self.ns) + self.outside.hooks(),
            ambient=[{"name": n, "state": base64.b64encode(s).decode()} for n, s in sorted(states.items())])
        return reply

    def _at_once(self, save: Callable[[bool], dict[str, Any]]) -> dict[str, Any] | None:
        """What a capture without a fork leaves; None if it is to be made beside the next cell.

        What of a local module is captured with a variable is known only after it, and what later cells observe
        depends on that; and memory that is written to beside a copy is there twice.
        """
        if self.outside.local.loaded():
            return save(True)
        try:
            return save(False)
        except unforked.Needed:
            return None if forked.roomy() else save(True)

    def _left(self, saved: dict[str, Any], shown: dict[str, Any] | None, unused: list[str]) -> dict[str, Any]:
        """What of the reply to kedge_after follows from what was saved."""
        for group in saved["results"]:
            shown = {"within": group.pop("within", []), "group": group}
        return {"groups": [g for g in saved["groups"] if not set(g["names"]).issubset(unused)],
                "uncaptured": [u for u in saved["uncaptured"] if u["name"] not in unused],
                "made": sorted(t for i, t in self.live.tokens().items() if i not in self._classes), "result": shown}

    def _beside(self, left: Callable[[], dict[str, Any]], content: dict[str, Any]) -> bool:
        """Let what left returns be found out, and told, by a copy of this process. False if there can be none."""
        learned = content["spool"] + ".learned"

        def work() -> bytes:
            told = json.dumps(left()).encode()
            with open(learned, "w", encoding="utf-8") as file:
                json.dump({"tokens": self.live.tokens(), "definitions": self.live.definitions,
                           "slow": sorted(self.live.slow)}, file)
            return told

        # Before there is a copy: after that, whatever is counted as referred to is a page that has to be copied.
        classes = {id(c): weakref.ref(c) for c in subclasses() if local(c)}
        try:
            into = os.open(content["later"], os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.set_blocking(into, True)
            forked.beside(work, into)
            self._late = Late(learned, classes)
        except (OSError, forked.Died):
            return False
        return True

    def _caught_up(self) -> None:
        """A capture that went on beside the last cell has ended: what it found out about classes holds here too."""
        late, self._late = self._late, None
        if late is None:
            return
        try:
            with open(late.learned, encoding="utf-8") as file:
                found = json.load(file)
            os.unlink(late.learned)
        except (OSError, ValueError):  # it came to no end, and nobody has what it saved
            return
        tokens = {int(i): token for i, token in found["tokens"].items()}
        self.live.learn(tokens, late.classes)
        self._classes |= {i for i in tokens if i in late.classes and late.classes[i]() is not None}
        self.live.definitions.update(found["definitions"])
        self.live.slow.update(found["slow"])

    def digest(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_digest."""
        self._caught_up()
        self._start()
        table = {**self.user(), **self.outside.table()}
        return self._saver.save(set(content["names"]) & table.keys(), table, content["spool"])

    def graft(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_graft."""
        self._caught_up()
        self._start()

        def recorded() -> dict[str, Any]:
            values: dict[str, Any] = {}
            for group in content["groups"]:
                values.update(self._read(group))
            return values

        gone = content["gone"] or ()
        user = {n: v for n, v in {**self.user(), **self.outside.table()}.items() if n not in gone}
        names = content["known"], content["bound"]
        return {"groups": grafting.graft(self.live, recorded, *names, user, content["spool"])}

    def _shows(self, user: dict[str, Any]) -> dict[str, Any] | None:
        """What the last cell showed: None for nothing, the name whose value it is, or {} for something else."""
        for value in self.history.result().values():
            plain = isinstance(value, groups._ATOMS) and value == value
            same = [n for n in sorted(user) if user[n] is value and not plain]
            return {"is": same[0]} if same else {}
        return None

    def apply(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_apply: all of it, or an error and everything as it was but for modules imported."""
        with importing.unlooked():
            return self._apply(content)

    def _apply(self, content: dict[str, Any]) -> dict[str, Any]:
        self._caught_up()
        self._start()
        self.live.begin()
        held: dict[str, Any] = {}
        values: dict[str, Any] = {}
        undo: list[Callable[[], None]] = []
        states = {a["name"]: base64.b64decode(a["state"]) for a in content.get("ambient") or []}
        gone = content.get("delete") or []
        for t in content.get("texts") or []:
            texts.enter(t["code"], t["count"], t["normal"])
        entered = content.get("entered") or []
        for i, cell in enumerate(entered):
            texts.enter(cell["code"], int(self.shell.execution_count) + i)
        try:
            folder = os.getcwd()
            undo.append(self.outside.lead(states))
            with self.shell.builtin_trap:  # libraries ask get_ipython, while imported, where they are
                for name in content.get("modules") or []:
                    importing.load(name, folder)
                self._groups(content.get("groups") or [], gone, values)
                undo.append(widgets.reopen(content.get("widgets") or []))
            outer = {n: values.pop(n) for n in list(values) if places.is_pseudo(n)}
            values = {**{n: values[n] for n in content.get("order") or () if n in values}, **values}
            results = [self._shown(cell.get("result"), values) for cell in entered]
            held = {n: self.ns[n] for n in values if n in self.ns}
            pairs = [(held[n], values[n]) for n in content.get("changed") or [] if n in held and n in values]
            tied = groups.ties(values, self.user(), self.ns) if entered else []
            if tied:
                raise ValueError(f"{tied[0]} shares its memory with an array that the cell makes")
            self.history.take(values)
            self._check(pairs, [self.ns[n] for n in content.get("lost") or [] if n in self.ns], content)
            self.ns.update(values)
            undo.extend(self._annotate(cell["code"]) for cell in entered)
            with self.shell.builtin_trap:
                undo.append(self.outside.restore(states, outer, [n for n in gone if places.is_pseudo(n)]))
            if content.get("cwd"):
                os.chdir(content["cwd"])
        except BaseException:
            for back in reversed(undo):
                back()
            self.live.end(undo=True)
            for name in set(values) - set(held):
                self.ns.pop(name, None)
            self.ns.update(held)
            raise
        self.live.end(undo=False)
        for name in held.keys() - set(content.get("rebound") or ()):
            linked.follow(held[name], values[name])
        for name in gone:
            self.ns.pop(name, None)
        self.history.taken = history.UNDER in values or self.history.taken and history.UNDER not in gone
        if content.get("execution_count") is not None:
            self.execution({"count": content["execution_count"]})
        self.history.repoint(pairs)
        self._tell(content.get("history") or [], content.get("taken") or 0)
        count = 0
        for cell, result in zip(entered, results, strict=True):
            count = self.history.enter(cell["code"], result)
        return {"bound": sorted({**values, **outer}), "execution_count": count}

    def _annotate(self, source: str) -> Callable[[], None]:
        """Note the annotations of a cell that is entered. Returns what undoes it."""
        before = dict(self.ns["__annotations__"]) if "__annotations__" in self.ns else None
        annotations.note(source, self.ns)

        def undo() -> None:
            if before is None:
                self.ns.pop("__annotations__", None)
            else:
                self.ns["__annotations__"].clear()
                self.ns["__annotations__"].update(before)

        return undo

    def _groups(self, wanted: list[dict[str, Any]], gone: list[str], values: dict[str, Any]) -> None:
        """Read groups into values. A class that has a name is what the group with that name makes of it.

        Others hold it too, and may have been captured when it was another.
        """
        named = {n: id(v) for n, v in self.user().items() if issubclass(type(v), type) and n not in gone}
        coming = {n for group in wanted for n in group.get("bind") or group["names"]}
        for group in wanted:
            mine = set(group.get("bind") or group["names"])
            self.live.loading = values, {*(coming - values.keys()), *gone, *(group.get("later") or ())}
            try:
                with self.live.keeping(lambda mine=mine: {i for n, i in named.items() if n not in mine}):  # type: ignore
                    loaded = self._read(group)
            finally:
                self.live.loading = None
            for name in group.get("bind", loaded):
                values[name] = loaded[name]
                named.pop(name, None)
                if issubclass(type(loaded[name]), type):
                    named[name] = id(loaded[name])

    def _check(self, pairs: list[tuple[Any, Any]], lost: list[Any], content: dict[str, Any]) -> None:
        """Whether all can follow what changes in place; where nobody may ever look, that is only noted of results."""
        try:
            self.history.check(pairs, lost, self.ns)
        except ValueError as err:
            if content.get("entered"):
                raise
            self.history.broken = str(err)

    def _tell(self, cells: list[dict[str, Any]], taken: int) -> None:
        for cell in cells:
            self.history.tell(cell["count"], cell["code"], self._shown(cell.get("result"), {}))
        if cells:
            self.history.settle(taken)

    def _shown(self, result: dict[str, Any] | None, values: dict[str, Any]) -> dict[str, Any]:
        """The result of a cell that is entered, by history.RESULT."""
        if not result:
            return {}
        if "is" in result:
            name = result["is"]
            return {history.RESULT: values[name] if name in values else self.ns[name]}
        known, self.live.fresh = self.live.tokens(), values
        try:
            with self.live.keeping(lambda: known):  # it may have been captured when they were others
                return self._read(result["group"])
        finally:
            self.live.fresh = {}

    def _read(self, group: dict[str, Any]) -> dict[str, Any]:
        return pickler.loads(regions.gather(group["stream"]["ranges"]), map(_buffer, group.get("buffers") or []),
                             self.live)

    def execution(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_execution: the last cell was number count."""
        count = int(content["count"])
        self.shell.execution_count = count + 1
        history = self.shell.history_manager
        for inputs in (history.input_hist_parsed, history.input_hist_raw):
            inputs.extend([""] * (count + 1 - len(inputs)))
            del inputs[count + 1:]  # of cells that were run again for what they left
        return {}


def _buffer(source: dict[str, Any]) -> Any:
    """A buffer of a group that is restored."""
    readonly = bool(source.get("readonly"))
    made = regions.buffer(source["ranges"], readonly) if source.get("map") else None
    if made is None:
        made = regions.gather(source["ranges"])
        return bytes(made) if readonly else made
    return made


def versions(modules: list[str], fresh: set[str]) -> dict[str, str]:
    """Versions of top-level modules, and "file:PATH" of every local module among fresh."""
    out: dict[str, str] = {}
    unknown: list[str] = []
    for name in sorted(fresh | set(modules)):
        path = getattr(sys.modules.get(name), "__file__", None)
        if not isinstance(path, str):
            continue
        path = os.path.abspath(path)
        if localmodules.local_path(path):
            out[name] = "file:" + path
        elif name in modules and "-packages" + os.sep in path:
            try:
                out[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                unknown.append(name)
    table = metadata.packages_distributions() if unknown else {}
    for name in unknown:
        version = metadata.version(table[name][0]) if table.get(name) else getattr(
            sys.modules[name], "__version__", None)
        if version:
            out[name] = str(version)
    return out


def register(kernel: Any) -> Agent:
    """Put the messages into kernel's tables."""
    agent = Agent(kernel)
    environ.install()
    importing.install()
    machine.install()
    importing.watch(agent.outside.imported, {**ambient.AT_ONCE, **machine.AT_ONCE})

    def handler(name: str, act: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        async def handle(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
            try:
                reply = {"status": "ok", **act(parent["content"])}
            except BaseException as err:
                reply = {"status": "error", "reason": f"{type(err).__name__}: {err}"}
            kernel.session.send(stream, f"kedge_{name}_reply", reply, parent, ident=ident)
            if forked.leaving():
                if hasattr(stream, "flush"):  # else the reply goes out only when this returns
                    stream.flush(sys.modules["zmq"].POLLOUT)
                forked.reap()  # ipykernel, when it is shut down, waits some seconds for children to go
        return handle

    for name in ("ping", "normalise", "before", "past", "after", "digest", "graft", "apply", "execution"):
        kernel.shell_handlers[f"kedge_{name}"] = handler(name, getattr(agent, name))
    kernel.control_handlers["kedge_ping"] = handler("ping", agent.ping)
    return agent
