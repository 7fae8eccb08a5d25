"""numpy arrays as views of memory that is saved once, whatever class of array they are."""
from __future__ import annotations

import contextlib
import ctypes
import pickle
import sys
from collections.abc import Hashable, Iterator
from typing import Any

from . import regions
from .memory import EXPORTERS, address, mapped, owner, root
from .tensors import raw


class Memory:
    """One block of memory; lives in a pickler's table so that views share it."""

    def __init__(self, holder: Any) -> None:
        self.holder = holder

    def reduce(self) -> tuple[Any, ...]:
        """A reducer that gives the buffer itself back."""
        if isinstance(self.holder, ctypes.Array):
            return same, (pickle.PickleBuffer(self.holder),)
        np = sys.modules["numpy"]
        if issubclass(type(self.holder), np.ndarray):
            return same, (_bytes(self.holder),)
        return same, (pickle.PickleBuffer(np.frombuffer(self.holder, dtype="u1")),)

    def start(self) -> int:
        """Where the memory begins."""
        if issubclass(type(self.holder), sys.modules["numpy"].ndarray):
            return address(self.holder)
        return address(sys.modules["numpy"].frombuffer(self.holder, dtype="u1"))


def _bytes(arr: Any) -> pickle.PickleBuffer:
    """The memory of a contiguous array."""
    flat = sys.modules["numpy"].ndarray.reshape(sys.modules["numpy"].asarray(arr), -1, order="A").view("u1")
    flat.flags.writeable = bool(arr.flags.writeable)
    return pickle.PickleBuffer(flat)


def same(x: Any) -> Any:
    """Identity, by name in the stream."""
    return regions.lend(x)


_lent: list[bool] = []  # not empty while what is read is only looked at


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """What is read meanwhile is only looked at: its buffers are those of the values that were saved."""
    _lent.append(True)
    try:
        yield
    finally:
        _lent.pop()


def owned(buffer: Any, shape: tuple[int, ...], dtype: Any, order: Any, writeable: bool) -> Any:
    """Rebuild an array that has its memory to itself, of which nothing else is a view unless by way of it."""
    import numpy as np
    arr = np.ndarray(shape, dtype, buffer=buffer, order=order)
    if not _lent:
        made = regions.owned(buffer, shape, dtype, order)
        if made is None:
            made = np.empty(shape, dtype, order=order)  # filled byte by byte: numpy leaves out what is between fields
            made.reshape(-1, order="A").view("u1")[:] = arr.reshape(-1, order="A").view("u1")
        arr = made
        if type(buffer) is bytearray:  # nobody else has it: do not hold the memory twice
            buffer.clear()
    if not writeable:
        arr.flags.writeable = False
    return arr


def view(memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
         dtype: Any, writeable: bool) -> Any:
    """Rebuild an array over memory."""
    import numpy as np
    arr = np.ndarray(shape, dtype, buffer=memory, offset=offset, strides=strides)
    if not writeable:
        arr.flags.writeable = False
    return arr


def view_of(base: Any, start: int, step: int, shape: tuple[int, ...], order: str, writeable: bool) -> Any:
    """Rebuild a view of an array of objects: some of its elements, in a shape."""
    flat = base.reshape(-1, order="A")
    size = 1
    for n in shape:
        size *= n
    stop = start + step * size
    arr = flat[start:stop if stop >= 0 else None:step].reshape(shape, order=order)
    if not writeable:
        arr.flags.writeable = False
    return arr


def empty(shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: Any, writeable: bool) -> Any:
    """Rebuild an array without elements: one of its own without strides, else a view."""
    import numpy as np
    if strides is None:
        arr = np.empty(shape, dtype)
    else:
        arr = np.ndarray(shape, dtype, buffer=bytearray(), strides=strides)
    if not writeable:
        arr.flags.writeable = False
    return arr


def of_class(plain: Any, cls: type) -> Any:
    """plain seen as an array of a subclass."""
    return plain.view(cls)


def set_attributes(arr: Any, state: dict[str, Any]) -> None:
    """Give an array of a subclass exactly these attributes."""
    vars(arr).clear()
    vars(arr).update(state)


class Arrays:
    """The reductions of one stream's arrays. seen holds the keys of what the user reaches past arrays."""

    def __init__(self, seen: set[Hashable]) -> None:
        self._seen = seen
        self._own: set[Hashable] | None = getattr(seen, "own", None)
        self._joined: dict[int, tuple[int, int, Any]] = getattr(seen, "joined", {})
        self._memories: dict[int, Memory] = {}
        self._plain: dict[int, tuple[Any, Any]] = {}

    def whole(self, start: int, length: int) -> tuple[int, int, Any]:
        """(address, length, holder) of all that shares memory there; no holder where it has to be made."""
        return self._joined.get(start, (start, length, None))

    def memory(self, start: int, holder: Any) -> Any:
        """What stands for the memory at start: its holder, if the user has that, or the Memory of all who share it."""
        if type(holder) in EXPORTERS and id(holder) in self._seen:
            return holder
        return self._memories.setdefault(start, Memory(holder))

    def reduce(self, arr: Any) -> Any:
        """The reduction of an array; NotImplemented for pickle's own way. ValueError if it has none."""
        np = sys.modules["numpy"]
        kind = type(arr)
        if mapped(arr):
            raise ValueError("is mapped from a file, which writing to it changes")
        if kind is not np.ndarray:
            return self._subclass(arr, np)
        dtype = arr.dtype if id(arr) in self._seen else apart(arr.dtype)
        if arr.size == 0:
            return self._empty(arr, dtype)
        if arr.nbytes == 0:
            return NotImplemented
        bottom = root(arr)
        if arr.dtype.hasobject or type(arr.dtype).__name__ == "StringDType":
            return self._objects(arr, bottom)
        if arr.flags.owndata and arr.flags.forc and "torch" not in sys.modules:
            self._known(address(arr))
            order = "C" if arr.flags.c_contiguous else "F"
            return owned, (_bytes(arr), arr.shape, dtype, order, bool(arr.flags.writeable))
        start, length, holder = owner(arr)
        self._known(start)
        if holder is bottom and not (bottom.flags.c_contiguous or bottom.flags.f_contiguous):
            return NotImplemented
        if start in self._joined:
            start, length, other = self._joined[start]
            holder = other or raw(start, length)
        offset = address(arr) - start
        if not 0 <= offset < length:
            return NotImplemented
        shared = self.memory(start, holder)
        if bottom is not arr and type(bottom) is np.ndarray and (id(bottom) in self._seen or self._base(bottom)):
            shared, offset = bottom, address(arr) - address(bottom)
            if not bottom.flags.c_contiguous or not 0 <= offset < bottom.nbytes:
                return NotImplemented
        return view, (shared, offset, arr.shape, arr.strides, dtype, bool(arr.flags.writeable))

    def _known(self, start: int) -> None:
        """ValueError for memory of another group, to which something leads that shows nobody what it holds."""
        if self._own is not None and ("memory", start) in self._seen and ("memory", start) not in self._own:
            raise ValueError("is memory of another variable")

    def _empty(self, arr: Any, dtype: Any) -> Any:
        bottom = root(arr)
        offset = address(arr) - address(bottom)
        plain = type(bottom) is sys.modules["numpy"].ndarray and bottom is not arr and self._base(bottom)
        if id(arr) in self._seen and plain and 0 <= offset <= bottom.nbytes:
            if not bottom.dtype.hasobject:
                return view, (bottom, offset, arr.shape, arr.strides, dtype, bool(arr.flags.writeable))
            if arr.ndim == 1 and arr.strides[0] and arr.dtype == bottom.dtype:
                step = arr.strides[0] // arr.itemsize
                return view_of, (bottom, offset // arr.itemsize, step, arr.shape, "C", bool(arr.flags.writeable))
        return _empty(arr, dtype)

    def _base(self, bottom: Any) -> bool:
        """Whether the array at the bottom of a view is saved as such: the user has it as the view's base."""
        return bool(bottom.flags.owndata and bottom.flags.c_contiguous and "torch" not in sys.modules)

    def _objects(self, arr: Any, bottom: Any) -> Any:
        if bottom is arr or not (bottom.flags.c_contiguous or bottom.flags.f_contiguous) or not bottom.nbytes:
            return NotImplemented
        offset = address(arr) - address(bottom)
        if not 0 <= offset < bottom.nbytes or arr.dtype != bottom.dtype:
            return NotImplemented
        step = arr.strides[0] // arr.itemsize if arr.ndim == 1 else 1
        if step == 0 or arr.ndim != 1 and not (arr.flags.c_contiguous or arr.flags.f_contiguous):
            return NotImplemented
        order = "C" if arr.flags.c_contiguous else "F"
        return view_of, (bottom, offset // arr.itemsize, step, arr.shape, order, bool(arr.flags.writeable))

    def _subclass(self, arr: Any, np: Any) -> Any:
        module = type(arr).__module__.split(".")[0]
        if type(arr) is getattr(sys.modules.get("numpy.ma"), "MaskedArray", None):
            return reduce_masked(arr)
        if module == "numpy" and type(arr) not in (np.matrix, np.recarray):
            return NotImplemented
        own = type(arr).__reduce__ is not np.ndarray.__reduce__ or type(arr).__setstate__ is not np.ndarray.__setstate__
        if own and module != "numpy":
            return NotImplemented
        plain = self._plain.setdefault(id(arr), (np.ndarray.view(arr, np.ndarray), arr))[0]
        return of_class, (plain, type(arr)), dict(getattr(arr, "__dict__", {})), None, None, set_attributes


def reduce_record(record: Any) -> Any:
    """The reduction of a record that shows an element of an array; NotImplemented for others.

    ValueError if it is not found in that.
    """
    np, base = sys.modules["numpy"], record.base
    if base is None:
        return NotImplemented
    if issubclass(type(base), np.ndarray) and base.dtype == record.dtype:
        at = _index(base, address(np.asarray(record)) - address(base))
        if at is not None and address(np.asarray(element(base, at))) == address(np.asarray(record)):
            return element, (base, at)
    raise ValueError("is a part of a record")


def _index(base: Any, offset: int) -> tuple[int, ...] | None:
    """Which element of an array lies so many bytes from its first; None if that is not known."""
    if base.ndim == 1:
        return (offset // base.strides[0],) if base.strides[0] and 0 <= offset // base.strides[0] < base.size else None
    if not base.flags.forc or not 0 <= offset < base.nbytes:
        return None
    order = "C" if base.flags.c_contiguous else "F"
    return tuple(map(int, sys.modules["numpy"].unravel_index(offset // base.itemsize, base.shape, order=order)))


def element(base: Any, at: tuple[int, ...]) -> Any:
    """The element of an array, past what its class makes of that."""
    return sys.modules["numpy"].ndarray.__getitem__(base, at)


def reduce_dtype(dtype: Any) -> Any:
    """The reduction of a dtype that numpy has one of, or that names the order of bytes which is the machine's.

    NotImplemented for others.
    """
    np = sys.modules["numpy"]
    if dtype.isbuiltin == 1 and np.dtype(dtype.str) is dtype:
        return np.dtype, (dtype.str,)
    if dtype.isnative and dtype.byteorder in "<>" and dtype.names is dtype.subdtype is dtype.metadata is None:
        return ordered, (dtype.str,)
    return NotImplemented


def ordered(code: str) -> Any:
    """A dtype that names its order of bytes, as those of C arrays do: ``dtype('<i4')``."""
    return sys.modules["numpy"].dtype(code).newbyteorder(code[0])


def apart(dtype: Any) -> Any:
    """A dtype of dates that is no other's: which values of pandas have one and the same nobody sees."""
    numpy = sys.modules["numpy"]
    plain = type(dtype) in (type(numpy.dtype("M8")), type(numpy.dtype("m8"))) and dtype.metadata is None
    return numpy.dtype(dtype.str) if plain else dtype


def _empty(arr: Any, dtype: Any) -> Any:
    # An array that was unpickled has the strides that pickle's own way gives it again.
    if arr.flags.owndata and any(arr.strides):
        return NotImplemented
    strides = None if arr.flags.owndata else arr.strides
    return empty, (arr.shape, strides, dtype, bool(arr.flags.writeable))


def reduce_masked(arr: Any) -> Any:
    """The reduction of a masked array, which keeps whether there is a mask at all and who may change it."""
    made = arr.__reduce__()
    more = (arr._mask is sys.modules["numpy.ma"].nomask, arr._sharedmask, arr._hardmask, arr._fill_value)
    return made[0], made[1], (made[2], more), None, None, set_masked


def set_masked(arr: Any, state: tuple[Any, tuple[Any, ...]]) -> None:
    """Fill a masked array."""
    arr.__setstate__(state[0])
    bare, arr._sharedmask, arr._hardmask, arr._fill_value = state[1]
    if bare:
        arr._mask = sys.modules["numpy.ma"].nomask
