"""The backend that pyplot has loaded: the inline one registers how figures are shown."""
from __future__ import annotations

import os
import sys
from typing import Any

from .ipython_settings import shell

NAME = "matplotlib.backend"  # restored before matplotlib.rcParams, which loading a backend touches
_START: list[str | None] = []  # kernels set it
_INLINE = "matplotlib_inline.backend_inline"


def start() -> None:
    """The first cell comes: the environment says what is asked for."""
    _START[:] = [os.environ.get("MPLBACKEND")]


def _loaded() -> str:
    """The name of its module; empty while none is loaded. Pyplot keeps a class with the module's attributes."""
    held = getattr(sys.modules.get("matplotlib.pyplot"), "_backend_mod", None)
    return "" if held is None else str(vars(held).get("__name__", ""))


def _asked() -> Any:
    """The name by which it was asked for, without choosing one: no string if nobody has asked."""
    return dict.get(getattr(sys.modules.get("matplotlib"), "rcParams", {}), "backend")


def capture() -> bytes:
    """Its module (- if it is not loaded yet) and its name, and whether pyplot draws at once.

    Empty while nothing is loaded and the environment's is asked for.
    """
    module, name = _loaded(), _asked()
    if not module and (not isinstance(name, str) or name in _START):
        return b""
    return f"{module or '-'} {name} {'on' if sys.modules['matplotlib'].is_interactive() else 'off'}".encode()


def restore(state: bytes) -> None:
    """Load it, or ask for it."""
    if not state:
        return  # one that is loaded cannot be unloaded; nothing has asked for it yet
    import matplotlib.backends
    registry = getattr(sys.modules.get("matplotlib.backends"), "backend_registry", None)
    module, name, interactive = state.decode().split(" ")
    if registry is not None:
        registry.is_valid_backend(name)  # makes it look for those that packages bring
    if module == "-":
        matplotlib.rcParams["backend"] = name
    else:
        _load(module, name)
    matplotlib.interactive(interactive == "on")


def _load(module: str, name: str) -> None:
    import matplotlib.pyplot as pyplot
    if (_loaded(), _asked()) != (module, name):
        pyplot.switch_backend(name)
    if module == _INLINE and shell() is not None:  # as %matplotlib inline does; twice is once
        from IPython.core.pylabtools import activate_matplotlib
        from matplotlib_inline.backend_inline import configure_inline_support
        activate_matplotlib(name)
        configure_inline_support(shell(), name)
