"""Record which environment variables the current cell reads."""
from __future__ import annotations

import functools
import os
import posix
from typing import Any

read: set[str] = set()  # names since the last before; "*" stands for all


def _wrap(cls: type, method: str, every: bool) -> None:
    plain = getattr(cls, method)

    @functools.wraps(plain)
    def wrapper(self: Any, *args: Any, **kw: Any) -> Any:
        if self is os.environ or self is os.environb:
            if every:
                read.add("*")
            elif args and isinstance(args[0], (str, bytes)):
                read.add(os.fsdecode(args[0]))
        return plain(self, *args, **kw)

    setattr(cls, method, wrapper)


def install() -> None:
    """Patch os._Environ once."""
    cls = type(os.environ)
    if hasattr(cls.__getitem__, "__wrapped__"):
        return
    _wrap(cls, "__getitem__", False)
    _wrap(cls, "__iter__", True)
    _wrap(cls, "__len__", True)


def is_raw(obj: Any) -> bool:
    """Whether obj is the dict behind os.environ, whose reads nothing sees."""
    return obj is posix.environ or obj is os.environ._data  # type: ignore[attr-defined]


def taken() -> list[dict[str, Any]]:
    """The reads so far, by name; value None if the variable is unset."""
    names = set(read)
    table = {os.fsdecode(k): os.fsdecode(v) for k, v in os.environ._data.items()}  # type: ignore
    if "*" in names:
        return [{"name": "*", "value": repr(sorted(table.items()))}]
    return [{"name": n, "value": table.get(n)} for n in sorted(names)]
