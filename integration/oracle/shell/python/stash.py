"""Libraries that are loaded once and hidden until a child imports them.

A child's ``sys.modules`` must look like that of a fresh kernel. So what importing a library added there, in order, is
taken out again, attributes on parent packages and warning filters included; a finder binds it all at the first import
without running anything. As ``import`` itself moves a module to the end of the table when it has run, the order is
that of a real import.
"""
from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

NAMES = ("bdb", "IPython.core.logger", "IPython.utils.timing", "IPython.core.magic_arguments", "IPython.utils.module_paths",
         "resource", "timeit", "IPython.core.magics.basic", "IPython.core.magics.osm", "IPython.core.magics.execution",
         "decimal", "fractions", "statistics", "csv", "sqlite3", "secrets", "dataclasses", "numbers", "gzip", "zipfile",
         "xml.etree.ElementTree", "configparser", "difflib", "http.client")
LIBRARIES = ("numpy", "numpy.random", "numpy.ma", "dateutil", "pandas", "pandas.api.types", "pyarrow.vendored.version",
             "pyarrow.pandas_compat", "pandas.io.formats.string", "zstandard", "pandas.io.formats.csvs")
OURS = ("gc", "mmap")  # what the server itself has loaded and a kernel has not


class Bundle:
    """What one import added."""

    def __init__(self, name: str, holder: dict[str, Bundle], loaded: list[str] | None = None,
                 look: Callable[[], None] = lambda: None) -> None:
        before, filters = dict.fromkeys(loaded or sys.modules), list(warnings.filters)
        if not loaded:
            importlib.import_module(name)
        look()
        self.name = name
        self.modules = {n: m for n, m in sys.modules.items() if n not in before}
        self.filters = [f for f in warnings.filters if f not in filters]
        self.bound = []  # (parent, attribute, module) that the import set on a module from before
        for n, module in self.modules.items():
            parent, _, last = n.rpartition(".")
            if parent in before or parent in holder and n not in holder[parent].modules:
                self.bound.append((sys.modules[parent], last, module))
        self.hide()
        warnings.filters[:] = filters

    def hide(self) -> None:
        """Take it all out."""
        self.hidden = True
        for name in self.modules:
            del sys.modules[name]
        for parent, last, _ in self.bound:
            vars(parent).pop(last, None)

    def show(self) -> None:
        """Put it all back."""
        self.hidden = False
        for name, module in self.modules.items():
            sys.modules.setdefault(name, module)
        for parent, last, module in self.bound:
            setattr(parent, last, module)
        new = [f for f in self.filters if f not in warnings.filters]
        if new:
            warnings.filters[:0] = new
            getattr(warnings, "_filters_mutated", lambda: None)()


class Finder:
    """Finds hidden modules; first in ``sys.meta_path``."""

    def __init__(self) -> None:
        self.holder: dict[str, Bundle] = {}  # module → the first bundle that brought it

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """A spec that binds the module as it is."""
        bundle = self.holder.get(name)
        if bundle is None or not bundle.hidden and name in sys.modules:
            return None
        return importlib.machinery.ModuleSpec(name, Loader(bundle))


class Loader:
    """Binds one hidden module, with its bundle if it belongs to the library that the bundle is named for."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def create_module(self, spec: Any) -> types.ModuleType:
        """The module itself."""
        module = self.bundle.modules[spec.name]
        self.spec = module.__spec__
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs."""
        module.__spec__ = self.spec
        if self.bundle.hidden and self.spec.name.partition(".")[0] == self.bundle.name.partition(".")[0]:
            self.bundle.show()


def fill(seed: int, loaded: list[str], libraries: bool, look: Callable[[], None]) -> None:
    """Load and hide them all, and whatever is there beside loaded. look is called while each of them is to be seen."""
    look()
    finder = Finder()
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    bundles = [Bundle("(lazy)", {}, loaded)]
    finder.holder.update(dict.fromkeys(bundles[0].modules, bundles[0]))
    for name in OURS:
        finder.holder[name] = own = Bundle.__new__(Bundle)
        own.name, own.modules, own.filters, own.bound, own.hidden = name, {name: sys.modules.pop(name)}, [], [], True
    for name in NAMES + (LIBRARIES if libraries else ()):
        if name not in sys.modules:
            try:
                bundles.append(Bundle(name, finder.holder, look=look))
            except ImportError:  # not installed
                continue
            for module in bundles[-1].modules:
                finder.holder.setdefault(module, bundles[-1])
            for bundle in bundles:  # the import may have bound earlier ones
                bundle.hidden = True
    if libraries:
        finder.holder["numpy.random"].modules["numpy.random"].seed(seed)
