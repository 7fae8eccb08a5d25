"""Functions, cells and classes of the notebook by value, bound to the live namespace."""
from __future__ import annotations

import hashlib
import sys
import types
from typing import Any

_CODE = [a for a in (
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_nlocals", "co_stacksize",
    "co_flags", "co_firstlineno", "co_code", "co_consts", "co_names", "co_varnames",
    "co_freevars", "co_cellvars", "co_name", "co_qualname", "co_linetable",
    "co_exceptiontable") if hasattr((lambda: 0).__code__, a)]
_CLASS_SKIP = {"__dict__", "__weakref__", "__module__", "__qualname__", "__firstlineno__",
               "__abstractmethods__", "_abc_impl", "__slotnames__"}


class Live:
    """What references in a stream stand for in this process."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self.ns = ns
        self.classes: dict[str, type] = {}


_live: list[Live] = []  # the innermost is in force while unpickling


def push(live: Live) -> None:
    """Put live in force for unpickling."""
    _live.append(live)


def pop() -> None:
    """Undo the last push."""
    _live.pop()


def make_code(values: tuple[Any, ...]) -> types.CodeType:
    """Inverse of reduce_code."""
    return (lambda: 0).__code__.replace(co_filename="<cell>", **dict(zip(_CODE, values, strict=True)))


def reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """Code without file name, lines counted from its own first."""
    values = []
    for attribute in _CODE:
        value = getattr(code, attribute)
        values.append(1 if attribute == "co_firstlineno" else value)
    return make_code, (tuple(values),)


def make_function(code: types.CodeType, module: str | None, name: str, closure: Any) -> Any:
    """A function whose globals are the live namespace, or those of module."""
    ns = _live[-1].ns if module is None else sys.modules[module].__dict__
    return types.FunctionType(code, ns, name, None, closure)


def set_function(func: Any, state: tuple[Any, ...]) -> None:
    """Fill a function made by make_function."""
    (func.__defaults__, func.__kwdefaults__, func.__annotations__, func.__doc__,
     func.__qualname__, func.__module__, attributes) = state
    func.__dict__.update(attributes)


def reduce_function(func: Any, ns: dict[str, Any]) -> Any:
    """By value for functions of the namespace; NotImplemented for those of modules."""
    if func.__globals__ is not ns:
        return NotImplemented
    state = (func.__defaults__, func.__kwdefaults__, func.__annotations__, func.__doc__,
             func.__qualname__, func.__module__, dict(func.__dict__))
    return (make_function, (func.__code__, None, func.__name__, func.__closure__),
            state, None, None, set_function)


def make_cell() -> types.CellType:
    """An empty closure cell."""
    return types.CellType()


def set_cell(cell: types.CellType, state: tuple[Any, ...]) -> None:
    """Fill a cell; () leaves it empty."""
    if state:
        cell.cell_contents = state[0]


def reduce_cell(cell: types.CellType) -> tuple[Any, ...]:
    """Keeps cells shared by closures shared."""
    try:
        state: tuple[Any, ...] = (cell.cell_contents,)
    except ValueError:
        state = ()
    return make_cell, (), state, None, None, set_cell


def token(cls: type) -> str:
    """A class's name with a digest of its methods' code."""
    h = hashlib.sha256(cls.__qualname__.encode())
    for key in sorted(set(vars(cls)) - _CLASS_SKIP):
        h.update(key.encode())
        code = getattr(vars(cls)[key], "__code__", None)
        if code is not None:
            h.update(code.co_code)
            h.update(repr([c for c in code.co_consts
                           if not isinstance(c, types.CodeType)]).encode())
    return f"{cls.__qualname__}:{h.hexdigest()[:16]}"


def make_class(tok: str, meta: type, name: str, bases: tuple[type, ...], slots: Any) -> type:
    """The live class of this token, or a new one without attributes."""
    live = _live[-1]
    if tok not in live.classes:
        body: dict[str, Any] = {"__module__": "__main__"}
        if slots is not None:
            body["__slots__"] = slots
        live.classes[tok] = type.__new__(meta, name, bases, body)
    return live.classes[tok]


def set_class(cls: type, state: tuple[str, dict[str, Any]]) -> None:
    """Fill or update a class made by make_class."""
    cls.__qualname__ = state[0]
    for key, value in state[1].items():
        type.__setattr__(cls, key, value)
    if "__abstract__" in state[1]:
        return
    if hasattr(cls, "_abc_impl") is False and type(cls).__name__ == "ABCMeta":
        import _abc
        _abc._abc_init(cls)


def make_enum(name: str, bases: tuple[type, ...], members: list[tuple[str, Any]], tok: str) -> Any:
    """An enumeration by its members' names and values."""
    live = _live[-1]
    if tok not in live.classes:
        live.classes[tok] = bases[-1](name, members, module="__main__")
    return live.classes[tok]


def reduce_class(cls: type, live: Live) -> Any:
    """By value for classes of the notebook; NotImplemented for those of modules."""
    import enum
    if cls.__module__ != "__main__":
        return NotImplemented
    tok = token(cls)
    if isinstance(cls, enum.EnumMeta):
        members = [(n, m.value) for n, m in cls.__members__.items()]
        return make_enum, (cls.__name__, cls.__bases__, members, tok)
    if live.ns.get(cls.__name__) is cls or tok not in live.classes:
        live.classes[tok] = cls
    elif live.classes[tok] is not cls:
        tok += "#old"
        live.classes[tok] = cls
    slots = vars(cls).get("__slots__")
    names = {slots} if isinstance(slots, str) else set(slots or ())
    state = {k: v for k, v in vars(cls).items()
             if k not in _CLASS_SKIP and k not in names and k != "__slots__"}
    return (make_class, (tok, type(cls), cls.__name__, cls.__bases__, slots),
            (cls.__qualname__, state), None, None, set_class)
