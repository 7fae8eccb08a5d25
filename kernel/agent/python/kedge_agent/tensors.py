"""Torch's tensors as views of storages, each of which is saved once, whoever shares it.

Torch is never imported here: what asks for it runs only where the program has loaded it, or reads back what it had.
"""
from __future__ import annotations

import contextlib
import ctypes
import pickle
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from . import forked
from .refused import Uncapturable

_KINDS = {("torch", "Tensor"), ("torch.nn.parameter", "Parameter")}
_COMPRESSED = {"torch.sparse_csr": ("crow_indices", "col_indices"), "torch.sparse_bsr": ("crow_indices", "col_indices"),
               "torch.sparse_csc": ("ccol_indices", "row_indices"), "torch.sparse_bsc": ("ccol_indices", "row_indices")}
_compare = ctypes.CDLL(None).memcmp
_compare.argtypes, _compare.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int


def tensor_class() -> Any:
    """What every class of tensors inherits from, if the program has loaded torch, else an empty tuple."""
    return getattr(sys.modules.get("torch._C"), "TensorBase", ())


def storage_class() -> Any:
    """The class of storages if the program has loaded torch, else an empty tuple."""
    return getattr(sys.modules.get("torch.storage"), "UntypedStorage", ()) if tensor_class() else ()


def is_tensor(kind: type) -> bool:
    """Whether kind is a class of tensors."""
    return issubclass(kind, tensor_class())


def is_exact(kind: type) -> bool:
    """Whether kind is a class of torch's own whose tensors have a captured form."""
    return is_tensor(kind) and (kind.__module__, kind.__qualname__) in _KINDS


@contextlib.contextmanager
def plainly() -> Iterator[Any]:
    """Torch, while neither default devices nor modes of the program have a say, and no gradients are recorded."""
    import torch
    with torch._C.DisableTorchFunction(), torch.no_grad():
        yield torch


def dense(tensor: Any) -> bool:
    """Whether a tensor is a view of one storage in memory."""
    return is_exact(type(tensor)) and tensor.device.type == "cpu" and str(tensor.layout) == "torch.strided" and not (
        tensor.is_nested or tensor.is_quantized)


def storage(obj: Any) -> Any:
    """The storage that obj is, or is a view of; None if there is none in memory."""
    if issubclass(type(obj), storage_class()):
        return obj if obj.device.type == "cpu" else None
    if not is_tensor(type(obj)) or not is_exact(type(obj)):
        return None
    with plainly():
        return obj.untyped_storage() if dense(obj) else None


def span(obj: Any) -> tuple[int, int] | None:
    """(address, length) of the memory of a storage or of a tensor's; None where there is none."""
    held = storage(obj)
    return (held.data_ptr(), held.nbytes()) if held is not None and held.nbytes() else None


def raw(start: int, length: int) -> Any:
    """The memory there, as an object that gives a buffer."""
    return (ctypes.c_char * length).from_address(start)


def parts(tensor: Any) -> list[Any]:
    """What a tensor holds and a snapshot of it must hold too."""
    with plainly():
        held = [object.__getattribute__(tensor, "__dict__"), tensor._backward_hooks,
                getattr(tensor, "_post_accumulate_grad_hooks", None)]
        if tensor.grad_fn is not None:
            return held
        return [*held, tensor.grad, tensor._base, *(_inner(tensor) or ((), {}))[0]]


def others(tensor: Any) -> dict[str, Any]:
    """The tensors that one refers to, by attribute."""
    with plainly():
        return {} if tensor.grad_fn is not None else {"grad": tensor.grad, "_base": tensor._base}


def _inner(tensor: Any) -> tuple[list[Any], tuple[Any, ...]] | None:
    """(the tensors that a sparse one is made of, what else it is made of); None for others."""
    layout = str(tensor.layout)
    if layout == "torch.sparse_coo":
        return [tensor._indices().detach(), tensor._values().detach()], (tuple(tensor.shape), tensor.is_coalesced())
    if layout in _COMPRESSED:
        first, second = (getattr(tensor, n)() for n in _COMPRESSED[layout])
        return [first.detach(), second.detach(), tensor.values().detach()], (tuple(tensor.shape), layout)
    return None


def _refuse(tensor: Any) -> None:
    """Uncapturable, with the reason, for a tensor that has no captured form."""
    if not is_exact(type(tensor)):
        raise Uncapturable(f"is a tensor of a class of its own, {type(tensor).__module__}.{type(tensor).__qualname__}")
    if tensor.device.type != "cpu":
        raise Uncapturable(f"is a tensor on the device {tensor.device}")
    if tensor.grad_fn is not None:
        raise Uncapturable(f"is a tensor with a graph of how it was computed ({type(tensor.grad_fn).__name__}); "
                           "detach() gives one without")
    for what, there in (("quantised", tensor.is_quantized), ("nested", tensor.is_nested),
                        ("in the layout of mkldnn", tensor.is_mkldnn),
                        ("with named dimensions", any(n is not None for n in getattr(tensor, "names", ()))),
                        ("of zeros that are not stored", tensor._is_zerotensor())):
        if there:
            raise Uncapturable(f"is a tensor {what}")
    if not dense(tensor) and _inner(tensor) is None:
        raise Uncapturable(f"is a tensor of the layout {tensor.layout}")


def _refuse_shared(held: Any) -> None:
    """Uncapturable for a storage in memory that is not this process's alone."""
    if held.is_shared() or not held.resizable() and _mapped(held.data_ptr()):
        raise Uncapturable("lies in memory that it shares with a file or with other processes")


class Tensors:
    """The reductions of one stream's tensors and storages; memories are those of its arrays (arrays.py)."""

    def __init__(self, memories: Any) -> None:
        self._memories = memories
        self._storages: dict[int, Any] = {}  # by address of what torch itself has of them

    def reduce(self, tensor: Any) -> Any:
        """The reduction of a tensor. Uncapturable, with the reason, if it has none."""
        with plainly():
            _refuse(tensor)
            state = (tensor.grad, dict(vars(tensor)), tensor._backward_hooks,
                     getattr(tensor, "_post_accumulate_grad_hooks", None))
            flags = (type(tensor).__name__ == "Parameter", bool(tensor.requires_grad), bool(tensor.is_inference()))
            inner = _inner(tensor)
            if inner is not None:
                return make_sparse, (*inner, flags), state, None, None, fill
            layout = (tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset(),
                      bool(tensor.is_conj()), bool(tensor.is_neg()))
            held = tensor.untyped_storage()
            _refuse_shared(held)
            if tensor._base is not None:
                meta = _creation(tensor)
                return make_view, (tensor._base, layout, flags, meta), state, None, None, fill
            held = self._storages.setdefault(held._cdata, held)
        return make_tensor, (held, layout, flags), state, None, None, fill

    def storage(self, held: Any) -> tuple[Any, ...]:
        """The reduction of a storage."""
        if held.device.type != "cpu":
            raise Uncapturable(f"is memory of the device {held.device}")
        _refuse_shared(held)
        found = span(held)
        if found is None:
            return make_storage, (b"",)
        start, length, holder = self._memories.whole(*found)
        if not held.resizable():
            memory = self._memories.memory(start, holder or raw(start, length))
            return share_storage, (memory, found[0] - start, found[1])
        if (start, length) != found or holder is not None:
            raise Uncapturable("lends its memory to something that is no tensor")
        return make_storage, (pickle.PickleBuffer(raw(*found)),)


def _creation(tensor: Any) -> str:
    """How a view came to be, by torch's own word."""
    get = getattr(sys.modules["torch._C"]._autograd, "_get_creation_meta", None)
    return str(get(tensor)).rpartition(".")[2] if get is not None else ""


def _mapped(address: int) -> bool:
    """Whether what is written at an address is seen by a file or another process."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            where, flags = line.split(maxsplit=2)[:2]
            start, _, end = where.partition("-")
            if int(start, 16) <= address < int(end, 16):
                return flags.endswith("s")
    return False


def make_storage(data: Any) -> Any:
    """A storage of torch's own with a copy of data; in a fork, where it is only looked at, with data itself."""
    import torch
    length = len(data)
    if length and forked.inside():
        return share_storage(data, 0, length)
    made = torch.UntypedStorage(length)
    if length:
        source = (ctypes.c_char * length).from_buffer(data) if not memoryview(data).readonly else bytes(data)
        ctypes.memmove(made.data_ptr(), source, length)
    return made


@contextlib.contextmanager
def _unheard(readonly: bool) -> Iterator[None]:
    """Without the warning about memory that is read-only, which was given when the tensor was made."""
    if not readonly:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def share_storage(memory: Any, offset: int, length: int) -> Any:
    """A storage over memory that others have too."""
    with plainly() as torch, _unheard(memoryview(memory).readonly):
        return torch.frombuffer(memory, dtype=torch.uint8, offset=offset, count=length).untyped_storage()


@contextlib.contextmanager
def _mode(inference: bool) -> Iterator[Any]:
    """plainly, for a tensor that was made in inference mode or was not."""
    import torch
    with torch.inference_mode(inference), plainly():
        yield torch


def _finish(torch: Any, made: Any, conj: bool, neg: bool, flags: tuple[bool, ...]) -> Any:
    made = torch._conj(made) if conj else made
    made = torch._neg_view(made) if neg else made
    if flags[0]:
        return torch.Tensor._make_subclass(torch.nn.Parameter, made, flags[1])
    return made.requires_grad_() if flags[1] else made


def make_tensor(held: Any, layout: tuple[Any, ...], flags: tuple[bool, ...]) -> Any:
    """A tensor that is a view of a storage and of no other tensor."""
    dtype, shape, strides, offset, conj, neg = layout
    with _mode(flags[2]) as torch:
        made = torch.empty(0, dtype=dtype, device="cpu").set_(held, offset, shape, strides)
        if conj:
            made._set_conj(True)
        if neg:
            made._set_neg(True)
        return _finish(torch, made, False, False, flags)


def _seen_as(torch: Any, flat: Any, dtype: Any) -> Any:
    """A tensor in one dimension as a view of it with elements of another type."""
    if flat.is_complex() and not dtype.is_complex:
        return torch.view_as_real(flat)
    if dtype.is_complex and not flat.is_complex():
        return torch.view_as_complex(flat[:len(flat) // 2 * 2].view(-1, 2))
    return flat.view(dtype)


def make_view(base: Any, layout: tuple[Any, ...], flags: tuple[bool, ...], meta: str) -> Any:
    """A tensor that knows of which other it is a view."""
    dtype, shape, strides, offset, conj, neg = layout
    with _mode(flags[2]) as torch:
        made = base
        if dtype != base.dtype:
            count = base.untyped_storage().nbytes() // base.element_size()
            made = _seen_as(torch, base.as_strided((count,), (1,), 0), dtype)
        made = made.as_strided(shape, strides, offset)
        made = _finish(torch, made, conj != made.is_conj(), neg != made.is_neg(), flags)
        if meta and _creation(made) != meta:
            kinds = torch._C._autograd.CreationMeta
            torch._C._autograd._set_creation_meta(made, getattr(kinds, meta))
        return made


def make_sparse(inner: list[Any], rest: tuple[Any, ...], flags: tuple[bool, ...]) -> Any:
    """A sparse tensor over the tensors that it is made of."""
    with _mode(flags[2]) as torch:
        if len(inner) == 2:
            made = torch.sparse_coo_tensor(*inner, rest[0], is_coalesced=rest[1], check_invariants=False)
        else:
            layout = getattr(torch, rest[1].partition(".")[2])
            made = torch.sparse_compressed_tensor(*inner, rest[0], layout=layout, check_invariants=False)
        return _finish(torch, made, False, False, flags)


def fill(tensor: Any, state: tuple[Any, ...]) -> None:
    """Give a tensor what it holds."""
    grad, attributes, hooks, late = state
    with plainly():
        if grad is not None:
            tensor.grad = grad
        if hooks is not None:
            tensor._backward_hooks = hooks
        if late is not None:
            tensor._post_accumulate_grad_hooks = late
    vars(tensor).update(attributes)


def differs(a: Any, b: Any) -> bool:
    """Whether two tensors of one class differ in what they are, apart from what they hold."""
    with plainly():
        return _facts(a) != _facts(b)


def _facts(t: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = (t.dtype, t.device, t.layout, tuple(t.shape), t.requires_grad, t.is_inference(), t.is_leaf)
    if dense(t):
        found += (t.stride(), t.storage_offset(), t.is_conj(), t.is_neg(), t._is_view(),
                  t._is_view() and _creation(t), t.untyped_storage().nbytes())
    return found


def same_bytes(a: int, b: int, length: int) -> bool:
    """Whether the memory at two addresses holds the same."""
    return a == b or _compare(a, b, length) == 0
