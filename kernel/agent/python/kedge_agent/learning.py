"""What torch has besides tensors: optimizers, generators, typed storages."""
from __future__ import annotations

import copyreg
import sys
from typing import Any

from . import named
from .refused import Uncapturable


def reduce(obj: Any) -> Any:
    """A reduction that keeps what the type's own drops; NotImplemented for other types."""
    torch = sys.modules.get("torch")
    if torch is None or "torch._C" not in sys.modules:
        return NotImplemented
    kind = type(obj)
    if kind is getattr(torch, "Generator", None):
        return _generator(obj, torch)
    if kind is getattr(torch, "TypedStorage", None):
        return make_typed, (obj._untyped_storage, obj.dtype)
    optimizer = getattr(sys.modules.get("torch.optim.optimizer"), "Optimizer", None)
    if optimizer is not None and issubclass(kind, optimizer) and not _own(kind, optimizer):
        return copyreg.__newobj__, (kind,), dict(vars(obj)), None, None, set_optimizer
    return NotImplemented


def made_by(meta: type) -> tuple[str, ...]:
    """The attributes that a metaclass of torch gives each class, made for that class."""
    name = (meta.__module__, meta.__qualname__)
    return ("_backward_cls",) if name == ("torch.autograd.function", "FunctionMeta") else ()


def _own(kind: type, optimizer: type) -> bool:
    """Whether a class of optimizers pickles in a way of its own."""
    return kind.__getstate__ is not optimizer.__getstate__ or kind.__reduce_ex__ is not object.__reduce_ex__  # type: ignore


def _generator(obj: Any, torch: Any) -> tuple[Any, ...]:
    if obj is torch.default_generator:
        return named.get, ("torch", "default_generator")
    if obj.device.type != "cpu":
        raise Uncapturable(f"is a generator of the device {obj.device}")
    return make_generator, (bytes(obj.get_state().numpy().tobytes()),)


def make_generator(state: bytes) -> Any:
    """A generator in a state."""
    import torch
    made = torch.Generator("cpu")
    made.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return made


def make_typed(held: Any, dtype: Any) -> Any:
    """A storage that knows of what type its elements are."""
    import torch
    return torch.TypedStorage(wrap_storage=held, dtype=dtype, _internal=True)


def set_optimizer(obj: Any, state: dict[str, Any]) -> None:
    """Give an optimizer all its attributes; its class is made ready for its first one, as by its __init__."""
    vars(obj).update(state)
    obj._patch_step_function()
