"""The columns of frames of polars and tables of Arrow, for people: the first values, and what a sample says.

Only what is exactly of these packages is looked into, by what is compiled in them, and only values of simple types.
"""
from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from typing import Any

from . import live, sketches

_SIMPLE = re.compile(r"(Int|UInt)\d+|Float\d+|Boolean|String|Date|Time|Duration|Datetime|Categorical|Enum|Decimal"
                     r"|u?int\d+|float|halffloat|double|bool|(large_)?string")  # names of polars, and of Arrow
_RUNS = 8  # pieces of which a sample is made
_TITLES = {"polars": ("DataFrame", "Series"), "pyarrow": ("Table", "RecordBatch", "ChunkedArray")}


@dataclasses.dataclass
class Column:
    """A column: what it is called, its type, how many values it has, and some of them."""

    name: str
    kind: str
    count: int
    simple: bool
    part: Callable[[int, int], list[Any]]  # the values from a place on, so many
    flat: Any = None  # an array of numpy that has the same memory

    def head(self, most: int) -> list[Any] | None:
        """The first values; None if they are of a type that is not looked into."""
        return self.part(0, most) if self.simple else None

    def sketch(self, line: bool, shown: Callable[[Any], str]) -> dict[str, Any]:
        """What it holds: see sketches.py."""
        if self.flat is not None:
            return sketches.numbers(self.flat, line) | {"type": self.kind}
        if not self.simple:
            return {"type": self.kind, "of": self.count}
        run = sketches.SAMPLE // _RUNS
        if self.count <= sketches.SAMPLE:
            known = self.part(0, self.count)
        else:
            known = [x for n in range(_RUNS) for x in self.part((self.count - run) * n // (_RUNS - 1), run)]
        atoms = (str, int, float, bool, type(None))
        known = [x if type(x) in atoms else str(x) for x in known]  # of the standard library, by their types
        return sketches.elements(known, self.count, self.kind, shown)


def is_table(kind: type) -> bool:
    """Whether a value of this type has columns that can be looked at."""
    for package, titles in _TITLES.items():
        if package in sys.modules and live.name(kind) in titles and live.module(kind).partition(".")[0] == package:
            return vars(sys.modules.get(live.module(kind), object)).get(live.name(kind)) is kind
    return False


def is_column(value: Any) -> bool:
    """Whether a table is one column alone."""
    return live.name(type(value)) in ("Series", "ChunkedArray")


def width(value: Any) -> int:
    """How many columns a table has."""
    if is_column(value):
        return 1
    return value._df.width() if hasattr(value, "_df") else value.num_columns


def columns(value: Any, most: int) -> list[Column]:
    """The first columns of a table."""
    if hasattr(value, "_s"):
        return [_polars(value._s)]
    if hasattr(value, "_df"):
        return [_polars(c) for c in value._df.get_columns()[:most]]
    if is_column(value):
        return [_arrow("", value)]
    return [_arrow(n, value.column(i)) for i, n in enumerate(value.schema.names[:most])]


def _polars(of: Any) -> Column:
    kind = str(of.dtype())
    made = Column(of.name(), kind.partition("(")[0] if len(kind) > 60 else kind, of.len(), bool(_SIMPLE.match(kind)),
                  lambda at, count: of.slice(at, count).to_list())
    numeric = kind.startswith(("Int", "UInt", "Float")) and not kind.endswith("128") or kind.startswith("Datetime(")
    if numeric and "numpy" in sys.modules and of.null_count() == 0 and "zone='" not in kind:
        made.flat = of.to_numpy_view()
    return made


def _arrow(name: str, of: Any) -> Column:
    kind = str(of.type)
    return Column(name, kind[:60], len(of), bool(_SIMPLE.fullmatch(kind)),
                  lambda at, count: of.slice(at, count).to_pylist())
