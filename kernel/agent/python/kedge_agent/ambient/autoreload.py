"""The mode of ``%autoreload``."""
from __future__ import annotations

import json
import sys
from typing import Any

from .ipython_settings import shell

NAME = "IPython.autoreload"  # restored after the extension itself


def _reloader() -> Any:
    if "IPython.extensions.autoreload" not in sys.modules or shell() is None:
        return None
    magic = shell().magics_manager.magics["line"].get("autoreload")
    return getattr(getattr(magic, "__self__", None), "_reloader", None)


def capture() -> bytes:
    """Whether it is on, for which modules, and which are named or left out; empty if it is as loaded."""
    found = _reloader()
    if found is None or not (found.enabled or found.check_all or found.modules or found.skip_modules):
        return b""
    return json.dumps([found.enabled, found.check_all, found.autoload_obj, sorted(found.modules),
                       sorted(found.skip_modules)]).encode()


def restore(state: bytes) -> None:
    """Set all of it."""
    found = _reloader()
    if found is None:
        if state:
            raise ValueError("the extension autoreload is not loaded")
        return
    enabled, check_all, objects, named, skipped = json.loads(state) if state else [False, False, False, [], []]
    found.enabled, found.check_all, found.autoload_obj = enabled, check_all, objects
    found.modules, found.skip_modules = dict.fromkeys(named, True), dict.fromkeys(skipped, True)
