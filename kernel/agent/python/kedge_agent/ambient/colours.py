"""What the letters of matplotlib's base colours stand for: seaborn's themes change it."""
from __future__ import annotations

import pickle
import sys
from typing import Any

from . import canonical

NAME = "matplotlib.colors"


def _table() -> Any:
    return getattr(sys.modules.get("matplotlib.colors"), "_colors_full_map", None)


def capture() -> bytes:
    """The letters that stand for another colour than in matplotlib itself."""
    table = _table()
    if table is None:
        return b""
    base = sys.modules["matplotlib.colors"].BASE_COLORS
    changed = sorted((k, tuple(map(float, table[k]))) for k in base if table[k] != base[k])
    return canonical.dumps(changed) if changed else b""


def restore(state: bytes) -> None:
    """Matplotlib's own, then the differences."""
    import matplotlib.colors as colors
    wanted = {**colors.BASE_COLORS, **(dict(pickle.loads(state)) if state else {})}
    for letter, colour in wanted.items():
        if _table()[letter] != colour:
            _table()[letter] = colour  # this empties the cache of parsed colours
