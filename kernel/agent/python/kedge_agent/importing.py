"""What the import system touches is no file observation: its look-ups are hidden from the ring.

What a module's own code reads while it is imported counts, and so does the
source of local modules. That nothing else would be imported under a name is
observed by name (see the reply of kedge_after: ``modules`` and ``search``).
"""
from __future__ import annotations

import ctypes
import importlib.machinery
import os
import sys
from functools import wraps
from typing import Any


def install() -> None:
    """Hide the path look-ups of FileFinder, if this process is observed at all."""
    off = getattr(ctypes.CDLL(None), "kedge_observe_off", None)
    if off is None:
        return
    off.argtypes, off.restype = [ctypes.c_int], None
    finder = importlib.machinery.FileFinder
    plain = finder.find_spec

    @wraps(plain)
    def find_spec(self: Any, fullname: str, target: Any = None) -> Any:
        off(1)
        try:
            return plain(self, fullname, target)
        finally:
            off(0)

    finder.find_spec = find_spec  # type: ignore[method-assign]


def search() -> list[str]:
    """The folders of sys.path, absolute, in order."""
    return [os.path.abspath(p or os.curdir) for p in sys.path if isinstance(p, str)]
