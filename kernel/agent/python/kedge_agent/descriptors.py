"""Descriptors that a cell opens by hand and leaves open: d = os.open(p, …), a pipe, a copy of another.

A number is all that is captured of them, and it stands for nothing in another process.
"""
from __future__ import annotations

import gc
import io
import os
import socket
import time
from collections.abc import Iterable

# Functions that give a descriptor as a number, by name; os.open is found by both words.
_OPENERS = {"dup", "dup2", "pipe", "pipe2", "openpty", "forkpty", "mkstemp", "mkostemp", "memfd_create", "eventfd",
            "detach", "timerfd_create", "pidfd_open", "posix_openpt"}
_LOOKS = 20
_pause = time.sleep  # not what the program may put there


def now() -> dict[int, str]:
    """What is open, with what it leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # that of the list itself
            continue
    return found


class Descriptors:
    """What was open before a cell whose code may open more."""

    def __init__(self) -> None:
        self._before: dict[int, str] | None = None

    def before(self, mentioned: Iterable[str], loaded: Iterable[str]) -> None:
        """A cell comes whose code has these attributes, and these names."""
        words = {*mentioned, *loaded}
        self._before = now() if not _OPENERS.isdisjoint(words) or {"os", "open"} <= words else None

    def past(self, mentioned: Iterable[str], loaded: Iterable[str], first: dict[int, str]) -> list[str]:
        """Why nobody knows what is open by hand, after code that nobody watched; first was open before it."""
        self.before(mentioned, loaded)
        if self._before is not None:  # what the kernel itself has opened since are sockets and the like
            there = {fd for fd, what in self._before.items() if what.startswith(("/", "pipe:"))}
            self._before = {fd: what for fd, what in self._before.items() if fd not in there or first.get(fd) == what}
        return self.left()

    def left(self) -> list[str]:
        """Why it may not be cached: what it has left open."""
        before, self._before = self._before, None
        if before is None:
            return []
        new = dict(now().items() - before.items())
        if new:
            for obj in gc.get_objects():  # what a file or a socket owns is theirs
                if issubclass(type(obj), (io.FileIO, socket.socket)):  # asks no object of the program
                    new.pop(_number(obj), None)
        for _ in range(_LOOKS):  # what a thread of the kernel has open for a moment, such as a journal of the history
            if not new:
                break
            _pause(0.01)
            new = dict(new.items() & now().items())
        return ["left a descriptor open"] if new else []


def _number(obj: io.FileIO | socket.socket) -> int:
    try:
        return obj.fileno()
    except (OSError, ValueError):  # closed
        return -1
