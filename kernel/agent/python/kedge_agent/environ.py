"""Record which environment variables the current cell reads."""
from __future__ import annotations

import functools
import os
import posix
import sys
from types import FunctionType
from typing import Any

read: set[str] = set()  # names since the last before; "*" stands for all


def install() -> None:
    """Note what os.environ and os.environb are asked for. Once.

    The methods that fail for a missing name stay as they are: a traceback through them shows no frame of ours.
    """
    cls = type(os.environ)
    if hasattr(cls.__iter__, "__wrapped__"):
        return
    for environ, kind in ((os.environ, str), (os.environb, bytes)):
        environ.encodekey = _noting(environ.encodekey, kind)  # type: ignore[attr-defined]
    for method in ("__iter__", "__len__", "__repr__"):
        setattr(cls, method, _noting_all(getattr(cls, method)))


def _noting(plain: Any, kind: type) -> Any:
    """plain, with a note of the names that it codes to be looked up; where it raises, the frame looks like plain's."""
    looking_up = type(os.environ).__getitem__.__code__

    def encode(value):  # type: ignore[no-untyped-def]
        if not isinstance(value, kind):
            raise TypeError(f"{kind.__name__} expected, not {type(value).__name__}")
        if sys._getframe(1).f_code is looking_up:
            read.add(os.fsdecode(value))
        return plain(value)

    if isinstance(plain, FunctionType):
        code = plain.__code__
        same = {"co_name": code.co_name, "co_filename": code.co_filename, "co_firstlineno": code.co_firstlineno}
        if sys.version_info >= (3, 11):
            same["co_qualname"] = code.co_qualname
        encode.__code__ = encode.__code__.replace(**same)
        for name in ("__name__", "__qualname__", "__module__"):
            setattr(encode, name, getattr(plain, name))
    return encode


def _noting_all(plain: Any) -> Any:
    @functools.wraps(plain)
    def noted(self: Any) -> Any:
        if self is os.environ or self is os.environb:
            read.add("*")
        return plain(self)

    return noted


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
