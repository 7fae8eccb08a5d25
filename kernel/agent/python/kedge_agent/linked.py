"""The blocks of pandas that share one memory though they are saved apart.

By copy-on-write no frame sees what is written to another, so each is saved with a memory of its own. But an array
of that memory sees it, and may be made after a restore: pandas copies before it writes only while other blocks
share the memory, and which it does is seen there. So what is restored shares as it did, as far as it is alive: with
what lies where those who shared lay, which may have come about in another way, else with what the same process saved.
"""
from __future__ import annotations

import hashlib
import re
import sys
import weakref
from collections.abc import Iterator
from typing import Any

from . import live, memory
from .caches import Volatile
from .paths import attributes

_MOST = 1 << 20  # bytes compared at once
_ELEMENTS = 1000  # of a container among which frames are looked for
_HOLDERS = 3  # noted of one block
_SHOWN = "_oh"  # what IPython has shown, by number
_HISTORY = re.compile(r"_+|_\d+|Out|_oh")

Path = tuple[tuple[str, Any], ...]  # see references.py
# A name, the way from it to a block, the shape and strides of that, and how many bytes from its start the other lies.
Holder = tuple[str, Path, tuple[int, ...], tuple[int, ...], int]


class Sharers:
    """The list by which pandas knows who shares one memory, and what was restored of that."""

    def __init__(self, refs: Any = None) -> None:
        self.refs = sys.modules["pandas._libs.internals"].BlockValuesRefs() if refs is None else refs
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
        whole = self._whole and self._whole()
        return whole is not None and whole.nbytes == length and _show(block, whole, offset, strides)


def _show(block: Any, buffer: Any, offset: int, strides: tuple[int, ...]) -> bool:
    """Let block show what lies at offset in a buffer, if that reads the same."""
    values = block.values
    try:
        part = sys.modules["numpy"].ndarray(values.shape, values.dtype, buffer, offset, strides)
    except (TypeError, ValueError, BufferError):
        return False
    if not _same(part, values):
        return False
    part.flags.writeable = values.flags.writeable and part.flags.writeable
    block.values = part
    return True


def _same(a: Any, b: Any) -> bool:
    """Whether two arrays of one shape hold the same bytes. A few rows at a time: what is compared is copied."""
    rows = max(1, _MOST * len(a) // a.nbytes)
    return all(a[i:i + rows].tobytes() == b[i:i + rows].tobytes() for i in range(0, len(a), rows))


def _sharing(block: Any) -> list[Any]:
    """The other blocks that pandas knows to share the memory of block."""
    return [b for b in (ref() for ref in block.refs.referenced_blocks) if b is not None and b is not block]


class Mark:
    """Stands in a stream for the list of who shares one memory, where an array of the stream shows that memory."""

    def reduce(self) -> tuple[Any, ...]:
        """A reducer that gives nothing: which blocks have the same is what counts."""
        return mark, ()


def mark() -> None:
    """See Mark."""


class Held:
    """The blocks of the frames that names hold, by address; looked up when it is first asked for."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self._ns, self._found = ns, None  # type: ignore

    def others(self, block: Any) -> tuple[bool, tuple[Holder, ...]]:
        """(whether anything but what was shown shares the memory of block, where some of that lies)."""
        own = block.values
        shared = _sharing(block)
        if not shared:
            return False, ()
        if self._found is None:
            self._found = {id(b): (name, path) for name, b, path in self._blocks()}
        shared = [b for b in shared if self._found.get(id(b), ("", ()))[0] != _SHOWN]
        if not _plain(own):
            return bool(shared), ()
        found = [(b.values, *self._found[id(b)]) for b in shared if id(b) in self._found and _plain(b.values)]
        return bool(shared), tuple((name, path, v.shape, v.strides, memory.address(own) - memory.address(v))
                                   for v, name, path in found[:_HOLDERS])

    def _blocks(self) -> Iterator[tuple[str, Any, Path]]:
        """Those that only the history holds come under _SHOWN."""
        shown = self._ns.get(_SHOWN)
        names = [(n, v) for n, v in self._ns.items() if not _HISTORY.fullmatch(n)]
        for name, value in [*((_SHOWN, v) for v in (shown.values() if type(shown) is dict else ())), *names]:
            for frame, path in [(value, ()), *_elements(value)]:
                manager = _manager(frame)
                if manager is not None:
                    yield from ((name, b, (*path, ("attribute", "_mgr"), ("block", i)))
                                for i, b in enumerate(manager.blocks))


def _elements(value: Any) -> Iterator[tuple[Any, Path]]:
    if type(value) is dict and len(value) <= _ELEMENTS:
        yield from ((v, (("key", k),)) for k, v in value.items() if type(k) in (str, int))
    elif type(value) in (list, tuple) and len(value) <= _ELEMENTS:
        yield from ((v, (("at", i),)) for i, v in enumerate(value))


def _manager(frame: Any) -> Any:
    if live.module(type(frame)).partition(".")[0] != "pandas":
        return None
    manager = attributes(frame).get("_mgr")
    return manager if type(manager).__name__.endswith("BlockManager") else None


def _plain(values: Any) -> bool:
    return type(values) is sys.modules["numpy"].ndarray and not values.dtype.hasobject and values.nbytes > 0


def reduce(block: Any, made: tuple[Any, ...], seen: bool, where: live.Live, held: Held) -> tuple[Any, ...]:
    """The reduction of a block that is saved as made: how, values, columns, dimensions and the mark of its list.

    seen says whether an array that is saved with it shows its memory. Where in that the block lies, which list it
    is, and where held says that others of it lie, is no part of a digest.
    """
    refs, own = block.refs, block.values
    place, offset, length, strides = None, 0, 0, ()
    lies = memory.shown(own) if issubclass(type(own), memory.numpy_arrays()) else None
    if lies is not None:
        place, length, _ = lies
        offset, strides = memory.address(own) - place, own.strides
    token = next((t for t, sharers in where.sharers.items() if sharers.refs is refs), None)
    if token is None:  # both addresses: one alone is sooner used again
        seed = f"{where.salt} {id(refs)} {place}"
        token = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big")
    shared, holders = held.others(block)
    place = token, seen, offset, strides, length, () if seen else holders, seen or shared
    return make, (*made, Volatile(place))


def make(kind: Any, values: Any, placement: Any, ndim: int, _: None, place: tuple[Any, ...]) -> Any:
    """A block among those that shared its memory where it was saved, or that lie where those lay."""
    here = live.current()
    block, known = kind(values, placement, ndim), here.sharers
    token, seen, *where = place[:5]
    holders, shared = place[5:] or ((), True)
    for holder in holders if here.loading is not None else ():
        other = _block(here, *holder[:4])
        if other is not None and _beside(block, other, where[1], holder[4]):
            known[token] = next((s for s in known.values() if s.refs is other.refs), None) or Sharers(other.refs)
            known[token].refs.add_reference(block)
            block.refs = known[token].refs
            return block
    if not shared and here.loading is not None:  # it was made by itself, be it a second time
        known.pop(token, None)
    if token not in known:
        for old in [t for t, sharers in known.items() if not sharers.alive()]:
            del known[old]
        known[token] = Sharers()
    known[token].join(block, seen, *where)
    return block


def _equal(a: Any, b: Any) -> bool:
    return _plain(a) and _plain(b) and (a.shape, a.dtype) == (b.shape, b.dtype) and _same(a, b)


def follow(old: Any, new: Any) -> None:
    """Let the frames that share memory with old share that of new, which takes its place, where both hold the same.

    An array that was made of old meanwhile comes with new, and sees what is written to them.
    """
    pairs = [(old, new), *((a, b) for (a, _), (b, _) in zip(_elements(old), _elements(new), strict=False))]
    for before, after in pairs:
        former, latter = _manager(before), _manager(after)
        if former is None or latter is None or former is latter:
            continue
        for was, now in zip(former.blocks, latter.blocks, strict=False):
            others = _sharing(was)
            if was is now or not others or not _equal(was.values, now.values):
                continue
            for other in others:
                distance = memory.address(other.values) - memory.address(was.values)
                if _plain(other.values) and _beside(other, now, other.values.strides, distance):
                    now.refs.add_reference(other)
                    other.refs = now.refs


def _block(here: live.Live, name: str, path: Path, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The block that lies there now, if it is of that shape and its name is as it was when it was noted."""
    from .references import step
    loading, barred = here.loading  # type: ignore
    if name in barred or name not in loading and name not in here.ns:
        return None
    obj = loading[name] if name in loading else here.ns[name]
    try:
        for how, key in path:
            obj = step(obj, how, key)
        values = obj.values
    except (LookupError, AttributeError, TypeError):
        return None
    fits = obj.refs is not None and _plain(values) and (values.shape, values.strides) == (shape, strides)
    return obj if fits else None


def _beside(block: Any, other: Any, strides: tuple[int, ...], distance: int) -> bool:
    """Let block show the memory of other, distance bytes from where that begins, if the same is there."""
    start, _, buffer = memory.owner(other.values)
    return _show(block, buffer, memory.address(other.values) + distance - start, strides)
