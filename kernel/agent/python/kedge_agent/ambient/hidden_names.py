"""Which of the notebook's names the shell leaves out when it lists them: those that ``%pylab`` has bound."""
from __future__ import annotations

import json
from typing import Any

from ..namespace import HISTORY
from .ipython_settings import shell

NAME = "IPython.hidden"
_start: dict[str, Any] = {}


def start() -> None:
    """What is hidden now is the baseline."""
    if shell() is not None:
        _start.update(shell().user_ns_hidden)


def _now() -> dict[str, Any]:
    ip = shell()
    hidden = {} if ip is None else ip.user_ns_hidden
    return {n: v for n, v in hidden.items() if not HISTORY.fullmatch(n) and n in ip.user_ns and ip.user_ns[n] is v
            and not (n in _start and _start[n] is v)}


def capture() -> bytes:
    """Their names."""
    names = sorted(_now())
    return json.dumps(names).encode() if names else b""


def restore(state: bytes) -> None:
    """Hide these and no others."""
    wanted, ip = json.loads(state or b"[]"), shell()
    for name in _now().keys() - set(wanted):
        del ip.user_ns_hidden[name]
    for name in wanted:
        ip.user_ns_hidden[name] = ip.user_ns[name]
