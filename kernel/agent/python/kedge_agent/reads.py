"""What a cell will read, found without running it."""
from __future__ import annotations

import ast
import re
import types
from collections.abc import Iterable
from typing import Any

from . import normalise, stores
from .groups import _ATOMS, children

_EVERYTHING = {"eval", "exec", "globals", "locals", "vars", "dir", "_getframe",
               "currentframe", "__main__", "user_ns", "Unpickler", "read_pickle", "dill", "cloudpickle"}
# Modules whose load and loads look classes up in the notebook.
_LOADERS = {"pickle", "joblib", "torch", "marshal", "shelve"}
_MAGICS = {"time", "timeit", "capture", "matplotlib", "config", "load_ext", "autoreload", "cd",
           "pwd", "env", "pip", "bash", "sh", "writefile", "system", "sx"}
_WORD = re.compile(r"[^\W\d]\w*")
_LIMIT = 2_000_000
_TEXT = 10_000  # characters; longer strings are data


def codes(code: types.CodeType) -> Iterable[types.CodeType]:
    """code and all code nested in it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from codes(const)


def strings(value: Any) -> Iterable[str]:
    """The strings in a constant."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            yield from strings(item)


class Reads:
    """The closure of names over the definitions that they reach."""

    def __init__(self, ns: dict[str, Any], user: dict[str, Any]) -> None:
        self.ns, self.user = ns, user
        self.names: set[str] = set()
        self.all = False
        self.targets: list[list[str]] = []  # dotted targets of the cell's own assignments
        self._codes: dict[int, types.CodeType] = {}
        self._seen: set[int] = set()
        self._keep: list[Any] = []
        self._work: list[Any] = []

    def code(self, top: types.CodeType, magics: bool = False) -> None:
        """Add what top and its nested code load."""
        for code in codes(top):
            if id(code) in self._codes:
                continue
            self._codes[id(code)] = code
            found = set(code.co_names)
            if found & {"load", "loads", "open"} and found & _LOADERS:
                self.all = True
            if found & _EVERYTHING or ("get_ipython" in found and not magics):
                self.all = True
            for const in code.co_consts:
                for text in strings(const):
                    found |= {w for w in _WORD.findall(text) if w in self.user}
            for name in found:
                self.name(name)

    def stored(self) -> set[str]:
        """The names of the attributes that the code may set."""
        return stores.attributes(self._codes.values())

    def name(self, name: str) -> None:
        """Add one name and what its value reaches."""
        if name not in self.names:
            self.names.add(name)
            if name in self.user:
                self._work.append(self.user[name])
                self.text(self.user[name])

    def text(self, value: Any) -> None:
        """Names that stand in a string value count as read: a query, a template, a formula."""
        if isinstance(value, str) and len(value) <= _TEXT:
            for word in set(_WORD.findall(value)) & self.user.keys():
                self.name(word)

    def close(self) -> None:
        """Follow objects until nothing new is reached."""
        while self._work:
            obj = self._work.pop()
            if isinstance(obj, str):
                self.text(obj)
            if id(obj) in self._seen or isinstance(obj, _ATOMS) or obj is self.ns:
                continue
            self._seen.add(id(obj))
            self._keep.append(obj)
            if len(self._seen) > _LIMIT:
                self.all = True
                return
            if isinstance(obj, types.FunctionType):
                if obj.__globals__ is not self.ns:
                    continue
                self.code(obj.__code__)
            elif isinstance(obj, type):
                if obj.__module__ == "__main__":
                    self._work.extend(vars(obj).values())
                    self._work.extend(obj.__bases__)
                continue
            elif isinstance(obj, (types.ModuleType, types.CodeType)):
                continue
            for running in ("gi_code", "cr_code", "ag_code"):
                if hasattr(type(obj), running):
                    self.code(getattr(obj, running))
            if type(obj).__module__ == "__main__":
                self._work.append(type(obj))
            self._work.extend(children(obj, self.ns))


def find(source: str, ns: dict[str, Any], user: dict[str, Any]) -> tuple[Reads, list[str]]:
    """(reads, names the cell binds). A cell that does not compile reads nothing."""
    result = normalise.normalise(source)
    reads = Reads(ns, user)
    if result["error"] is not None:
        return reads, []
    text = normalise.transform(source)
    magics = re.findall(r"run_(?:line|cell)_magic\('(\w+)'", text)
    known = all(m in _MAGICS for m in magics) and "get_ipython" not in source
    reads.code(compile(text, "<cell>", "exec", 0x2000), known)  # PyCF_ALLOW_TOP_LEVEL_AWAIT
    # A cell that only stores into _ (for _ in …) does not read the history.
    reads.names -= {n for n in reads.names - set(result["loads"]) if not n.strip("_")}
    reads.targets = stores.targets(ast.parse(text)) if "." in text else []
    reads.close()
    if reads.all:
        reads.names |= set(user)
    return reads, result["binds"]
