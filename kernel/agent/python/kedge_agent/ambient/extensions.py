"""The IPython extensions that are loaded."""
from __future__ import annotations

import json

from .ipython_settings import shell

NAME = "IPython.extensions"
_START: set[str] = set()


def start() -> None:
    """What is loaded now is the baseline."""
    ip = shell()
    _START.update(ip.extension_manager.loaded if ip is not None else ())


def _loaded() -> list[str]:
    ip = shell()
    return sorted(ip.extension_manager.loaded - _START) if ip is not None else []


def capture() -> bytes:
    """Their names."""
    loaded = _loaded()
    return json.dumps(loaded).encode() if loaded else b""


def restore(state: bytes) -> None:
    """Load and unload until they are these."""
    wanted, manager = json.loads(state) if state else [], shell().extension_manager
    for name in _loaded():
        if name not in wanted:
            manager.unload_extension(name)
    for name in wanted:
        if name not in manager.loaded:
            manager.load_extension(name)
    if _loaded() != wanted:
        raise ValueError("an extension of IPython could not be loaded again")
