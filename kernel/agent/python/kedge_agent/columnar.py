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
_TITLES = {("polars.series.series", "Series"), ("polars.dataframe.frame", "DataFrame"),
           ("polars.lazyframe.frame", "LazyFrame"), ("PIL.Image", "Image")}
_NUMBER = re.compile(r"U?(?:Int|Float)(\d+)")  # types of polars that are numbers in memory, and their bits
_LONG = 256 << 20  # bytes; memory of more is not looked through


def shows(kind: type) -> bool:
    """Whether objects of a type may show memory of something else, or consist of what does."""
    return _title(kind) != "" or issubclass(kind, (*_arrow_kinds(), *_backed()))


def _title(kind: type) -> str:
    """The name of a class of polars, or of that of images; empty for others."""
    title = live.name(kind)
    return title if (live.module(kind), title) in _TITLES else ""


def _arrow_kinds() -> tuple[type, ...]:
    pa = sys.modules.get("pyarrow")
    return (pa.Buffer, pa.Array, pa.ChunkedArray, pa.Table, pa.RecordBatch) if hasattr(pa, "Table") else ()


def _backed() -> tuple[type, ...]:
    """The class of pandas' arrays of Arrow, if it is loaded."""
    module = sys.modules.get("pandas.core.arrays.arrow.array")
    return (module.ArrowExtensionArray,) if hasattr(module, "ArrowExtensionArray") else ()


def spans(obj: Any) -> Iterator[Span]:
    """The memory of the buffers of an object that shows some, as far as it tells."""
    kind = type(obj)
    title = _title(kind)
    if title == "Series":
        for chunk in obj.get_chunks():
            yield from _chunk(chunk)
    elif title == "DataFrame":
        for column in obj.get_columns():
            yield from spans(column)
    elif issubclass(kind, _backed()):
        yield from _arrow(obj._pa_array)
    elif issubclass(kind, _arrow_kinds()):
        yield from _arrow(obj)


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
    title = _title(type(obj))
    if title == "Image":
        return bool(obj.readonly)
    return title == "LazyFrame" and "DF [" in obj.explain(optimized=False)


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

    def meet(self, found: Iterable[Span]) -> bool:
        """Whether a buffer lies in one of them."""
        return any(self.at(span) is not None for span in found)

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
    if not memories:
        return NotImplemented
    kind = type(obj)
    title = _title(kind)
    if silent(obj):
        return _silent(obj, title, memories)
    if title == "Series" and obj.n_chunks() == 1:
        return _series(obj, memories)
    if title == "DataFrame" and memories.meet(spans(obj)):
        return libraries.make_frame, (obj.get_columns(),)
    if issubclass(kind, _backed()) and memories.meet(spans(obj)):
        state = {**obj.__getstate__(), "_pa_array": obj._pa_array}  # its own way copies the values
        return copyreg.__newobj__, (kind,), state, None, None, libraries.set_attributes
    if issubclass(kind, _arrow_kinds()[:1]):
        return _buffer(obj, memories)
    return NotImplemented  # a Series in several chunks is reduced to these


def _buffer(obj: Any, memories: Memories) -> Any:
    part = _part((obj.address, obj.size), memories)
    if part is None:
        return NotImplemented
    if obj.is_mutable and not part.flags.writeable:
        raise Uncapturable("can be written to, where an array of its memory cannot")
    part.flags.writeable = obj.is_mutable
    return sys.modules["pyarrow"].py_buffer, (part,)


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


def _silent(obj: Any, title: str, memories: Memories) -> Any:
    if title == "LazyFrame" or memories.hold(_rows(obj)):
        raise Uncapturable("may show memory of an array")
    return NotImplemented


def _rows(image: Any) -> set[bytes]:
    """The rows of an image, which may lie apart in memory, or the last one first."""
    data = image.tobytes()
    size = len(data) // (image.height or 1)
    return {data[i:i + size] for i in range(0, len(data), size or 1)}
