"""What the notebook has set on libraries: attributes of their modules and of the classes in them, and of builtins.

A pseudo-name (places.py) is ``MODULE:ATTRIBUTE`` or ``MODULE:CLASS.ATTRIBUTE``.
"""
from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Iterable
from typing import Any

from . import localmodules, named, pristine
from .places import GONE

_CACHES = {"__slotnames__", "__abstractmethods__", "_abc_impl", "_accessors"}  # kept by the interpreter and pandas
# Classes that libraries extend on a user's behalf.
_EXTENDED = {"pandas": ("DataFrame", "Series", "Index"), "polars": ("DataFrame", "Series", "Expr", "LazyFrame")}
# Hooks that are set through functions too (logging.captureWarnings, rich.traceback.install).
_HOOKS = {"sys": ("excepthook", "displayhook", "unraisablehook", "breakpointhook"), "threading": ("excepthook",),
          "warnings": ("showwarning", "formatwarning"), "logging": ("_loggerClass", "_logRecordFactory")}
# What adapters of their own restore, and what the interpreter and IPython set while they run.
_OTHERS = {"sys": {"path", "modules", "meta_path", "path_hooks", "stdin", "stdout", "stderr", "last_exc", "last_type",
                   "last_value", "last_traceback"},
           "builtins": {"_", "get_ipython", "display", "exit", "quit"}, "os": {"environ"}}
# Objects that modules hold and whose attributes adapters restore, by type.
_RESTORED = {"DictWrapper", "OptionsWrapper", "Logger", "RcParams", "RenderersConfig", "TemplatesConfig", "Config"}
_UNKNOWN = object()  # what a module held that was not loaded before the cell that set it


class Patches:
    """The place of what is set on libraries. Attributes are looked at by the names that a cell's code may set."""

    NAME = "patches"

    def __init__(self, ns: dict[str, Any]) -> None:
        self._ns = ns
        self._original: dict[str, Any] = {}  # pseudo-name → what a fresh process has
        self._scanned: set[str] = set()
        self._owners: dict[str, Any] = {}  # "numpy:" or "numpy:ndarray." → its namespace
        self._names: set[str] = set()
        self._targets: list[list[str]] = []
        self._roots: list[list[str]] = []
        self._wide: set[str] = set()  # owners of which all attributes are looked at
        self._before: dict[tuple[str, str], Any] = {}
        self._open: dict[str, dict[str, Any]] = {}  # namespaces to which new names may come in any way
        # What modules and classes held as the kernel began, by address: names and values.
        self._first: dict[int, tuple[tuple[str, ...], tuple[Any, ...]]] = {}
        self._built: dict[str, dict[str, Any]] = {}  # likewise, those of _open

    def start(self) -> None:
        """See Place."""
        self._hooks = {f"{m}:{a}": vars(sys.modules[m]).get(a, GONE)
                       for m, names in _HOOKS.items() if m in sys.modules for a in names}

    def entries(self) -> dict[str, Any]:
        """See Place; names are whole pseudo-names."""
        found = {}
        for pseudo, original in (*self._hooks.items(), *self._original.items()):
            value = self._value(pseudo)
            if value is not original and not _foreign(value):
                found[pseudo] = value
        return found

    def bind(self, name: str, value: Any) -> None:
        """See Place; name is a whole pseudo-name."""
        if name not in self._hooks:
            self._original.setdefault(name, self._value(name))
        self._put(name, value)

    def unbind(self, name: str) -> None:
        """See Place; name is a whole pseudo-name."""
        original = self._hooks.get(name, self._original.get(name, GONE))
        if original is _UNKNOWN:
            raise ValueError(f"what was at {name} is not known")
        self._put(name, original)

    def before(self, names: set[str], targets: list[list[str]], roots: list[list[str]]) -> None:
        """A cell comes that may set attributes of these names, assigns to these dotted targets, and may set others of
        these roots.
        """
        self._names, self._targets, self._roots = names - _CACHES, targets, roots
        owners = self._scan() if names or roots else {}
        self._wide = {self._resolve([*root, ""])[0] for root in roots} & owners.keys()
        self._before = self._values(owners) if owners else {}
        self._open = extended()

    def more(self, names: set[str], targets: list[list[str]], roots: list[list[str]]) -> None:
        """More code comes before after is called, of which before was not told."""
        new = names - _CACHES - self._names
        self._names, self._targets, self._roots = self._names | new, self._targets + targets, self._roots + roots
        owners = self._scan() if names or roots else {}
        wide = {self._resolve([*root, ""])[0] for root in roots} & owners.keys() - self._wide
        self._wide |= wide
        for key, value in (self._values(owners) if owners else {}).items():
            if key[1] in new or key[0] in wide:
                self._before.setdefault(key, value)

    def remember(self) -> None:
        """Code may come that nobody watches: keep what modules and the classes in them hold now."""
        modules = [m for n, m in list(sys.modules.items()) if type(m) is types.ModuleType and n != "__main__"]
        spaces: dict[int, Any] = {id(m): vars(m) for m in modules}
        kinds: dict[type, bool] = {}
        for space in list(spaces.values()):
            for value in space.values():
                kind = type(value)
                if kinds.get(kind) or kind not in kinds and kinds.setdefault(kind, issubclass(kind, type)):
                    spaces[id(value)] = value.__dict__
        self._first = {i: (tuple(space), tuple(space.values())) for i, space in spaces.items()}
        self._built = extended()

    def past(self, names: set[str], targets: list[list[str]], roots: list[list[str]]) -> list[str]:
        """Code has run since remember was called that nobody watched: what it set counts as set.

        Of what came later it is not known what it was: whatever is not plainly as its source has made it counts.
        Returned is what code may have set that even so is not known.
        """
        self._names, self._targets, self._roots, self._wide, self._before = set(), targets, roots, set(), {}
        self._open = self._built
        wide = {self._resolve([*root, ""])[0] for root in roots}
        doubts = []
        for owner, space in list(self._scan().items()):
            known = self._first.get(id(_owner(owner)[0]))
            base = None if known is None else dict(zip(*known, strict=True))
            if base is None and owner in wide:
                doubts.append(f"may have set anything of {owner.rstrip(':.')}")
            for name in {*names, *space, *base} if owner in wide and base is not None else names:
                was, value = (base or {}).get(name, GONE), space.get(name, GONE)
                if name in _CACHES or value is was:
                    continue
                if base is None:
                    if not pristine.pristine(_owner(owner + name)[0], name, value):
                        self._note(owner + name, _UNKNOWN)
                elif was is not GONE or not isinstance(value, types.ModuleType):
                    self._note(owner + name, was)
        return doubts

    def after(self) -> None:
        """The cell has run: what it set counts as set from now on."""
        now = self._values(self._owners) if self._names or self._wide else {}
        for key in self._before.keys() | now.keys():
            was = self._before.get(key, GONE)
            if now.get(key, GONE) is was or was is GONE and isinstance(now[key], types.ModuleType):
                continue  # as it was, or a new submodule
            self._note("".join(key), was)
        for target in self._targets:
            owner, name = self._resolve(target)
            if owner and owner + name not in self._original and owner not in self._owners:
                self._note(owner + name, _UNKNOWN)
        for root in self._roots:
            owner, _ = self._resolve([*root, ""])
            if owner and owner not in self._owners:  # the cell itself has imported it
                for name in self._names & set(self._space(owner)):
                    self._original.setdefault(owner + name, _UNKNOWN)
        for owner, names in extended().items():
            known = self._open.get(owner)
            fresh = {n for n in names if _own(names[n])} if known is None else names.keys() - known.keys()
            for name in fresh - _CACHES:
                self._note(owner + name, GONE)
        self._before = {}

    def refused(self) -> list[str]:
        """Why the last cell may not be cached: it has set what is no place."""
        found = []
        if self._targets:
            named.find()
        for target in self._targets:
            obj = self._ns.get(target[0])
            inside = isinstance(obj, types.ModuleType) and not localmodules.is_local(obj) and target[0] != "sys"
            for name in target[1:-1]:
                obj = getattr(obj, name, None) if inside else None
            kind = type(obj)
            if not inside and target[0] in self._ns and named.name(obj) is not None:  # from scipy.stats import norm
                inside = target[0] != "sys"
            if inside and obj is not None and not isinstance(obj, (types.ModuleType, type)):
                if not any(b.__name__ in _RESTORED for b in kind.__mro__):
                    found.append(f"set {'.'.join(target)}")
        return found

    def _note(self, pseudo: str, was: Any) -> None:
        module, _, path = pseudo.partition(":")
        if path not in _OTHERS.get(module, ()) and pseudo not in self._hooks:
            self._original.setdefault(pseudo, was)

    def _scan(self) -> dict[str, Any]:
        """The namespaces of library modules and of the classes in them."""
        new = sys.modules.keys() - self._scanned
        for name in new:
            module = sys.modules.get(name)
            self._scanned.add(name)
            if name == "__main__" or not isinstance(module, types.ModuleType) or localmodules.is_local(module):
                continue
            self._owners[name + ":"] = vars(module)
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ != "__main__":
                    own = f"{value.__module__}:{value.__qualname__}."
                    self._owners[own if _owner(own)[0] is value else f"{name}:{attribute}."] = vars(value)
        return self._owners

    def _values(self, owners: dict[str, Any]) -> dict[tuple[str, str], Any]:
        found = {(owner, n): space[n] for owner, space in owners.items() for n in self._names if n in space}
        for owner in self._wide:
            found.update(((owner, n), value) for n, value in owners[owner].items() if n not in _CACHES)
        return found

    @staticmethod
    def _space(owner: str) -> Iterable[str]:
        found = _owner(owner)[0]
        return () if found is None else vars(found)

    def _resolve(self, target: list[str]) -> tuple[str, str]:
        """(owner, attribute) if the target lies on a library's module or class, else empty."""
        obj = self._ns.get(target[0])
        for name in target[1:-1]:
            space = vars(obj) if isinstance(obj, (types.ModuleType, type)) else {}
            obj = space.get(name)
        if isinstance(obj, types.ModuleType) and obj.__name__ != "__main__" and not localmodules.is_local(obj):
            return obj.__name__ + ":", target[-1]
        if (isinstance(obj, type) and obj.__module__ != "__main__"
                and not localmodules.is_local(sys.modules.get(obj.__module__))):
            return f"{obj.__module__}:{obj.__qualname__}.", target[-1]
        return "", ""

    def _value(self, pseudo: str) -> Any:
        owner, name = _owner(pseudo)
        return GONE if owner is None else vars(owner).get(name, GONE)

    def _put(self, pseudo: str, value: Any) -> None:
        owner, name = _owner(pseudo)
        if owner is None:
            raise ValueError(f"{pseudo} has no place")
        if value is not GONE:
            setattr(owner, name, value)
        elif name in vars(owner):
            delattr(owner, name)
        accessors = vars(owner).get("_accessors") if isinstance(owner, type) else None
        if isinstance(accessors, set) and type(value).__name__ in ("Accessor", "CachedAccessor"):
            accessors.add(name)


def extended() -> dict[str, dict[str, Any]]:
    """The namespaces that libraries and plain assignments extend without naming the attribute in code."""
    found = {"builtins:": {k: v for k, v in vars(builtins).items() if not k.startswith("__pybind11_internals")}}
    for package, classes in _EXTENDED.items():
        for name in classes:
            cls = getattr(sys.modules.get(package), name, None)
            if isinstance(cls, type):
                found[f"{cls.__module__}:{cls.__qualname__}."] = dict(vars(cls))
    return found


def _own(value: Any) -> bool:
    """Whether a function or class of the notebook stands in a library's class, as itself or as an accessor."""
    value = getattr(value, "_accessor", getattr(value, "accessor", value))
    return getattr(value, "__module__", None) == "__main__"


def _owner(pseudo: str) -> tuple[Any, str]:
    """(module or class, attribute); None if there is no such place in this process."""
    module, _, path = pseudo.partition(":")
    *parents, name = path.split(".")
    obj: Any = sys.modules.get(module)
    for parent in parents:
        obj = vars(obj).get(parent) if isinstance(obj, (types.ModuleType, type)) else None
    return (obj, name) if isinstance(obj, (types.ModuleType, type)) else (None, name)


def _foreign(value: Any) -> bool:
    """Whether an adapter of its own puts value in place: progress_apply of tqdm, logging's showwarning."""
    module, name = str(getattr(value, "__module__", "")), getattr(value, "__qualname__", "")
    return module.startswith("tqdm.") and "pandas.<locals>" in name or (module, name) == ("logging", "_showwarning")
