"""Arrow's arrays, polars' series and PIL's images over memory of numpy, pandas and bytearrays.

pa.array(v), pa.Table.from_pandas(df), pl.Series(v), pl.from_pandas(df) and Image.fromarray(v) make no copies.
"""
from __future__ import annotations

import bisect
import copyreg
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from . import libraries, live
from .refused import Uncapturable

Span = tuple[int, int]  # address, length
_NUMBER = re.compile(r"U?(?:Int|Float)(\d+)")  # types of polars that are numbers in memory, and their bits
_LONG = 256 << 20  # bytes; memory of more is not looked through


def loaded() -> bool:
    """Whether there may be such objects."""
    return any(hasattr(sys.modules.get(m), name) for m, name in (
        ("pyarrow", "Table"), ("polars", "Series"), ("PIL.Image", "Image")))


def spans(obj: Any) -> Iterator[Span]:
    """The memory of the buffers of an object of Arrow or polars, or of pandas' arrays of Arrow; none for others."""
    title = _title(obj)
    if title == "Series":
        for chunk in obj.get_chunks():
            yield from _chunk(chunk)
    elif title == "DataFrame":
        for column in obj.get_columns():
            yield from spans(column)
    elif hasattr(sys.modules.get("pyarrow"), "Table"):
        backing = _backing(obj)
        yield from _arrow(obj if backing is None else backing)


def _backing(obj: Any) -> Any:
    """What an array of pandas holds in Arrow; None for others."""
    base = getattr(sys.modules.get("pandas.core.arrays.arrow.array"), "ArrowExtensionArray", ())
    return obj._pa_array if issubclass(type(obj), base) else None


def _title(obj: Any) -> str:
    """The name of the class of an object of polars; empty for others."""
    kind = type(obj)
    return live.name(kind) if live.module(kind) in ("polars.series.series", "polars.dataframe.frame",
                                                    "polars.lazyframe.frame") else ""


def _chunk(series: Any) -> Iterator[Span]:
    """The memory of the values of a polars Series of one chunk, of numbers or what are numbers in memory.

    Strings and lists are copied when they come from elsewhere, but for what Arrow has in another one's memory.
    """
    polars = sys.modules["polars"]
    kind = series.dtype
    if isinstance(kind, polars.Struct):
        for field in series.struct.fields:
            yield from _chunk(series.struct.field(field))
        return
    if isinstance(kind, polars.Array) and len(series):
        yield from _chunk(series.explode())
        return
    values = series.to_physical()
    bits = _NUMBER.fullmatch(str(values.dtype))
    if bits is not None and len(values):
        yield values._s.as_single_ptr(), len(values) * int(bits[1]) // 8


def _arrow(obj: Any) -> Iterator[Span]:
    pa = sys.modules["pyarrow"]
    kind = type(obj)
    if issubclass(kind, pa.Buffer):
        yield obj.address, obj.size
    elif issubclass(kind, pa.Array):
        for buffer in obj.buffers():
            if buffer is not None:
                yield buffer.address, buffer.size
    elif issubclass(kind, pa.ChunkedArray):
        for chunk in obj.chunks:
            yield from _arrow(chunk)
    elif issubclass(kind, (pa.Table, pa.RecordBatch)):
        for column in obj.columns:
            yield from _arrow(column)


def silent(obj: Any) -> bool:
    """Whether obj may show memory of something else, and does not tell which."""
    kind = type(obj)
    if (live.module(kind), live.name(kind)) == ("PIL.Image", "Image"):
        return bool(obj.readonly)
    return _title(obj) == "LazyFrame" and "DF [" in obj.explain(optimized=False)


class Memories:
    """Memory that belongs to objects of other libraries, in order of addresses."""

    def __init__(self, found: Iterable[tuple[int, int, Any]]) -> None:
        self._found = sorted({start: (start, length, holder) for start, length, holder in found}.values(),
                             key=lambda m: m[0])

    def at(self, span: Span) -> tuple[int, int, Any] | None:
        """The memory in which a buffer lies, with its holder; None if it lies in none."""
        i = bisect.bisect_right(self._found, span[0], key=lambda m: m[0]) - 1
        if i < 0 or span[1] == 0 or span[0] >= self._found[i][0] + self._found[i][1]:
            return None
        return self._found[i]

    def __bool__(self) -> bool:
        return bool(self._found)

    def hold(self, rows: set[bytes]) -> bool:
        """Whether such rows of bytes may stand in one of them, in any order."""
        size = sum(map(len, rows))
        for _, length, holder in self._found:
            if length > _LONG:
                return True
            data = _flat(holder).tobytes() if length >= size else b""
            if data and all(row in data for row in rows):
                return True
        return False


def _flat(holder: Any) -> Any:
    """The bytes of a holder of memory."""
    numpy = sys.modules["numpy"]
    if issubclass(type(holder), numpy.ndarray):
        return numpy.ndarray.reshape(numpy.asarray(holder), -1, order="A").view("u1")
    return numpy.frombuffer(holder, dtype="u1")


def _part(span: Span, memories: Memories) -> Any:
    """The bytes that a buffer shows of a holder of memory; None if that is nobody's."""
    found = memories.at(span)
    if found is None:
        return None
    start, length, holder = found
    if span[0] + span[1] > start + length:
        raise Uncapturable("shows memory beyond that of an array")
    return _flat(holder)[span[0] - start:span[0] - start + span[1]]


def reduce(obj: Any, memories: Memories) -> Any:
    """The reduction of what shows memory of something else; NotImplemented for others."""
    if not loaded():
        return NotImplemented
    if issubclass(type(obj), getattr(sys.modules.get("pyarrow"), "Buffer", ())):
        part = _part((obj.address, obj.size), memories)
        if part is None:
            return NotImplemented
        if obj.is_mutable and not part.flags.writeable:
            raise Uncapturable("can be written to, where an array of its memory cannot")
        part.flags.writeable = obj.is_mutable
        return sys.modules["pyarrow"].py_buffer, (part,)
    if silent(obj):
        return _silent(obj, memories)
    title = _title(obj)
    if title == "Series" and obj.n_chunks() == 1:
        return _series(obj, memories)
    if title == "DataFrame" and any(memories.at(span) is not None for span in spans(obj)):
        return libraries.make_frame, (obj.get_columns(),)
    if _backing(obj) is not None and any(memories.at(span) is not None for span in spans(obj)):
        state = {**obj.__getstate__(), "_pa_array": _backing(obj)}  # its own way copies the values
        return copyreg.__newobj__, (type(obj),), state, None, None, libraries.set_attributes
    return NotImplemented  # a Series in several chunks is reduced to these


def make_shown(name: str, values: Any, ascending: bool, descending: bool) -> Any:
    """A Series of polars over the memory of an array, with what it knows of its order."""
    made = sys.modules["polars"].Series(name, values)
    return made.set_sorted(descending=descending) if ascending or descending else made


def _series(obj: Any, memories: Memories) -> Any:
    parts = [part for part in (_part(span, memories) for span in spans(obj)) if part is not None]
    if not parts:
        return NotImplemented
    kind = str(obj.dtype)
    if not _NUMBER.fullmatch(kind) or kind.endswith("128") or obj.null_count():
        raise Uncapturable(f"a Series of {kind} shows memory of an array")
    return make_shown, (obj.name, parts[0].view(kind.lower()), obj.flags["SORTED_ASC"], obj.flags["SORTED_DESC"])


def _silent(obj: Any, memories: Memories) -> Any:
    if memories and (_title(obj) == "LazyFrame" or memories.hold(_rows(obj))):
        raise Uncapturable("may show memory of an array")
    return NotImplemented


def _rows(image: Any) -> set[bytes]:
    """The rows of an image, which may lie apart in memory, or the last one first."""
    data = image.tobytes()
    size = len(data) // (image.height or 1)
    return {data[i:i + size] for i in range(0, len(data), size or 1)}
