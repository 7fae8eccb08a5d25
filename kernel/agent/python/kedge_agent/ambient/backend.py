"""The backend that pyplot has loaded: the inline one registers how figures are shown."""
import sys

NAME = "matplotlib.backend"  # restored before matplotlib.rcParams, which loading a backend touches


def capture() -> bytes:
    """Its module's name; empty while none is loaded."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    module = getattr(getattr(pyplot, "_backend_mod", None), "__name__", "")
    return str(module).encode()


def restore(state: bytes) -> None:
    """Load it."""
    import matplotlib.pyplot as pyplot
    name = state.decode()
    if getattr(getattr(pyplot, "_backend_mod", None), "__name__", "") != name:
        builtin = name.removeprefix("matplotlib.backends.backend_")
        pyplot.switch_backend(builtin if builtin != name else "module://" + name)
