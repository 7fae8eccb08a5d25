"""The private messages of PROTOCOL.md."""
from __future__ import annotations

import base64
import importlib
import os
import sys
import sysconfig
from collections.abc import Callable
from importlib import metadata
from typing import Any

from . import (
    ambient,
    environ,
    groups,
    history,
    importing,
    lookups,
    modules,
    natives,
    normalise,
    pickler,
    reads,
    running,
    saving,
)
from .ambient import process, sys_path
from .live import Live
from .namespace import user_names

MODULES = "modules"  # the ambient state of modules, which only running can bring about


class Agent:
    """State between the messages of one kernel. Used by the shell thread only."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.shell = kernel, kernel.shell
        self.ns = kernel.shell.user_ns
        self.live = Live(self.ns)
        self._saver = saving.Saver(self.live)
        self.history = history.History(self.shell)
        self._ids: dict[str, int] = {}
        self._touched: set[str] = set()
        self._modules: list[str] = []
        self._ambient: dict[str, str] = {}
        self._threads: set[int] = set()
        self._held: dict[str, str] = {}  # what local modules held before the cell
        self._watched: dict[str, Any] = {}  # process state before the cell
        self.patches = modules.Patches(self.ns)
        self.lookups = lookups.Lookups(self.ns)
        self._natives = natives.Natives(self.ns)
        self._started = False

    def user(self) -> dict[str, Any]:
        """The user's names."""
        return user_names(self.ns, self.shell.user_ns_hidden)

    def ping(self, _: dict[str, Any]) -> dict[str, Any]:
        """kedge_ping."""
        return {"version": 1, "python": sys.version.split()[0]}

    def normalise(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_normalise."""
        return normalise.normalise(content["code"])

    def before(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_before."""
        user = self.user()
        found, binds = reads.find(content["code"], self.ns, user, content.get("absent") or ())
        touched = (found.names & set(user)) | set(binds)
        if content.get("more"):  # nothing was captured since the last one
            self._touched |= touched
            return found.reply(user, binds, {})
        self._ids, self._touched = {k: id(v) for k, v in user.items()}, touched
        self._modules = list(sys.modules)
        if not self._started:
            sys_path.start()
            self._started = True
        self._ambient = ambient.digests(self._states())
        self._held, self._watched = modules.held(), process.describe()
        self.patches.before(found.stored(), found.targets)
        self._natives.before(content["code"], found, content.get("stateless") or ())
        self._threads = running.alive()
        environ.read.clear()
        importing.taken()
        self.lookups.begin()
        return found.reply(user, binds, {n: self._ambient.get(n, "") for n in (*ambient.ADAPTERS, MODULES)})

    def after(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_after."""
        env, distributions, frames = environ.taken(), importing.taken(), self.lookups.frames
        user = self.user()
        changed = {n for n, v in user.items() if self._ids.get(n) != id(v)}
        classes = reads.reach(self.lookups.classes, self.ns, user)
        shown = self._shows(user) if content.get("result") else None
        reply = self._saver.save((self._touched | classes | changed) & set(user), user, content["spool"],
                                 self.history.result() if shown == {} else {})
        if reply["apart"]:
            shown = {"group": reply["apart"][0]}
        refused = self._refused()
        states = self._states()
        after = ambient.digests(states)
        old = set(self._modules)
        modules = [m for m in list(sys.modules) if m not in old and "." not in m
                   and not m.startswith("_") and m != "kedge_agent"]
        reply.update(
            deleted=sorted(set(self._ids) - set(user)), bound=sorted(changed), modules=modules,
            module_versions=versions(modules, set(sys.modules) - old), env=env, ambient_after=after,
            search=importing.search(),
            refused=refused, frames=frames, distributions=distributions,
            classes=sorted(classes), result=shown,
            running=running.threads(self.ns, self._threads) + running.tasks(self.ns),
            ambient=[{"name": n, "state": base64.b64encode(s).decode()}
                     for n, s in states.items() if self._ambient.get(n) != after[n]])
        return reply

    def _states(self) -> dict[str, bytes]:
        """The ambient state, that of modules included."""
        states = ambient.capture()
        held, patched = modules.held(), self.patches.set
        if held or patched:
            states[MODULES] = repr((sorted(held.items()), sorted(patched.items()))).encode()
        return states

    def _refused(self) -> list[str]:
        """Why the cell may not be cached: it changed what cannot be restored."""
        held, watched = modules.held(), process.describe()
        return [
            *(f"changed the state of module {n}" for n, d in self._held.items() if held.get(n, d) != d),
            *self.patches.after(),
            *self._natives.after(),
            *(f"changed {what}" for what in sorted(watched.keys() | self._watched.keys())
              if watched.get(what) != self._watched.get(what) and (what in self._watched or watched[what])),
        ]

    def digest(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_digest."""
        user = self.user()
        return self._saver.save(set(content["names"]) & set(user), user, content["spool"])

    def _shows(self, user: dict[str, Any]) -> dict[str, Any] | None:
        """What the last cell showed: None for nothing, the name whose value it is, or {} for something else."""
        for value in self.history.result().values():
            same = [n for n in sorted(user) if user[n] is value and not isinstance(value, groups._ATOMS)]
            return {"is": same[0]} if same else {}
        return None

    def apply(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_apply: all of it, or an error and everything as it was but for modules imported."""
        before, folder = ambient.capture(), os.getcwd()
        self.live.begin()
        applied: list[str] = []
        held: dict[str, Any] = {}
        values: dict[str, Any] = {}
        try:
            with self.shell.builtin_trap:  # libraries ask get_ipython, while imported, where they are
                for name in content.get("modules") or []:
                    importlib.import_module(name)
                for group in content.get("groups") or []:
                    loaded = self._read(group)
                    values.update((n, loaded[n]) for n in group.get("bind", loaded))
            result = self._shown(content.get("result"), values)
            held = {n: self.ns[n] for n in values if n in self.ns}
            pairs = [(held[n], values[n]) for n in content.get("changed") or [] if n in held and n in values]
            self._check(pairs, content)
            self.ns.update(values)
            for a in content.get("ambient") or []:
                if a["name"] == MODULES:
                    if self._states().get(MODULES) != base64.b64decode(a["state"]):
                        raise ValueError("modules hold something else than after the cells that were restored")
                    continue
                applied.append(a["name"])
                ambient.ADAPTERS[a["name"]].restore(base64.b64decode(a["state"]))
            if content.get("cwd"):
                os.chdir(content["cwd"])
        except BaseException:
            self.live.end(undo=True)
            for name in set(values) - set(held):
                self.ns.pop(name, None)
            self.ns.update(held)
            os.chdir(folder)
            for name in reversed(applied):
                if name in before and name in ambient.ADAPTERS:
                    ambient.ADAPTERS[name].restore(before[name])
            raise
        self.live.end(undo=False)
        for name in content.get("delete") or []:
            self.ns.pop(name, None)
        if content.get("execution_count") is not None:
            self.execution({"count": content["execution_count"]})
        self.history.repoint(pairs)
        self._tell(content.get("history") or [])
        entered = self.history.enter(content["entered"], result) if content.get("entered") is not None else 0
        return {"bound": sorted(values), "execution_count": entered}

    def _check(self, pairs: list[tuple[Any, Any]], content: dict[str, Any]) -> None:
        """Whether results can follow what changes in place; where nobody may ever look, that is only noted."""
        try:
            self.history.check(pairs, self.ns)
        except ValueError as err:
            if content.get("entered") is not None:
                raise
            self.history.broken = str(err)

    def _tell(self, cells: list[dict[str, Any]]) -> None:
        for cell in cells:
            self.history.tell(cell["count"], cell["code"], self._shown(cell.get("result"), {}))
        if cells:
            self.history.settle()

    def _shown(self, result: dict[str, Any] | None, values: dict[str, Any]) -> dict[str, Any]:
        """The result of the cell that is entered, by history.RESULT."""
        if not result:
            return {}
        if "is" in result:
            name = result["is"]
            return {history.RESULT: values[name] if name in values else self.ns[name]}
        return self._read(result["group"])

    def _read(self, group: dict[str, Any]) -> dict[str, Any]:
        stream = gather(group["stream"]["ranges"])
        buffers = [bytes(gather(b["ranges"])) if b.get("readonly") else gather(b["ranges"])
                   for b in group.get("buffers") or []]
        return pickler.loads(stream, buffers, self.live)

    def execution(self, content: dict[str, Any]) -> dict[str, Any]:
        """kedge_execution: the last cell was number count."""
        count = int(content["count"])
        self.shell.execution_count = count + 1
        history = self.shell.history_manager
        for inputs in (history.input_hist_parsed, history.input_hist_raw):
            inputs.extend([""] * (count + 1 - len(inputs)))
        return {}


def gather(ranges: list[list[Any]]) -> bytearray:
    """The bytes of [path, offset, length] ranges, in order; EOFError if one is short."""
    data = bytearray()
    for path, offset, length in ranges:
        with open(path, "rb") as file:
            file.seek(offset)
            part = file.read(length)
        if len(part) != length:
            raise EOFError(f"{path} is shorter than {offset + length} bytes")
        data += part
    return data


def versions(modules: list[str], fresh: set[str]) -> dict[str, str]:
    """Versions of top-level modules, and "file:PATH" of every fresh local module."""
    paths = sysconfig.get_paths()
    library = tuple(os.path.join(os.path.abspath(paths[k]), "")
                    for k in ("stdlib", "platstdlib", "purelib", "platlib"))
    agent = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
    out: dict[str, str] = {}
    unknown: list[str] = []
    for name in sorted(fresh | set(modules)):
        path = getattr(sys.modules.get(name), "__file__", None)
        if not isinstance(path, str):
            continue
        path = os.path.abspath(path)
        if not path.startswith((*library, agent)) and "-packages" + os.sep not in path:
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


def register(kernel: Any) -> None:
    """Put the messages into kernel's tables."""
    agent = Agent(kernel)
    environ.install()
    importing.install()

    def handler(name: str, act: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        async def handle(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
            try:
                reply = {"status": "ok", **act(parent["content"])}
            except BaseException as err:
                reply = {"status": "error", "reason": f"{type(err).__name__}: {err}"}
            kernel.session.send(stream, f"kedge_{name}_reply", reply, parent, ident=ident)
        return handle

    for name in ("ping", "normalise", "before", "after", "digest", "apply", "execution"):
        kernel.shell_handlers[f"kedge_{name}"] = handler(name, getattr(agent, name))
    kernel.control_handlers["kedge_ping"] = handler("ping", agent.ping)
