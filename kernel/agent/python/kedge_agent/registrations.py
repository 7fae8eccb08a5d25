"""What libraries keep of the notebook's objects: gymnasium.register("Mine-v0", entry_point=Mine), and the like.

Looked at are the lists, dicts and sets at the top of library modules, in their classes, and in the objects at their
top. If one gets a function, a class or an object of the notebook, or a string that stands in the cell, that is noticed,
and the cell not cached; nothing restores it.
"""
from __future__ import annotations

import ast
import collections
import functools
import itertools
import re
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import live, localmodules
from .reads import Reads

_KINDS = (dict, list, set, collections.deque)
_MOST = 10_000  # items looked at in one container
_FEW = 100  # in what it holds
_DEEP, _SHALLOW = 3, 1  # how far is looked into what a container gets, and into those that a cell has imported
_BARE = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
# Packages and modules: see _other.
_OTHERS = {"IPython", "__main__", "_pydev_bundle", "_pydevd_bundle", "abc", "asyncio", "atexit", "builtins", "comm",
           "concurrent", "copyreg", "debugpy", "gc", "ipykernel", "ipywidgets", "jupyter_client", "kedge_agent",
           "linecache", "logging", "matplotlib_inline", "multiprocessing", "os", "prompt_toolkit", "sys", "threading",
           "tornado", "traitlets", "typing", "warnings", "weakref", "zmq"}
_MODULES = {"matplotlib._pylab_helpers", "matplotlib.backends.registry",
            "pandas._config.config", "plotly.io._templates", "plotly.io._renderers"}
_CACHE = re.compile("cache|memo", re.IGNORECASE)  # in a name: what was looked up is kept there, not what was registered
_SKIP, _HELD, _SPACE, _KIND = range(4)  # see _role


@dataclass(frozen=True)
class _Container:
    """One of a library's lists, dicts or sets."""

    title: str
    held: Any

    @property
    def ordered(self) -> bool:
        """Whether it is known which of its items are the newest."""
        return not isinstance(self.held, set)

    def items(self, last: int = _MOST) -> list[Any]:
        """What it holds, copied: of a dict the keys and values; no more than the last ones, where it has an order."""
        if isinstance(self.held, dict):
            return [x for pair in list(dict.items(self.held))[-last:] for x in pair]
        if isinstance(self.held, list):
            return list(list.__getitem__(self.held, slice(-last, None)))
        copy = collections.deque.copy if isinstance(self.held, collections.deque) else set.copy
        return list(copy(self.held))[-last:]  # type: ignore[operator]


class Registrations:
    """What library modules hold, before and after each cell."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self._ns = ns
        self._containers: list[_Container] = []
        self._sized: list[tuple[Callable[[Any], int], Any]] = []  # how to ask each for its length, past its class
        self._sizes: list[int] = []
        self._kept: dict[int, list[Any]] = {}  # by number: what containers hold that got something of the notebook
        self._texts: set[str] = set()  # the strings in the cell's own code
        self._modules: set[str] = set()  # that were looked through
        self._seen: set[int] = set()  # addresses of containers, and of what has some
        self._roles: dict[type, int] = {}

    def before(self, found: Reads) -> None:
        """A cell comes."""
        constants = (n.value for n in ast.walk(found.tree) if isinstance(n, ast.Constant)) if found.tree else ()
        self._texts = {text for text in constants if isinstance(text, str)}
        self._look()
        self._sizes = self._now()
        for i in self._kept:
            self._kept[i] = self._containers[i].items()

    def after(self) -> list[str]:
        """Why the cell may not be cached."""
        self._look()
        sizes, known = self._now(), len(self._sizes)
        mine = _Search(self._ns)
        found = {i for i, items in self._kept.items() if not _same(items, self._containers[i].items())}
        for i in range(len(sizes)) if sizes != self._sizes else ():
            grown = sizes[i] - (self._sizes[i] if i < known else 0)
            if grown <= 0 or i in self._kept:
                continue
            container = self._containers[i]
            new = container.items(grown if container.ordered else _MOST)
            if (mine.any(new, _DEEP if i < known else _SHALLOW)
                    or i < known and container.ordered and self._spelled(new)):
                found.add(i)
                self._kept[i] = []
        return [f"registered something with {title}" for title in sorted({self._containers[i].title for i in found})]

    def _now(self) -> list[int]:
        return [size(held) for size, held in self._sized]

    def _spelled(self, items: list[Any]) -> bool:
        """Whether one of items is a string that stands in the cell."""
        return any(type(x) is str and x in self._texts for x in items)

    def past(self) -> list[str]:
        """Why nobody knows what libraries keep, after code that nobody watched."""
        self._look()
        mine = _Search(self._ns)
        return sorted({f"may have registered something with {c.title}" for c in self._containers
                       if mine.any(c.items(), _DEEP)})

    def _look(self) -> None:
        """Look through the modules that came since."""
        for name in sys.modules.keys() - self._modules:
            self._modules.add(name)
            module = sys.modules.get(name)
            if (type(module) is not types.ModuleType or module.__dict__ is self._ns or _other(name)
                    or localmodules.is_local(module)):
                continue
            for key, value, role in self._found(module.__dict__):
                if role == _HELD:
                    self._add(f"{name}.{key}", value)
                elif id(value) not in self._seen:
                    self._seen.add(id(value))
                    if not _other(live.module(value if role == _KIND else type(value))):
                        space = type.__dict__["__dict__"].__get__(value) if role == _KIND else _space(value)
                        for inner, held, part in self._found(space):
                            if part == _HELD:
                                self._add(f"{name}.{key}.{inner}", held)

    def _found(self, space: Any) -> list[tuple[str, Any, int]]:
        """What a module, a class or an object has of containers, classes and objects: name, value and role."""
        roles, found = self._roles, []
        try:
            for key, value in space.items():  # no list of it: a hundred thousand pairs wake the collector
                role = roles.get(type(value))
                if role is None:
                    role = roles[type(value)] = _role(type(value))
                if role != _SKIP and type(key) is str and key[:2] != "__" and not _CACHE.search(key):
                    found.append((key, value, role))
        except RuntimeError:  # a thread has changed it meanwhile
            return self._found(dict(space))
        return found

    def _add(self, title: str, held: Any) -> None:
        if id(held) not in self._seen:
            self._seen.add(id(held))
            base = next(k for k in _KINDS if issubclass(type(held), k))
            self._containers.append(_Container(title, held))
            self._sized.append((base.__len__, held))


def _other(name: str) -> bool:
    """Whether a module's tables are the kernel's own, or are watched or restored by others."""
    return name.partition(".")[0] in _OTHERS or name in _MODULES


def _role(kind: type) -> int:
    """What a value of this type is to us."""
    if issubclass(kind, _KINDS):
        return _HELD
    if issubclass(kind, type):
        return _KIND
    return _SPACE if kind.__dictoffset__ and not issubclass(kind, _BARE) else _SKIP


class _Search:
    """Looks for what is of the notebook, as things are now."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self._ns = ns
        self._openers: dict[type, Callable[[Any], Iterable[Any]] | bool | None] = {}

    @functools.cached_property
    def _values(self) -> set[int]:
        """The addresses of the notebook's values that something may be taken for."""
        return {id(v) for n, v in list(self._ns.items()) if n[:1] != "_" and type(v).__module__ != "builtins"
                and not issubclass(type(v), (type, *_BARE))}

    def any(self, items: Iterable[Any], depth: int) -> bool:
        """Whether one of items is, or leads in so many steps to, something of the notebook."""
        layer, seen, openers = items, set(), self._openers
        while layer:
            below: list[Any] = []
            for obj in layer:
                kind = type(obj)
                opener = openers.get(kind, False)
                if opener is None:
                    continue
                if opener is False:
                    opener = openers[kind] = self._opener(kind)
                if opener is True or id(obj) in self._values:
                    return True
                if opener is not None and id(obj) not in seen:
                    seen.add(id(obj))
                    for inside in opener(obj):
                        if inside is self._ns:
                            return True
                        if depth:
                            below.append(inside)
            layer, depth = below, depth - 1
        return False

    def _opener(self, kind: type) -> Callable[[Any], Iterable[Any]] | bool | None:
        """What gives some of what objects of a type hold; True if they are of the notebook, None if they never are."""
        if live.local(kind):
            return True
        if kind is types.FunctionType:
            return lambda function: (function.__globals__,) if function.__globals__ is self._ns else ()
        if issubclass(kind, type):
            return lambda cls: (self._ns,) if live.local(cls) else ()
        return _contents(kind)


def _contents(kind: type) -> Callable[[Any], Iterable[Any]] | None:
    """What gives some of what objects of a type hold; None if they hold nothing that counts."""
    if kind is types.MethodType:
        return lambda m: (m.__self__, m.__func__)
    if kind is functools.partial:
        return lambda p: (p.func, *p.args, *p.keywords.values())
    if kind in (staticmethod, classmethod):
        return lambda m: (m.__func__,)
    if kind in (list, tuple, set, frozenset):
        return lambda held: list(held) if len(held) <= _FEW else ()
    if kind is dict:
        return lambda held: [*held.keys(), *held.values()] if len(held) <= _FEW else ()
    if kind.__dictoffset__ and not issubclass(kind, (type, weakref.ref, *_BARE)):
        return lambda obj: list(itertools.islice(list(_space(obj).values()), _FEW))
    return None if kind.__module__ == "builtins" else lambda obj: ()


def _space(obj: Any) -> dict[str, Any]:
    """The attributes of an object, without running anything of its class."""
    try:
        found = object.__getattribute__(obj, "__dict__")
    except Exception:  # a property of that name, or none
        return {}
    return found if type(found) is dict else {}


def _same(a: list[Any], b: list[Any]) -> bool:
    """Whether two lists hold the very same objects."""
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
