"""What a cell will read, found without running it."""
from __future__ import annotations

import array
import ast
import io
import logging
import os
import re
import types
from collections.abc import Iterable
from typing import Any

from . import environ, flow, live, normalise, places, sameness, stores
from .groups import _ATOMS, children, ours

_EVERYTHING = {"eval", "exec", "globals", "locals", "vars", "dir", "_getframe", "currentframe", "__globals__",
               "__main__", "modules", "import_module", "__import__", "user_ns", "get_objects", "get_referrers",
               "get_referents", "__subclasses__", "dill", "cloudpickle", "f_globals", "f_locals", "tb_frame",
               "gi_frame", "cr_frame", "ag_frame", "f_back", "_current_frames", "getmodule", "resolve_name",
               "rlcompleter"}
# As strings too: getattr(f, "__globals__").
_SPELLED = {"__globals__", "__main__", "_getframe", "user_ns", "f_globals", "f_locals", "tb_frame", "gi_frame"}
# What looks definitions up in the notebook by the names in a pickle: by itself, or with load and loads.
_PICKLES = {"Unpickler", "read_pickle"}
_LOADERS = {"pickle", "_pickle", "joblib", "torch", "shelve"}
# What tells where in its file code stands; who asks for lines of the text is seen (texts.py).
_PLACES = {"co_filename", "co_firstlineno", "co_linetable", "co_lnotab", "co_lines", "co_positions", "f_lineno",
           "tb_lineno", "lineno", "findlinestarts", "findCaller"}
_TIMES = {"getmtime", "getctime", "getatime", "st_mtime", "st_ctime", "st_atime", "st_mtime_ns", "st_ctime_ns",
          "st_atime_ns"}
_FAILURES = {"last_value", "last_type", "last_traceback", "last_exc"}
_FOLDERS = {"getcwd", "getcwdb", "cwd", "abspath", "realpath", "resolve", "pwd"}
_MAGICS = {"time", "timeit", "capture", "matplotlib", "config", "load_ext", "autoreload", "cd",
           "pwd", "env", "pip", "bash", "sh", "writefile", "system", "sx"}
_BODIES = {"time", "timeit", "capture"}  # magics whose cell is code that they run
_LINES = {"time", "timeit"}  # magics whose line is
_OPTIONS = re.compile(r"^(\s*-\S+(\s+\d+)?)+")  # of those
_RESULTS = re.compile(r"_{1,3}|_\d+|_oh|Out")  # what was shown before may share with any name
_LOCALS = re.compile(r"@([^\W\d]\w*)")  # names in a query of pandas, whether they are bound or not
_WORD = re.compile(r"\b[^\W\d]\w*")
_EXPORTERS = (bytearray, array.array, io.BytesIO)
_UNSHOWN = {"exec", "run_cell", "run_path", "run_module", "runcode"}  # what runs code that is not there to see
_RUNNING = {types.GeneratorType: "gi_code", types.CoroutineType: "cr_code", types.AsyncGeneratorType: "ag_code"}
_LIMIT = 2_000_000
_TEXT = 10_000  # characters; longer strings are data


def strings(value: Any) -> Iterable[str]:
    """The strings in a constant."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            yield from strings(item)


def home(value: Any) -> set[str]:
    """The modules that a value is, or is defined in, without looking inside it."""
    kind = type(value)
    if issubclass(kind, types.ModuleType):
        return {str(vars(value).get("__name__"))}
    if kind in (types.FunctionType, types.BuiltinFunctionType):
        bound = getattr(value, "__self__", None)
        found = {str(value.__module__)}
        return found if bound is None or issubclass(type(bound), types.ModuleType) else found | home(type(bound))
    return {live.module(value if issubclass(kind, type) else kind)}


class Reads:
    """The closure of names over the definitions that they reach."""

    def __init__(self, ns: dict[str, Any], user: dict[str, Any], absent: Iterable[str] = ()) -> None:
        self.ns, self.user = ns, user
        self.known = {*user, *absent}  # names that a word in a string may stand for
        self.names: set[str] = set()
        self.weak: set[str] = set()  # names that only strings lead to: read if something looks them up by frames
        self.mentioned: set[str] = set()  # attributes and modules too, as they stand in the code
        self.spelled: set[str] = set()  # words in the strings that are reached
        self.all = False  # every name may be read
        self.unpickles = False  # a pickle may name definitions of the notebook
        self.modules: set[str] = set()  # modules that are reached, or whose objects are
        self.objects: set[str] = set()  # modules that are reached as objects
        self.tree: ast.Module | None = None  # of the cell
        self.targets: list[list[str]] = []  # dotted targets of the cell's own assignments
        self.roots: list[list[str]] = []  # what it may set attributes of by names that its code does not show
        self.exports = False  # whether something is reached that others keep from growing
        self.same: str | None = None  # see sameness.asks; None before beyond was called
        self.doubt = ""  # what else the cell asks for, see beyond
        self.binds: list[str] = []  # names that the cell binds, or what its magics run
        self.sure: set[str] = set()  # those of them that it binds if it runs to its end
        self._raw = False  # whether the dict behind os.environ is reached
        self._words: set[str] = set()  # names that stand in strings
        self._texts: set[str] = set()  # words in the text of magics
        self._bodies: set[str] = set()  # texts of magics that were read as code, and are nothing else
        self.compiled: set[str] = set()  # these, as IPython compiles them
        self._loaded: set[str] = set()  # names loaded, also where the cell has bound them before
        self._later: dict[str, list[types.CodeType]] = {}
        self._codes: dict[int, types.CodeType] = {}
        self._seen: set[int] = set()
        self._keep: list[Any] = []
        self._work: list[Any] = []
        self._known_magics = True

    def cell(self, source: str) -> None:
        """Add what the code of a cell, in IPython's syntax, reads."""
        text = normalise.transform(source)
        tree = compile(text, "<cell>", "exec", ast.PyCF_ONLY_AST | flow.FLAGS)
        self.tree = self.tree or tree
        self.targets += stores.targets(tree) if "." in text else []
        self.roots += stores.roots(tree)
        known = "get_ipython" not in source and self._magics(tree)
        walk = flow.Flow(tree)
        for name, codes in walk.later.items():
            self._later.setdefault(name, []).extend(codes)
        if self.tree is tree:  # not what a magic runs: %%capture hides that it failed
            self.sure = walk.sure
        else:
            self.binds = sorted({*self.binds, *normalise.names(tree, text)[0]})
        self._loaded |= walk.loads
        self.code(walk.now, known, walk.reads)
        self._known_magics = known

    def _magics(self, tree: ast.AST) -> bool:
        """Add what stands in the text of magics and shell escapes; whether all of them are known."""
        known = True
        for call in ast.walk(tree):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
                    and isinstance(call.func.value, ast.Call) and isinstance(call.func.value.func, ast.Name)
                    and call.func.value.func.id == "get_ipython"):
                continue
            texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            magic = call.func.attr.startswith("run_")
            known = known and (not magic or texts[:1] != [] and texts[0] in _MAGICS)
            body, text = "", texts[-1] if texts else ""
            if call.func.attr == "run_cell_magic" and texts[:1] != [] and texts[0] in _BODIES and len(texts) == 3:
                body = texts.pop()
            elif call.func.attr == "run_line_magic" and texts[:1] != [] and texts[0] in _LINES and len(texts) == 2:
                body = _OPTIONS.sub("", texts[1])
            if body:
                try:
                    self.cell(body)
                except SyntaxError:
                    continue  # it fails before it reads anything
                if body == text and sum(isinstance(n, ast.Constant) and n.value == text for n in ast.walk(tree)) == 1:
                    texts = [t for t in texts if t != text]
                    self._bodies.add(text)
                    self.compiled.add(normalise.transform(body))
            words = {w for text in texts for w in _WORD.findall(text)}
            self._texts |= words
            for name in words & self.known:
                self.name(name)
        return known

    def code(self, top: types.CodeType, magics: bool = False, names: set[str] | None = None) -> None:
        """Add what top and its nested code load: names, if they are given."""
        if id(top) in self._codes:
            return
        for code in flow.codes(top):
            self._codes[id(code)] = code
            found = set(code.co_names)
            self.mentioned |= found
            if found & _PICKLES or found & {"load", "loads"} and found & _LOADERS or {"shelve", "open"} <= found:
                self.unpickles = True
            if found & _EVERYTHING or {"unittest", "main"} <= found or "get_ipython" in found and not magics:
                self.all = True
            for const in code.co_consts:
                for text in strings(const):
                    if code is top and text in self._bodies:
                        continue
                    words = _WORD.findall(text)
                    self._texts |= _FAILURES.intersection(words)
                    self.all = self.all or not _SPELLED.isdisjoint(words)
                    self.spelled.update(words)
                    self._words |= self.known.intersection(words)
                    self._words.update(_LOCALS.findall(text))
        loads = flow.loads(top)
        self._loaded |= loads
        for name in loads if names is None else names:
            self.all = self.all or _RESULTS.fullmatch(name) is not None and name not in self.user
            self.name(name)

    def reply(self, user: dict[str, Any], binds: list[str], ambient: dict[str, str]) -> dict[str, Any]:
        """The reply of kedge_before."""
        there = {n: n in user or places.is_pseudo(n) for n in sorted(self.names)}
        exports = self.exports or "resize" in self.mentioned  # of an array, which fails where others refer to it
        return {"reads": there, "exports": exports, "weak": sorted(self.weak), "all": self.all,
                "unpickles": self.unpickles, "failure": self.failure(), "beyond": self.beyond(),
                "times": self.times(), "binds": binds, "ambient": ambient}

    def stored(self) -> set[str]:
        """The names of the attributes that the code may set."""
        return stores.attributes(self._codes.values())

    def codes(self) -> Iterable[types.CodeType]:
        """The code that is reached."""
        return self._codes.values()

    def environment(self) -> bool:
        """Whether the code may read the environment where nothing sees it."""
        return self._raw or "environ" in self.mentioned and ("_data" in self.mentioned or "posix" in self.mentioned
                                                             or "posix" in self.modules)

    def failure(self) -> bool:
        """Whether the code may ask for the exception with which an earlier cell ended."""
        return not _FAILURES.isdisjoint(self.mentioned | self._texts) or not (
            self._texts.isdisjoint(("tb", "debug")) and self.mentioned.isdisjoint(("pm", "print_last")))

    def beyond(self) -> str:
        """What the code may ask for that a restored cell does not leave; empty if nothing."""
        if self.doubt:
            return self.doubt
        if not {"getsizeof", "__sizeof__", "getrefcount"}.isdisjoint(self.mentioned):
            return "asks how much memory objects take"  # a list that was appended to takes more
        if "__annotations__" in self._loaded | self.spelled:
            return "asks for the annotations of variables"
        if "config" in self._texts and any(word.endswith("Formatter") for word in self._texts):
            return "sets up what the first output makes"
        values = {n: self.user[n] for n in sorted(self.names & self.user.keys())}
        if self.same is None:
            self.same = sameness.asks(self._codes.values(), values, self.ns, self.binds)
        if self.same == sameness.APART:
            return "asks whether equal values are one object"
        return ""

    def times(self) -> bool:
        """Whether the code may ask when files were changed."""
        return not _TIMES.isdisjoint(self.mentioned)

    def folder(self) -> bool:
        """Whether the code may ask where on this machine the working folder lies."""
        return not _FOLDERS.isdisjoint(self.mentioned | self._texts)

    def words(self) -> set[str]:
        """All words of the code that is reached, of its strings, and of the text of magics."""
        return self.mentioned | self.spelled | self._texts | self._loaded

    def placed(self) -> bool:
        """Whether the code may ask where in its file code stands."""
        return not _PLACES.isdisjoint(self.mentioned)

    def name(self, name: str) -> None:
        """Add one name and what its value reaches."""
        if name not in self.names:
            self.names.add(name)
            if name in self.user:
                self._work.append(self.user[name])
                self.text(self.user[name])

    def follow(self, name: str, value: Any) -> None:
        """Add a pseudo-name and what its value reaches."""
        self.names.add(name)
        self._work.append(value)
        self.text(value)

    def text(self, value: Any) -> None:
        """Names that stand in a string value count as read: a query, a template, a formula."""
        if issubclass(type(value), str) and str.__len__(value) <= _TEXT:
            words = _WORD.findall(value)
            self.spelled.update(words)
            self._words |= self.known.intersection(words)
            self._words.update(_LOCALS.findall(value))

    def close(self) -> None:
        """Follow objects until nothing new is reached, without strings and then with them.

        What only strings lead to is weak until this is called again.
        """
        self._follow()
        strong = set(self.names)
        while self._words - self.names:
            for word in self._words - self.names:
                self.name(word)
            self._loaded |= self._words
            self._follow()
        self.weak = self.names - strong

    def _follow(self) -> None:
        self._objects()
        while called := self._later.keys() & self._loaded:
            for name in called:
                for code in self._later.pop(name):
                    self.code(code, self._known_magics)
            self._objects()

    def _objects(self) -> None:
        while self._work:
            obj = self._work.pop()
            if issubclass(type(obj), str):
                self.text(obj)
            if id(obj) in self._seen or type(obj) in _ATOMS or obj is self.ns:
                continue
            self._seen.add(id(obj))
            self._keep.append(obj)
            if len(self._seen) > _LIMIT:
                self.all = True
                return
            kind = type(obj)
            self.exports = self.exports or kind in _EXPORTERS
            self.modules |= home(obj)
            if kind is types.FunctionType and obj.__globals__ is self.ns:
                self.code(obj.__code__)
                annotate = getattr(obj, "__annotate__", None)  # of Python 3.14, where they are made when asked for
                self._work.append(obj.__annotations__ if annotate is None else annotate)
            elif issubclass(kind, type):
                if live.local(obj):
                    self._work.extend([*vars(obj).values(), *obj.__bases__, type(obj)])
                continue
            elif environ.is_raw(obj):
                self._raw = True
                continue
            elif issubclass(kind, types.ModuleType):
                self.objects |= home(obj)
                continue
            elif issubclass(kind, (types.CodeType, logging.Logger)) or obj is os.environ or ours(kind):
                continue  # a logger is found by its name, and leads to all others, to streams and to the shell
            elif kind in _RUNNING:
                self.code(getattr(obj, _RUNNING[kind]))
            if live.local(kind):
                self._work.append(kind)
            self._work.extend(children(obj, self.ns))


def find(source: str, ns: dict[str, Any], user: dict[str, Any],
         absent: Iterable[str] = ()) -> tuple[Reads, list[str]]:
    """(reads, names the cell may bind). A cell that does not compile reads nothing.

    absent are names of the notebook that ns does not hold yet.
    """
    result = normalise.normalise(source)
    reads = Reads(ns, user, absent)
    if result["error"] is not None:
        return reads, []
    reads.binds = result["binds"]
    reads.cell(source)
    if _finalised(user):  # what a name was bound to may act when it goes
        for name in reads.binds:
            reads.name(name)
    reads.close()
    if reads.all:
        reads.names |= set(user)
        reads.weak = set()
    return reads, sorted({*reads.binds, *stores.names(reads.codes())})


def past(sources: Iterable[str], ns: dict[str, Any], user: dict[str, Any]) -> tuple[Reads, bool]:
    """(what code reads that ran before anybody watched, whether its text shows all of it).

    The names that it defined may be bound to something else since, so the bodies of all its functions count.
    """
    reads, shown, statements = Reads(ns, user), True, []
    for source in sources:
        if normalise.normalise(source)["error"] is not None:
            continue  # it did not run
        reads.tree = None
        reads.cell(source)
        statements += reads.tree.body if reads.tree is not None else []
        shown = shown and reads._known_magics
    for codes in reads._later.values():
        for code in codes:
            reads.code(code, True)
    reads.tree = ast.Module(statements, [])
    reads.close()
    return reads, shown and _UNSHOWN.isdisjoint(reads.mentioned)


def _finalised(user: dict[str, Any]) -> bool:
    """Whether objects of the notebook's own classes act when they are freed."""
    kinds = (v if issubclass(type(v), type) else type(v) for v in user.values())
    return any(live.local(k) and any("__del__" in vars(c) for c in type.mro(k)) for k in kinds if k is not type)


def reach(names: Iterable[str], ns: dict[str, Any], user: dict[str, Any]) -> set[str]:
    """names and those that their values read."""
    reads = Reads(ns, user)
    for name in names:
        reads.name(name)
    reads.close()
    return reads.names | (set(user) if reads.all else set())
