"""matplotlib objects: what their own pickling loses or does to pyplot is kept out of a capture."""
from __future__ import annotations

import copyreg
import itertools
import sys
import types
import weakref
from typing import Any

_FOLLOWED = ("changed", "xlim_changed", "ylim_changed")  # signals by which matplotlib's objects follow one another


def _class(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, ())


def _next(counter: Any) -> int:
    """The next number of an itertools.count, which stays as it is."""
    return int(repr(counter)[len("count("):-1])


def _own(func: Any) -> bool:
    """Whether func is matplotlib's and not the program's."""
    func = getattr(func, "func", func)
    return str(getattr(func, "__module__", "")).split(".")[0] in ("matplotlib", "mpl_toolkits")


def reduce(obj: Any) -> Any:
    """The reduction of a figure, an artist or a helper of one; NotImplemented for other objects.

    ValueError if the figure cannot come back as it is.
    """
    if isinstance(obj, _class("matplotlib.artist", "Artist")):
        return _artist(obj)
    if isinstance(obj, _class("matplotlib.transforms", "TransformNode")):
        state = {**vars(obj), "_parents": [p for p in (r() for r in obj._parents.values()) if p is not None]}
        return copyreg.__newobj__, (type(obj),), state, None, None, set_node
    if type(obj) is _class("matplotlib.cbook", "CallbackRegistry"):
        return _callbacks(obj)
    if type(obj) is _class("matplotlib.figure", "_AxesStack"):
        state = {**vars(obj), "_counter": _next(obj._counter)}
        return copyreg.__newobj__, (type(obj),), state, None, None, set_counter
    return NotImplemented


def _artist(obj: Any) -> Any:
    made = obj.__reduce_ex__(5)
    if len(made) < 3 or type(made[2]) is not dict:
        return NotImplemented
    state = dict(made[2])
    call = obj.stale_callback
    if call is not None and not (_own(call) and isinstance(call, types.FunctionType)):
        raise ValueError("stale_callback is not kept by matplotlib")
    state["stale_callback"] = call
    if isinstance(obj, _class("matplotlib.figure", "Figure")):
        state.pop("_restore_to_pylab", None)  # the place of pyplot's figures opens it again
        canvas = type(obj.canvas)
        if canvas.__module__ not in ("matplotlib.backend_bases", "matplotlib.backends.backend_agg"):
            raise ValueError(f"its canvas is a {canvas.__qualname__}")
        state["canvas"] = (canvas, None if obj.canvas.manager is None else obj.canvas.manager.num)
    return made[0], made[1], state, None, None, set_artist


def set_artist(obj: Any, state: dict[str, Any]) -> None:
    """Fill an artist; a figure gets the canvas it had and stays unknown to pyplot."""
    state = dict(state)
    call, stale, canvas = state["stale_callback"], state.get("_stale"), state.pop("canvas", None)
    state["stale_callback"] = None
    own = getattr(type(obj), "__setstate__", None)
    if own is not None and own is _class("matplotlib.figure", "Figure").__setstate__:
        del state["__mpl_version__"]  # its own way resets a transform, and so what depends on it
        obj.__dict__.update(state)
        if hasattr(obj, "_set_base_canvas"):
            obj._set_base_canvas()
        else:  # before matplotlib 3.11
            _class("matplotlib.backend_bases", "FigureCanvasBase")(obj)
    elif own is not None:
        own(obj, state)
    else:
        obj.__dict__.update(state)
    if canvas is not None:
        _attach(obj, *canvas)
    obj.__dict__["stale_callback"] = call
    if stale is not None:
        obj.__dict__["_stale"] = stale


def _attach(figure: Any, canvas: type, number: int | None) -> None:
    """Give a figure its canvas, whose handlers the captured registry does not number."""
    registries = (figure._canvas_callbacks, figure._axobservers)
    counts = [_next(r._cid_gen) for r in registries]
    if number is not None:
        canvas.new_manager(figure, number)
    elif type(figure.canvas) is not canvas:
        canvas(figure)
    for registry, count in zip(registries, counts, strict=True):
        registry._cid_gen = itertools.count(max(count, _last(registry) + 1))


def _last(registry: Any) -> int:
    return max((cid for d in registry.callbacks.values() for cid in d), default=-1)


def set_node(obj: Any, state: dict[str, Any]) -> None:
    """Fill a transform; its parents are found by where they are now."""
    parents = state["_parents"]
    obj.__dict__.update(state)
    table: dict[int, Any] = {}
    for parent in parents:
        key = id(parent)
        table[key] = weakref.ref(parent, lambda _, pop=table.pop, key=key: pop(key, None))
    obj.__dict__["_parents"] = table


def _follows(signal: str, func: Any) -> bool:
    """Whether a callback is that of a bar of colours or the like, which matplotlib's own pickling drops."""
    return signal in _FOLLOWED and type(func) is types.MethodType and _own(func)


def followers(obj: Any) -> list[Any]:
    """What follows the changes of what a registry of callbacks belongs to; nothing for other objects."""
    if type(obj) is not _class("matplotlib.cbook", "CallbackRegistry"):
        return []
    calls = [proxy() for signal in _FOLLOWED for proxy in obj.callbacks.get(signal, {}).values()]
    return [f.__self__ for f in calls if type(f) is types.MethodType]


def _callbacks(obj: Any) -> Any:
    kept: dict[Any, dict[int, Any]] = {}
    for signal, table in obj.callbacks.items():
        kept[signal] = {}
        for cid, proxy in table.items():
            func = proxy()
            if cid in obj._pickled_cids or _follows(signal, func):
                kept[signal][cid] = func
            elif func is not None and (signal in _FOLLOWED or not _own(func)):
                raise ValueError(f"a callback for {signal!r} is not kept by matplotlib")
    kept = {signal: table for signal, table in kept.items() if table}
    state = {**vars(obj), "callbacks": kept, "_func_cid_map": None, "_cid_gen": _next(obj._cid_gen)}
    return copyreg.__newobj__, (type(obj),), state


def set_counter(obj: Any, state: dict[str, Any]) -> None:
    """Fill an object that counts; the count goes on where it was."""
    obj.__dict__.update(state)
    obj._counter = itertools.count(state["_counter"])
