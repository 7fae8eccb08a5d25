"""The place of the figures that pyplot has open."""
from __future__ import annotations

import sys
from typing import Any

NAME = "matplotlib"
_KEY = "open figures"


def _registry() -> Any:
    return getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None)


def start() -> None:
    """See places.Place."""


def entries() -> dict[str, Any]:
    """See places.Place: numbers and figures, the current one last."""
    gcf = _registry()
    return {_KEY: [(n, m.canvas.figure) for n, m in gcf.figs.items()]} if gcf is not None and gcf.figs else {}


def bind(name: str, value: Any) -> None:
    """See places.Place. A figure that is open already stays as it is."""
    import matplotlib.pyplot  # noqa: F401
    gcf = _registry()
    was = {id(m.canvas.figure): m for m in gcf.figs.values()}
    gcf.figs.clear()
    for number, figure in value:
        manager = was.get(id(figure)) or figure.canvas.manager
        manager.num = number
        gcf.figs[number] = manager
        if not hasattr(manager, "_cidgcf"):
            manager._cidgcf = figure.canvas.mpl_connect(
                "button_press_event", lambda event, manager=manager: gcf.set_active(manager))


def unbind(name: str) -> None:
    """See places.Place."""
    _registry().figs.clear()
