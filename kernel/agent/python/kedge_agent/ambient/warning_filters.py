"""The filters of the warnings module."""
import contextlib
import pickle
import warnings

from . import canonical

NAME = "warnings"
_START: list[object] = []


def start() -> None:
    """The filters that are there now are the baseline."""
    _START[:] = warnings.filters


def capture() -> bytes:
    """The filters, in order, if they differ from the baseline."""
    return b"" if list(warnings.filters) == _START else canonical.dumps(list(warnings.filters))


def restore(state: bytes) -> None:
    """Put the filters back in place."""
    warnings.filters[:] = pickle.loads(state) if state else _START  # type: ignore[call-overload]
    with getattr(warnings, "_lock", contextlib.nullcontext()):
        for name in ("_filters_mutated_lock_held", "_filters_mutated"):
            if hasattr(warnings, name):
                getattr(warnings, name)()
                break
