"""Reducers for library types whose own pickling drops an attribute."""
from __future__ import annotations

import copyreg
from typing import Any

# (module, class) → what its own pickling drops.
_DROPPED = {
    ("sklearn.utils._bunch", "Bunch"): "__setstate__ ignores the attributes",
}


def set_attributes(obj: Any, state: dict[str, Any]) -> None:
    """Give obj the attributes of state, past its own __setattr__ and __setstate__."""
    vars(obj).update(state)


def reduce(obj: Any) -> Any:
    """A reduction of a dict subclass with all its attributes; NotImplemented for other types."""
    kind = type(obj)
    if (kind.__module__, kind.__qualname__) not in _DROPPED:
        return NotImplemented
    return copyreg.__newobj__, (kind,), dict(vars(obj)), None, iter(obj.items()), set_attributes
