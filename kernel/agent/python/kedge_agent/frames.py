"""pandas objects: which memory is theirs by copy-on-write and so not observably shared."""
from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

from . import arrays, linked, live
from .refused import Uncapturable

_OWN = {"_mgr", "_attrs", "_flags", "_name", "_item_cache", "_is_copy", "_cacher",
        "_typ", "_metadata", "attrs"}
_FLAT = {"string", "bytes", "integer", "floating", "boolean", "mixed-integer-float", "date", "datetime"}


def pandas() -> Any:
    """The pandas module if the program has fully loaded it, else None."""
    module = sys.modules.get("pandas")
    return module if hasattr(module, "DataFrame") and hasattr(module, "__version__") else None


def lazy() -> bool:
    """Whether sharing between pandas objects cannot be seen through them."""
    module = pandas()
    return module is not None and int(module.__version__.split(".")[0]) >= 3


def is_block(obj: Any) -> bool:
    """Whether obj is one block of a frame or series."""
    return pandas() is not None and issubclass(type(obj), sys.modules["pandas._libs.internals"].Block)


def is_array(obj: Any) -> bool:
    """Whether obj is an array of pandas that lies in one of numpy: of dates, of categories."""
    return pandas() is not None and issubclass(type(obj), sys.modules["pandas._libs.arrays"].NDArrayBacked)


def is_manager(obj: Any) -> bool:
    """Whether obj holds the blocks and axes of a frame or series."""
    return type(obj).__module__ == "pandas.core.internals.managers" and hasattr(obj, "blocks")


def is_index(obj: Any) -> bool:
    """Whether obj is a pandas Index."""
    return pandas() is not None and issubclass(type(obj), pandas().Index)


def flat(arr: Any) -> bool:
    """Whether every element of a large object array is immutable and holds nothing."""
    return (arr.size > 1000 and pandas() is not None
            and sys.modules["pandas._libs.lib"].infer_dtype(arr, skipna=True) in _FLAT)


def parts(obj: Any) -> tuple[list[Any], list[Any]] | None:
    """(children seen by the user, values owned by copy-on-write); None for other objects."""
    module = pandas()
    if module is None:
        return None
    if is_block(obj):
        return [], [obj.values]
    if issubclass(type(obj), module.RangeIndex):
        return [obj._name], []
    if issubclass(type(obj), module.MultiIndex):
        return list(obj._names), [*obj._levels, *obj._codes]
    if issubclass(type(obj), module.Index):
        return [obj._name], [obj._data]
    if is_manager(obj):
        return [*obj.blocks, *obj.axes], []
    return None


def inside(values: Any) -> tuple[list[Any], list[Any]]:
    """(elements the user sees, further owned values) of values owned by copy-on-write."""
    numpy = sys.modules["numpy"]
    if isinstance(values, numpy.ndarray):
        elements = values.ravel().tolist() if values.dtype.hasobject and not flat(values) else []
        return elements, []
    known = parts(values)
    if known is not None:
        return known
    owned: list[Any] = []
    for x in [values, *gc.get_referents(values)]:
        held = x.values() if isinstance(x, dict) else gc.get_referents(x) if x is values else (x,)
        owned += [v for v in held if isinstance(v, numpy.ndarray) or is_index(v)
                  or isinstance(v, pandas().api.extensions.ExtensionArray)]
    backing = getattr(values, "_ndarray", None)
    return [], owned if backing is None else [*owned, backing]


def reduce(obj: Any) -> Any:
    """The reduction of a frame or series with what pandas does not keep in a pickle, or of an array of its own.

    NotImplemented for others.
    """
    module = pandas()
    if is_array(obj):
        return _array(obj)
    if type(obj) is getattr(sys.modules.get("pandas.core.flags"), "Flags", None):
        frame = obj._obj()
        return (flags_of, (frame,)) if getattr(frame, "_flags", None) is obj else NotImplemented
    if module is None or not issubclass(type(obj), (module.DataFrame, module.Series)):
        return NotImplemented
    lost = {k: v for k, v in vars(obj).items() if k not in _OWN and k not in obj._metadata}
    tied = {} if lazy() else _ties(obj)
    if not lost and not tied:
        return NotImplemented
    made = obj.__reduce_ex__(5)
    return made[0], made[1], (made[2], lost, tied) if tied else (made[2], lost), None, None, set_frame


def _ties(obj: Any) -> dict[str, Any]:
    """What pandas 2 remembers of the frame that obj was taken from, as long as that is there.

    It warns by that when obj is changed, changes the frame too, and gives obj out again as its column.
    """
    found: dict[str, Any] = {}
    copied, cacher = vars(obj).get("_is_copy"), vars(obj).get("_cacher")
    source = copied() if type(copied) is weakref.ref else copied
    if source is not None:
        found["_is_copy"] = source
    frame = cacher[1]() if cacher is not None else None
    if frame is not None:
        found["_cacher"] = cacher[0], frame, vars(frame)["_item_cache"].get(cacher[0]) is obj
    return found


def _array(obj: Any) -> Any:
    """The reduction of dates, categories and the like, without what looking at them has cached."""
    made = obj.__reduce_ex__(5)
    state = made[2] if len(made) > 2 else None
    if type(state) is not tuple or len(state) not in (2, 3):
        return made
    state = (arrays.apart(state[0]), *state[1:])
    if len(state) == 2 or type(state[2]) is not dict:
        return (*made[:2], state, *made[3:])
    kept = {k: v for k, v in state[2].items() if k != "_cache" and (k, v) != ("_readonly", False)}
    if kept or not lazy():  # pandas 2 reads no state without attributes, pandas 3 writes none
        return (*made[:2], (*state[:2], kept), *made[3:])
    return (*made[:2], state[:2], *made[3:])


def flags_of(frame: Any) -> Any:
    """The flags that a frame or series has, which make themselves anew when it is read."""
    return frame._flags


def set_frame(obj: Any, state: tuple[Any, ...]) -> None:
    """Fill a frame or series."""
    obj.__setstate__(state[0])
    vars(obj).update(state[1])
    tied = state[2] if len(state) > 2 else {}
    if "_is_copy" in tied:
        source = tied["_is_copy"]
        vars(obj)["_is_copy"] = source if type(source) is str else weakref.ref(source)
    if "_cacher" in tied:
        column, frame, cached = tied["_cacher"]
        vars(obj)["_cacher"] = column, weakref.ref(frame)
        if cached:
            vars(frame)["_item_cache"][column] = obj


def make_refs() -> Any:
    """The list of the blocks that share one memory, to which each adds itself."""
    return sys.modules["pandas._libs.internals"].BlockValuesRefs()


def make_block(values: Any, placement: Any, ndim: int, refs: Any) -> Any:
    """A block that shares its memory with the others of refs."""
    import pandas.core.internals.blocks as blocks
    placement = sys.modules["pandas._libs.internals"].BlockPlacement(placement)
    return blocks.new_block(values, placement=placement, ndim=ndim, refs=refs)


def make_index(make: Any, args: tuple[Any, ...], refs: Any) -> Any:
    """An Index that shares its memory with the others of refs."""
    made = make(*args)
    made._references = refs
    refs.add_index_reference(made)
    return made


_GAPS = 4  # times the size of values that are saved with what lies between them


def apart(values: Any) -> Any:
    """A copy that shares no memory, with the strides of values: sums of floats go by them, and programs see them."""
    numpy = sys.modules["numpy"]
    if type(values) is not numpy.ndarray:
        return values.copy()
    copy = values.copy(order="K")
    span = values.itemsize + sum((n - 1) * s for n, s in zip(values.shape, values.strides, strict=True))
    plain = min(values.strides, default=0) > 0 and values.size and not values.dtype.hasobject
    if copy.strides == values.strides or not plain or span > _GAPS * values.nbytes:
        return copy
    made = numpy.ndarray(values.shape, values.dtype, numpy.zeros(span, "u1"), strides=values.strides)
    made[...] = values
    made.flags.writeable = values.flags.writeable
    return made


class Owners:
    """Who has claimed which memory in one stream; plain holds keys that arrays of the user see too.

    Blocks whose sharing can be seen share memory after a restore too, with what pandas needs to copy on write.
    """

    def __init__(self, plain: set[Any], where: live.Live) -> None:
        self._plain, self._claimed, self._keep = plain, set(), []  # type: ignore
        self._live = where
        self._held = linked.Held(where.ns)
        self._marks: dict[int, linked.Mark] = {}  # by the address of the list of who shares a memory
        self.parts: Any = None  # parts of variables that are referred to, by address; None if nothing is

    def own(self, values: Any) -> tuple[Any, bool]:
        """(values, or a copy that shares memory with nothing else; whether sharing can be seen)."""
        from .groups import owned_keys
        keys, partial = owned_keys(values)
        if keys & self._plain or not lazy():
            return values, True
        if keys & self._claimed or partial:
            values = apart(values)
            self._keep.append(values)
            keys, _ = owned_keys(values)
        self._claimed |= keys
        return values, False

    def _placement(self, place: Any) -> Any:
        """A copy: frames made of one another have it in common, which nobody sees, and not after a restore."""
        made = slice(place.start, place.stop, place.step) if type(place) is slice else place.copy()
        self._keep.append(made)
        return made

    def reduce(self, obj: Any) -> Any:
        """The reduction of a block or an Index."""
        made = obj.__reduce__()
        if is_block(obj):
            values, seen = self.own(made[1][0])
            where, linked_too = self._placement(made[1][1]), getattr(obj, "refs", None) is not None
            if seen and self.parts is not None and self._follows(obj.refs):
                return make_block, (values, where, obj.ndim, obj.refs)
            if lazy() and linked_too and len(made) == 2:
                mark = self._marks.setdefault(id(obj.refs), linked.Mark()) if seen else linked.Mark()
                return linked.reduce(obj, (made[0], values, where, obj.ndim, mark), seen, self._live, self._held)
            if seen and linked_too:
                return make_block, (values, where, obj.ndim, obj.refs)
            return (made[0], (values, where, *made[1][2:]), *made[2:])
        args = made[1]
        if len(args) == 2 and isinstance(args[1], dict) and "data" in args[1]:
            data, seen = self.own(args[1]["data"])
            parts = {**args[1], "data": data}
            if parts.get("freq") is not None:  # which have one and the same nobody sees
                parts["freq"] = parts["freq"].copy()
            if seen and self.parts is not None and self._follows(obj._references):
                return make_index, (made[0], (args[0], parts), obj._references)
            return (made[0], (args[0], parts), *made[2:])
        return made

    def _follows(self, refs: Any) -> bool:
        """Whether refs are those of a variable. Uncapturable if they are of what is not at hand."""
        found = id(refs) in self.parts
        if refs is not None and not found and refs.has_reference():
            raise Uncapturable("shares memory with a frame that the cell has not read")
        return found


def is_refs(obj: Any) -> bool:
    """Whether obj lists the blocks that share one memory."""
    return type(obj).__name__ == "BlockValuesRefs" and type(obj).__module__ == "pandas._libs.internals"
