"""Names of pandas' categories that are set in place: s.cat.categories.name = "k".

With copy-on-write, Series that are parts of one are saved apart, but their categories are one object.
"""
from __future__ import annotations

import dis
import types
from collections.abc import Iterable, Iterator
from typing import Any

from . import frames

_SETTERS = {"set_names", "rename"}
_DEPTH = 2  # of lists and dicts in which frames are looked for


def _sets(code: types.CodeType) -> bool:
    """Whether code may set the name of categories."""
    if "categories" not in code.co_names or {"name", "names", *_SETTERS}.isdisjoint(code.co_names):
        return False
    before = None
    for step in dis.get_instructions(code):
        wanted = step.opname == "STORE_ATTR" and step.argval in ("name", "names") or step.argval in _SETTERS
        if wanted and before == "categories":
            return True
        if step.opname not in ("CACHE", "EXTENDED_ARG"):
            before = step.argval
    return False


def _held(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """The categories that a value consists of or holds."""
    pandas = frames.pandas()
    kind = type(value)
    if issubclass(kind, pandas.DataFrame):
        for dtype in value.dtypes:
            yield from _held(dtype)
    elif issubclass(kind, (pandas.Series, pandas.Categorical, pandas.CategoricalIndex)):
        yield from _held(value.dtype)
    elif kind is pandas.CategoricalDtype and value.categories is not None:
        yield value.categories
    elif kind in (list, tuple, dict) and depth and len(value) < 100:
        for one in (value.values() if kind is dict else value):
            yield from _held(one, depth - 1)


class Categories:
    """The categories before a cell that may set names of them."""

    def __init__(self) -> None:
        self._found: list[tuple[Any, Any, str]] = []  # categories, their name, the variable

    def before(self, codes: Iterable[types.CodeType], read: set[str], user: dict[str, Any]) -> str:
        """A cell comes. What it asks for that a restored cell does not leave; empty if nothing."""
        self._found = []
        if not frames.lazy() or not any(map(_sets, codes)):
            return ""
        try:
            self._found = [(c, c.name, n) for n, v in user.items() for c in _held(v)]
            mine = [(c, n) for c, _, n in self._found if n in read]
            if any(n != m and c.equals(d) for c, n in mine for d, _, m in self._found):
                return "sets the name of categories that others may have too"
        except Exception:
            return "sets the name of categories"
        return ""

    def after(self) -> set[str]:
        """The variables whose categories have another name now."""
        found, self._found = self._found, []
        return {n for c, name, n in found if c.name is not name}
