"""``tqdm.pandas()``: progress_apply and its like on the classes of pandas."""
from __future__ import annotations

import pickle
import sys
from typing import Any

from . import canonical

NAME = "tqdm.pandas"


def capture() -> bytes:
    """The class and the arguments that it was called with; empty if it was not."""
    function = vars(getattr(sys.modules.get("pandas"), "DataFrame", object)).get("progress_apply")
    if function is None or not str(getattr(function, "__module__", "")).startswith("tqdm."):
        return b""
    held: dict[str, Any] = dict(zip(function.__code__.co_freevars,
                                    (c.cell_contents for c in function.__closure__), strict=True))
    return canonical.dumps((held["cls"], sorted(held["tqdm_kwargs"].items())))


def restore(state: bytes) -> None:
    """Call it again; without a state, take its methods away."""
    if state:
        cls, arguments = pickle.loads(state)
        cls.pandas(**dict(arguments))
        return
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return
    from pandas.core.groupby.generic import DataFrameGroupBy, SeriesGroupBy
    for owner in (pandas.DataFrame, pandas.Series, DataFrameGroupBy, SeriesGroupBy):
        for name, value in list(vars(owner).items()):
            if str(getattr(value, "__module__", "")).startswith("tqdm."):
                delattr(owner, name)
