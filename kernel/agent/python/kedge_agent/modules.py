"""State of modules: what local ones hold, and what was set on libraries.

Neither can be restored but by running again, so a cell that changes it is refused; what it is now is part
of the ambient state, so that the cells after such a cell observe it.
"""
from __future__ import annotations

import builtins
import functools
import os
import sys
import sysconfig
import types
from typing import Any

from . import fingerprint

_LIBRARY = tuple(os.path.join(os.path.abspath(p), "") for k, p in sysconfig.get_paths().items()
                 if k in ("stdlib", "platstdlib", "purelib", "platlib"))
_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_HIDDEN = {"__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__path__",
           "__spec__", "__warningregistry__", "__annotations__"}
_CACHES = {"__slotnames__", "__abstractmethods__", "_abc_impl"}  # the interpreter's own, on classes
# Classes that libraries extend on a user's behalf (accessors, progress_apply).
_EXTENDED = {"pandas": ("DataFrame", "Series", "Index"), "polars": ("DataFrame", "Series", "Expr", "LazyFrame")}


def is_local(module: Any) -> bool:
    """Whether the module's source lies outside of the interpreter's and its packages' folders."""
    path = getattr(module, "__file__", None)
    return isinstance(path, str) and _local_path(path)


@functools.cache
def _local_path(path: str) -> bool:
    path = os.path.abspath(path)
    return not path.startswith((*_LIBRARY, _OURS)) and "-packages" + os.sep not in path


_installed: dict[str, Any] = {}  # modules known not to be local: there are a thousand, and local is called often


def local() -> dict[str, types.ModuleType]:
    """The local modules that are loaded, but for the notebook itself."""
    found = {}
    for name, module in list(sys.modules.items()):
        if _installed.get(name) is module or name == "__main__":
            continue
        if isinstance(module, types.ModuleType) and is_local(module):
            found[name] = module
        else:
            _installed[name] = module
    return found


def held() -> dict[str, str]:
    """What each local module holds, by name."""
    found = local()
    names = set(found)
    return {n: fingerprint.digest({k: v for k, v in vars(m).items() if k not in _HIDDEN}, names)
            for n, m in sorted(found.items())}


class Patches:
    """What the notebook has set on libraries and their classes."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self.set: dict[str, str] = {}  # "numpy.foo" → digest of its value
        self._ns = ns
        self._scanned: set[str] = set()
        self._owners: dict[str, Any] = {}
        self._names: set[str] = set()
        self._targets: list[list[str]] = []
        self._before: dict[tuple[str, str], Any] = {}
        self._builtins: set[str] = set()
        self._extended: dict[str, set[str]] = {}

    def owners(self) -> dict[str, Any]:
        """The namespaces of library modules and of the classes in them, by name."""
        for name, module in list(sys.modules.items()):
            if name in self._scanned or name == "__main__" or not isinstance(module, types.ModuleType):
                continue
            self._scanned.add(name)
            if is_local(module):
                continue
            self._owners[name] = vars(module)
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ != "__main__":
                    self._owners[f"{value.__module__}.{value.__qualname__}"] = vars(value)
        return self._owners

    def _values(self, owners: dict[str, Any]) -> dict[tuple[str, str], Any]:
        return {(owner, n): space[n] for owner, space in owners.items() for n in self._names if n in space}

    def before(self, names: set[str], targets: list[list[str]]) -> None:
        """A cell comes that may set attributes of these names, and that assigns to these dotted targets."""
        self._names, self._targets = names - _CACHES, targets
        self._before = self._values(self.owners()) if names else {}
        self._builtins = set(vars(builtins))
        self._extended = extended()

    def after(self) -> list[str]:
        """What the cell has set, as reasons to refuse it."""
        changed: dict[str, Any] = {}
        now = self._values(self._owners) if self._names else {}
        for key in self._before.keys() | now.keys():
            if now.get(key, self) is not self._before.get(key, self):
                if key in self._before or not isinstance(now[key], types.ModuleType):  # no new submodule
                    changed[".".join(key)] = now.get(key)
        for target in self._targets:
            owner, name = self._resolve(target)
            if owner:
                changed[f"{owner}.{name}"] = self.owners().get(owner, {}).get(name)
        for name in set(vars(builtins)) - self._builtins:
            changed["builtins." + name] = vars(builtins)[name]
        for owner, names in extended().items():
            for name in names - self._extended.get(owner, names):
                changed[f"{owner}.{name}"] = None
        self._before = {}
        for name, value in changed.items():
            self.set[name] = fingerprint.digest(value, {"__main__"})
        return [f"set {name}" for name in sorted(changed)]

    def _resolve(self, target: list[str]) -> tuple[str, str]:
        """(owner, attribute) if the target lies on a library's module or class, else empty."""
        obj = self._ns.get(target[0])
        for name in target[1:-1]:
            space = vars(obj) if isinstance(obj, (types.ModuleType, type)) else {}
            obj = space.get(name)
        if isinstance(obj, types.ModuleType) and obj.__name__ != "__main__" and not is_local(obj):
            return obj.__name__, target[-1]
        if isinstance(obj, type) and obj.__module__ != "__main__" and not is_local(sys.modules.get(obj.__module__)):
            return f"{obj.__module__}.{obj.__qualname__}", target[-1]
        return "", ""


def extended() -> dict[str, set[str]]:
    """The attribute names of the classes that libraries extend."""
    return {f"{package}.{name}": set(vars(getattr(sys.modules[package], name))) - _CACHES
            for package, names in _EXTENDED.items() if package in sys.modules
            for name in names if isinstance(getattr(sys.modules[package], name, None), type)}
