"""The blocks of pandas that share one memory though they are saved apart.

By copy-on-write no frame sees what is written to another, so each is saved with a memory of its own. But an array
of that memory sees it, and may be made after a restore: pandas copies before it writes only while other blocks
share the memory, and which it does is seen there. So what is restored shares as it did, as far as it is alive.
"""
from __future__ import annotations

import hashlib
import sys
import weakref
from typing import Any

from . import live, memory
from .caches import Volatile

_MOST = 1 << 20  # bytes compared at once


class Sharers:
    """The list by which pandas knows who shares one memory, and what was restored of that."""

    def __init__(self) -> None:
        self.refs = sys.modules["pandas._libs.internals"].BlockValuesRefs()
        self._whole: weakref.ref[Any] | None = None  # an array of all of the memory
        self._parts: list[tuple[weakref.ref[Any], int, tuple[int, ...], int]] = []  # blocks that came before it

    def alive(self) -> bool:
        """Whether any block is left."""
        return any(block() is not None for block in self.refs.referenced_blocks)

    def join(self, block: Any, seen: bool, offset: int, strides: tuple[int, ...], length: int) -> None:
        """Block, which is new, lies at offset in a memory of length bytes. seen: it has to stay where it is."""
        self.refs.add_reference(block)
        block.refs = self.refs
        values = block.values
        if type(values) is not sys.modules["numpy"].ndarray or values.dtype.hasobject or not values.nbytes:
            return
        if not seen and self._move(block, offset, strides, length):
            return
        if offset or values.nbytes != length or not values.flags.forc:
            self._parts += [] if seen else [(weakref.ref(block), offset, strides, length)]
            return
        self._whole = weakref.ref(values)
        parts, self._parts = self._parts, []
        for ref, *place in parts:
            part = ref()
            if part is not None:
                self._move(part, *place)

    def _move(self, block: Any, offset: int, strides: tuple[int, ...], length: int) -> bool:
        """Let block show the whole, if that is there and reads the same."""
        whole, values = self._whole and self._whole(), block.values
        if whole is None or whole.nbytes != length:
            return False
        try:
            part = sys.modules["numpy"].ndarray(values.shape, values.dtype, whole, offset, strides)
        except (TypeError, ValueError):
            return False
        if not _same(part, values):
            return False
        part.flags.writeable = values.flags.writeable and whole.flags.writeable
        block.values = part
        return True


def _same(a: Any, b: Any) -> bool:
    """Whether two arrays of one shape hold the same bytes. A few rows at a time: what is compared is copied."""
    rows = max(1, _MOST * len(a) // a.nbytes)
    return all(a[i:i + rows].tobytes() == b[i:i + rows].tobytes() for i in range(0, len(a), rows))


class Mark:
    """Stands in a stream for the list of who shares one memory, where an array of the stream shows that memory."""

    def reduce(self) -> tuple[Any, ...]:
        """A reducer that gives nothing: which blocks have the same is what counts."""
        return mark, ()


def mark() -> None:
    """See Mark."""


def reduce(block: Any, made: tuple[Any, ...], seen: bool, where: live.Live) -> tuple[Any, ...]:
    """The reduction of a block that is saved as made: how, values, columns, dimensions and the mark of its list.

    seen says whether an array that is saved with it shows its memory. Where in that the block lies, and which list
    it is, is no part of a digest.
    """
    refs, own = block.refs, block.values
    place, offset, length, strides = None, 0, 0, ()
    if issubclass(type(own), memory.numpy_arrays()) and own.nbytes:
        place, length, _ = memory.owner(own)
        offset, strides = memory.address(own) - place, own.strides
    token = next((t for t, sharers in where.sharers.items() if sharers.refs is refs), None)
    if token is None:  # both addresses: one alone is sooner used again
        seed = f"{where.salt} {id(refs)} {place}"
        token = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big")
    return make, (*made, Volatile((token, seen, offset, strides, length)))


def make(kind: Any, values: Any, placement: Any, ndim: int, _: None,
         place: tuple[int, bool, int, tuple[int, ...], int]) -> Any:
    """A block among those that shared its memory where it was saved."""
    block, known = kind(values, placement, ndim), live.current().sharers
    token, seen, *where = place
    if token not in known:
        for old in [t for t, sharers in known.items() if not sharers.alive()]:
            del known[old]
        known[token] = Sharers()
    known[token].join(block, seen, *where)
    return block
