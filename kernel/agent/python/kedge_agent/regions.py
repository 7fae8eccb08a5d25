"""Memory of large buffers that are restored: the store's segments themselves, mapped privately, nothing copied.

An array can own such memory: numpy takes it from an allocator of ours (NEP 49), in the library that kernels carry.
"""
from __future__ import annotations

import contextvars
import ctypes
import functools
import os
import sys
import weakref
from typing import Any

PIECES = 512  # maps of one buffer, at 4 µs each; what lies in more places is read
LEAST = 64 << 10  # bytes that are worth a map
_SET_HANDLER = 304  # in numpy's table of functions, from 1.22 on

_given: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # arrays over all of a region, by id
_lent: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # those of them that others show


class _Refused(Exception):
    """The system does not map what was asked for."""


class _Regions:
    """The functions of region.c, and numpy's that sets an allocator."""

    def __init__(self, library: Any, table: int) -> None:
        size, address = ctypes.c_size_t, ctypes.c_void_p
        self.new, self.map, self.drop, self.offer = (
            getattr(library, "kedge_region_" + n) for n in ("new", "map", "drop", "offer"))
        self.new.restype, self.new.argtypes = address, [size]
        self.map.argtypes = [address, size, ctypes.c_int, ctypes.c_int64, size]
        self.drop.argtypes, self.drop.restype = [address], None
        self.offer.argtypes, self.offer.restype = [address], None
        where = ctypes.addressof(ctypes.c_char.in_dll(library, "kedge_region_handler"))
        capsule = _python("PyCapsule_New", ctypes.py_object, address, ctypes.c_char_p, address)
        self._name = b"mem_handler"  # a capsule does not keep it
        self._handler = capsule(where, self._name, None)
        function = ctypes.cast(table, ctypes.POINTER(address))[_SET_HANDLER]
        self._set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(function)

    def array(self, data: int, shape: Any, dtype: Any, order: Any) -> Any:
        """A new array that holds the region at data, or memory of its own if that is not as long."""
        def make() -> Any:
            self._set(self._handler)  # of this context only
            self.offer(data)
            try:
                return sys.modules["numpy"].empty(shape, dtype, order=order)
            finally:
                self.offer(None)

        return contextvars.copy_context().run(make)


def _python(name: str, *types: Any) -> Any:
    """A function of Python's by its type; the attributes of ctypes.pythonapi are everybody's."""
    return ctypes.PYFUNCTYPE(*types)((name, ctypes.pythonapi))


@functools.cache
def _regions() -> _Regions | None:
    """None where the kernel does not carry the library, or numpy has no allocators. numpy is loaded."""
    library = ctypes.CDLL(None)
    module = sys.modules.get("numpy._core._multiarray_umath") or sys.modules.get("numpy.core._multiarray_umath")
    if not hasattr(library, "kedge_region_handler") or not hasattr(module, "get_handler_name"):
        return None
    get = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    return _Regions(library, get(module._ARRAY_API, None))  # type: ignore[union-attr]


def buffer(ranges: list[list[Any]], readonly: bool) -> Any:
    """The bytes of [path, offset, length] ranges, in order, as an array; EOFError if a file is too short for them.

    None where there can be no such memory. What is written to the array does not reach the files.
    """
    length = sum(n for _, _, n in ranges)
    here = _regions() if "numpy" in sys.modules and length else None
    data = here.new(length) if here is not None else None
    if here is None or data is None:
        return None
    try:
        _fill(here, data, ranges)
        made = here.array(data, length, "u1", "C")
    except _Refused:
        return None
    finally:
        here.drop(data)  # unless the array holds it
    made.flags.writeable = not readonly
    _given[id(made)] = made
    return made


def _fill(here: _Regions, data: int, ranges: list[list[Any]]) -> None:
    at = 0
    for path, offset, length in ranges:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Beyond the end of a file there is nothing to map: looking there would end the kernel.
            if os.fstat(fd).st_size < offset + length:
                raise EOFError(f"{path} is shorter than {offset + length} bytes")
            done = here.map(data, at, fd, offset, length) if length >= LEAST and len(ranges) <= PIECES else 0
            if done < 0:
                raise _Refused
            if not done:
                read(fd, offset, memoryview((ctypes.c_char * length).from_address(data + at)).cast("B"), path)
        finally:
            os.close(fd)
        at += length


def read(fd: int, offset: int, into: memoryview, path: str) -> None:
    """Fill into from a file; EOFError if that is too short."""
    done = 0
    while done < len(into):
        n = os.preadv(fd, [into[done:]], offset + done)
        if n == 0:
            raise EOFError(f"{path} is shorter than {offset + len(into)} bytes")
        done += n


def owned(data: Any, shape: tuple[int, ...], dtype: Any, order: Any) -> Any:
    """An array that owns the memory of data, which buffer gave and nobody else has; None if buffer did not give it."""
    if _given.get(id(data)) is not data:
        return None
    here = _regions()
    where = data.ctypes.data
    made = here.array(where, shape, dtype, order)  # type: ignore[union-attr]
    return made if made.ctypes.data == where else None


def lend(data: Any) -> Any:
    """data, which others are to show; see lent."""
    if _given.get(id(data)) is data:
        _lent[id(data)] = data
    return data


def lent(holder: Any) -> bool:
    """Whether holder only stands for memory that arrays show: nobody has made it, as nobody makes bytearrays."""
    return _lent.get(id(holder)) is holder


def gather(ranges: list[list[Any]]) -> bytearray:
    """The bytes of ranges as new memory; EOFError if a file is too short for them."""
    made = bytearray(sum(n for _, _, n in ranges))
    at = 0
    for path, offset, length in ranges:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with memoryview(made) as whole, whole[at:at + length] as part:
                read(fd, offset, part, path)
        finally:
            os.close(fd)
        at += length
    return made
