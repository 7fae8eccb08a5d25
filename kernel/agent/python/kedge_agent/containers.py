"""What library modules hold in lists, dicts and sets, where a cell's code names them.

A change is noticed, and the cell not cached; nothing restores it.
"""
from __future__ import annotations

import ast
import collections
import sys
import types
from typing import Any

from . import localmodules, stores
from .reads import Reads

_KINDS = (list, dict, set, collections.deque, bytearray)
_DEPTH = 3  # containers within containers
_MOST = 100_000  # items looked at for one cell
# Modules whose containers adapters restore, and a type likewise.
_OTHERS = {"sys", "os", "builtins", "warnings", "logging", "random", "gc", "atexit", "__main__"}
_RESTORED = {"RcParams"}


_CHANGES = {"append", "add", "clear", "extend", "insert", "pop", "popitem", "register", "remove", "setdefault",
            "update"}


def written(tree: ast.Module) -> list[list[str]]:
    """The dotted names of what a cell's own statements change in place: plt.style.library[x] = y."""
    found = []
    for node in ast.walk(tree):
        obj: Any = None
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            obj = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            obj = node.func.value
        path = stores.dotted(obj)
        if len(path) > 1:
            found.append(path)
    return found


class Containers:
    """The containers that the next cell's code may change in place."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self._ns = ns
        self._loaded: set[str] = set()
        self._written: list[list[str]] = []
        self._before: dict[str, tuple[Any, Any]] = {}  # dotted name → (container, its items)
        self._left = 0

    def before(self, found: Reads) -> None:
        """A cell comes."""
        self._before, self._left = {}, _MOST
        self._loaded = set(sys.modules)
        self._written = []
        self.more(found)

    def more(self, found: Reads) -> None:
        """More code comes before after is called."""
        self._written += written(found.tree) if found.tree is not None else []
        todo, done = [sys.modules.get(n) for n in found.modules | found.mentioned], set()  # it may import them again
        while todo:
            module = todo.pop()
            if type(module) is not types.ModuleType or id(module) in done or self._own(module):
                continue
            done.add(id(module))
            space = vars(module)
            for name in found.mentioned & space.keys():
                value = space[name]
                if type(value) is types.ModuleType:
                    todo.append(value)
                elif isinstance(held := getattr(value, "_cmaps", value), _KINDS):  # of matplotlib's registry
                    self._note(f"{module.__name__}.{name}", held)

    @staticmethod
    def _own(module: types.ModuleType) -> bool:
        return module.__name__ in _OTHERS or localmodules.is_local(module)

    def _note(self, title: str, held: Any) -> None:
        if type(held).__name__ not in _RESTORED and title not in self._before:
            self._before[title] = held, self._items(held, _DEPTH)

    def _items(self, held: Any, depth: int) -> Any:
        """The items of a container, with those of the containers in it."""
        if depth == 0 or not isinstance(held, _KINDS) or self._left < len(held):
            return None
        self._left -= len(held)
        if isinstance(held, bytearray):
            return bytes(held)
        items = [x for pair in dict.items(held) for x in pair] if isinstance(held, dict) else list(held)
        return [(x, self._items(x, depth - 1)) for x in items]

    def after(self) -> list[str]:
        """Why the cell may not be cached."""
        self._left = _MOST
        found = [n for n, (held, was) in self._before.items() if not _same(was, self._items(held, _DEPTH))]
        self._before = {}
        found += [".".join(path) for path in self._written if self._fresh(path)]
        return [f"changed {name} in place, which a library holds" for name in sorted(found)]

    def past(self, found: Reads) -> list[str]:
        """Why nobody knows what libraries hold, after code that nobody watched."""
        self.before(found)
        names, self._before = sorted(self._before), {}
        self._loaded = set()  # whatever it changed by its name, it did
        names += sorted(".".join(path) for path in self._written if self._fresh(path))
        self._written = []
        return [f"may have changed {name} in place, which a library holds" for name in dict.fromkeys(names)]

    def _fresh(self, path: list[str]) -> bool:
        """Whether a dotted name leads to a container of a library that the cell itself has imported."""
        obj, known = self._ns.get(path[0]), True
        for name in path[1:]:
            if type(obj) is not types.ModuleType or self._own(obj):
                return False
            known = known and obj.__name__ in self._loaded
            obj = vars(obj).get(name)
        obj = getattr(obj, "_cmaps", obj)
        return not known and isinstance(obj, _KINDS) and type(obj).__name__ not in _RESTORED


def _same(a: Any, b: Any) -> bool:
    """Whether two lists of items hold the very same objects."""
    if not isinstance(a, list) or not isinstance(b, list):
        return bool(a == b)
    return len(a) == len(b) and all(x is y and _same(p, q) for (x, p), (y, q) in zip(a, b, strict=True))
