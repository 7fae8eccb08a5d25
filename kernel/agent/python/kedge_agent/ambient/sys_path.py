"""The module search path."""
import pickle
import sys

NAME = "sys.path"


def capture() -> bytes:
    """Its entries, in order."""
    return pickle.dumps([str(p) for p in sys.path], 5)


def restore(state: bytes) -> None:
    """Put the entries back in place."""
    sys.path[:] = pickle.loads(state)
