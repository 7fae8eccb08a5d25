"""The filters of the warnings module."""
import pickle
import warnings

NAME = "warnings"


def capture() -> bytes:
    """The filters, in order; None stands for filters that cannot be saved."""
    try:
        return pickle.dumps(list(warnings.filters), 5)
    except Exception:
        return pickle.dumps(repr(warnings.filters), 5)


def restore(state: bytes) -> None:
    """Put the filters back in place."""
    filters = pickle.loads(state)
    if not isinstance(filters, list):
        raise ValueError("the warning filters could not be saved")
    warnings.filters[:] = filters
    for name in ("_filters_mutated_lock_held", "_filters_mutated"):
        if hasattr(warnings, name):
            getattr(warnings, name)()
            break
