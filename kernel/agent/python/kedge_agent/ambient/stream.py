"""A random stream that a process begins with entropy: until something draws from it or asks for it, it is *fresh*.

One fresh stream is as good as another, so nothing differs from a fresh process. What a program has asked for it may
compare with later draws, so from then on the stream counts as it is.
"""
from __future__ import annotations

from collections.abc import Callable


class Stream:
    """The state that now gives and put sets; empty while there is none."""

    def __init__(self, now: Callable[[], bytes], put: Callable[[bytes], None]) -> None:
        self._now, self._put = now, put
        self._start = b""  # as the process began it
        self._fresh = False

    def start(self) -> None:
        """Nobody has drawn from it yet: the first cell comes, or its module has just been loaded."""
        if not self._start:
            self._start = self._now()
            self._fresh = bool(self._start)

    def renew(self) -> None:
        """No code has come yet, but the kernel itself may have drawn while it started."""
        self._start = self._now()
        self._fresh = bool(self._start)

    def settle(self) -> None:
        """A cell may ask for the state."""
        self._fresh = False

    def capture(self) -> bytes:
        """The state; empty if it is fresh."""
        state = self._now()
        return b"" if self._fresh and state == self._start else state

    def restore(self, state: bytes) -> None:
        """Put a state back; what is empty stands for a fresh stream."""
        self._fresh = not state and bool(self._start)
        if state or self._start:
            self._put(state or self._start)
