"""Which warnings have been shown, so that a restored cell's are not shown again."""
from __future__ import annotations

import pickle
import sys
import types
import warnings
from typing import Any

from . import canonical

NAME = "warnings.shown"  # restored after the filters, whose version it carries
_KEY = "__warningregistry__"


_spaces: dict[str, dict[str, Any]] = {}  # of the modules met so far: there are thousands


def _registries() -> list[tuple[str, dict[Any, Any]]]:
    for name in sys.modules.keys() - _spaces.keys():
        module = sys.modules.get(name)
        if type(module) is types.ModuleType:
            _spaces[name] = module.__dict__
    found = [(n, space[_KEY]) for n, space in _spaces.items() if _KEY in space]
    return [(n, r) for n, r in found if type(r) is dict and n in sys.modules]


def capture() -> bytes:
    """The keys of every module's registry, by module; empty if nothing was shown."""
    found = {}
    for name, registry in _registries():
        keys = [k for k, v in registry.items() if k != "version" and v]
        if keys:
            found[name] = keys
    once = list(getattr(warnings, "onceregistry", {}))
    return canonical.dumps((sorted(found.items()), once)) if found or once else b""


def restore(state: bytes) -> None:
    """Note them, and no others, as shown under the present filters."""
    shown, once = pickle.loads(state) if state else ([], [])
    found = dict(shown)
    for name, registry in _registries():
        if name not in found:
            registry.clear()
    version = _version() if found else 0
    for name, keys in found.items():
        if name in sys.modules:
            vars(sys.modules[name])[_KEY] = {"version": version, **{tuple(k): True for k in keys}}
    warnings.onceregistry.clear()  # type: ignore[attr-defined]
    warnings.onceregistry.update((tuple(k), 1) for k in once)  # type: ignore[attr-defined]


def _version() -> Any:
    """The version of the filters, as a registry that is used now gets it."""
    scratch: dict[Any, Any] = {}
    shown = warnings.showwarning
    warnings.showwarning = lambda *args, **kwargs: None  # type: ignore[assignment]
    try:
        warnings.warn_explicit("kedge", UserWarning, "kedge", 1, registry=scratch)
    except UserWarning:
        pass
    finally:
        warnings.showwarning = shown
    return scratch.get("version", 0)
