"""Features of ``from __future__`` that a cell has imported: they hold for all cells after it."""
from __future__ import annotations
import __future__ as features

import sys
from typing import Any

NAME = "IPython.futures"
_ALL = {n: getattr(features, n).compiler_flag for n in features.all_feature_names}


def _compiler() -> Any:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "compile", None)


def capture() -> bytes:
    """Their names; empty if there are none."""
    flags = getattr(_compiler(), "flags", 0)
    return " ".join(n for n, flag in _ALL.items() if flags & flag and flag).encode()


def restore(state: bytes) -> None:
    """Switch these on and all others off."""
    compiler = _compiler()
    if compiler is None:
        return
    wanted = state.decode().split()
    for name, flag in _ALL.items():
        compiler.flags = compiler.flags | flag if name in wanted else compiler.flags & ~flag
