"""The pickler of groups, and the proof that what it wrote can be read back."""
from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

from . import arrays, frames, functions, orders

FLOOR = 16 << 10  # bytes; smaller buffers stay in the stream
_REFUSED = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType,
            types.FrameType, types.TracebackType, io.IOBase)


class Uncapturable(Exception):
    """A thing without a captured form, and why."""


class Pickler(pickle.Pickler):
    """Pickles one group; views, functions and classes keep what they share."""

    def __init__(self, file: Any, live: functions.Live, callback: Callable[[Any], bool],
                 plain: set[Any]) -> None:
        super().__init__(file, protocol=5, buffer_callback=callback)
        self._live = live
        self._memories: dict[int, arrays.Memory] = {}
        self._owners = frames.Owners(plain)

    def reducer_override(self, obj: Any) -> Any:
        """See pickle.Pickler."""
        if isinstance(obj, _REFUSED):
            raise Uncapturable(f"{type(obj).__module__}.{type(obj).__qualname__}")
        if isinstance(obj, types.FunctionType):
            return functions.reduce_function(obj, self._live.ns)
        if isinstance(obj, type):
            return functions.reduce_class(obj, self._live)
        if isinstance(obj, types.CodeType):
            return functions.reduce_code(obj)
        if isinstance(obj, types.CellType):
            return functions.reduce_cell(obj)
        if isinstance(obj, types.ModuleType):
            return __import__("importlib").import_module, (obj.__name__,)
        if isinstance(obj, (staticmethod, classmethod)):
            return type(obj), (obj.__func__,)
        if type(obj) is property:
            return property, (obj.fget, obj.fset, obj.fdel, obj.__doc__)
        if isinstance(obj, arrays.Memory):
            return obj.reduce()
        if frames.is_block(obj) or frames.is_index(obj):
            return self._owners.reduce(obj)
        if type(obj).__name__ == "SingleBlockManager":  # its own way leaves out the block
            return type(obj), (obj.blocks[0], obj.axes[0])
        lost = frames.check(obj)
        if lost is not None:
            raise Uncapturable(lost)
        numpy = sys.modules.get("numpy")
        if numpy is not None and type(obj) is numpy.ndarray:
            return arrays.reduce_array(obj, self._memories)
        return NotImplemented


def dump(values: dict[str, Any], live: functions.Live,
         plain: set[Any] | None = None) -> tuple[bytes, list[Any]]:
    """(stream, out-of-band buffers as flat memoryviews); plain as in frames.Owners."""
    buffers: list[Any] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < FLOOR:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    Pickler(file, live, keep, plain or set()).dump(values)
    return file.getvalue(), buffers


def load(stream: bytes, buffers: list[Any], live: functions.Live) -> dict[str, Any]:
    """Unpickle through a trampoline in the namespace, which formulas look into."""
    hop = types.FunctionType((lambda f, s, b: f(s, buffers=b)).__code__, live.ns)
    functions.push(live)
    try:
        return hop(pickle.loads, stream, buffers)
    finally:
        functions.pop()


def prove(values: dict[str, Any], stream: bytes, buffers: list[Any], ns: dict[str, Any]) -> None:
    """Raise unless the stream comes back as the same types and pickles again."""
    scratch = functions.Live(ns)
    if b"matplotlib.figure" in stream:  # unpickling one registers it in pyplot, which the user would see
        raise Uncapturable("matplotlib figures are not captured yet")
    back = load(stream, buffers, scratch)
    for name, value in values.items():
        a, b = type(value), type(back[name])
        if a is not b and (a.__module__, a.__qualname__) != (b.__module__, b.__qualname__):
            raise Uncapturable(f"{a.__qualname__} comes back as {b.__qualname__}")
    if not orders.kept(values, back, ns):
        raise Uncapturable("set order is not kept")
    again, again_buffers = dump(back, functions.Live(ns))
    if again == stream:
        return
    # Interning and set order may move bytes; one more trip must not change the size.
    third = dump(load(again, again_buffers, functions.Live(ns)), functions.Live(ns))[0]
    if len(third) != len(again):
        raise Uncapturable("does not come back equal")
