"""The flags of decimal's context, which any arithmetic sets: a cell that has to do with decimal may set them again."""
from __future__ import annotations

import sys
from collections.abc import Iterable

NAME = "decimal.flags"


def named(words: Iterable[str]) -> bool:
    """Whether names of modules, or words, lead to decimal."""
    return "decimal" in words


def begin() -> None:
    """A cell comes."""


def touched(fresh: Iterable[str]) -> bool:
    """Whether the cell had to do with decimal past its code: what it sets then is a change."""
    return False


def capture() -> bytes:
    """The names of the flags that are set, in order; empty if none is."""
    decimal = sys.modules.get("decimal")
    if decimal is None:
        return b""
    return "\n".join(sorted(f.__name__ for f, on in decimal.getcontext().flags.items() if on)).encode()


def restore(state: bytes) -> None:
    """Set these and no others."""
    import decimal
    names = state.decode().split("\n")
    flags = decimal.getcontext().flags
    for flag in flags:
        flags[flag] = flag.__name__ in names
