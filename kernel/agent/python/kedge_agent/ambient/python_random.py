"""The stream of the random module."""
import pickle
import random

from . import canonical
from .stream import Stream

NAME = "random"

_stream = Stream(lambda: canonical.dumps(random.getstate()), lambda state: random.setstate(pickle.loads(state)))
start, renew, settle = _stream.start, _stream.renew, _stream.settle
capture, restore = _stream.capture, _stream.restore
