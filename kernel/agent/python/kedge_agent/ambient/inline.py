"""How the inline backend shows figures (``%config InlineBackend.figure_format = 'retina'``)."""
from __future__ import annotations

import functools
import pickle
import sys
from typing import Any

from . import canonical
from .ipython_settings import formatters

NAME = "matplotlib.inline"
_DRAWS = "IPython.core.pylabtools"
# What select_figure_formats there makes of each format.
_FORMATS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("image/png", "print_figure", {"fmt": "png", "base64": True}),
    "retina": ("image/png", "retina_figure", {"base64": True}),
    "png2x": ("image/png", "retina_figure", {"base64": True}),
    "jpg": ("image/jpeg", "print_figure", {"fmt": "jpg", "base64": True}),
    "jpeg": ("image/jpeg", "print_figure", {"fmt": "jpg", "base64": True}),
    "svg": ("image/svg+xml", "print_figure", {"fmt": "svg"}),
    "pdf": ("application/pdf", "print_figure", {"fmt": "pdf", "base64": True}),
}
_TRAITS = ("figure_formats", "print_figure_kwargs", "close_figures", "rc")


def _config() -> Any:
    """The settings, or None while nothing has asked for them."""
    return getattr(getattr(sys.modules.get("matplotlib_inline.config"), "InlineBackend", None), "_instance", None)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def _printers() -> list[tuple[str, str, list[tuple[str, Any]]]]:
    """How IPython draws a figure: type of output, function and settings."""
    figure = getattr(sys.modules.get("matplotlib.figure"), "Figure", None)
    found = ((mime, f.type_printers.get(figure)) for mime, f in formatters().items())
    return sorted((mime, p.func.__name__, sorted(p.keywords.items())) for mime, p in found
                  if type(p) is functools.partial and p.func.__module__ == _DRAWS)


def _implied(config: Any) -> list[tuple[str, str, list[tuple[str, Any]]]]:
    """How it draws one where these settings are in force."""
    made = {(mime, name): {**own, **config.print_figure_kwargs}
            for mime, name, own in map(_FORMATS.__getitem__, config.figure_formats & _FORMATS.keys())}
    return sorted((*key, sorted(keywords.items())) for key, keywords in made.items())


def capture() -> bytes:
    """What differs from the defaults, and how figures are drawn if that is not what follows from it."""
    config = _config()
    if config is None:
        return b""
    default = {name: trait.default(config) for name, trait in config.traits().items() if name in _TRAITS}
    changed = [(n, _plain(getattr(config, n))) for n in _TRAITS if getattr(config, n) != default[n]]
    printers = _printers()
    if printers not in ([], _implied(config)):  # set_matplotlib_formats does not set figure_formats
        changed.append(("printers", printers))
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
    wanted = changed.get("printers", _implied(config))
    if "printers" in changed or _printers() not in ([], wanted):
        _draw(config.shell, wanted)


def _draw(shell: Any, printers: list[tuple[str, str, list[tuple[str, Any]]]]) -> None:
    """Have IPython draw figures so."""
    from IPython.core import pylabtools
    from matplotlib.figure import Figure
    for formatter in shell.display_formatter.formatters.values():
        formatter.pop(Figure, None)
    for mime, name, keywords in printers:
        function = functools.partial(getattr(pylabtools, name), **dict(keywords))
        shell.display_formatter.formatters[mime].for_type(Figure, function)
