"""The pickler of groups, and the proof that what it wrote can be read back."""
from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

from . import arrays, figures, frames, functions, libraries, proof, sets

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
        self.last: Any = None  # what was being pickled, if that fails

    def reducer_override(self, obj: Any) -> Any:
        """See pickle.Pickler."""
        self.last = obj
        if isinstance(obj, _REFUSED):
            raise Uncapturable(f"is a {type(obj).__module__}.{type(obj).__qualname__}")
        if isinstance(obj, sets.Shape):
            return obj.reduce()
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
        if type(obj) is getattr(sys.modules.get("numpy.ma"), "MaskedArray", None):
            return arrays.reduce_masked(obj)
        found = libraries.reduce(obj)
        return found if found is not NotImplemented else figures.reduce(obj)


class SetPickler(Pickler):
    """A pickler that keeps the layout of sets; slower, for only persistent_id sees an exact set."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._shapes: dict[int, sets.Shape] = {}

    def persistent_id(self, obj: Any) -> Any:
        """A set is its Shape, from which unpickling gives the set."""
        if type(obj) is set or type(obj) is frozenset and len(obj) > 1:
            return self._shapes.setdefault(id(obj), sets.Shape(obj))
        return None


class Unpickler(pickle.Unpickler):
    """Reads what SetPickler wrote."""

    def persistent_load(self, pid: Any) -> Any:
        """The set itself."""
        return pid


def dump(values: dict[str, Any], live: functions.Live,
         plain: set[Any] | None = None, layouts: bool = False) -> tuple[bytes, list[Any]]:
    """(stream, out-of-band buffers as flat memoryviews); plain as in frames.Owners.

    Uncapturable, with the path inside the variable where it is found, if something has no
    captured form. layouts keeps the order of sets.
    """
    buffers: list[Any] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < FLOOR:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    pickler = (SetPickler if layouts else Pickler)(file, live, keep, plain or set())
    try:
        pickler.dump(values)
    except Exception as err:
        path = proof.locate(values, pickler.last)
        raise Uncapturable(f"{path} {err}" if isinstance(err, Uncapturable) and path
                           else f"{path}: {err}" if path else str(err)) from err
    return file.getvalue(), buffers


def load(stream: bytes, buffers: list[Any], live: functions.Live) -> dict[str, Any]:
    """Unpickle through a trampoline in the namespace, which formulas look into."""
    hop = types.FunctionType((lambda f: f()).__code__, live.ns)
    functions.push(live)
    try:
        return hop(Unpickler(io.BytesIO(stream), buffers=buffers).load)
    finally:
        functions.pop()


def capture(values: dict[str, Any], live: functions.Live, plain: set[Any]) -> tuple[bytes, list[Any]]:
    """dump, proved: what is unpickled from it is compared with values.

    Buffers are not copied for the proof, so it costs as much as the stream, whatever the size
    of arrays. Uncapturable if something does not come back as it is.
    """
    stream, buffers = dump(values, live, plain)
    walk = proof.Walk(live.ns)
    try:
        walk.compare(values, load(stream, buffers, functions.Live(live.ns)))
    except proof.Differs as err:
        if not walk.sets:
            raise Uncapturable(str(err)) from err
    if not walk.sets:
        return stream, buffers
    stream, buffers = dump(values, live, plain, layouts=True)
    try:
        proof.Walk(live.ns).compare(values, load(stream, buffers, functions.Live(live.ns)))
    except proof.Differs as err:
        raise Uncapturable(str(err)) from err
    return stream, buffers
