"""Arrow arrays over memory of numpy, pandas and bytearrays: pa.array(v) and pa.Table.from_pandas(df) make no copies."""
from __future__ import annotations

import bisect
import sys
from collections.abc import Iterable, Iterator
from typing import Any

Span = tuple[int, int]  # address, length


def loaded() -> bool:
    """Whether there may be such objects."""
    return hasattr(sys.modules.get("pyarrow"), "Table")


def spans(obj: Any) -> Iterator[Span]:
    """The memory of the buffers of an object of Arrow; none for others."""
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
            yield from spans(chunk)
    elif issubclass(kind, (pa.Table, pa.RecordBatch)):
        for column in obj.columns:
            yield from spans(column)


class Memories:
    """Memory that belongs to objects that are not Arrow's, in order of addresses."""

    def __init__(self, found: Iterable[tuple[int, int, Any]]) -> None:
        self._found = sorted({start: (start, length, holder) for start, length, holder in found}.values(),
                             key=lambda m: m[0])

    def at(self, span: Span) -> tuple[int, int, Any] | None:
        """The memory in which a buffer lies, with its holder; None if it lies in none."""
        i = bisect.bisect_right(self._found, span[0], key=lambda m: m[0]) - 1
        if i < 0 or span[1] == 0 or span[0] >= self._found[i][0] + self._found[i][1]:
            return None
        return self._found[i]


def reduce(buffer: Any, memories: Memories) -> Any:
    """The reduction of a buffer that shows memory of something else; NotImplemented for others."""
    if not loaded() or not issubclass(type(buffer), sys.modules["pyarrow"].Buffer):
        return NotImplemented
    span = buffer.address, buffer.size
    found = memories.at(span)
    if found is None:
        return NotImplemented
    start, length, holder = found
    if span[0] + span[1] > start + length:
        raise ValueError("shows memory beyond that of an array")
    numpy = sys.modules["numpy"]
    if issubclass(type(holder), numpy.ndarray):
        flat = numpy.ndarray.reshape(numpy.asarray(holder), -1, order="A").view("u1")
    else:
        flat = numpy.frombuffer(holder, dtype="u1")
    part = flat[span[0] - start:span[0] - start + span[1]]
    part.flags.writeable = part.flags.writeable and buffer.is_mutable
    return sys.modules["pyarrow"].py_buffer, (part,)
