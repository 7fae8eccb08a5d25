"""Settings of libraries that are changed by calling a function of theirs, and kept where only they look."""
from __future__ import annotations

import importlib
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import canonical

NAME = "libraries"
_UNKNOWN = object()


@dataclass(frozen=True)
class Kept:
    """The settings in one module: how they are read, as a plain value, and set."""

    module: str
    get: Callable[[Any], Any]
    put: Callable[[Any, Any], Any]
    default: Any = _UNKNOWN  # what a fresh import has; else what it has when it is imported


def _entries(path: str) -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """How to read and to replace what a dict or list in a module holds."""
    def get(module: Any) -> Any:
        held = getattr(module, path)
        return dict(held) if isinstance(held, dict) else list(held)

    def put(module: Any, value: Any) -> None:
        held = getattr(module, path)
        held.clear()
        (held.update if isinstance(held, dict) else held.extend)(value)

    return get, put


def _method(module: Any) -> Any:
    """The way of starting processes that was chosen; None for the default one."""
    context = module._default_context
    chosen = context._actual_context
    return None if chosen in (None, context._default_context) else chosen._name


def _converters(module: Any) -> bool:
    """Whether pandas' converters of dates are in use."""
    return any(type(v).__module__.startswith("pandas.") for v in module.registry.values())


def _set_converters(_: Any, on: bool) -> None:
    plotting = importlib.import_module("pandas.plotting")
    (plotting.register_matplotlib_converters if on else plotting.deregister_matplotlib_converters)()


def _loop(module: Any) -> Any:
    """The event loop of the kernel; None if it has none yet."""
    return module._get_running_loop() or getattr(
        getattr(module.get_event_loop_policy(), "_local", None), "_loop", None)


def _set_domain(module: Any, state: tuple[str, dict[str, str]]) -> None:
    """Set where gettext looks for translations."""
    module.textdomain(state[0])
    module._localedirs.clear()
    module._localedirs.update(state[1])


def _debugs(module: Any) -> bool:
    """Whether the event loop is in debug mode."""
    loop = _loop(module)
    return loop is not None and loop.get_debug()


def _set_debug(module: Any, on: bool) -> None:
    (_loop(module) or module.get_event_loop_policy().get_event_loop()).set_debug(on)


def _nested(module: Any) -> bool:
    """Whether event loops may run within one another."""
    return getattr(getattr(sys.modules.get("asyncio"), "run", None), "__module__", "") == module.__name__


def _nest(module: Any, on: bool) -> None:
    if not on:
        raise ValueError("event loops that may be nested stay so")
    module.apply()


_fonts: set[str] = set()  # files of the machine's own


def _added_fonts(module: Any) -> list[str]:
    files = [e.fname for e in module.fontManager.ttflist]
    if not _fonts:
        _fonts.update(files)
    return [f for f in files if f not in _fonts]


def _add_fonts(module: Any, files: list[str]) -> None:
    table = module.fontManager.ttflist
    table[:] = [e for e in table if e.fname in _fonts]
    for file in files:
        module.fontManager.addfont(file)


_KEPT = (
    Kept("asyncio.events", _debugs, _set_debug, False),
    Kept("nest_asyncio", _nested, _nest),
    Kept("nest_asyncio2", _nested, _nest),
    Kept("attr._config", lambda m: m.get_run_validators(), lambda m, v: m.set_run_validators(v), True),
    Kept("calendar", lambda m: m.firstweekday(), lambda m, v: m.setfirstweekday(v), 0),
    Kept("csv", lambda m: m.field_size_limit(), lambda m, v: m.field_size_limit(v), 131072),
    Kept("gettext", lambda m: (m._current_domain, dict(m._localedirs)), _set_domain, ("messages", {})),
    Kept("zoneinfo", lambda m: m.TZPATH, lambda m, v: m.reset_tzpath(v)),
    Kept("multiprocessing.context", _method, lambda m, v: m._default_context.set_start_method(v, force=True), None),
    Kept("xml.etree.ElementTree", *_entries("_namespace_map")),
    Kept("numpy", lambda m: m.getbufsize(), lambda m, v: m.setbufsize(v), 8192),
    Kept("scipy.special", lambda m: m.geterr(), lambda m, v: m.seterr(**v)),
    Kept("pyarrow", lambda m: m.cpu_count(), lambda m, v: m.set_cpu_count(v)),
    Kept("sklearn._config", lambda m: dict(m.get_config()), lambda m, v: m.set_config(**v)),
    Kept("xgboost.config", lambda m: m.get_config(), lambda m, v: m.set_config(**v)),
    Kept("matplotlib.units", _converters, _set_converters, False),
    Kept("matplotlib.font_manager", _added_fonts, _add_fonts),
    Kept("networkx.utils.configs", lambda m: dict(m.config), lambda m, v: [setattr(m.config, *kv) for kv in v.items()]),
    Kept("xarray.core.options", *_entries("OPTIONS")),
    Kept("dask.config", *_entries("config")),
    Kept("nltk.data", *_entries("path")),
)
_start: dict[str, Any] = {}  # baselines, by module
MODULES = {k.module for k in _KEPT}


def _loaded() -> list[tuple[Kept, types.ModuleType]]:
    found = ((k, sys.modules.get(k.module)) for k in _KEPT)
    return [(k, m) for k, m in found if m is not None and not getattr(getattr(m, "__spec__", None), "_initializing", 0)]


def look() -> None:
    """What modules have now that were not looked at before is what a fresh import has."""
    for kept, module in _loaded():
        if kept.module not in _start:
            _start[kept.module] = kept.get(module) if kept.default is _UNKNOWN else kept.default


start = look


def capture() -> bytes:
    """What differs, by module."""
    look()
    changed = [(k.module, v) for k, m in _loaded() if (v := k.get(m)) != _start[k.module]]
    return canonical.dumps(changed) if changed else b""


def restore(state: bytes) -> None:
    """Set it, and what a fresh import has where nothing differs."""
    wanted = dict(pickle.loads(state)) if state else {}
    for name in wanted:
        importlib.import_module(name)
    look()
    for kept, module in _loaded():
        value = wanted.get(kept.module, _start[kept.module])
        if kept.get(module) != value:
            kept.put(module, value)
