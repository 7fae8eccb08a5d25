"""The module search path, as differences from the kernel's start."""
import os
import pickle
import sys

from . import canonical

NAME = "sys.path"
_START: list[str] = []
_FOLDER = os.getcwd()


def start() -> None:
    """The first cell comes: what is on the path now is the interpreter's."""
    _START[:] = [str(p) for p in sys.path]


def capture() -> bytes:
    """Its entries in order: numbers stand for those of the start, paths in the start folder are relative."""
    entries: list[object] = []
    for path in map(str, sys.path):
        if path in _START:
            entries.append(_START.index(path))
        elif path.startswith(_FOLDER + os.sep):
            entries.append(("here", path[len(_FOLDER) + 1:]))
        else:
            entries.append(path)
    return b"" if entries == list(range(len(_START))) else canonical.dumps(entries)


def restore(state: bytes) -> None:
    """Put the entries back in place."""
    if not state:
        sys.path[:] = _START
        return

    def path(entry: object) -> str:
        if isinstance(entry, int):
            return _START[entry]
        return os.path.join(_FOLDER, entry[1]) if isinstance(entry, tuple) else str(entry)

    sys.path[:] = [path(e) for e in pickle.loads(state)]
