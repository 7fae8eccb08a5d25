"""Native packages that may keep state where nothing sees it: cells that reach one are refused, by its name."""
from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
import sysconfig
import types
from collections.abc import Iterable
from typing import Any

from . import localmodules, normalise
from .reads import Reads, home
from .stateless import PACKAGES

_STDLIB = tuple(os.path.join(os.path.abspath(sysconfig.get_paths()[k]), "") for k in ("stdlib", "platstdlib"))


def package(module: str) -> str:
    """The top-level package of a module."""
    return module.partition(".")[0]


def native(module: Any) -> str:
    """The package of a compiled module that does not come with Python, by where its file lies; else empty."""
    spec = getattr(module, "__spec__", None)
    if not isinstance(getattr(spec, "loader", None), importlib.machinery.ExtensionFileLoader):
        return ""
    path = os.path.abspath(str(spec.origin))
    _, installed, inside = path.rpartition("-packages" + os.sep)
    if installed:
        return inside.partition(os.sep)[0].partition(".")[0]
    return "" if path.startswith(_STDLIB) else package(module.__name__)


def only_imports(tree: ast.Module) -> bool:
    """Whether a cell does nothing but import."""
    return all(isinstance(n, (ast.Import, ast.ImportFrom)) or isinstance(getattr(n, "value", None), ast.Constant)
               for n in tree.body)


class Natives:
    """Which native packages are loaded, and which of them a cell reaches."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self._ns = ns
        self._scanned: set[str] = set()
        self._native: set[str] = set()  # packages, but for those that are known to keep no state
        self._users: dict[str, set[str]] = {}  # package → native packages that its modules hold
        self._declared: set[str] = set()
        self._loads: set[str] = set()
        self._reached: set[str] = set()
        self._names: set[str] = set()
        self._quiet = True

    def before(self, code: str, found: Reads, declared: Iterable[str]) -> None:
        """A cell comes that reads what found says."""
        self._declared = set(declared)
        self._reached, self._names = set(found.modules), found.names | found.mentioned
        try:
            tree = ast.parse(normalise.transform(code))
        except SyntaxError:
            tree = ast.Module(body=[], type_ignores=[])
        self._quiet = only_imports(tree)
        self._loads = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}

    def after(self) -> list[str]:
        """Why the cell may not be cached."""
        self._scan()
        if self._quiet or not self._native:
            return []
        reached = set(self._reached)
        for n in self._loads & self._ns.keys():
            reached |= home(self._ns[n])
        packages = {package(m) for m in reached} | self._loads & self._native
        packages |= self._names & self._native - self._ns.keys()  # imported by a function where it is called
        found = packages & self._native
        for p in packages - PACKAGES:
            found |= self._users.get(p, set())
        return [f"reaches {shown}, a native package that may keep state of its own "
                f"(if it keeps none, name it in kedge.stateless)"
                for shown in sorted({p.strip("_") for p in found} - self._declared)]

    def _scan(self) -> None:
        """Look at the modules loaded since the last time."""
        fresh = [(n, m) for n, m in list(sys.modules.items()) if n not in self._scanned]
        self._scanned.update(n for n, _ in fresh)
        new = {native(m) for _, m in fresh} - PACKAGES - {""}
        new = {p for p in new if not p.startswith("_polars_runtime") and p != "kedge_agent"}
        self._native |= new
        if not self._native:
            return
        for n, m in list(sys.modules.items()) if new else fresh:
            if issubclass(type(m), types.ModuleType) and package(n) not in self._native and (
                    localmodules.is_local(m) or n != "__main__" and package(n) not in PACKAGES):
                held = {package(v.__name__) for v in list(vars(m).values()) if type(v) is types.ModuleType}
                if held & self._native:
                    self._users.setdefault(package(n), set()).update(held & self._native)
