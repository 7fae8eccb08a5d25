"""The stream of the random module."""
import pickle
import random

from . import canonical
from .stream import Stream

NAME = "random"

_stream = Stream(lambda: canonical.dumps(random.getstate()), lambda state: random.setstate(pickle.loads(state)))
start, settle, capture, restore = _stream.start, _stream.settle, _stream.capture, _stream.restore
