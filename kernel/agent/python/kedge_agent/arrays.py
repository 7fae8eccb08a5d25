"""numpy arrays as views of memory that is saved once."""
from __future__ import annotations

import mmap
import pickle
import sys
from typing import Any


def owner(arr: Any) -> tuple[int, int, Any]:
    """(address, length, buffer) of the memory that arr is a view of."""
    np = sys.modules["numpy"]
    root = arr
    while isinstance(root.base, np.ndarray):
        root = root.base
    if root.base is not None and not isinstance(root.base, mmap.mmap):
        try:
            whole = np.frombuffer(root.base, dtype="u1")
            return whole.__array_interface__["data"][0], whole.nbytes, memoryview(root.base)
        except (TypeError, ValueError, BufferError, AttributeError):
            pass
    return root.__array_interface__["data"][0], root.nbytes, root


class Memory:
    """One block of memory; lives in a pickler's table so that views share it."""

    def __init__(self, holder: Any) -> None:
        self.holder = holder

    def reduce(self) -> tuple[Any, ...]:
        """A reducer that gives the buffer itself back."""
        np = sys.modules["numpy"]
        if isinstance(self.holder, np.ndarray):
            flat = self.holder.reshape(-1, order="A").view("u1")
            flat.flags.writeable = bool(self.holder.flags.writeable)
        else:
            flat = np.frombuffer(self.holder, dtype="u1")
        return same, (pickle.PickleBuffer(flat),)


def same(x: Any) -> Any:
    """Identity, by name in the stream."""
    return x


def view(memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
         dtype: Any, writeable: bool) -> Any:
    """Rebuild an array over memory."""
    import numpy as np
    arr = np.ndarray(shape, dtype, buffer=memory, offset=offset, strides=strides)
    if not writeable:
        arr.flags.writeable = False
    return arr


def reduce_array(arr: Any, memories: dict[int, Memory]) -> Any:
    """The reduction of a plain array, or NotImplemented for pickle's own way."""
    if arr.dtype.hasobject or arr.nbytes == 0 or type(arr.dtype).__name__ == "StringDType":
        return NotImplemented
    address, length, holder = owner(arr)
    np = sys.modules["numpy"]
    if isinstance(holder, np.ndarray) and not (
            holder.flags.c_contiguous or holder.flags.f_contiguous):
        return NotImplemented
    offset = arr.__array_interface__["data"][0] - address
    if not 0 <= offset < length:
        return NotImplemented
    memory = memories.setdefault(address, Memory(holder))
    return view, (memory, offset, arr.shape, arr.strides, arr.dtype,
                  bool(arr.flags.writeable))


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
