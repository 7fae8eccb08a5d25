"""Reducers for types of Python and its standard library that pickle cannot write or writes with a loss."""
from __future__ import annotations

import builtins
import contextlib
import copyreg
import functools
import gc
import importlib
import io
import re
import sys
import types
import typing
import weakref
from typing import Any

from . import caches, closedfiles, live
from .refused import Uncapturable

VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}
_VARIABLES = tuple(getattr(typing, n) for n in ("TypeVar", "ParamSpec", "TypeVarTuple") if hasattr(typing, n))


def reduce(obj: Any, kind: type) -> Any:
    """The reduction of an object of such a type; NotImplemented for others. Uncapturable if it has none."""
    if kind is types.ModuleType:
        return _module(obj)
    if kind in (staticmethod, classmethod):
        made = vars(kind(obj.__func__))  # it takes over those of the function
        own = {k: v for k, v in vars(obj).items() if k not in made or made[k] is not v}
        return (kind, (obj.__func__,), own, None, None, set_attributes) if own else (kind, (obj.__func__,))
    if kind is property:
        return property, (obj.fget, obj.fset, obj.fdel, obj.__doc__)
    if kind is re.Pattern:  # with the flags that it was given, by which re finds it again
        return re.compile, (obj.pattern, obj.flags & ~re.UNICODE if type(obj.pattern) is str else obj.flags)
    if kind is types.MappingProxyType:
        return make_proxy, (gc.get_referents(obj)[0],)
    if kind is functools.cached_property:
        state = {k: v for k, v in vars(obj).items() if k != "lock"}
        return make_cached_property, (obj.func,), state, None, None, set_attributes
    if kind is functools._lru_cache_wrapper:
        return caches.reduce_lru(obj)
    if kind is weakref.ref:
        return _reference(obj)
    if kind is memoryview:
        return _view(obj)
    if kind is typing.NewType:
        return typing.NewType, (obj.__name__, obj.__supertype__), dict(vars(obj)), None, None, set_attributes
    if kind in VIEWS:
        return make_dict_view, (VIEWS[kind], viewed(obj))
    if kind in _VARIABLES and obj.__module__ == "__main__":
        return _variable(obj, kind)
    if issubclass(kind, BaseException):
        return _error(obj, kind)
    if issubclass(kind, io.IOBase):
        return closedfiles.reduce(obj)
    return NotImplemented


def _module(module: types.ModuleType) -> tuple[Any, ...]:
    title = module.__name__
    if sys.modules.get(title) is not module or title == "__main__":
        raise Uncapturable("is a module that cannot be imported")
    return importlib.import_module, (title,)


def make_proxy(held: Any) -> Any:
    """A read-only view of a mapping."""
    return types.MappingProxyType(held)


def make_cached_property(func: Any) -> Any:
    """A cached_property that does not know its name yet."""
    return functools.cached_property(func)


def set_attributes(obj: Any, state: dict[str, Any]) -> None:
    """Give obj the attributes of state, past its own ways of setting them."""
    vars(obj).update(state)


def viewed(view: Any) -> Any:
    """The dict that a view of keys, values or items shows."""
    return gc.get_referents(view)[0]


def make_dict_view(way: str, held: dict[Any, Any]) -> Any:
    """A view of keys, values or items of held."""
    return getattr(dict, way)(held)


def _reference(ref: Any) -> tuple[Any, ...]:
    if ref.__callback__ is not None:
        raise Uncapturable("is a weak reference with a callback")
    return make_reference, (ref(),)


def make_reference(target: Any) -> Any:
    """A weak reference to target, which something else has to hold; a dead one to None."""
    return weakref.ref(type("Gone", (), {})() if target is None else target)


def make_view(base: Any, code: str, readonly: bool) -> memoryview:
    """A view of all of base."""
    made = memoryview(base).cast("B").cast(code)
    return made.toreadonly() if readonly else made


def _view(obj: memoryview) -> tuple[Any, ...]:
    if not obj.c_contiguous or obj.ndim != 1 or obj.nbytes != memoryview(obj.obj).nbytes:
        raise Uncapturable("is a memoryview of a part of its object")
    return make_view, (obj.obj, obj.format, obj.readonly)


def _variable(obj: Any, kind: type) -> tuple[Any, ...]:
    options = {}
    for key in ("bound", "covariant", "contravariant", "default", "infer_variance"):
        value = getattr(obj, f"__{key}__", None)
        if value is not None and value is not False and value is not getattr(typing, "NoDefault", None):
            options[key] = value
    return make_variable, (kind, obj.__name__, getattr(obj, "__constraints__", ()), options)


def make_variable(kind: Any, title: str, constraints: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A type variable of the notebook."""
    made = kind(title, *constraints, **options)
    made.__module__ = "__main__"
    return made


def set_error(err: BaseException, state: tuple[Any, ...]) -> None:
    """Fill an exception."""
    attributes, cause, context, suppressed, fields = state
    for key, value in fields.items():
        setattr(err, key, value)
    vars(err).update(attributes)
    err.__cause__, err.__context__, err.__suppress_context__ = cause, context, suppressed


def _fields(err: Any, kind: type) -> dict[str, Any]:
    """What an exception of C has besides its arguments: the name in a NameError, the lines in a SyntaxError."""
    bare = (object, BaseException, getattr(builtins, "BaseExceptionGroup", object))  # the last has its arguments
    found = {}
    for cls in type.mro(kind):
        for key, field in vars(cls).items() if not live.heap(cls) and cls not in bare else ():
            if type(field) in (types.MemberDescriptorType, types.GetSetDescriptorType):
                with contextlib.suppress(AttributeError):
                    found[key] = field.__get__(err)
    return {key: value for key, value in found.items() if value is not None}


def _error(err: Any, kind: type) -> Any:
    get = BaseException.__dict__
    if get["__traceback__"].__get__(err) is not None:
        raise Uncapturable("holds a traceback")
    made = err.__reduce__()
    if not live.local(kind) and (made[0] is not kind or issubclass(kind, OSError)):
        return NotImplemented
    state = (dict(vars(err)), err.__cause__, err.__context__, err.__suppress_context__, _fields(err, kind))
    return copyreg.__newobj__, (kind, *err.args), state, None, None, set_error
