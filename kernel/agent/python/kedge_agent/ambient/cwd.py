"""The working folder, seen from the one that the kernel was started in."""
import os

NAME = "cwd"
_START = os.getcwd()


def capture() -> bytes:
    """Its path, relative to the start; empty if it is gone."""
    try:
        return os.fsencode(os.path.relpath(os.getcwd(), _START))
    except OSError:
        return b""


def restore(state: bytes) -> None:
    """Go there."""
    os.chdir(os.path.join(_START, os.fsdecode(state)))
