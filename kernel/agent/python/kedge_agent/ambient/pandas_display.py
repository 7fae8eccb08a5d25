"""Pandas' options that say how things are shown, drawn, read and written.

Pandas reads them from plain dicts. Ours take their place as soon as pandas is imported, and note who looks: only a
cell during which something did observes them. Those of pandas_options, which decide what pandas computes, are
observed by every cell.
"""
from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from .. import noting
from . import pandas_options

NAME = "pandas"
_ASKED: deque[None] = deque(maxlen=1)  # not empty if something looked at a table since begin


class Table(dict[str, Any]):
    """A section of the options. It notes each look at it, but for those of this package, which go by dict."""

    def __init__(self, path: tuple[str, ...], section: dict[str, Any]) -> None:
        super().__init__({k: Table((*path, k), v) if type(v) is dict else v for k, v in section.items()})
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _table, self._path

    def __getitem__(self, key: str) -> Any:
        _ASKED.append(None)
        return dict.__getitem__(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        _ASKED.append(None)
        dict.__setitem__(self, key, value)

    def __iter__(self) -> Iterator[str]:
        _ASKED.append(None)
        return dict.__iter__(self)

    def get(self, key: str, default: Any = None) -> Any:
        """See dict."""
        _ASKED.append(None)
        return dict.get(self, key, default)

    def items(self) -> Any:
        """See dict."""
        _ASKED.append(None)
        return dict.items(self)

    def values(self) -> Any:
        """See dict."""
        _ASKED.append(None)
        return dict.values(self)


def _table(*path: str) -> Any:
    import pandas  # noqa: F401
    place: dict[str, Any] = sys.modules["pandas._config"].config._global_config
    for part in path:
        place = dict.__getitem__(place, part)
    return place


def start() -> None:
    """What a forked child asks for is not noted, so a cell that forks observes them."""
    noting.note_forks(_ASKED.append)


def watch() -> None:
    """Pandas is imported: its tables are ours from now on."""
    sections = sys.modules["pandas._config"].config._global_config
    for name, section in sections.items():
        if name not in pandas_options.DECIDING and type(section) is dict:
            sections[name] = Table((name,), section)


def _watched() -> bool:
    """Whether nothing can look without being noted."""
    sections = sys.modules["pandas._config"].config._global_config
    return all(type(s) is Table or name in pandas_options.DECIDING for name, s in sections.items())


def begin() -> None:
    """A cell comes."""
    _ASKED.clear()


def named(_: Iterable[str]) -> bool:
    """Whether words lead past the tables: none do."""
    return False


def touched(fresh: Iterable[str]) -> bool:
    """Whether something looked at them since begin; fresh are modules that were imported since."""
    if not pandas_options.loaded():
        return "pandas" in fresh
    return "pandas" in fresh or bool(_ASKED) or not _watched()


def capture() -> bytes:
    """The options that differ; empty while pandas is not loaded."""
    return pandas_options.differing(False)


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    pandas_options.lay(state, False)
