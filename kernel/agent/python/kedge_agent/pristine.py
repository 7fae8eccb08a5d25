"""Whether what a library's module or class holds is as its source has made it, where nobody saw it being made.

Wrong answers may only be "no": then it counts as set by the notebook.
"""
from __future__ import annotations

import collections
import dis
import enum
import functools
import importlib.machinery
import sys
import types
from typing import Any

from . import live

_GETTER = type(collections.namedtuple("_", "a").a)  # type: ignore[attr-defined]
_COMPILED = {"instancemethod", "builtin_function_or_method", "cython_function_or_method"}  # functions of such modules
_BUILT = (types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType,
          types.MemberDescriptorType, types.ClassMethodDescriptorType)
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def pristine(owner: Any, name: str, value: Any) -> bool:
    """Whether value, which owner holds under name, plainly is what the source of owner's package put there."""
    if not issubclass(type(owner), (types.ModuleType, type)):
        return False
    home, path = _home(owner)
    kind = type(value)
    if kind is types.ModuleType:
        return _found(value, home, path, name)
    if kind in (staticmethod, classmethod):
        value, kind = value.__func__, type(value.__func__)
    if kind is property:
        parts = [f for f in (value.fget, value.fset, value.fdel) if f is not None]
        return bool(parts) and all(_part(f, home, path) for f in parts)
    if kind is types.FunctionType or kind.__name__ == "cython_function_or_method":
        return _defined(value, home, path + name)
    if kind is _GETTER:
        fields = vars(owner).get("_fields", ())
        return name in fields and value.__reduce__()[1][0] == fields.index(name)
    if issubclass(kind, type):
        return _within(value.__module__, home) and value.__qualname__ == path + name
    if kind in _BUILT:
        return value.__objclass__ is owner and value.__name__ == name
    if kind is types.BuiltinFunctionType:
        return value.__name__ == name and (value.__self__ is owner or _within(str(value.__module__), home))
    if kind in _PLAIN:
        return _constants(_source(owner, home), path).get(name, ()) == (kind, value)
    if isinstance(value, enum.Enum):
        return kind is owner and value._name_ == name
    if getattr(kind, "__module__", "").startswith("traitlets."):
        return getattr(value, "this_class", None) is owner and getattr(value, "name", None) == name
    # A descriptor such as those of pandas, or a function of numpy's, of a type that a compiled module brings.
    title = getattr(value, "__qualname__", path + name if hasattr(kind, "__get__") else "")
    return title == path + name and _within(str(kind.__module__), home) and _from_compiled(kind)


def _home(owner: Any) -> tuple[str, str]:
    """(name of the module in which owner is defined, what its attributes are called there before their name)."""
    if issubclass(type(owner), types.ModuleType):
        return str(vars(owner).get("__name__")), ""
    return str(owner.__module__), owner.__qualname__ + "."


def _within(module: str, home: str) -> bool:
    """Whether a module is of the same package as home."""
    return module.partition(".")[0] == home.partition(".")[0]


def _found(value: types.ModuleType, home: str, path: str, name: str) -> bool:
    """Whether a module is the submodule of that name."""
    title = f"{home}.{name}"
    return not path and vars(value).get("__name__") == title and sys.modules.get(title) is value


def _defined(value: Any, home: str, path: str) -> bool:
    """Whether value is the function that a file of the same package defines as path, or that decorated by it."""
    if type(value).__name__ == "cython_function_or_method":
        module = str(value.__module__)
        return value.__qualname__ == path and _within(module, home) and _compiled(module)
    if type(value) is not types.FunctionType:
        return False
    inner = vars(value).get("__wrapped__")
    if inner is not None and _of_package(value, home):
        return _defined(inner, home, path)
    code, module = value.__code__, sys.modules.get(value.__module__)
    return (module is not None and value.__globals__ is vars(module) and _within(value.__module__, home)
            and value.__qualname__ == path and getattr(code, "co_qualname", path) == path
            and code.co_name == path.rpartition(".")[2] and code.co_filename == getattr(module, "__file__", None))


def _part(value: Any, home: str, path: str) -> bool:
    """Whether value is a function of the class that is known as path, as a property has them."""
    if type(value).__name__ in _COMPILED:
        return _compiled(home)
    return type(value) is types.FunctionType and _defined(value, home, path + value.__qualname__.rpartition(".")[2])


def _of_package(value: types.FunctionType, home: str) -> bool:
    """Whether the code of a function is that of a file of the same package, or of functools."""
    title = str(value.__globals__.get("__name__"))
    module = sys.modules.get(title)
    return (module is not None and value.__globals__ is vars(module) and (_within(title, home) or title == "functools")
            and value.__code__.co_filename == getattr(module, "__file__", None))


def _from_compiled(kind: type) -> bool:
    """Whether a type was made by a compiled module, whatever module it names."""
    return _compiled(kind.__module__) or not live.heap(kind)


def _compiled(name: str) -> bool:
    """Whether a module was made by a compiler."""
    loader = getattr(getattr(sys.modules.get(name), "__spec__", None), "loader", None)
    return isinstance(loader, importlib.machinery.ExtensionFileLoader)


@functools.cache
def _source(owner: Any, home: str) -> types.ModuleType | None:
    """The module whose source made owner: not always the one that a class names."""
    if issubclass(type(owner), type):
        for value in vars(owner).values():
            if type(value) is types.FunctionType and _defined(value, home, value.__qualname__):
                if value.__qualname__.rpartition(".")[0] == owner.__qualname__:
                    return sys.modules[value.__module__]
        for title, module in list(sys.modules.items()):
            if _within(title, home) and type(module) is types.ModuleType and vars(module).get(owner.__name__) is owner:
                if _constants(module, owner.__qualname__ + "."):
                    return module
    return sys.modules.get(home)


def _constants(module: types.ModuleType | None, path: str) -> dict[str, tuple[Any, ...]]:
    """(type, value) of the names that the body of a module, or of a class in it, sets once, and to a constant."""
    code = _code(module.__name__, str(getattr(module, "__file__", ""))) if module is not None else None
    for part in filter(None, path.split(".")):
        found = [c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == part] if code else []
        code = found[0] if len(found) == 1 else None
    return _set_once(code) if code else {}


@functools.cache
def _code(name: str, file: str) -> types.CodeType | None:
    """The code of a module, as its file or what is kept of it now says."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    try:
        if spec is None or spec.origin != file:
            return None
        return spec.loader.get_code(name)  # type: ignore[no-any-return]
    except Exception:
        return None


@functools.cache
def _set_once(code: types.CodeType) -> dict[str, tuple[Any, ...]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    before: Any = None
    for step in dis.get_instructions(code):
        if step.opname in ("STORE_NAME", "DELETE_NAME", "STORE_GLOBAL"):
            constant = (step.opname == "STORE_NAME" and before is not None and before.opname == "LOAD_CONST"
                        and not step.is_jump_target)
            found.setdefault(step.argval, []).append((type(before.argval), before.argval) if constant else ())
        if step.opname not in ("CACHE", "EXTENDED_ARG"):
            before = step
    return {n: sets[0] for n, sets in found.items() if len(sets) == 1}
