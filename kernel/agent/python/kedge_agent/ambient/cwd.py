"""The working folder, seen from the one that the kernel was started in."""
import os

NAME = "cwd"
_START = os.getcwd()


def capture() -> bytes:
    """Its path, relative to the start; empty if it is the start. OSError if it is gone."""
    path = os.path.relpath(os.getcwd(), _START)
    return b"" if path == os.curdir else os.fsencode(path)


def restore(state: bytes) -> None:
    """Go there."""
    os.chdir(os.path.join(_START, os.fsdecode(state)))
