"""Everything that a program could see of a kernel, as text that is equal for kernels that cannot be told apart.

Values by content, types and memory layout; sharing by the path at which an object was first met. What is left out:
whether two equal immutable atoms (numbers, strings, tuples of them) are one object, and what has no value but an address.
"""
from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import types
from typing import Any

ATOMS = (type(None), bool, int, str, bytes, range, type(Ellipsis), type(NotImplemented))
HISTORY = {"In", "Out", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh", "get_ipython", "exit", "quit", "open"}
CLASS = {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__", "__slotnames__", "__abstractmethods__",
         "_abc_impl"}
MOST = 400  # characters of a description that are shown; longer ones end in a digest


class Walk:
    """One pass over the namespace."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self.ns = ns
        self.met: dict[int, str] = {}
        self.memory: list[tuple[int, int, str, bool]] = []  # start, end, path, whether pandas copies it on write
        self.keep: list[Any] = []

    def text(self, obj: Any, path: str) -> str:
        """The description of obj, which is at path."""
        if isinstance(obj, float) and type(obj) is float:
            return obj.hex() + ("-" if str(obj).startswith("-") and obj != obj else "")
        if type(obj) is complex:
            return f"complex {obj.real.hex()} {obj.imag.hex()}"
        if type(obj) in ATOMS:
            return f"{type(obj).__name__} {obj!r}"
        if isinstance(obj, types.ModuleType):
            return "module " + obj.__name__
        if type(obj) is tuple and all(type(x) in ATOMS or type(x) is float for x in obj):
            return "(" + ", ".join(self.text(x, path) for x in obj) + ")"
        if id(obj) in self.met:
            return "=" + self.met[id(obj)]
        if isinstance(obj, types.BuiltinFunctionType) and (obj.__self__ is None or isinstance(obj.__self__, types.ModuleType)):
            return f"builtin {obj.__module__}.{obj.__qualname__}"
        if isinstance(obj, type) and obj.__module__ != "__main__":
            return f"type {obj.__module__}.{obj.__qualname__}"
        if isinstance(obj, types.FunctionType) and obj.__module__ != "__main__" and obj.__globals__ is not self.ns:
            return f"function {obj.__module__}.{obj.__qualname__}"
        if obj is self.ns:
            return "globals"
        self.met[id(obj)] = path
        self.keep.append(obj)
        return self.inside(obj, path)

    def each(self, items: Any, path: str) -> str:
        return ", ".join(self.text(x, f"{path}[{i}]") for i, x in enumerate(items))

    def pairs(self, table: Any, path: str) -> str:
        return ", ".join(f"{self.text(k, f'{path}.key{i}')}: {self.text(v, f'{path}[{k if type(k) in ATOMS else i}]')}"
                         for i, (k, v) in enumerate(list(table.items())))

    def inside(self, obj: Any, path: str) -> str:
        kind = type(obj)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if kind in (set, frozenset) and any(type(x).__hash__ is object.__hash__ for x in obj):  # in the order of addresses
            return f"{kind.__name__}[{', '.join(sorted(self.text(x, path + '[]') for x in obj))}]"
        if kind in (list, tuple, set, frozenset):
            return f"{kind.__name__}[{self.each(obj, path)}]"
        if kind is dict:
            return f"dict{{{self.pairs(obj, path)}}}"
        if kind is bytearray:
            return f"bytearray {bytes(obj)!r}"
        if isinstance(obj, types.FunctionType):
            return self.function(obj, path)
        if isinstance(obj, types.MethodType):
            return f"method {obj.__func__.__qualname__} of {self.text(obj.__self__, path + '.self')} " + self.text(obj.__func__, path + ".func")
        if isinstance(obj, types.CellType):
            try:
                return "cell " + self.text(obj.cell_contents, path + ".cell")
            except ValueError:
                return "cell empty"
        if isinstance(obj, type):
            members = {k: v for k, v in vars(obj).items() if k not in CLASS}
            return f"class {obj.__qualname__} {self.each(obj.__bases__, path + '.bases')} {{{self.pairs(members, path)}}}"
        if isinstance(obj, threading.Thread):
            return f"{name} {obj.is_alive()} (opaque)"
        if isinstance(obj, (staticmethod, classmethod)):
            return f"{kind.__name__} {self.text(obj.__func__, path + '.func')}"
        if isinstance(obj, property):
            return f"property {self.each((obj.fget, obj.fset, obj.fdel), path)}"
        np, pd = sys.modules.get("numpy"), sys.modules.get("pandas")
        if np is not None and isinstance(obj, np.ndarray):
            return self.array(obj, path, name)
        if np is not None and isinstance(obj, np.generic):
            return f"{name} {obj.dtype.str} {obj.tobytes().hex()}"
        if np is not None and isinstance(obj, np.random.Generator):
            return f"{name} {self.text(obj.bit_generator.state, path + '.state')}"
        if pd is not None and isinstance(obj, (pd.DataFrame, pd.Series)):
            return self.frame(obj, path, name)
        if pd is not None and isinstance(obj, pd.Index):
            return f"{name} {obj.names!r} {obj.dtype} " + self.each(obj.tolist()[:1000], path)
        return name + " " + self.reduced(obj, path, name)

    def function(self, obj: Any, path: str) -> str:
        code = obj.__code__
        where = "live" if obj.__globals__ is self.ns else obj.__module__
        held = {k: v for k, v in vars(obj).items() if k != "_clear_cache"}  # of singledispatch: leads to what was looked up
        return (f"function {obj.__name__} {obj.__qualname__} {where} {self.code(code)} {obj.__doc__!r} defaults "
                f"{self.text(obj.__defaults__, path + '.defaults')} {self.text(obj.__kwdefaults__, path + '.kwdefaults')} closure "
                f"{self.each(obj.__closure__ or (), path + '.closure')} dict {self.pairs(held, path)} "
                f"{self.pairs(obj.__annotations__, path + '.annotations')}")

    def code(self, code: types.CodeType) -> str:
        consts = [self.code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
        parts = repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags, consts))
        return hashlib.sha256(parts.encode()).hexdigest()[:12]

    def array(self, arr: Any, path: str, name: str, lazy: bool = False) -> str:
        """An array; lazy is one that pandas copies on write, so that sharing with another such one cannot be seen."""
        address = arr.__array_interface__["data"][0]
        place = path
        low, high = sys.modules["numpy"].lib.array_utils.byte_bounds(arr)
        for start, end, first, other in self.memory:
            if low < end and start < high and not (lazy and other):
                place = f"{first}{address - start:+d}"
                break
        else:
            self.memory.append((low, high, path, lazy))
        if arr.dtype.hasobject:
            data = self.each(arr.ravel().tolist()[:1000], path)
        else:
            data = hashlib.sha256(arr.tobytes()).hexdigest()[:12] if arr.size > 20 else repr(arr.tolist()) + arr.tobytes().hex()
        flags = f"{arr.flags.writeable} {arr.flags.c_contiguous} {arr.flags.f_contiguous}"
        more = self.text(vars(arr), path + ".dict") if getattr(arr, "__dict__", None) else ""
        return f"{name} {arr.dtype!r} {arr.shape} {arr.strides} {flags} at {place}: {data} {more}"

    def frame(self, obj: Any, path: str, name: str) -> str:
        manager, lazy = obj._mgr, int(sys.modules["pandas"].__version__.split(".")[0]) >= 3
        blocks = []
        for i, block in enumerate(manager.blocks):
            values = block.values
            shown = self.array(values, f"{path}.block{i}", "array", lazy) if hasattr(values, "__array_interface__") else \
                f"{type(values).__qualname__} {self.each(list(obj.iloc[:, block.mgr_locs.as_array[0]] if obj.ndim > 1 else obj)[:1000], path)}"
            shared = block.refs.has_reference() if not lazy and sys.modules["pandas"].options.mode.copy_on_write else ""
            blocks.append(f"{list(block.mgr_locs)} {shared} {shown}")
        axes = " ".join(self.text(a, f"{path}.axis{i}") for i, a in enumerate(manager.axes))
        source = vars(obj).get("_is_copy")  # of pandas 2: what it warns by
        source = source() if callable(source) else source
        copied = "" if source is None else f"taken from {self.text(source, path + '.source')}"
        extra = {k: v for k, v in vars(obj).items() if k not in ("_mgr", "_attrs", "_flags", "_name", "_item_cache", "_is_copy", "_typ", "_metadata")}
        return (f"{name} {getattr(obj, 'name', '')!r} {axes} {self.text(obj.attrs, path + '.attrs')} "
                f"{obj.flags.allows_duplicate_labels} {copied} {self.pairs(extra, path)} " + "; ".join(blocks))

    def reduced(self, obj: Any, path: str, name: str) -> str:
        """What pickling would say of obj, without its own __reduce__ if it has none."""
        if type(obj).__module__ == "__main__":
            slots = {s: getattr(obj, s) for c in type(obj).__mro__ for s in getattr(c, "__slots__", ()) if hasattr(obj, s)}
            base = next((b for b in (list, tuple, dict, set, str, int, float) if isinstance(obj, b)), None)
            own = self.text(base(obj), path + ".base") if base else ""
            return f"{self.text(type(obj), path + '.class')} {own} {self.pairs(getattr(obj, '__dict__', {}), path)} {self.pairs(slots, path)}"
        try:
            made = obj.__reduce_ex__(4)
        except Exception:
            return "(opaque)"
        if isinstance(made, str):
            return made
        parts = list(made)
        for i in (3, 4):
            if len(parts) > i and parts[i] is not None:
                parts[i] = list(parts[i])
        if name == "functools.partial":
            parts[2] = (*parts[2][:3], parts[2][3] or None)
        if len(parts) == 3 and parts[2] == {}:  # a __dict__ that somebody has looked at
            parts.pop()
        self.keep.append(parts)
        return self.each(parts, path)


def folder() -> str:
    """The working folder; it may be gone."""
    try:
        return os.getcwd()
    except OSError as err:
        return type(err).__name__


def ambient(filters: str) -> dict[str, str]:
    """Process state outside the namespace; draws from the streams, so it comes last."""
    import decimal
    import locale
    import logging
    found = {
        "random": repr([random.random() for _ in range(3)]) + repr(random.gauss(0, 1)),
        "cwd": folder(),
        "environ": repr(sorted((k, v) for k, v in os.environ.items() if k not in ("OLDPWD",))),
        "sys.path": repr(sys.path),
        "warnings": filters,
        "decimal": repr(decimal.getcontext()),
        "recursion": repr(sys.getrecursionlimit()),
        "locale": repr(locale.setlocale(locale.LC_ALL)),
        "loggers": repr(sorted((n, lg.level, lg.propagate, lg.disabled, [type(h).__name__ for h in lg.handlers])
                               for n, lg in logging.root.manager.loggerDict.items()
                               if isinstance(lg, logging.Logger) and (lg.level or not lg.propagate or lg.handlers)
                               and n not in ("tornado", "traitlets"))) + repr(logging.root.level),
    }
    np, pd = sys.modules.get("numpy"), sys.modules.get("pandas")
    if "numpy.random" in sys.modules and np is not None:
        found["numpy.random"] = repr(np.random.rand(3).tolist()) + repr(float(np.random.randn()))
    if np is not None:
        found["numpy.options"] = repr(sorted(np.get_printoptions().items(), key=str)) + repr(np.geterr())
    if pd is not None:
        config = sys.modules["pandas._config.config"]
        found["pandas.options"] = repr([(k, pd.get_option(k)) for k in sorted(config._registered_options)
                                        if pd.get_option(k) != config._registered_options[k].defval])
    return found


def look(shell: Any) -> dict[str, Any]:
    """{"names": {name: description}, "ambient": {what: description}}."""
    import warnings
    filters = repr(warnings.filters)
    warnings.simplefilter("ignore")
    user = {k: v for k, v in shell.user_ns.items() if isinstance(k, str) and k not in HISTORY and not k.strip("_i0123456789") == ""
            and not (k in shell.user_ns_hidden and shell.user_ns_hidden[k] is v) and not k.startswith("__")}
    walk = Walk(shell.user_ns)
    names = {}
    for name in sorted(user):
        try:
            names[name] = shorten(walk.text(user[name], name))
        except Exception as err:
            names[name] = f"{type(user[name]).__qualname__}: {type(err).__name__}: {err}"
    return {"names": names, "ambient": {k: shorten(v) for k, v in ambient(filters).items()}}


def shorten(text: str) -> str:
    if len(text) <= MOST:
        return text
    return text[:MOST] + "… " + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
