"""The place of signal handlers. The kernel's own, for interrupts and for children, are not the notebook's."""
from __future__ import annotations

import _signal  # the plain functions: those of signal make an enum of every number
import signal
from typing import Any

NAME = "signal"
_OWN = {signal.SIGINT, signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP}
_NUMBERS = sorted(int(s) for s in signal.valid_signals() if s not in _OWN)
_START: dict[int, Any] = {}


def start() -> None:
    """See places.Place."""
    _START.update((n, _signal.getsignal(n)) for n in _NUMBERS)


def entries() -> dict[str, Any]:
    """See places.Place: handlers by signal."""
    return {f"handler {_name(n)}": _signal.getsignal(n) for n in _NUMBERS if _signal.getsignal(n) != _START.get(n)}


def bind(name: str, value: Any) -> None:
    """See places.Place."""
    signal.signal(_number(name), value)


def unbind(name: str) -> None:
    """See places.Place."""
    signal.signal(_number(name), _START[_number(name)])


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _number(name: str) -> int:
    text = name.removeprefix("handler ")
    return int(text) if text.isdigit() else int(signal.Signals[text])
