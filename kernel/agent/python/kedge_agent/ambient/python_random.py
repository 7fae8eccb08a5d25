"""The stream of the random module."""
import pickle
import random

NAME = "random"


def capture() -> bytes:
    """The generator's state."""
    return pickle.dumps(random.getstate(), 5)


def restore(state: bytes) -> None:
    """Put the generator's state back."""
    random.setstate(pickle.loads(state))
