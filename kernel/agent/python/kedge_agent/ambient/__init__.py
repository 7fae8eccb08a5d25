"""Adapters for process state outside the namespace.

An adapter is a module with NAME, ``capture() → bytes`` (equal in every process that did the same, empty where
nothing differs from a fresh process) and ``restore(bytes)``; ``start()``, if it has one, marks the baseline, and
``listen()`` begins to note what libraries are asked for. One with
``begin()``, ``named(words)`` and ``touched(modules)`` knows whether a cell had to do with it: others do not observe
it, nor what the place of that name holds. One with ``settle()`` is a random stream (stream.py). State that holds
objects of the notebook is kept by the places (../places.py) instead.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from . import (
    autoreload,
    backend,
    captured_warnings,
    colours,
    cwd,
    decimal_flags,
    environ,
    extensions,
    futures,
    hidden_names,
    inline,
    ipython_config,
    ipython_settings,
    library_settings,
    logs,
    numpy_options,
    numpy_random,
    pandas_display,
    pandas_options,
    plotly_defaults,
    polars_config,
    process,
    python_random,
    rcparams,
    registries,
    settings,
    sklearn_shown,
    sqlite_dates,
    sys_path,
    torch_defaults,
    torch_random,
    tqdm_pandas,
    warning_filters,
)

# In the order in which they are restored: what changes others comes first.
ADAPTERS: dict[str, Any] = {a.NAME: a for a in (
    environ, cwd, sys_path, settings, extensions, autoreload, ipython_settings, futures, backend, inline,
    ipython_config, hidden_names, rcparams, colours, library_settings, numpy_options, pandas_options, pandas_display,
    polars_config, plotly_defaults, tqdm_pandas, sqlite_dates, torch_defaults, logs, captured_warnings, warning_filters,
    registries, decimal_flags, process, sklearn_shown, python_random, numpy_random, torch_random)}

STREAMS: dict[str, Any] = {n: a for n, a in ADAPTERS.items() if hasattr(a, "settle")}

# What is called when a module has just been imported.
AT_ONCE = {"numpy.random": STREAMS["numpy.random"].start, "pandas": pandas_display.watch}

WATCHED: dict[str, Any] = {n: a for n, a in ADAPTERS.items() if hasattr(a, "touched")}

LEADING = ("environ", "cwd", "sys.path")  # these come before modules are imported


def start() -> None:
    """No cell has come yet: what is set now is the baseline."""
    for adapter in ADAPTERS.values():
        if hasattr(adapter, "start"):
            adapter.start()


def renew() -> None:
    """The first code comes, and somebody watches: no stream has been drawn from or asked for."""
    for stream in STREAMS.values():
        stream.renew()


def listen() -> None:
    """The first cell of a step comes."""
    for adapter in ADAPTERS.values():
        if hasattr(adapter, "listen"):
            adapter.listen()


def capture(names: Iterable[str] = ADAPTERS) -> tuple[dict[str, bytes], dict[str, str]]:
    """(the state of each of these adapters where something differs, why others cannot be captured now)."""
    states, faults = {}, {}
    for name in names:
        try:
            state = ADAPTERS[name].capture()
        except Exception as err:
            faults[name] = f"{type(err).__name__}: {err}"
            continue
        if state:
            states[name] = state
    return states, faults


def digests(states: dict[str, bytes]) -> dict[str, str]:
    """sha256 in hex, by adapter."""
    return {name: hashlib.sha256(s).hexdigest() for name, s in states.items()}


def restore(states: dict[str, bytes]) -> None:
    """Restore these adapters, in their order."""
    for name, adapter in ADAPTERS.items():
        if name in states:
            adapter.restore(states[name])
