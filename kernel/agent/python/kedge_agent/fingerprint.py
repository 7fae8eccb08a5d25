"""A digest of a value that is the same in every process and never runs code of the value's class."""
from __future__ import annotations

import hashlib
import pickle
import threading
import types
import weakref
from typing import Any

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range)
_MOST = 200_000  # objects in one digest
# Not to be pickled, but without state that a cell leaves.
_STATELESS = (type(threading.Lock()), type(threading.RLock()), weakref.ref, types.BuiltinFunctionType)


class _Walk:
    def __init__(self, local: set[str]) -> None:
        self.hash = hashlib.sha256()
        self.local = local  # modules whose classes are described, not named
        self.seen: dict[int, int] = {}
        self.keep: list[Any] = []
        self.blind: list[str] = []  # types whose state is not described

    def put(self, *parts: Any) -> None:
        for part in parts:
            raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
            self.hash.update(len(raw).to_bytes(8, "little") + raw)

    def run(self, root: Any) -> None:
        """Describe everything reachable, depth first, without recursion."""
        stack = [root]
        while stack:
            obj = stack.pop()
            if isinstance(obj, _ATOMS):
                self.put(type(obj).__name__, repr(obj))
                continue
            if id(obj) in self.seen:
                self.put("again", self.seen[id(obj)])
                continue
            if len(self.seen) >= _MOST:
                self.put("more")
                return
            self.seen[id(obj)] = len(self.seen)
            self.keep.append(obj)
            stack.extend(reversed(self.parts(obj)))

    def parts(self, obj: Any) -> list[Any]:
        """Describe obj itself; its parts are described next."""
        kind = type(obj)
        self.put(kind.__module__, kind.__qualname__)
        if kind in (list, tuple):
            self.put(len(obj))
            return list(obj)
        if kind is dict or isinstance(obj, types.MappingProxyType):
            self.put(len(obj))
            return [x for pair in obj.items() for x in pair]
        if kind in (set, frozenset):
            self.put(*sorted(digest(x, self.local) for x in obj))
            return []
        if isinstance(obj, types.ModuleType):
            self.put(obj.__name__)
            return []
        if isinstance(obj, types.FunctionType):
            cells = [c.cell_contents if c != types.CellType() else None for c in obj.__closure__ or ()]
            return [obj.__code__, obj.__defaults__, obj.__kwdefaults__, cells, obj.__dict__]
        if isinstance(obj, types.CodeType):
            self.put(obj.co_code, obj.co_names, obj.co_varnames, obj.co_freevars)
            return list(obj.co_consts)
        if isinstance(obj, type):
            return self.of_class(obj)
        if isinstance(obj, (staticmethod, classmethod)):
            return [obj.__func__]
        if isinstance(obj, property):
            return [obj.fget, obj.fset, obj.fdel]
        if isinstance(obj, types.MethodType):
            return [obj.__func__, obj.__self__]
        return self.of_instance(obj)

    def of_class(self, cls: type) -> list[Any]:
        self.put(cls.__module__, cls.__qualname__)
        if cls.__module__ not in self.local:
            return []
        skipped = {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__",
                   "_abc_impl", "__annotations_cache__", "__annotate_func__"}
        return [x for n, v in vars(cls).items() if n not in skipped for x in (n, v)]

    def of_instance(self, obj: Any) -> list[Any]:
        kind = type(obj)
        state = [getattr(obj, "__dict__", None)]
        for cls in kind.__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                member = cls.__dict__.get(name)
                if isinstance(member, types.MemberDescriptorType):
                    try:
                        state += [name, member.__get__(obj, kind)]
                    except AttributeError:
                        pass
        if kind.__module__ in self.local:
            if isinstance(obj, (list, tuple, set, frozenset)):
                state.append(list(obj.__iter__()) if kind.__iter__ in (list.__iter__, tuple.__iter__) else None)
            elif isinstance(obj, dict):
                state.append(dict(dict.items(obj)))
            return state
        try:  # a library's own pickling describes its values
            self.put(hashlib.sha256(pickle.dumps(obj, 4)).digest())
        except Exception:
            if state == [None] and not isinstance(obj, _STATELESS):
                self.blind.append(f"{kind.__module__}.{kind.__qualname__}")
            return state
        return []


def digest(value: Any, local: set[str]) -> str:
    """sha256 in hex of value. Classes of the modules named in local are described, others named."""
    return look(value, local)[0]


def look(value: Any, local: set[str]) -> tuple[str, list[str]]:
    """(digest, the types in value whose state it does not see)."""
    walk = _Walk(local)
    walk.run(value)
    return walk.hash.hexdigest(), walk.blind
