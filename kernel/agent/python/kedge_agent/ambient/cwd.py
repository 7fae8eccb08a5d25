"""The working folder."""
import os

NAME = "cwd"


def capture() -> bytes:
    """Its path; empty if it is gone."""
    try:
        return os.fsencode(os.getcwd())
    except OSError:
        return b""


def restore(state: bytes) -> None:
    """Go there."""
    os.chdir(os.fsdecode(state))
