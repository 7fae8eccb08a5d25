"""A few values of a variable, for people, so that nothing needs to be unpickled to see them.

Only exact types of Python, numpy, pandas, polars and Arrow are looked into, past all that a notebook can replace, and
nothing is left in them that looking would leave.
"""
from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from typing import Any

from . import frames, live, sketches, tables

_ROWS, _COLUMNS, _ELEMENTS = 5, 6, 6
_TEXT, _CELL, _LABEL = 160, 24, 60  # characters at most
_SKETCHED, _NAMED = 32, 256  # columns of which it is said what they hold, and how they are called
_NUMBERS = "biufcmMSUT"  # kinds of dtypes whose elements are no objects
_SIMPLE = re.compile(r"u?int\d+|float|halffloat|double|bool|(large_)?string")  # Arrow's that need no further module
_MORE = "…"


def preview(value: Any) -> dict[str, Any] | None:
    """{"text"}, {"columns", "rows"} of a frame, and "sketches" of what columns and arrays hold, "grid" of an array.

    None if there is nothing to show but type, shape and size.
    """
    out: dict[str, Any] = {}
    for look in (_preview, _sketched):
        try:
            out |= look(value)
        except Exception:  # what it shows is worth less than the capture
            continue
    return out or None


def _preview(value: Any) -> dict[str, Any]:
    kind = type(value)
    pandas = frames.pandas()
    if pandas is not None and kind in (pandas.DataFrame, pandas.Series):
        return _series(value._mgr) if kind is pandas.Series else _frame(value._mgr)
    if tables.is_table(kind):
        return _table(value)
    text = _array(value) if _is_array(kind) else _brief(value, 1) if kind in (list, tuple, dict, set, frozenset) else ""
    out = {"text": _cut(text, _TEXT)} if text else {}
    if text and _is_array(kind) and value.ndim > 1:
        out["rows"] = _corner(value)
    return out


def _sketched(value: Any) -> dict[str, Any]:
    kind = type(value)
    pandas = frames.pandas()
    if _is_array(kind):
        known = {"sketches": [_sketch(value, value.ndim == 1)], "grid": sketches.grid(value)}
        return {k: v for k, v in known.items() if v is not None}
    if tables.is_table(kind):
        return _columned(value)
    if pandas is None or kind not in (pandas.DataFrame, pandas.Series):
        return {}
    if kind is pandas.Series:
        return {"sketches": [_sketch(value._mgr.blocks[0].values, True)]}
    columns = value._mgr.axes[0]
    found: dict[int, dict[str, Any]] = {}
    for column, values in _columns(value._mgr, _NAMED):
        found[column] = _sketch(values) if column < _SKETCHED else _kind(values)
    names = _labels(columns, _NAMED, _LABEL)
    return {"sketches": [{"name": name, **found.get(n, {})} for n, name in enumerate(names)]} if names else {}


def _table(value: Any) -> dict[str, Any]:
    """The first rows of a frame of polars or a table of Arrow, which have no labels."""
    known, more = tables.columns(value, _COLUMNS), [_MORE] if tables.width(value) > _COLUMNS else []
    shown = [c.head(_ROWS) for c in known]
    height = min(_ROWS, known[0].count if known else 0)
    rows = [[*(_word(s[r]) if s is not None else _MORE for s in shown), *more] for r in range(height)]
    return {"columns": [*(_cut(c.name, _CELL) for c in known), *more], "rows": rows} if known else {}


def _columned(value: Any) -> dict[str, Any]:
    if tables.is_column(value):
        return {"sketches": [c.sketch(True, _word) for c in tables.columns(value, 1)]}
    found = []
    for n, column in enumerate(tables.columns(value, _NAMED)):
        held = column.sketch(False, _word) if n < _SKETCHED else {"type": column.kind}
        found.append({"name": _cut(column.name, _LABEL), **held})
    return {"sketches": found} if found else {}


def _columns(manager: Any, most: int) -> Iterator[tuple[int, Any]]:
    """The number and the values of each of the first columns of a frame."""
    count = len(manager.axes[0])
    for block in manager.blocks:
        placement = block.mgr_locs.indexer
        at = list(range(count)[placement]) if type(placement) is slice else placement.tolist()
        flat = block.values
        for row, column in enumerate(at):
            if column < most:
                yield column, flat[row] if flat.ndim == 2 else flat


def _kind(of: Any) -> dict[str, Any]:
    """The type of a column that is not sketched, and what tells whether its numbers changed."""
    if _is_array(type(of)) and not of.dtype.hasobject:
        step = max(1, of.size // sketches.SAMPLE)
        return {"type": sketches.named(of.dtype), "of": of.size, "sum": sketches.digest(of, of[::step])}
    return {"type": _sketch(of)["type"]}


def _sketch(of: Any, line: bool = False) -> dict[str, Any]:
    """What a column or an array holds: see sketches.py."""
    kind = type(of)
    if _is_array(kind):
        if not of.dtype.hasobject:
            return sketches.numbers(of, line)
        some = sketches.sampled(of, of.size) if of.ndim == 1 else []
        return sketches.elements(some, of.size, "object", _atom)
    if not _of(kind, ("pandas",)):
        return {"type": live.name(kind)}
    count = len(of)
    if hasattr(of, "_pa_array"):
        of, name = of._pa_array, str(of._pa_array.type)
        known = sketches.arrow(of) if _SIMPLE.fullmatch(name) else []
        return sketches.elements(known, count, name, _word)
    if frames.is_array(of):
        inner = of._ndarray
        if live.name(kind) != "Categorical":
            if not inner.dtype.hasobject:
                return sketches.numbers(inner, line)
            return sketches.elements(sketches.sampled(inner, count), count, "str", _word)
        categories = of._dtype._categories
        known = _values(categories, 1000) if len(categories) <= 1000 else []
        codes = sketches.sampled(inner, count) if known else []
        return sketches.elements([known[c] if c >= 0 else None for c in codes], count, "category", str)
    if hasattr(of, "_mask") and hasattr(of, "_data"):
        return sketches.masked(of._data, of._mask)
    return {"type": live.name(kind), "of": count}


def _word(value: Any) -> str:
    return _cut(value, _CELL) if type(value) is str else _atom(value)


def _corner(arr: Any) -> list[list[str]]:
    """The first rows and columns of an array; of one with more axes than two, of its first part."""
    while arr.ndim > 2:
        arr = arr[:1].reshape(arr.shape[1:]) if arr.shape[0] else arr.reshape(0, 0)
    rows = [_numbers(row[:_COLUMNS]) for row in arr[:_ROWS]]
    return [[*row, _MORE] for row in rows] if arr.shape[1] > _COLUMNS else rows


def _is_array(kind: type) -> bool:
    return kind is getattr(sys.modules.get("numpy"), "ndarray", None)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + _MORE


def _atom(value: Any, most: int = _CELL) -> str:
    kind = type(value)
    if kind is int and value.bit_length() > 256:
        return f"<int of {value.bit_length()} bits>"
    if kind in (str, bytes):
        short = repr(value[:most - 3])
        return _cut(repr(value), most) if len(value) <= most else short[:-1] + _MORE + short[-1]
    if kind in (int, float, bool, complex, type(None)):
        return repr(value)
    if _of(kind, ("datetime", "decimal", "numpy", "pandas")):
        return _cut(str(value), most)
    return f"<{live.name(kind)}>"


def _of(kind: type, packages: tuple[str, ...]) -> bool:
    """Whether a class is what one of these packages has under its name."""
    module = live.module(kind)
    return module.partition(".")[0] in packages and vars(sys.modules.get(module, object)).get(live.name(kind)) is kind


def _brief(value: Any, depth: int) -> str:
    kind = type(value)
    if kind not in (list, tuple, dict, set, frozenset):
        return _array(value) if _is_array(kind) else _atom(value)
    opening, closing = {list: "[]", tuple: "()"}.get(kind, "{}")
    if depth < 0:
        return opening + _MORE + closing if value else opening + closing
    if kind is dict:
        shown = [f"{_atom(k)}: {_brief(v, -1)}" for k, v in itertools.islice(value.items(), _ELEMENTS)]
    else:  # the first says of what kind they are
        shown = [_brief(v, -1 if i else depth - 1) for i, v in enumerate(itertools.islice(value, _ELEMENTS))]
    if len(value) > _ELEMENTS:
        shown.append(_MORE)
    return opening + ", ".join(shown) + ("," if kind is tuple and len(value) == 1 else "") + closing


def _array(arr: Any) -> str:
    if arr.dtype.kind not in _NUMBERS:
        return ""
    shown = _numbers(arr.flat[:_ELEMENTS]) if arr.ndim else [str(arr[()])]
    return "[" + ", ".join([*shown, _MORE] if arr.size > len(shown) else shown) + "]"


def _numbers(arr: Any) -> list[str]:
    if arr.dtype.kind in "mM":
        return [re.sub(r"(T00:00:00)?(\.0+)?$", "", str(x)) for x in arr]
    return [_atom(x) for x in arr.tolist()]


def _frame(manager: Any) -> dict[str, Any]:
    columns, index = manager.axes
    shown = {column: _values(values) for column, values in _columns(manager, _COLUMNS)}
    labels = _values(index)
    more = [_MORE] if len(columns) > _COLUMNS else []
    rows = [[label, *(shown[c][r] if r < len(shown[c]) else _MORE for c in sorted(shown)), *more]
            for r, label in enumerate(labels)]
    return {"columns": ["", *_labels(columns, _COLUMNS), *more], "rows": rows}


def _series(manager: Any) -> dict[str, Any]:
    rows = [list(row) for row in zip(_values(manager.axes[0]), _values(manager.blocks[0].values), strict=False)]
    return {"columns": ["", ""], "rows": rows}


def _labels(index: Any, count: int, most: int = _CELL) -> list[str]:
    """Labels as one writes them in a table's head: words without quotes."""
    return [x[1:-1] if x[:1] in "'\"" and x[-1:] == x[:1] else x for x in _values(index, count, most)]


def _values(of: Any, count: int = _ROWS, most: int = _CELL) -> list[str]:
    """The first elements of an index or of a column."""
    if _is_array(type(of)):
        head = of[:count]
        if not of.dtype.hasobject:
            return _numbers(head)
        return [_atom(x, most) if type(x) is str else _brief(x, -1) for x in head.tolist()]
    if frames.is_index(of):
        if type(of).__name__ == "RangeIndex":
            return [repr(x) for x in of._range[:count]]
        if type(of).__name__ == "MultiIndex":
            return [_MORE] * min(count, len(of._codes[0]))
        return _values(of._data, count, most)
    if not _of(type(of), ("pandas",)):
        return [_MORE] * count
    if hasattr(of, "_pa_array") and _SIMPLE.fullmatch(str(of._pa_array.type)):
        return [_atom(x, most) for x in of._pa_array.slice(0, count).to_pylist()]
    if frames.is_array(of):
        head = of._ndarray[:count]
        if type(of).__name__ != "Categorical":
            return _values(head, count, most)
        categories = of._dtype._categories
        known = _values(categories, 1 + max([0, *head.tolist()])) if len(categories) <= 1000 else []
        return [known[c] if 0 <= c < len(known) else _MORE for c in head.tolist()]
    if hasattr(of, "_mask") and hasattr(of, "_data"):
        known = _values(of._data, count)
        return ["<NA>" if gone else x for x, gone in zip(known, of._mask[:count].tolist(), strict=False)]
    return [_MORE] * min(count, len(of))
