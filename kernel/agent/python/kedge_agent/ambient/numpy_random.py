"""numpy's legacy global stream."""
import pickle
import sys

from . import canonical
from .stream import Stream

NAME = "numpy.random"


def _state() -> bytes:
    """Empty if numpy is not loaded."""
    module = sys.modules.get("numpy.random")
    if not hasattr(module, "get_state"):
        return b""
    kind, keys, pos, has, gauss = module.get_state()  # type: ignore[union-attr]
    return canonical.dumps((kind, keys.tobytes(), pos, has, gauss))


def _put(state: bytes) -> None:
    import numpy
    kind, keys, pos, has, gauss = pickle.loads(state)
    numpy.random.set_state((kind, numpy.frombuffer(keys, "u4"), pos, has, gauss))


_stream = Stream(_state, _put)
start, renew, settle = _stream.start, _stream.renew, _stream.settle
capture, restore = _stream.capture, _stream.restore
