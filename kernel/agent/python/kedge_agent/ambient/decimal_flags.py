"""The flags of decimal's context, which any arithmetic sets; they count only for code that asks for the context."""
from __future__ import annotations

import sys

NAME = "decimal.flags"


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
