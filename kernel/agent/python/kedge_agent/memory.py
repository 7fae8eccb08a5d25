"""Which memory an object is a view of."""
from __future__ import annotations

import array
import ctypes
import mmap
import sys
from collections.abc import Hashable
from typing import Any

from . import regions, tensors

EXPORTERS = (bytearray, array.array)


def numpy_arrays() -> Any:
    """numpy.ndarray if the program has loaded it, else an empty tuple."""
    return getattr(sys.modules.get("numpy"), "ndarray", ())


def root(arr: Any) -> Any:
    """The array at the bottom of arr's bases: arr itself, or what it is a view of."""
    kind, base = numpy_arrays(), _base(arr)
    while issubclass(type(base), kind) and not regions.lent(base):
        arr, base = base, _base(base)
    return arr


def is_record(kind: type) -> bool:
    """Whether objects of a type are records of numpy, which show a part of the memory of an array."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(kind, numpy.void)


def _base(arr: Any) -> Any:
    """What an array shows, past a record of it."""
    base = arr.base
    return base.base if is_record(type(base)) and base.base is not None else base


def owner(arr: Any) -> tuple[int, int, Any]:
    """(address, length, holder) of the memory that arr is a view of; the holder gives a buffer."""
    numpy = sys.modules["numpy"]
    bottom = root(arr)
    base = _exporter(bottom)
    lent = tensors.span(base)
    if lent is not None:
        return (*lent, tensors.raw(*lent))
    if base is not None and not isinstance(base, mmap.mmap):
        try:
            whole = numpy.frombuffer(base, dtype="u1")
            return address(whole), whole.nbytes, base
        except (TypeError, ValueError, BufferError, AttributeError):
            pass
    return address(bottom), bottom.nbytes, bottom


def _exporter(bottom: Any) -> Any:
    """What the array at the bottom shows, past a memoryview of it."""
    base = _base(bottom)
    return base.obj if type(base) is memoryview else base


def mapped(arr: Any) -> bool:
    """Whether writing to arr writes to a file."""
    return isinstance(_exporter(root(arr)), mmap.mmap) and bool(arr.flags.writeable)


def address(arr: Any) -> int:
    """Where the first element lies."""
    return int(arr.__array_interface__["data"][0])


def key(obj: Any) -> Hashable | None:
    """The memory that obj shows or is; None if it is neither."""
    found = span(obj)
    return ("memory", found[0]) if found is not None else None


def span(obj: Any) -> tuple[int, int, Any] | None:
    """(address, length, holder) of the memory that obj shows or is; None if it is neither, or empty."""
    kind = type(obj)
    if kind in EXPORTERS:
        return (_exported(obj), memoryview(obj).nbytes, obj) if len(obj) else None
    if issubclass(kind, numpy_arrays()):
        return owner(obj) if obj.nbytes else None
    found = tensors.span(obj)
    return None if found is None else (*found, None)


def shown(obj: Any) -> tuple[int, int, Any] | None:
    """As span; also of the array that obj is an empty view of, which its base attribute gives."""
    found = span(obj)
    if found is None and issubclass(type(obj), numpy_arrays()):
        bottom = root(obj)
        found = owner(bottom) if bottom is not obj and bottom.nbytes else None
    return found


def _exported(obj: Any) -> int:
    return ctypes.addressof((ctypes.c_char * (len(obj) or 1)).from_buffer(obj))
