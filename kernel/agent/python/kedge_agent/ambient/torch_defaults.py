"""Torch's defaults: types, device, gradients, determinism, threads, printing, the number of the next hook."""
from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

from . import canonical

NAME = "torch.defaults"

# name → (get, set), by attribute of torch; the first look at torch gives the defaults.
_SETTINGS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "dtype": (lambda t: str(t.get_default_dtype()), lambda t, v: t.set_default_dtype(getattr(t, v.split(".")[1]))),
    "device": (lambda t: str(t.get_default_device()), lambda t, v: t.set_default_device(v)),
    "grad": (lambda t: t.is_grad_enabled(), lambda t, v: t.set_grad_enabled(v)),
    "deterministic": (lambda t: (t.are_deterministic_algorithms_enabled(),
                                 t.is_deterministic_algorithms_warn_only_enabled()),
                      lambda t, v: t.use_deterministic_algorithms(v[0], warn_only=v[1])),
    "threads": (lambda t: t.get_num_threads(), lambda t, v: t.set_num_threads(v)),
    "precision": (lambda t: t.get_float32_matmul_precision(), lambda t, v: t.set_float32_matmul_precision(v)),
    "cudnn": (lambda t: (t.backends.cudnn.benchmark, t.backends.cudnn.deterministic, t.backends.cudnn.enabled),
              lambda t, v: _set_cudnn(t.backends.cudnn, v)),
    "print": (lambda t: sorted(vars(t._tensor_str.PRINT_OPTS).items()),
              lambda t, v: vars(t._tensor_str.PRINT_OPTS).update(v)),
    "hook": (lambda t: t.utils.hooks.RemovableHandle.next_id,
             lambda t, v: setattr(t.utils.hooks.RemovableHandle, "next_id", v)),
    "warnings": (lambda t: t.is_warn_always_enabled(), lambda t, v: t.set_warn_always(v)),
    "anomaly": (lambda t: (t.is_anomaly_enabled(), t.is_anomaly_check_nan_enabled()),
                lambda t, v: t.autograd.set_detect_anomaly(*v)),
}
_DEFAULTS = {"dtype": "torch.float32", "device": "cpu", "grad": True, "deterministic": (False, False),
             "precision": "highest", "hook": 0, "warnings": False, "anomaly": (False, True),
             "cudnn": (False, False, True),
             "print": [("edgeitems", 3), ("linewidth", 80), ("precision", 4), ("sci_mode", None), ("threshold", 1000)]}


def _set_cudnn(cudnn: Any, value: tuple[bool, ...]) -> None:
    cudnn.benchmark, cudnn.deterministic, cudnn.enabled = value


def _now() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if not hasattr(torch, "get_default_dtype"):
        return {}
    found = {}
    for name, (get, _) in _SETTINGS.items():
        try:
            found[name] = get(torch)
        except AttributeError:  # not in this version
            continue
    _DEFAULTS.setdefault("threads", found.get("threads"))
    return found


def _registered() -> list[str]:
    """What the program has registered with torch for all modules and optimizers, or as operators."""
    found = []
    for module in ("torch.nn.modules.module", "torch.optim.optimizer"):
        space = vars(sys.modules[module]) if module in sys.modules else {}
        found += [n for n, v in space.items() if n.startswith("_global_") and n.endswith("_hooks") and len(v)]
    operators = dict(getattr(sys.modules.get("torch._library.custom_ops"), "OPDEFS", {}))
    return found + [n for n, v in operators.items() if getattr(v._init_fn, "__module__", "") == "__main__"]


def capture() -> bytes:
    """Those that differ from the defaults; empty while torch is not loaded.

    ValueError for what the program has registered with torch itself, which cannot be restored.
    """
    found = _registered()
    if found:
        raise ValueError(f"{found[0]} is registered with torch")
    changed = sorted((k, v) for k, v in _now().items() if v != _DEFAULTS.get(k))
    return canonical.dumps(changed) if changed else b""


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    import torch
    changed = dict(pickle.loads(state)) if state else {}
    for name, value in _now().items():
        wanted = changed.get(name, _DEFAULTS.get(name))
        if wanted != value:
            _SETTINGS[name][1](torch, wanted)
