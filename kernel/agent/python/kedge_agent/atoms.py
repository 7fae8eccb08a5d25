"""Values without parts, such as numbers and strings, where a program can tell whether two are one object.

They count by value, but for three things that are kept: one object as the value of several names (``b = a``); a
NaN, which equals nothing, so that ``x in [x]`` and the keys of dicts go by which NaN it is; and which strings are
interned. Whether equal ones inside of containers are one object is not kept.
"""
from __future__ import annotations

import ctypes
import pickle
import sys
from collections.abc import Iterable
from typing import Any

from . import live, named

_STATE = 4 * ctypes.sizeof(ctypes.c_ssize_t)  # offset in a str: after its head, length and hash
_SHARED = ("nan", "inf", "pi", "e")  # numbers of math and numpy
_INTERNED = 3  # its lowest bits
_DISTINCT = {"builtins.complex", "builtins.range", "datetime.datetime", "datetime.date", "datetime.time",
             "datetime.timedelta", "decimal.Decimal", "fractions.Fraction", "uuid.UUID",
             "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib._local.PosixPath", "pathlib._local.PurePosixPath",
             "pandas._libs.tslibs.timestamps.Timestamp", "pandas._libs.tslibs.timedeltas.Timedelta"}


class One:
    """Stands in a stream for a value that is one object wherever it is referred to."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.given = _held(value) is not None  # whether the value itself stands in the stream or need not

    def reduce(self) -> tuple[Any, ...]:
        """A reduction that gives the value."""
        found = _held(self.value)
        return (one, (self.value,)) if found is None else (named.get, found)


class Interned:
    """Stands in a stream for a string that is interned."""

    def __init__(self, value: str) -> None:
        self.value = value

    def reduce(self) -> tuple[Any, ...]:
        """A reduction that gives the interned string."""
        return interned, (self.value,)


def one(value: Any) -> Any:
    """value; the digest of a stream that refers to it once is that of the value."""
    return value


def interned(value: str) -> str:
    """The interned string that equals value; the digest of a stream is that of the value."""
    return sys.intern(value)


def preamble(texts: list[str]) -> bytes:
    """A pickle of None that puts the interned strings into the memo, in this order, as its first entries."""
    parts = [pickle.PROTO, b"\x05", pickle.GLOBAL, f"{__name__}\n{interned.__name__}\n".encode()]
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        size = len(data)
        head = (pickle.SHORT_BINUNICODE + bytes([size]) if size < 256
                else pickle.BINUNICODE8 + size.to_bytes(8, "little"))
        parts += [pickle.DUP, head, data, pickle.TUPLE1, pickle.REDUCE, pickle.MEMOIZE, pickle.POP]
    return b"".join([*parts, pickle.POP, pickle.NONE, pickle.STOP])


def _held(value: Any) -> tuple[str, str] | None:
    """The module and name of a number that programs share."""
    if type(value) is float:
        for module in ("math", "numpy"):
            space = vars(sys.modules[module]) if module in sys.modules else {}
            for name in _SHARED:
                if value is space.get(name):
                    return module, name
    return None


def nan(value: Any) -> bool:
    """Whether a float is a NaN that is nobody's but the program's own."""
    return bool(value != value) and _held(value) is None


def is_interned(value: str) -> bool:
    """Whether a string is in the interpreter's table."""
    return bool(ctypes.c_uint.from_address(id(value) + _STATE).value & _INTERNED)


def telling(value: Any) -> bool:
    """Whether a program can tell two such values apart that are equal."""
    kind = type(value)
    if kind is int:
        return not -5 <= value <= 256
    if kind is str:
        return len(value) > 1 and not is_interned(value)
    if kind in (bytes, tuple, frozenset):
        return len(value) > (kind is bytes)
    if kind is float:
        return _held(value) is None
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.generic):
        # There are two objects of the first; those of the second can be changed.
        return kind.__module__ == "numpy" and not issubclass(kind, (numpy.bool_, numpy.void))
    return f"{live.module(kind)}.{live.name(kind)}" in _DISTINCT


def stand_ins(values: dict[str, Any]) -> dict[str, Any]:
    """values as they are to be pickled: what several names share, and interned strings, by what stands for them."""
    made: dict[int, Any] = {}
    for same in shared(values):
        made[id(values[same[0]])] = One(values[same[0]])
    for value in values.values():
        if type(value) is str and is_interned(value):
            made[id(value)] = Interned(value)
        elif _held(value) is not None:
            made[id(value)] = One(value)
    return {n: made.get(id(v), v) for n, v in values.items()}


def shared(values: dict[str, Any]) -> list[list[str]]:
    """The names that have one and the same such value, where those are several."""
    found: dict[int, list[str]] = {}
    for name, value in values.items():
        if telling(value):
            found.setdefault(id(value), []).append(name)
    return [names for names in found.values() if len(names) > 1]


def apart(values: dict[str, Any], back: dict[str, Any]) -> Iterable[str]:
    """The names whose value is one object with that of others in values, and another in back."""
    return (n for names in shared(values) for n in names if back[n] is not back[names[0]])
