"""Torch's default generators."""
from __future__ import annotations

import pickle
import sys
from typing import Any

from . import canonical
from .stream import Stream

NAME = "torch.random"


def _devices(torch: Any) -> list[Any]:
    """The states of the generators of devices, if any device is in use."""
    cuda = getattr(torch, "cuda", None)
    return [bytes(s.numpy().tobytes()) for s in cuda.get_rng_state_all()] if cuda and cuda.is_initialized() else []


def _state() -> bytes:
    """Empty while torch is not loaded."""
    torch = sys.modules.get("torch")
    if not hasattr(torch, "get_rng_state"):
        return b""
    return canonical.dumps((torch.get_rng_state().numpy().tobytes(), _devices(torch)))  # type: ignore[union-attr]


def _put(state: bytes) -> None:
    import torch
    cpu, devices = pickle.loads(state)
    torch.set_rng_state(torch.frombuffer(bytearray(cpu), dtype=torch.uint8))
    if devices:
        torch.cuda.set_rng_state_all([torch.frombuffer(bytearray(s), dtype=torch.uint8) for s in devices])


# Torch begins with one and the same seed in every process, so importing it may count as setting the stream.
_stream = Stream(_state, _put)
start, renew, settle = _stream.start, _stream.renew, _stream.settle
capture, restore = _stream.capture, _stream.restore
