"""Which warnings have been shown, so that a restored cell's are not shown again."""
from __future__ import annotations

import pickle
import sys
import types
import warnings
from typing import Any

NAME = "warnings.shown"  # restored after the filters, whose version it carries


def capture() -> bytes:
    """The keys of every module's registry, by module; empty if nothing was shown."""
    found: dict[str, list[Any]] = {}
    for name, module in sorted(list(sys.modules.items())):
        registry = vars(module).get("__warningregistry__") if isinstance(module, types.ModuleType) else None
        if type(registry) is dict:
            keys = [k for k, v in registry.items() if k != "version" and v]
            if keys:
                found[name] = keys
    try:
        return pickle.dumps(found, 5) if found else b""
    except Exception:
        return pickle.dumps(None, 5)


def restore(state: bytes) -> None:
    """Note them as shown under the present filters."""
    found = pickle.loads(state)
    if found is None:
        raise ValueError("the warnings that were shown could not be saved")
    version = _version()
    for name, keys in found.items():
        if name in sys.modules:
            vars(sys.modules[name])["__warningregistry__"] = {"version": version, **{tuple(k): True for k in keys}}


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
