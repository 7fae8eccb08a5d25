"""What is refused by its type: a copy would not be the same thing."""
from __future__ import annotations

import io
import types
from typing import Any

from . import closedfiles, live

_KINDS = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.TracebackType)
# Classes, with those that inherit from them, whose objects stand for something outside of themselves.
_NAMED = {
    ("tempfile", "TemporaryDirectory"), ("tempfile", "_TemporaryFileWrapper"), ("tempfile", "_TemporaryFileCloser"),
    ("threading", "Thread"), ("subprocess", "Popen"), ("multiprocessing.process", "BaseProcess"),
    ("multiprocessing.connection", "_ConnectionBase"), ("multiprocessing.connection", "Listener"),
    ("multiprocessing.pool", "Pool"), ("multiprocessing.managers", "BaseManager"),
    ("numpy", "memmap"), ("mmap", "mmap"), ("_queue", "SimpleQueue"), ("queue", "Queue"),
    ("xgboost.core", "DMatrix"), ("socket", "socket"), ("select", "epoll"), ("contextvars", "Context"),
    ("_contextvars", "Context"), ("_contextvars", "ContextVar"), ("concurrent.futures._base", "Executor"),
    ("concurrent.futures._base", "Future"), ("asyncio.events", "AbstractEventLoop"), ("_asyncio", "Future"),
    ("asyncio.futures", "Future"), ("sqlite3", "Connection"),
    ("torch.jit._script", "ScriptModule"), ("torch._C", "ScriptFunction"), ("torch.fx.graph_module", "GraphModule"),
    ("torch._dynamo.eval_frame", "OptimizedModule"), ("torch.library", "Library"),
    ("torch._library.custom_ops", "CustomOpDef"), ("torch.utils.data.dataloader", "_BaseDataLoaderIter"),
    ("ipywidgets.widgets.widget", "Widget"), ("comm.base_comm", "BaseComm"),
}
_MEMORY = {("_io", "BytesIO"), ("_io", "StringIO")}


class Uncapturable(Exception):
    """A thing without a captured form, and why. odd says whether code of the program ran on the way."""

    def __init__(self, why: str = "", odd: bool = False) -> None:
        super().__init__(why)
        self.odd = odd


def title(kind: type) -> str:
    """The name of a type with its module."""
    return f"{live.module(kind)}.{live.name(kind)}"


def refuse(obj: Any, where: live.Live) -> None:
    """Uncapturable if obj is of a kind that has no captured form."""
    kind = type(obj)
    if where.slow and title(kind) in where.slow:
        raise Uncapturable("took too long to pickle before")
    file = issubclass(kind, io.IOBase) and (live.module(kind), live.name(kind)) not in _MEMORY
    if issubclass(kind, _KINDS) or file and not closedfiles.is_closed(obj):
        raise Uncapturable(f"is a {title(kind)}")
    for base in type.mro(kind)[:-1]:
        if (live.module(base), live.name(base)) in _NAMED:
            raise Uncapturable(f"is a {title(kind)}")
