"""Adapters for process state outside the namespace: capture() → bytes, restore(bytes)."""
from __future__ import annotations

import hashlib

from . import (
    backend,
    cwd,
    environ,
    futures,
    logs,
    numpy_options,
    numpy_random,
    pandas_options,
    process,
    python_random,
    rcparams,
    registries,
    settings,
    sys_path,
    warning_filters,
)

ADAPTERS = {a.NAME: a for a in (python_random, numpy_random, cwd, environ, sys_path, warning_filters,
                                numpy_options, pandas_options, backend, rcparams,
                                registries, settings, logs, futures, process)}


def capture() -> dict[str, bytes]:
    """The state of every adapter that is in use."""
    states = {name: a.capture() for name, a in ADAPTERS.items()}
    return {name: s for name, s in states.items() if s}


def digests(states: dict[str, bytes]) -> dict[str, str]:
    """sha256 in hex, by adapter."""
    return {name: hashlib.sha256(s).hexdigest() for name, s in states.items()}
