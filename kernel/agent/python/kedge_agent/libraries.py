"""Reducers for library types whose own pickling drops an attribute, or writes what is no part of a value."""
from __future__ import annotations

import copyreg
import sys
from typing import Any

from . import arrays, live, memory
from .caches import Volatile
from .refused import Uncapturable

# (module, class) → what its own pickling drops.
_DROPPED = {
    ("sklearn.utils._bunch", "Bunch"): "__setstate__ ignores the attributes",
}
_LONG = 1 << 18  # rows; polars pickles somewhat more in several batches
# What looking at a graph leaves in it.
_VIEWS = {"adj", "nodes", "edges", "degree", "succ", "pred", "in_edges", "out_edges", "in_degree", "out_degree"}


def set_attributes(obj: Any, state: dict[str, Any]) -> None:
    """Give obj the attributes of state, past its own __setattr__ and __setstate__."""
    vars(obj).update(state)


def set_tree(tree: Any, state: tuple[Any, ...]) -> None:
    """Fill a k-d tree, whose nodes hold addresses."""
    tree.__setstate__(state)


def set_image(obj: Any, state: tuple[Any, dict[str, Any]]) -> None:
    """Fill an image of PIL."""
    obj.__setstate__(state[0])
    vars(obj).update(state[1])


def _image(obj: Any) -> Any:
    """An image with what saving it has left in it: showing an image in a notebook saves it. With its EXIF, too."""
    if obj.palette is not None and obj.palette.mode != "RGB":
        raise Uncapturable("has a palette with more than colours")
    names = ("_default_encoderinfo", "encoderinfo", "encoderconfig", "_exif")
    left = {k: v for k, v in vars(obj).items() if k in names and v is not None}
    if not left:
        return NotImplemented
    made = obj.__reduce_ex__(5)
    return *made[:2], (made[2], left), None, None, set_image


def make_series(chunks: list[Any], ascending: bool, descending: bool) -> Any:
    """A Series of polars in these chunks, with what it knows of its order."""
    made = sys.modules["polars"].concat(chunks, rechunk=False)
    return made.set_sorted(descending=descending) if ascending or descending else made


def make_frame(columns: list[Any]) -> Any:
    """A frame of polars with these columns."""
    return sys.modules["polars"].DataFrame(columns)


def make_whole(cls: type, state: bytes) -> Any:
    """A Series of polars in one chunk, of which its own way of pickling makes several."""
    made = cls.__new__(cls)
    made.__setstate__(state)
    return made.rechunk()  # that of a frame would wait for threads, which a copy of the process does not have


def _polars(obj: Any, title: str) -> Any:
    """A Series or frame in several chunks, which its own way of pickling makes one of, or long ones in one."""
    if title == "Series" and obj.n_chunks() > 1:
        return make_series, (obj.get_chunks(), obj.flags["SORTED_ASC"], obj.flags["SORTED_DESC"])
    if title == "DataFrame" and obj.width and (len(obj) >= _LONG or max(obj.n_chunks("all")) > 1):
        return make_frame, (obj.get_columns(),)
    if title == "Series" and len(obj) >= _LONG:
        return make_whole, (type(obj), obj.__getstate__())
    return NotImplemented


def cached(obj: Any) -> set[str]:
    """The attributes that looking at obj has left in it, and that looking again makes again."""
    kind, graph = type(obj), getattr(sys.modules.get("networkx"), "Graph", None)
    if graph is not None and kind.__reduce_ex__ is object.__reduce_ex__ and issubclass(kind, graph):
        return _VIEWS
    return set()


def hidden(obj: Any) -> list[Any]:
    """The arrays that an object of Cython holds unseen, as memory views, and pickles."""
    kind = type(obj)
    if live.module(kind) in ("sklearn.neighbors._ball_tree", "sklearn.neighbors._kd_tree"):
        return [x for x in obj.__getstate__() if issubclass(type(x), sys.modules["numpy"].ndarray)]
    return []


def _watched(part: Any) -> bool:
    """Whether a part of a plotly figure has callbacks, which its own way of pickling drops."""
    lists = [x or () for x in part._compound_array_props.values()]
    inner = [p for p in (*part._compound_props.values(), *(p for x in lists for p in x)) if p is not None]
    return any(v for k, v in vars(part).items() if k.endswith("_callbacks")) or any(map(_watched, inner))


def _part(obj: Any, figure: type) -> Any:
    """A trace or the layout of a plotly figure, of which its own way of pickling makes one by itself."""
    whole = obj._parent
    if issubclass(type(whole), figure):
        if obj is whole._layout_obj:
            return make_part, (whole, None)
        for i, trace in enumerate(whole._data_objs):
            if obj is trace:
                return make_part, (whole, i)
    raise Uncapturable("is a part of a figure")


def make_part(whole: Any, at: int | None) -> Any:
    """The layout of a plotly figure, or one of its traces."""
    return whole._layout_obj if at is None else whole._data_objs[at]


def make_figure(cls: type, props: dict[str, Any]) -> Any:
    """A plotly figure whose properties stand in the order of props."""
    made = cls(props)
    _order(made._layout, props.get("layout", {}))
    for trace, like in zip(made._data, props.get("data", []), strict=False):
        _order(trace, like)
    return made


def _order(held: Any, like: Any) -> None:
    if type(held) is dict and type(like) is dict:
        for key in like:
            if key in held:
                held[key] = held.pop(key)
                _order(held[key], like[key])
    elif type(held) in (list, tuple) and type(like) in (list, tuple):
        for one, other in zip(held, like, strict=False):
            _order(one, other)


def reduce(obj: Any) -> Any:
    """A reduction that keeps what the type's own drops; NotImplemented for other types."""
    kind = type(obj)
    module, title = live.module(kind), live.name(kind)
    if title in ("DateTime64DType", "TimeDelta64DType") and module == "numpy.dtypes" and obj.metadata is None:
        return kind.mro()[1], (obj.str,)  # numpy's own way makes metadata of {}
    if any(live.module(c) == "scipy.stats._unuran.unuran_wrapper" for c in type.mro(kind)):
        raise Uncapturable("its stream is not kept by scipy")
    if memory.is_record(kind):
        return arrays.reduce_record(obj)
    if (module, title) == ("PIL.Image", "Image"):
        return _image(obj)
    if (module, title) in (("polars.series.series", "Series"), ("polars.dataframe.frame", "DataFrame")):
        return _polars(obj, title)
    if (module, title) in _DROPPED:
        return copyreg.__newobj__, (kind,), dict(vars(obj)), None, iter(obj.items()), set_attributes
    if title in ("cKDTree", "KDTree") and module in ("scipy.spatial._ckdtree", "scipy.spatial._kdtree"):
        made = obj.__reduce_ex__(5)
        state = (Volatile(made[2][0]), obj.data, *made[2][2:])  # its own way copies the data
        return *made[:2], state, None, None, set_tree
    figure = getattr(sys.modules.get("plotly.basedatatypes"), "BaseFigure", None)
    part = getattr(sys.modules.get("plotly.basedatatypes"), "BasePlotlyType", None)
    if part is not None and issubclass(kind, part) and obj._parent is not None:
        return _part(obj, figure)
    if figure is not None and issubclass(kind, figure):
        if any(map(_watched, (*obj._data_objs, obj._layout_obj))):
            raise Uncapturable("has callbacks")
        return make_figure, (kind, *obj.__reduce__()[1])
    if module.startswith("patsy.") and "__getstate__" in vars(kind):  # it refuses, for no reason of ours
        return copyreg.__newobj__, (kind,), dict(vars(obj)), None, None, set_attributes
    views = cached(obj)
    if views:
        state = {k: v for k, v in vars(obj).items() if k not in views}
        return copyreg.__newobj__, (kind,), state, None, None, set_attributes
    return NotImplemented
