"""The numbers that scikit-learn gives to what it shows, by which the parts of a page are told apart."""
import pickle
import sys
from typing import Any

from . import canonical

NAME = "sklearn.shown"
_PLACES = ("sklearn.utils._repr_html.estimator", "sklearn.utils._estimator_html_repr")  # since 1.7, and before


def _counters() -> list[Any]:
    held = [vars(module) for module in map(sys.modules.get, _PLACES) if module is not None]
    named = [space.get(name) for space in held for name in ("_CONTAINER_ID_COUNTER", "_ESTIMATOR_ID_COUNTER")]
    return [c for c in named if type(getattr(c, "count", None)) is int]


def capture() -> bytes:
    """How far they are; empty if nothing was shown."""
    counts = [c.count for c in _counters()]
    return canonical.dumps(counts) if any(counts) else b""


def restore(state: bytes) -> None:
    """Go on from there."""
    if state:
        import sklearn.base  # noqa: F401  brings them
    counters = _counters()
    for counter, count in zip(counters, pickle.loads(state) if state else [0] * len(counters), strict=True):
        counter.count = count
