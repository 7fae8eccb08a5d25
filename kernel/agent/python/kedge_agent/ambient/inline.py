"""How the inline backend shows figures (``%config InlineBackend.figure_format = 'retina'``)."""
from __future__ import annotations

import pickle
import sys
from typing import Any

from . import canonical

NAME = "matplotlib.inline"
_TRAITS = ("figure_formats", "print_figure_kwargs", "close_figures", "rc")


def _config() -> Any:
    """The settings, or None while nothing has asked for them."""
    return getattr(getattr(sys.modules.get("matplotlib_inline.config"), "InlineBackend", None), "_instance", None)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def capture() -> bytes:
    """What differs from the defaults."""
    config = _config()
    if config is None:
        return b""
    default = {name: trait.default(config) for name, trait in config.traits().items() if name in _TRAITS}
    changed = [(n, _plain(getattr(config, n))) for n in _TRAITS if getattr(config, n) != default[n]]
    return canonical.dumps(changed) if changed else b""


def restore(state: bytes) -> None:
    """Set the defaults and the differences; the formatters of figures follow."""
    from matplotlib_inline.config import InlineBackend
    changed = dict(pickle.loads(state)) if state else {}
    config = InlineBackend.instance()
    if config.shell is None:
        config.shell = sys.modules["IPython"].get_ipython()
    for name, trait in config.traits().items():
        if name in _TRAITS:
            value = changed.get(name, trait.default(config))
            value = set(value) if name == "figure_formats" else value
            if getattr(config, name) != value:
                setattr(config, name, value)
