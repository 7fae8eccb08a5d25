"""What the import system touches is no file observation: its look-ups are hidden from the ring.

What a module's own code reads while it is imported counts, and so does the
source of local modules. That nothing else would be imported under a name is
observed by name (see the reply of kedge_after: ``modules`` and ``search``), and
so are the distributions in a folder, where something looked for them.
"""
from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.machinery
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from importlib import metadata
from types import MappingProxyType
from typing import Any

from . import machine

_depth = [0]  # calls within calls that are hidden
filtering: set[str] = set()  # modules whose own code has changed the filters of warnings
_missed: set[tuple[str, str]] = set()  # folders and names of modules that are not there, asked for since missing
searched: set[str] = set()  # folders in which installed distributions were looked for since the last taken


def install() -> None:
    """Hide the look-ups of modules and distributions in folders, if this process is observed at all."""
    off = getattr(ctypes.CDLL(None), "kedge_observe_off", None)
    if off is None:
        return
    off.argtypes, off.restype = [ctypes.c_int], None
    _hide(importlib.machinery.FileFinder, "find_spec", off,
          without=lambda finder, name, *_: _missed.add((finder.path, name)))
    if hasattr(metadata, "FastPath"):
        _hide(metadata.FastPath, "search", off, lambda path: searched.add(os.path.abspath(path.root or os.curdir)))


@contextlib.contextmanager
def unlooked() -> Iterator[None]:
    """Forget afterwards in which folders of the path imports have looked: files of a restore may come into them yet.

    A folder that is not there when it is first looked into is not looked into again.
    """
    before = set(sys.path_importer_cache)
    try:
        yield
    finally:
        for path in sys.path_importer_cache.keys() - before:
            sys.path_importer_cache.pop(path, None)


def _hide(cls: Any, method: str, off: Any, note: Any = None, without: Any = None) -> None:
    """Look-ups by a method are hidden. It is noted, and what it was asked for without finding anything."""
    plain = getattr(cls, method)

    @wraps(plain)
    def hidden(self: Any, *args: Any, **kwargs: Any) -> Any:
        _depth[0] += 1
        off(1)
        try:
            if note is not None:
                note(self)
            found = plain(self, *args, **kwargs)
            if found is None and without is not None:
                without(self, *args)
            return found
        finally:
            _depth[0] -= 1
            off(int(_depth[0] > 0))

    setattr(cls, method, hidden)


def taken() -> list[str]:
    """The folders in which distributions were looked for since the last call, by listing them."""
    folders = sorted(searched)
    searched.clear()
    return folders


def missing() -> dict[str, list[str]]:
    """Modules looked for since the last call that are not loaded, those in no package, and where any would lie."""
    absent = [(folder, name) for folder, name in _missed if name not in sys.modules]
    _missed.clear()
    return {"modules": sorted({n for _, n in absent}), "names": sorted({n for _, n in absent if "." not in n}),
            "paths": sorted({os.path.join(f, n.rpartition(".")[2]) for f, n in absent})}


def watch(imported: Callable[[types.ModuleType], None],
          at_once: Mapping[str, Callable[[], None]] = MappingProxyType({})) -> None:
    """Call imported for every module that was executed from source, when the outermost import is done.

    What at_once holds for a module is called before the code that imports it goes on. The wrapper's frame
    has the import system's file name, so that tracebacks leave it out as they do its own.

    Those whose code changes the filters of warnings are noted: only importing them brings that about in its order.
    """
    loader = importlib.machinery.SourceFileLoader
    plain = loader.exec_module
    running: list[str] = []
    filters: list[list[Any]] = [[]]
    done: list[types.ModuleType] = []

    def exec_module(self: Any, module: types.ModuleType) -> None:
        compare()
        running.append(module.__name__)
        entered = machine.enter(module.__name__, self.path)
        try:
            plain(self, module)
        finally:
            machine.leave(entered)
            compare()
            running.pop()
            done.append(module)
            if module.__name__ in at_once:
                with contextlib.suppress(Exception):  # of what it looks at a version may have another form
                    at_once[module.__name__]()
            if not running:
                report()

    def compare() -> None:
        now = list(warnings.filters)
        if running and now != filters[0]:
            filtering.add(running[-1])
        filters[0] = now

    def report() -> None:
        modules, done[:] = list(done), []
        for module in modules:
            try:
                imported(module)
            except Exception:  # what it holds counts as changed
                continue

    exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap_external>")
    loader.exec_module = wraps(plain)(exec_module)  # type: ignore[method-assign]


def load(name: str, folder: str) -> None:
    """Import a module; where it is not found, with folder as the working folder, which cells may have left since."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as err:
        if err.name != name.partition(".")[0]:
            raise
        here = os.getcwd()
        os.chdir(folder)
        try:
            importlib.import_module(name)
        finally:
            os.chdir(here)


def importable(name: str) -> bool:
    """Whether a loaded module was imported, and not made by code that put it into sys.modules."""
    return getattr(sys.modules.get(name), "__spec__", None) is not None


def search() -> list[str]:
    """The folders of sys.path, absolute, in order."""
    return [os.path.abspath(p or os.curdir) for p in sys.path if isinstance(p, str)]
