"""Whether warnings go to logging (``logging.captureWarnings``): whoever warns depends on it."""
from __future__ import annotations

import logging
import warnings

NAME = "logging.warnings"


def capture() -> bytes:
    """Empty if they do not."""
    return b"on" if getattr(warnings.showwarning, "__module__", "") == "logging" else b""


def restore(state: bytes) -> None:
    """Turn it on or off."""
    if capture() != state:
        logging.captureWarnings(bool(state))
