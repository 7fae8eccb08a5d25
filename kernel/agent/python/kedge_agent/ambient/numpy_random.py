"""numpy's legacy global stream."""
import pickle
import sys

NAME = "numpy.random"


def capture() -> bytes:
    """The stream's state; empty if numpy is not loaded."""
    module = sys.modules.get("numpy.random")
    if not hasattr(module, "get_state"):
        return b""
    kind, keys, pos, has, gauss = module.get_state()  # type: ignore[union-attr]
    return pickle.dumps((kind, keys.tobytes(), pos, has, gauss), 5)


def restore(state: bytes) -> None:
    """Put the stream's state back."""
    if not state:
        return
    import numpy
    kind, keys, pos, has, gauss = pickle.loads(state)
    numpy.random.set_state((kind, numpy.frombuffer(keys, "u4"), pos, has, gauss))
