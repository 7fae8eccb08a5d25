"""Objects that live outside the namespace and are captured like variables, under pseudo-names.

A pseudo-name is ``PREFIX:REST`` and so never an identifier: ``helper:kept`` is a global of a local module,
``numpy:ndarray.foo`` an attribute set on a library, ``IPython:event pre_run_cell`` a list of callbacks. Whoever
owns a prefix says what differs from a fresh process (``entries``), and puts things there and takes them away.
"""
from __future__ import annotations

import enum
from typing import Any, Protocol


class Gone(enum.Enum):
    """Stands for what a fresh process has and this one has not."""

    GONE = "gone"


GONE = Gone.GONE


class Place(Protocol):
    """Where objects of one kind live. All but entries may raise."""

    NAME: str  # the prefix

    def start(self) -> None:
        """The first cell comes: what is there now is the baseline."""

    def entries(self) -> dict[str, Any]:
        """What differs from the baseline, by name after the prefix."""

    def bind(self, name: str, value: Any) -> None:
        """Put value there."""

    def unbind(self, name: str) -> None:
        """Put what the baseline has there."""


def is_pseudo(name: str) -> bool:
    """Whether name is a pseudo-name and not one of the namespace."""
    return ":" in name


class Places:
    """All places that every cell may reach."""

    def __init__(self, places: list[Place], rest: Place) -> None:
        self._places = {p.NAME: p for p in places}
        self._rest = rest  # has the pseudo-names without a blank, whatever their prefix

    def start(self) -> None:
        """The first cell comes."""
        for place in (*self._places.values(), self._rest):
            place.start()

    def entries(self) -> dict[str, Any]:
        """Pseudo-name → object, for what differs from the baseline."""
        found = dict(self._rest.entries())
        for prefix, place in self._places.items():
            found.update((f"{prefix}:{name}", value) for name, value in place.entries().items())
        return found

    def _route(self, pseudo: str) -> tuple[Place, str]:
        prefix, _, name = pseudo.partition(":")
        if " " in name:
            return self._places[prefix], name
        return self._rest, pseudo

    def bind(self, pseudo: str, value: Any) -> None:
        """Put value where pseudo says."""
        place, name = self._route(pseudo)
        place.bind(name, value)

    def unbind(self, pseudo: str) -> None:
        """Put the baseline's value back where pseudo says."""
        place, name = self._route(pseudo)
        place.unbind(name)
