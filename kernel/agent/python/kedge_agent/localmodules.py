"""Local modules: what they hold, piece by piece, and what of it differs from a fresh import.

The pieces are globals, attributes of classes, and the defaults, attributes and closure cells of functions, each
with a pseudo-name (places.py): ``helper:total``, ``helper:C.made``, ``helper:add.__defaults__``. A piece is
captured once a cell has changed it, or once a variable shares something with it; until then importing the module
brings it about.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import sys
import sysconfig
import types
from collections.abc import Container, Iterable, Iterator
from typing import Any

from . import definitions, fingerprint
from .places import GONE

_LIBRARY = tuple(os.path.join(os.path.abspath(p), "") for k, p in sysconfig.get_paths().items()
                 if k in ("stdlib", "platstdlib", "purelib", "platlib"))
_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_HIDDEN = {"__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__path__",
           "__spec__", "__warningregistry__", "__annotations__", "__annotate__", "__annotate_func__",
           "__conditional_annotations__", "__annotations_cache__"}
_OF_CLASSES = {"__dict__", "__weakref__", "__module__", "__qualname__", "__doc__", "__firstlineno__",
               "__static_attributes__", "__slotnames__", "__abstractmethods__", "_abc_impl", "__slots__",
               "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__parameters__",
               "__orig_bases__", "__match_args__", "__dataclass_fields__", "__dataclass_params__"}
_CACHES = {"dispatch_cache", "cache_token"}  # closure cells of functools.singledispatch, filled by looking up
_LRU = type(functools.lru_cache(maxsize=None)(len))
_WORD = re.compile(r"[^\W\d]\w*")
# What leads to attributes by names that no text shows.
_UNSHOWN = {"getattr", "attrgetter", "getmembers", "modules", "import_module", "__import__", "globals", "locals",
            "vars", "dir", "eval", "exec", "__dict__", "__globals__", "__getattribute__"}
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)


def is_local(module: Any) -> bool:
    """Whether the module's source lies outside of the interpreter's and its packages' folders."""
    path = getattr(module, "__file__", None)
    return isinstance(path, str) and local_path(path)


@functools.cache
def local_path(path: str) -> bool:
    """Whether a source file belongs to no library."""
    path = os.path.abspath(path)
    return not path.startswith((*_LIBRARY, _OURS)) and "-packages" + os.sep not in path


class Cache:
    """Stands for the results that a functools.lru_cache keeps, which cannot be read."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def __reduce__(self) -> Any:
        raise TypeError("results kept by functools.lru_cache cannot be captured")


def pieces(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """(path, value) of everything in module that code can change, each object once."""
    seen: set[int] = set()
    for key, value in list(vars(module).items()):
        if key not in _HIDDEN:
            yield key, value
            yield from _inside(key, value, module.__name__, seen)


def _inside(path: str, value: Any, module: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        for part in ("fget", "fset", "fdel"):
            yield from _inside(f"{path}.{part}", getattr(value, part), module, seen)
        return
    if type(value) is _LRU:
        info = value.cache_info()
        if info.currsize:
            yield f"{path}.cache_info", Cache((info.misses, info.currsize))
        yield from _inside(f"{path}.__wrapped__", getattr(value, "__wrapped__", None), module, seen)
        return
    if not isinstance(value, (types.FunctionType, type)) or value.__module__ != module or id(value) in seen:
        return
    if isinstance(value, types.FunctionType):
        seen.add(id(value))
        yield from _of_function(path, value, module, seen)
    elif isinstance(value, type):
        seen.add(id(value))
        for key, inner in list(vars(value).items()):
            if key in _OF_CLASSES or isinstance(inner, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                continue
            yield f"{path}.{key}", inner
            yield from _inside(f"{path}.{key}", inner, module, seen)


def _of_function(path: str, function: types.FunctionType, module: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    for part in ("__defaults__", "__kwdefaults__"):
        if getattr(function, part):
            yield f"{path}.{part}", getattr(function, part)
    for key, value in list(vars(function).items()):
        if key != "__wrapped__":
            yield f"{path}.{key}", value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name in _CACHES or id(cell) in seen or cell == types.CellType():
            continue
        seen.add(id(cell))
        yield f"{path}.__closure__.{name}", cell.cell_contents
        yield from _inside(f"{path}.__closure__.{name}", cell.cell_contents, module, seen)


def _definition(value: Any) -> bool:
    """Whether value is described by its name: what it holds are pieces of their own."""
    return isinstance(value, (types.FunctionType, type, types.ModuleType, types.BuiltinFunctionType, staticmethod,
                              classmethod, property, _LRU))


def _digest(value: Any, local: set[str]) -> tuple[str, list[str]]:
    """(a digest, names of types whose state it does not see)."""
    if isinstance(value, Cache):
        return repr(value.of), []
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    value = getattr(value, "__wrapped__", value) if type(value) is _LRU else value
    if isinstance(value, types.FunctionType):
        return f"def {value.__module__} {value.__qualname__} {hash(value.__code__.co_code)}", []
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}", []
    if _definition(value):
        return f"{type(value).__name__} {getattr(value, '__module__', '')} {getattr(value, '__qualname__', '')}", []
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}", []
    return fingerprint.look(value, local)


def _resolve(module: Any, path: list[str]) -> Any:
    """The object at path in module; AttributeError or LookupError if there is none."""
    obj = module
    at = 0
    while at < len(path):
        name = path[at]
        if name == "__closure__":
            obj = _cell(obj, path[at + 1]).cell_contents
            at += 1
        elif isinstance(obj, (types.ModuleType, type)):
            obj = vars(obj)[name]
        else:
            obj = getattr(obj, name)
        if isinstance(obj, (staticmethod, classmethod)):
            obj = obj.__func__
        at += 1
    return obj


def _cell(function: Any, name: str) -> Any:
    return function.__closure__[function.__code__.co_freevars.index(name)]


class LocalModules:
    """What the local modules of a process hold, and which pieces of it are captured."""

    NAME = "local modules"

    def __init__(self) -> None:
        self.present: dict[str, set[str]] = {}  # module → pieces that are captured
        self._loaded: dict[str, types.ModuleType] = {}
        self._fresh: dict[str, dict[str, str]] = {}  # module → piece → digest right after the import
        self._first: dict[str, dict[str, Any]] = {}  # module → piece → its value then, if that cannot change
        self._blind: dict[str, str] = {}  # pseudo-name → type whose state cannot be seen
        self.born: dict[str, str] = {}  # module → digest of the values that it had right after the import
        self._text: dict[str, frozenset[str]] = {}  # words in its source
        self._defining: dict[str, str] = {}  # module that only defines things → its file
        self._files: dict[str, tuple[int, ...]] = {}  # module → its file as it was right after the import
        self.executed: set[str] = set()  # modules executed since somebody cleared this, again or for the first time

    def imported(self, module: types.ModuleType) -> None:
        """A module was just executed from source."""
        name = module.__name__
        if name == "__main__" or not is_local(module):
            return
        self.executed.add(name)
        again = self._loaded.get(name) is module
        self._loaded[name] = module
        self._defining.pop(name, None)
        self._text.pop(name, None)
        self._files[name] = _state(module)
        with contextlib.suppress(OSError):
            with open(module.__file__, "rb") as source:  # type: ignore[arg-type]
                self._text[name] = frozenset(_WORD.findall(source.read().decode(errors="replace")))
        if definitions.only(module.__file__):
            self._defining[name] = os.path.abspath(module.__file__)
        if not again:
            self.present.pop(name, None)
            self._first[name] = {p: v for p, v in pieces(module) if isinstance(v, _PLAIN) or _definition(v)}
            self._fresh[name] = self._digests(name)
            values = {p for p, v in pieces(module) if not _definition(v) and not isinstance(v, Cache)}
            born = sorted((p, d) for p, d in self._fresh[name].items() if p in values)
            self.born[name] = hashlib.sha256(repr(born).encode()).hexdigest()

    def loaded(self) -> dict[str, types.ModuleType]:
        """The local modules that can be imported now without being executed."""
        return {n: m for n, m in self._loaded.items() if sys.modules.get(n) is m}

    def edited(self) -> list[str]:
        """The local modules executed since executed was cleared whose file is not what it was then."""
        return sorted(n for n, m in self.loaded().items() if n in self.executed and self._files.get(n) != _state(m))

    def definitions(self, modules: Iterable[str]) -> list[str]:
        """The files of those among modules that only define things, so that nobody else depends on their source."""
        return sorted({self._defining[n] for n in modules if n in self._defining})

    def reached(self, names: set[str], held: set[str]) -> set[str]:
        """The local modules among names, dotted or not, and those that they reach by what they hold and import.

        A package has its submodules as attributes, whoever imported them: where only definitions of the package are
        reached, they count if its text, or names, have their name, or get at names that no text shows. held are those
        of the names that may be modules as objects.
        """
        loaded = self.loaded()
        todo = list(loaded.keys() & (names | _parents(names)))
        held = held | _parents(held)
        words = set(names)
        found: set[str] = set()
        inner: dict[str, tuple[str, str]] = {}  # submodule → its package, and its name there
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                own = self.submodules(name)
                inner.update(own)
                objects, homes = _mentions(loaded[name], own)
                held |= objects
                words |= objects
                todo.extend(loaded.keys() & (objects | homes))
            if not todo:
                for m in (loaded.keys() & inner) - found:
                    package, said = inner[m][0], {inner[m][1], *_UNSHOWN}
                    if package in held or not words.isdisjoint(said) or self._says(package, said):
                        todo.append(m)
        return found

    def submodules(self, name: str) -> dict[str, tuple[str, str]]:
        """The submodules that a package has as attributes: the name of each → (the package's, the attribute's)."""
        return {f"{name}.{key}": (name, key) for key, value in list(vars(self._loaded[name]).items())
                if issubclass(type(value), types.ModuleType) and vars(value).get("__name__") == f"{name}.{key}"}

    def _says(self, name: str, words: set[str]) -> bool:
        """Whether one of these words stands in the source of a module, as it was executed."""
        text = self._text.get(name)
        return text is None or not text.isdisjoint(words)

    def mentions(self, name: str) -> set[str]:
        """Names of modules that code of a loaded module can reach, and names that its functions load."""
        module = self.loaded().get(name)
        return set[str]().union(*_mentions(module)) if module is not None else set()

    def _digests(self, name: str) -> dict[str, str]:
        local = set(self._loaded) | {"__main__"}
        found = {}
        for path, value in pieces(self._loaded[name]):
            found[path], blind = _digest(value, local)
            if blind:
                self._blind[f"{name}:{path}"] = blind[0]
        return found

    def look(self, modules: Iterable[str]) -> dict[str, dict[str, str]]:
        """The digest of every piece of these modules."""
        return {name: self._digests(name) for name in modules}

    def differing(self, before: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> set[str]:
        """The pseudo-names of pieces that changed since before, or since the import of a module unknown then.

        What cannot be seen through counts as changed at the import.
        """
        found = set()
        for name, digests in now.items():
            was = before.get(name) or self._fresh.get(name, {})
            for path in digests.keys() | was.keys():
                if digests.get(path) != was.get(path):
                    found.add(f"{name}:{path}")
            if name not in before:
                found |= {p for p in self._blind if p.startswith(name + ":")}
        return found

    def table(self) -> dict[str, Any]:
        """Every piece of every module that variables may share something with, and those that are captured."""
        found: dict[str, Any] = {}
        for name, module in self.loaded().items():
            present = self.present.get(name, set())
            for path, value in pieces(module):
                if path in present or not (_definition(value) or isinstance(value, (*_PLAIN, Cache))):
                    found[f"{name}:{path}"] = value
            for path in present - {p.partition(":")[2] for p in found if p.startswith(name + ":")}:
                found[f"{name}:{path}"] = GONE
        return found

    def keep(self, pseudo: str) -> None:
        """From now on the piece is captured."""
        name, _, path = pseudo.partition(":")
        self.present.setdefault(name, set()).add(path)

    def value(self, pseudo: str) -> Any:
        """What the piece is now; GONE if the module does not have it."""
        name, _, path = pseudo.partition(":")
        try:
            return _resolve(sys.modules[name], path.split("."))
        except (LookupError, AttributeError, ValueError):
            return GONE

    def owns(self, pseudo: str) -> bool:
        """Whether pseudo is a piece of a local module."""
        return pseudo.partition(":")[0] in self._loaded

    def start(self) -> None:
        """See Place: modules are as they are imported."""

    def entries(self) -> dict[str, Any]:
        """See Place: pieces are observed by the cells that reach their module, so not here."""
        return {}

    def bind(self, name: str, value: Any) -> None:
        """See Place; name is a whole pseudo-name."""
        module, _, path = name.partition(":")
        *parents, last = path.split(".")
        owner = sys.modules[module]
        if parents[-1:] == ["__closure__"]:
            _cell(_resolve(owner, parents[:-1]), last).cell_contents = value
        elif value is GONE:
            holder = _resolve(owner, parents)
            if last in vars(holder):
                delattr(holder, last)
        else:
            setattr(_resolve(owner, parents), last, value)
        self.keep(name)

    def unbind(self, name: str) -> None:
        """See Place; ValueError for what only another import would bring back."""
        module, _, path = name.partition(":")
        if path in self._fresh[module] and path not in self._first[module]:
            raise ValueError(f"{name} cannot be taken back")
        self.bind(name, self._first[module].get(path, GONE))
        self.present[module].discard(path)


@functools.cache
def _imports(code: types.CodeType) -> frozenset[str]:
    """The names in code and in the code nested in it."""
    found = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found |= _imports(const)
    return frozenset(found)


def _state(module: types.ModuleType) -> tuple[int, ...]:
    """What tells one state of a module's file from another; empty if it is gone."""
    try:
        stat = os.stat(module.__file__ or "")
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _parents(names: Iterable[str]) -> set[str]:
    """The packages that dotted names lead through."""
    return {n[:i] for n in names if "." in n for i, c in enumerate(n) if c == "."}


def _mentions(module: types.ModuleType, without: Container[str] = ()) -> tuple[set[str], set[str]]:
    """(names of the modules that module holds, but for some, and names that its functions load; the modules in which
    what else it holds is defined), with the packages at their top.
    """
    objects: set[str] = set()
    homes: set[str] = set()
    for _, value in pieces(module):
        if isinstance(value, types.ModuleType):
            if value.__name__ not in without:
                objects.add(value.__name__)
            continue
        definition = value if isinstance(value, (types.FunctionType, type)) else type(value)
        homes.add(str(definition.__module__))
        function = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        if isinstance(function, types.FunctionType):
            objects |= _imports(function.__code__)
    return ({part for n in objects for part in (n, n.partition(".")[0])},
            {part for n in homes for part in (n, n.partition(".")[0])})
