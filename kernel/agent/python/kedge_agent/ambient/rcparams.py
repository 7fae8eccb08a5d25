"""Matplotlib's settings, as differences from its defaults."""
import pickle
import sys

NAME = "matplotlib.rcParams"
_SKIPPED = ("backend", "backend_fallback")  # reading them would choose a backend


def capture() -> bytes:
    """The settings that differ; empty while matplotlib is not loaded."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None or not hasattr(matplotlib, "rcParamsDefault"):
        return b""
    defaults = matplotlib.rcParamsDefault
    changed = [(k, dict.__getitem__(matplotlib.rcParams, k)) for k in sorted(dict.keys(matplotlib.rcParams))
               if k not in _SKIPPED]
    return pickle.dumps([(k, v) for k, v in changed if repr(v) != repr(dict.get(defaults, k))], 5)


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    import matplotlib
    changed = dict(pickle.loads(state))
    for key in sorted(dict.keys(matplotlib.rcParams)):
        if key in _SKIPPED:
            continue
        value = changed.get(key, dict.get(matplotlib.rcParamsDefault, key))
        if repr(dict.__getitem__(matplotlib.rcParams, key)) != repr(value):
            dict.__setitem__(matplotlib.rcParams, key, value)
