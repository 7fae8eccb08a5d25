"""The working folder, seen from the one that the kernel was started in, and those that %cd has been in."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .ipython_settings import shell

NAME = "cwd"
_START = os.getcwd()
_visited: list[Any] = []  # as the kernel began


def _history() -> list[Any]:
    """IPython's list of folders, ``_dh``."""
    found = getattr(shell(), "user_ns", {}).get("_dh")
    return found if type(found) is list else []


def start() -> None:
    """See ambient."""
    _visited[:] = _history()


def capture() -> bytes:
    """The paths, relative to the start; empty if it is the start and %cd was not called. OSError if it is gone."""
    path, visited = os.path.relpath(os.getcwd(), _START), _history()
    if visited[:len(_visited)] != _visited or not all(type(p) is str or isinstance(p, Path) for p in visited):
        raise ValueError("_dh was changed by hand")
    later = visited[len(_visited):]
    if not later:
        return b"" if path == os.curdir else os.fsencode(path)
    kinds = "".join("s" if type(p) is str else "p" for p in later)
    return b"\0".join(map(os.fsencode, (path, kinds, *map(_relative, later))))


def restore(state: bytes) -> None:
    """Go there."""
    path, *rest = map(os.fsdecode, state.split(b"\0"))
    os.chdir(os.path.join(_START, path))
    paths = [os.path.normpath(os.path.join(_START, p)) for p in rest[1:]]
    _history()[:] = _visited + [p if kind == "s" else Path(p) for kind, p in zip("".join(rest[:1]), paths, strict=True)]


def _relative(path: Any) -> str:
    if not os.path.isabs(path):
        raise ValueError("_dh was changed by hand")
    return os.path.relpath(path, _START)
