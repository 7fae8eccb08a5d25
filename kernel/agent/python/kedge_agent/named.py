"""Single objects that live in library modules, such as dataclasses.MISSING or random's own generator.

They are referred to by name: a copy would not be the one that the module goes on using. What local modules hold is
captured with what shares it instead (localmodules.py).
"""
from __future__ import annotations

import enum
import importlib
import sys
import types
from typing import Any

from . import live, localmodules

_BY_VALUE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType, enum.Enum)
_EXACT = (dict, list, set, tuple, frozenset, str, bytes, bytearray, int, float, complex, bool, type(None))
_names: dict[int, tuple[str, str]] = {}
_scanned: set[str] = set()


def find() -> None:
    """Note what the modules loaded since the last call hold."""
    for title, module in list(sys.modules.items()):
        if title in _scanned or title == "__main__" or not issubclass(type(module), types.ModuleType):
            continue
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            continue
        _scanned.add(title)
        if localmodules.is_local(module):
            continue
        for key, value in list(vars(module).items()):
            kind = type(value)
            if kind not in _EXACT and live.module(kind) == title and not issubclass(kind, _BY_VALUE):
                _names.setdefault(id(value), (title, key))


def name(obj: Any) -> tuple[str, str] | None:
    """(module, attribute) if a module holds obj under a name."""
    found = _names.get(id(obj))
    if found is None:
        return None
    return found if vars(sys.modules.get(found[0], types)).get(found[1]) is obj else None


def get(module: str, attribute: str) -> Any:
    """What a module holds under a name."""
    return vars(importlib.import_module(module))[attribute]
