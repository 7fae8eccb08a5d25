"""Pandas' options that say how things are shown, drawn, read and written.

Pandas reads them from plain dicts. Ours take their place as soon as pandas is imported, and note who looks: only a
cell during which something did observes them. Those of pandas_options, which decide what pandas computes, are
observed by every cell.
"""
from __future__ import annotations

import copy
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

from .. import noting
from . import pandas_options

NAME = "pandas"
_ASKED: deque[None] = deque(maxlen=1)  # not empty if something looked at a table since begin
_QUIET = {"__init__", "__new__", "__getattribute__", "__sizeof__", "__class_getitem__"}


class _Noted:
    """A method of dict; that it is asked for is noted. It is C's, so no frame of ours is in a traceback."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __get__(self, table: Any, owner: Any = None) -> Any:
        _ASKED.append(None)
        return self._plain.__get__(table, owner)


class Table(dict[str, Any]):
    """A section of the options. It notes each look at it, but for those of this package, which go by dict."""

    def __init__(self, path: tuple[str, ...], section: dict[str, Any]) -> None:
        super().__init__({k: Table((*path, k), v) if type(v) is dict else v for k, v in section.items()})
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _table, self._path

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        return copy.deepcopy(dict(self), memo)


for _name, _method in vars(dict).items():
    if type(_method) in (types.MethodDescriptorType, types.WrapperDescriptorType) and _name not in _QUIET:
        setattr(Table, _name, _Noted(_method))


def _table(*path: str) -> Any:
    import pandas  # noqa: F401
    return pandas_options.section(path)


def listen() -> None:
    """What a forked child asks for is not noted, so a cell that forks observes them."""
    noting.note_forks(_ASKED.append)


def watch() -> None:
    """Pandas is imported: its tables are ours from now on."""
    sections = pandas_options.sections()
    for name, section in sections.items():
        if name not in pandas_options.DECIDING and type(section) is dict:
            sections[name] = Table((name,), section)


def _watched() -> bool:
    """Whether nothing can look without being noted."""
    try:
        sections = pandas_options.sections()
    except (KeyError, AttributeError):  # another version
        return False
    return type(sections) is dict and all(
        type(s) is Table or name in pandas_options.DECIDING for name, s in sections.items())


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
