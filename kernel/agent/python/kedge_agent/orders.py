"""Whether sets come back in the order that the program would have seen."""
from __future__ import annotations

import types
from typing import Any

from .groups import _ATOMS, _STOP

_KEEP = (types.FunctionType, *_STOP)


def kept(value: Any, back: Any, ns: dict[str, Any]) -> bool:
    """Whether every set reachable from value has the order that it has in back."""
    seen: set[int] = set()
    stack = [(value, back, False)]
    while stack:
        a, b, ordered = stack.pop()
        if isinstance(a, _ATOMS):
            if ordered and (type(a) is not type(b) or a != b and a == a):
                return False
            continue
        if isinstance(a, _KEEP) or a is ns or (id(a) in seen and not ordered):
            continue
        seen.add(id(a))
        if isinstance(a, (set, frozenset)):
            if len(a) != len(b):
                return False
            if len(a) > 1 and any(type(x).__hash__ is object.__hash__ for x in a):
                return False
            stack.extend((x, y, len(a) > 1) for x, y in zip(a, b, strict=True))
        elif isinstance(a, (list, tuple)) and len(a) == len(b):
            if not (len(a) > 1000 and all(isinstance(x, _ATOMS) for x in a)):
                stack.extend((x, y, ordered) for x, y in zip(a, b, strict=True))
        elif isinstance(a, dict) and len(a) == len(b):
            for x, y in zip(a.items(), b.items(), strict=True):
                stack += [(x[0], y[0], ordered), (x[1], y[1], ordered)]
        held = getattr(a, "__dict__", None)
        if type(held) is dict and type(getattr(b, "__dict__", None)) is dict:
            names = [k for k in held if k in b.__dict__]
            stack.extend((held[k], b.__dict__[k], ordered) for k in names)
    return True
