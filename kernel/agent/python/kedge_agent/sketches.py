"""What columns and arrays hold, in a few numbers for people, and a digest that tells whether they changed.

As with previews only what is exactly of numpy, pandas or pyarrow is looked into, by slices and `tolist`: nothing that
a notebook can replace is called, nothing that is computed late is asked for, and of large values a sample is looked at.
"""
from __future__ import annotations

import bisect
import hashlib
import math
import re
import sys
from collections.abc import Callable
from typing import Any

SAMPLE = 512  # elements of a column that are looked at
WHOLE = 1 << 18  # bytes of a column that are digested; beyond it the sample is
_BINS, _LINE, _GRID, _TOP = 16, 64, (16, 24), 3
_LEVELS = 99  # what a line or grid is drawn in
_BITS = 512  # of a number that is still one of those that are drawn
_RUNS = 8  # pieces of which the sample of an Arrow column is made
_NAMES = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_MIDNIGHT = re.compile(r"(T00:00:00)?(\.0+)?$")
_DIGEST = hashlib.blake2b


def numbers(arr: Any, line: bool = False) -> dict[str, Any]:
    """What an array of numbers, dates or spans holds. With `line`, in their order as well."""
    size = arr.size
    sample = arr.flat[::max(1, math.ceil(size / SAMPLE))]
    out = {"type": named(arr.dtype), "of": size, "seen": sample.size, "sum": digest(arr, sample)}
    kind = arr.dtype.kind
    if kind in "mM":
        out.update(_spread(sample.view("i8").tolist(), -(1 << 63), line, lambda n: _date(n, sample.dtype)))
    elif kind in "biuf":
        out.update(_spread(sample.tolist(), None, line, _number))
    return out


def named(dtype: Any) -> str:
    """A dtype as numpy calls it."""
    if dtype.kind in "mM":
        return dtype.str[1:].replace("M8", "datetime64").replace("m8", "timedelta64")
    if dtype.kind == "b":
        return "bool"
    if dtype.kind in _NAMES:
        return f"{_NAMES[dtype.kind]}{8 * dtype.itemsize}"
    return "object" if dtype.kind == "O" else dtype.str


def masked(data: Any, mask: Any) -> dict[str, Any]:
    """The same of an array of which some elements are missing."""
    step = max(1, math.ceil(data.size / SAMPLE))
    some, gone = data[::step], mask[::step]
    known = [None if g else x for x, g in zip(some.tolist(), gone.tolist(), strict=True)]
    out = {"type": named(data.dtype).title(), "of": data.size, "seen": len(known),
           "sum": _together(digest(data, some), digest(mask, gone))}
    if data.dtype.kind in "biuf":
        out.update(_spread(known, None, False, _number))
    return out


def elements(values: list[Any], of: int, kind: str, shown: Callable[[Any], str]) -> dict[str, Any]:
    """The same of a sample of atoms: of numbers as above, of texts how many are which."""
    out = {"type": kind, "of": of, "seen": len(values)}
    atoms = [x for x in values if type(x) in (str, int, float, bool, type(None))]
    texts = [None if x is None or x != x else shown(x) for x in atoms]
    if len(texts) < len(values) or of and not values:
        return out
    said = _hex("\0".join("" if t is None else t for t in texts).encode("utf-8", "replace"))
    out["sum"] = said if len(values) == of else "~" + said
    if values and all(type(x) in (float, type(None)) or type(x) is int and x.bit_length() < _BITS for x in values):
        return out | _spread(values, None, False, _number)
    counts: dict[str, int] = {}
    for t in texts:
        if t is not None:
            counts[t] = counts.get(t, 0) + 1
    out["missing"], out["distinct"] = texts.count(None), len(counts)
    most = sorted(counts.items(), key=lambda c: -c[1])[:_TOP]
    if most and most[0][1] > 1:
        out["top"] = [{"text": t, "count": n} for t, n in most]
    return out


def sampled(of: Any, size: int) -> Any:
    """A sample of an object array."""
    return of[::max(1, math.ceil(size / SAMPLE))].tolist()


def arrow(column: Any) -> list[Any]:
    """A sample of an Arrow column: runs of elements, for those that lie apart take a module of pyarrow."""
    size, run = len(column), SAMPLE // _RUNS
    if size <= SAMPLE:
        return column.to_pylist()
    return [x for n in range(_RUNS) for x in column.slice((size - run) * n // (_RUNS - 1), run).to_pylist()]


def grid(arr: Any) -> list[list[int]] | None:
    """Levels of an array of two axes, -1 where there is no number; of one of more its first part, or its picture."""
    if arr.dtype.kind not in "biuf" or arr.size == 0:
        return None
    picture = arr.ndim >= 3 and arr.shape[-1] in (3, 4) and arr.dtype.kind == "u"
    while arr.ndim > 2 + picture:
        arr = arr[0]
    if arr.ndim < 2 or min(arr.shape[:2]) < 2:
        return None
    rows, columns = (max(1, math.ceil(n / most)) for n, most in zip(arr.shape[:2], _GRID, strict=True))
    some = arr[::rows, ::columns].tolist()
    if picture:
        some = [[sum(x[:3]) / 3 for x in row] for row in some]
    finite = [x for row in some for x in row if math.isfinite(x)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    return [[_level(x, low, high) for x in row] for row in some]


def _spread(values: list[Any], missing: Any, line: bool, shown: Callable[[Any], str]) -> dict[str, Any]:
    known = [x for x in values if x is not missing and x == x and x != missing]
    finite = sorted(x for x in known if math.isfinite(x))
    out: dict[str, Any] = {"missing": len(values) - len(known)}
    if not finite:
        return out
    low, high = finite[0], finite[-1]
    out.update(low=shown(low), high=shown(high), bins=_bins(finite, low, high))
    if line and len(values) > 1:
        step = max(1, math.ceil(len(values) / _LINE))
        out["line"] = [-1 if x is missing or x == missing else _level(x, low, high) for x in values[::step]]
    return out


def _bins(ordered: list[Any], low: Any, high: Any) -> list[int]:
    """How many of them lie in parts of equal width."""
    if low == high:
        return [len(ordered)]
    count = min(_BINS, high - low + 1) if type(low) is int else 2 if type(low) is bool else _BINS
    half, wide = low / 2, high / 2 - low / 2  # no infinity
    ends = [bisect.bisect_right(ordered, 2 * (half + wide * (n / count))) for n in range(1, count)]
    return [b - a for a, b in zip([0, *ends], [*ends, len(ordered)], strict=True)]


def _level(x: Any, low: Any, high: Any) -> int:
    if not math.isfinite(x):
        return -1
    wide = high / 2 - low / 2
    return round(_LEVELS * ((x / 2 - low / 2) / wide)) if wide else _LEVELS // 2


def _number(x: Any) -> str:
    return repr(x) if type(x) is not float else f"{x:.6g}"


def _date(n: int, dtype: Any) -> str:
    one = sys.modules["numpy"].ndarray((1,), dtype, n.to_bytes(8, sys.byteorder, signed=True))
    return _MIDNIGHT.sub("", str(one[0]))


def digest(arr: Any, sample: Any) -> str:
    """Of all bytes, or of the sample, with a mark that says so."""
    whole = arr.nbytes <= WHOLE
    said = _hex((arr if whole else sample).tobytes())
    return said if whole else "~" + said


def _together(a: str, b: str) -> str:
    mark = "~" if "~" in a + b else ""
    return mark + _hex((a + b).encode())


def _hex(data: bytes) -> str:
    return _DIGEST(data, digest_size=8).hexdigest()
