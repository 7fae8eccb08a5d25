"""Numpy's print options and its handling of floating-point errors."""
import pickle
import sys

NAME = "numpy.options"


def capture() -> bytes:
    """Both, in order of names; empty while numpy is not loaded."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "get_printoptions"):
        return b""
    return pickle.dumps((sorted(numpy.get_printoptions().items()), sorted(numpy.geterr().items())), 5)


def restore(state: bytes) -> None:
    """Set both."""
    import numpy
    shown, errors = pickle.loads(state)
    allowed = {k: v for k, v in shown if k != "override_repr" or v is not None}
    numpy.set_printoptions(**allowed)
    numpy.seterr(**dict(errors))
