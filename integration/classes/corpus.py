"""What becomes of objects of named classes when they are captured here and restored in another process.

Usage: ``corpus.py AGENT MODE FOLDER [PART…]``, AGENT being the folder of kedge_agent, MODE one of

    capture  build each case and capture it; build it again, change it as its class allows, and capture that
    control  build each case and look at it, with no capture before; then build it and capture it
    restore  read what ``capture`` left in FOLDER, capture it again, and look at it

Each writes FOLDER/MODE.json and, beside it, the spool files that it names. A case (in *.txt) is a comment
with its name, statements, and either ``? EXPRESSION`` that looks at what they made and ``! STATEMENTS`` that
change it observably, or ``refused``, for what cannot live in two processes. PART keeps the cases whose name
holds it.
"""
from __future__ import annotations

import gc
import importlib.util
import json
import os
import pathlib
import re
import sys
import time
import types
import warnings
from typing import Any, NamedTuple

HERE = pathlib.Path(__file__).parent


class Case(NamedTuple):
    """One class."""

    name: str
    build: str
    look: str
    change: str  # empty if it is to be refused


def cases() -> list[Case]:
    """All cases, in the order of the files."""
    found = []
    for path in sorted(HERE.glob("*.txt"), reverse=True):
        for block in re.split(r"^# ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            head, _, body = block.partition("\n")
            build, look, change = [], "", ""
            for line in body.rstrip().split("\n"):
                if line.startswith("? "):
                    look = line[2:]
                elif line.startswith("! "):
                    change = line[2:]
                elif line != "refused":
                    build.append(line)
            found.append(Case(head, "\n".join(build), look, change))
    return found


def installed(case: Case) -> bool:
    """Whether everything that the case imports is there."""
    roots = {m.split(".")[0].strip() for line in re.findall(r"^\s*(?:import (.+)|from (\S+) import)", case.build, re.M)
             for part in line for m in re.sub(r" as \w+", "", part).split(",") if m.strip()}
    return all(importlib.util.find_spec(r.split(";")[0]) for r in roots)


class Notebook:
    """A namespace like a kernel's, and the agent over it."""

    def __init__(self, agent: str, folder: str) -> None:
        sys.path.insert(0, agent)
        from kedge_agent import live, pickler, saving
        sys.path.remove(agent)
        self.main = types.ModuleType("__main__")
        sys.modules["__main__"] = self.main
        self.ns, self.folder = self.main.__dict__, folder
        self._live, self._saving, self._pickler = live, saving, pickler
        self.clear()

    def clear(self) -> None:
        """Forget what a case left."""
        for name in [n for n in self.ns if not n.startswith("__")]:
            del self.ns[name]
        gc.collect()
        self.live = self._live.Live(self.ns)
        self.saver = self._saving.Saver(self.live)

    def run(self, code: str) -> None:
        """Run statements."""
        code = code.replace("SCRATCH", repr(os.path.join(self.folder, "scratch")))
        exec(compile(code, "<cell>", "exec"), self.ns)

    def look(self, expression: str) -> str:
        """What an expression shows."""
        try:
            return repr(eval(expression, self.ns))
        except Exception as err:
            return f"raises {type(err).__name__}: {err}"

    def save(self, spool: str) -> dict[str, Any]:
        """Capture every name into FOLDER/spool."""
        user = {n: v for n, v in self.ns.items() if not n.startswith("_")}
        began = time.perf_counter()
        found = self.saver.save(set(user), user, os.path.join(self.folder, spool))
        return {**found, "spool": spool, "seconds": time.perf_counter() - began}

    def load(self, saved: dict[str, Any]) -> str:
        """Read what save left; says what was raised."""
        try:
            with open(os.path.join(self.folder, saved["spool"]), "rb") as file:
                for group in saved["groups"]:
                    buffers = list(self._pickler.pieces(file, group["buffers"]))
                    file.seek(group["stream"][0])
                    stream = file.read(group["stream"][1])
                    self.ns.update(self._pickler.loads(stream, buffers, self.live))
        except Exception as err:
            return f"{type(err).__name__}: {err}"
        return ""


def one(book: Notebook, mode: str, number: int, case: Case, before: dict[str, Any] | None) -> dict[str, Any]:
    """What mode finds of one case."""
    book.clear()
    if mode == "restore":
        assert before is not None
        error = book.load(before["saved"])
        return {"error": error, "saved": book.save(f"{mode}{number}"), "look": book.look(case.look)}
    book.run(case.build)
    if mode == "control":
        look = book.look(case.look)
        book.clear()
        book.run(case.build)
        return {"look": look, "saved": book.save(f"{mode}{number}")}
    found = {"saved": book.save(f"{mode}{number}"), "look": book.look(case.look)}
    if case.change:
        book.clear()
        book.run(case.build)
        book.run(case.change)
        found["changed"] = book.save(f"changed{number}")
    return found


def main(agent: str, mode: str, folder: str, *parts: str) -> None:
    """See the top."""
    warnings.simplefilter("ignore")
    book = Notebook(agent, folder)
    before = {}
    if mode == "restore":
        for entry in json.loads((pathlib.Path(folder) / "capture.json").read_text()):
            before[entry["name"]] = entry
    out = []
    for number, case in enumerate(cases()):
        if parts and not any(p in case.name for p in parts):
            continue
        entry = {"name": case.name, "refuse": not case.change, "library": "", "installed": installed(case)}
        if entry["installed"]:
            try:
                entry.update(one(book, mode, number, case, before.get(case.name)))
            except Exception as err:
                entry["failed"] = f"{type(err).__name__}: {err}"
        out.append(entry)
    (pathlib.Path(folder) / f"{mode}.json").write_text(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
