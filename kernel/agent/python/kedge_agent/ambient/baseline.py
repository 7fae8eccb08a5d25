"""Plain values by name, as differences from what they were when the first cell came."""
from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from . import canonical


class Baseline:
    """The values that now gives, at the start and since."""

    def __init__(self, now: Callable[[], dict[str, Any]]) -> None:
        self._now = now
        self._start: dict[str, Any] = {}

    def start(self) -> None:
        """What is set now is the baseline."""
        self._start.update(self._now())

    def capture(self) -> bytes:
        """Those that differ from the baseline, in order of names; empty if none does."""
        changed = sorted((k, v) for k, v in self._now().items() if self._start.get(k) != v)
        return canonical.dumps(changed) if changed else b""

    def missing(self, state: bytes) -> dict[str, Any]:
        """What has to be set, by name, so that capture gives state: the baseline and what differs from it."""
        wanted = {**self._start, **(dict(pickle.loads(state)) if state else {})}
        now = self._now()
        return {k: wanted[k] for k in self._start if now.get(k) != wanted[k]}
