"""Environment variables, as differences from the kernel's start."""
import os
import pickle

NAME = "environ"
_START = dict(os.environ)


def capture() -> bytes:
    """What was set and unset since the start, in order of names."""
    now = dict(os.environ)
    changed = sorted((k, v) for k, v in now.items() if _START.get(k) != v)
    return pickle.dumps((changed, sorted(_START.keys() - now.keys())), 5)


def restore(state: bytes) -> None:
    """Go back to the start, then apply the differences."""
    changed, unset = pickle.loads(state)
    wanted = {k: v for k, v in {**_START, **dict(changed)}.items() if k not in unset}
    for name in [k for k in os.environ if k not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
