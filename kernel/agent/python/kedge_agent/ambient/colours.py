"""What the names of matplotlib's colours stand for: seaborn's themes change the letters, programs add names."""
from __future__ import annotations

import functools
import pickle
import sys
from typing import Any

from . import canonical

NAME = "matplotlib.colors"


def _table() -> Any:
    return getattr(sys.modules.get("matplotlib.colors"), "_colors_full_map", None)


@functools.cache
def _own() -> dict[str, Any]:
    """What matplotlib itself puts into the table. Not to be modified."""
    colors = sys.modules["matplotlib.colors"]
    found = dict(colors.XKCD_COLORS)
    found.update({k.replace("grey", "gray"): v for k, v in colors.XKCD_COLORS.items()})
    found.update({**colors.CSS4_COLORS, **colors.TABLEAU_COLORS})
    found.update({k.replace("gray", "grey"): v for k, v in colors.TABLEAU_COLORS.items()})
    return {**found, **colors.BASE_COLORS}


def capture() -> bytes:
    """The names that stand for another colour than in matplotlib itself, and those of its names that are gone."""
    table = _table()
    if table is None:
        return b""
    own = _own()
    changed = sorted((k, v if type(v) is str else tuple(map(float, v))) for k, v in table.items() if own.get(k) != v)
    gone = sorted(own.keys() - table.keys())
    return canonical.dumps((changed, gone)) if changed or gone else b""


def restore(state: bytes) -> None:
    """Matplotlib's own, then the differences."""
    import matplotlib.colors  # noqa: F401
    changed, gone = pickle.loads(state) if state else ([], [])
    table, wanted = _table(), {**_own(), **dict(changed)}
    for name in [n for n in table if n not in wanted or n in gone]:
        del table[name]
    for name, colour in wanted.items():
        if name not in gone and table.get(name) != colour:
            table[name] = colour  # this empties the cache of parsed colours
