"""Settings of IPython: how much of a cell is shown, precision, traceback style."""
from __future__ import annotations

import sys
from typing import Any

from .baseline import Baseline

NAME = "IPython.settings"
SHELL = ("ast_node_interactivity", "autocall", "autoawait", "automagic", "colors", "xmode", "show_rewritten_input")
_TEXT = ("float_format", "float_precision", "pprint", "max_width", "max_seq_length", "newline", "verbose")
_DEFAULT: dict[str, Any] = {}  # formatters as they were at the start, if the shell had none


def shell() -> Any:
    """The running shell, or None."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def formatters() -> dict[str, Any]:
    """The formatters of the shell; none before something was shown, for asking would make them."""
    display = getattr(shell(), "display_formatter", None)
    return getattr(display, "_trait_values", {}).get("formatters") or {}


def known_formatters() -> dict[str, Any]:
    """The formatters of the shell, or such as it would have made when the first cell came."""
    if formatters():
        return formatters()
    if not _DEFAULT:
        _DEFAULT.update(type(shell().display_formatter)(parent=shell()).formatters)
    return _DEFAULT


def _now() -> dict[str, Any]:
    ip = shell()
    if ip is None:
        return {}
    made = known_formatters()
    text = made["text/plain"]
    found = {n: getattr(ip, n) for n in SHELL if ip.has_trait(n)}
    found.update((f"text {n}", getattr(text, n)) for n in _TEXT)
    found["enabled"] = sorted(mime for mime, f in made.items() if f.enabled)
    found["mode"] = getattr(ip.InteractiveTB, "mode", "")
    found["pdb"] = bool(ip.call_pdb)
    return found


_BASE = Baseline(_now)
start, capture = _BASE.start, _BASE.capture


def restore(state: bytes) -> None:
    """Set the baseline and what differs from it."""
    ip = shell()
    missing = _BASE.missing(state)
    if not missing:
        return
    text = ip.display_formatter.formatters["text/plain"]
    for name, value in missing.items():
        if name == "enabled":
            for mime, formatter in ip.display_formatter.formatters.items():
                formatter.enabled = mime in value
        elif name == "mode":
            ip.InteractiveTB.set_mode(mode=value)
        elif name == "pdb":
            ip.call_pdb = value
        elif name.startswith("text "):
            _set_text(text, name[5:], value)
        else:
            setattr(ip, name, value)


def _set_text(text: Any, name: str, value: Any) -> None:
    """Set one trait of the text formatter; setting the precision would set that of numpy too."""
    if name == "float_precision":
        text._trait_values[name] = value
    else:
        setattr(text, name, value)
