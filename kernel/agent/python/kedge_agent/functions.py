"""Functions, cells, methods and code of the notebook by value, bound to the live namespace."""
from __future__ import annotations

import builtins
import sys
import types
from typing import Any

from . import atoms, caches, texts
from .live import Live, current
from .refused import Uncapturable

_CODE = [a for a in (
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_nlocals", "co_stacksize",
    "co_flags", "co_firstlineno", "co_code", "co_consts", "co_names", "co_varnames",
    "co_freevars", "co_cellvars", "co_name", "co_qualname", "co_linetable",
    "co_exceptiontable") if hasattr((lambda: 0).__code__, a)]


def make_code(values: tuple[Any, ...], where: texts.Place = ("file", "<cell>", 1)) -> types.CodeType:
    """Inverse of reduce_code."""
    fields = dict(zip(_CODE, values, strict=True))
    file, line, table = texts.find(where, fields["co_name"], fields["co_linetable"])
    fields.update(co_firstlineno=line, co_linetable=table)
    return (lambda: 0).__code__.replace(co_filename=file, **fields)


def reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """Code by what it does, and where it stands, which says nothing about what it is."""
    return make_code, (tuple(getattr(code, a) for a in _CODE), texts.place(code))


class Globals:
    """Stands for the globals of a function that was compiled apart: those of no module and not the namespace."""

    def __init__(self, space: dict[str, Any]) -> None:
        self.space = space

    def reduce(self) -> tuple[Any, ...]:
        """A reduction that gives the dict itself."""
        held = {k: v for k, v in self.space.items() if k != "__builtins__"}
        return make_globals, (self.space.get("__builtins__") != {},), held, None, None, set_globals


def make_globals(full: bool) -> dict[str, Any]:
    """Globals with all the built-in names or none."""
    return {"__builtins__": vars(builtins) if full else {}}


def set_globals(space: dict[str, Any], held: dict[str, Any]) -> None:
    """Fill what make_globals made."""
    space.update(held)


def make_function(code: types.CodeType, module: Any, name: str, closure: Any) -> Any:
    """A function whose globals are the live namespace, those of a module by name, or a dict."""
    ns = current().ns if module is None else module if isinstance(module, dict) else sys.modules[module].__dict__
    return types.FunctionType(code, ns, name, None, closure)


def set_function(func: Any, state: tuple[Any, ...]) -> None:
    """Fill a function made by make_function."""
    (func.__defaults__, func.__kwdefaults__, func.__annotations__, func.__doc__,
     func.__qualname__, func.__module__, attributes) = state
    func.__dict__.update(attributes)


def by_name(func: Any) -> bool:
    """Whether looking func up in its module gives func itself."""
    title = func.__module__
    module = sys.modules.get(title) if type(title) is str and title != "__main__" else None
    if not issubclass(type(module), types.ModuleType):
        return False
    found: Any = vars(module)
    for part in func.__qualname__.split("."):
        space = found if isinstance(found, dict) else vars(found) if isinstance(found, type) else {}
        found = space.get(part)
        found = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    return found is func


def _interned(values: Any) -> Any:
    """Defaults, whose strings are mostly compared with ``is``."""
    if type(values) is not tuple:
        return values
    return tuple(atoms.Interned(v) if type(v) is str and atoms.is_interned(v) else v for v in values)


def reduce_function(func: Any, live: Live, spaces: dict[int, Globals]) -> Any:
    """By value for functions that no module has; NotImplemented for those that are found by name."""
    space = func.__globals__
    if caches.is_dispatcher(func):
        return caches.reduce_dispatcher(func)
    if "_torchdynamo_orig_callable" in vars(func):
        raise Uncapturable("is compiled by torch")
    where: Any = None
    if space is not live.ns:
        if by_name(func):
            return NotImplemented
        module = sys.modules.get(space.get("__name__", "") or "")
        where = (module.__name__ if getattr(module, "__dict__", None) is space and module is not None
                 else spaces.setdefault(id(space), Globals(space)))
    state = (_interned(func.__defaults__), func.__kwdefaults__, func.__annotations__, func.__doc__,
             func.__qualname__, func.__module__, dict(func.__dict__))
    return (make_function, (func.__code__, where, func.__name__, func.__closure__),
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


def method_owner(method: types.MethodType) -> tuple[type, str] | None:
    """(class, name) under which the function of a bound method lies; None if it lies in no class of its object."""
    func, bound = method.__func__, method.__self__
    name = getattr(func, "__name__", None)
    cls = bound if issubclass(type(bound), type) else type(bound)
    for owner in type.mro(cls) if cls is not type else ():
        found = vars(owner).get(name)
        if found is func or isinstance(found, classmethod) and found.__func__ is func:
            return owner, str(name)
    return None


def make_method(owner: type, name: str, bound: Any) -> types.MethodType:
    """The method of that name in owner, bound."""
    found = vars(owner)[name]
    return types.MethodType(found.__func__ if isinstance(found, classmethod) else found, bound)


def bind(func: Any, bound: Any) -> types.MethodType:
    """A method of a function that lies in no class of its object."""
    return types.MethodType(func, bound)


def reduce_method(method: types.MethodType) -> tuple[Any, ...]:
    """A bound method by where its function lies, so that it is the same function after a restore."""
    found = method_owner(method)
    if found is None:
        return bind, (method.__func__, method.__self__)
    return make_method, (*found, method.__self__)
