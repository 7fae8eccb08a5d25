"""Numpy's print options and its handling of floating-point errors."""
from __future__ import annotations

import contextvars
import pickle
import sys
from typing import Any

from . import canonical

NAME = "numpy.options"
_HELD = ("formatter", "override_repr")  # functions: kept by the place of numpy


def _now(numpy: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return numpy.get_printoptions(), numpy.geterr()


def _defaults(numpy: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as in an empty context; nothing for numpy 1, which does not keep them in the context."""
    if numpy.__version__.startswith("1."):
        return {}, {}
    return contextvars.Context().run(_now, numpy)


def _known(options: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted((k, v) for k, v in options.items() if k not in _HELD)


def capture() -> bytes:
    """Both, in order of names; empty while numpy is not loaded or has its defaults."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "get_printoptions"):
        return b""
    shown, errors = _now(numpy)
    defaults = _defaults(numpy)
    if _known(shown) == _known(defaults[0]) and errors == defaults[1]:
        return b""
    return canonical.dumps((_known(shown), sorted(errors.items())))


def restore(state: bytes) -> None:
    """Set both."""
    import numpy
    shown, errors = pickle.loads(state) if state else map(dict.items, _defaults(numpy))
    numpy.set_printoptions(**{k: v for k, v in shown if k not in _HELD})
    numpy.seterr(**dict(errors))


def formatter() -> Any:
    """The functions by which elements are printed; None where they are numpy's."""
    numpy = sys.modules.get("numpy")
    return numpy.get_printoptions().get("formatter") if hasattr(numpy, "get_printoptions") else None  # type: ignore


def set_formatter(value: Any) -> None:
    """Set the functions by which elements are printed."""
    import numpy
    numpy.set_printoptions(formatter=value)
