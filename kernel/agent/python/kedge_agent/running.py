"""What goes on after a cell: threads and tasks that run code of the notebook."""
from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any


def frames() -> dict[int, Any]:
    """The innermost frames of the other threads.

    With its own a frame would hold itself, and what its callers hold would live until a collection.
    """
    found = sys._current_frames()
    del found[threading.get_ident()]
    return found


def threads(ns: dict[str, Any], before: set[int]) -> list[str]:
    """Threads that were not alive before and have a frame of the notebook's code."""
    found, others = [], frames()
    for thread in threading.enumerate():
        frame = others.get(thread.ident or 0)
        if thread.ident in before or thread is threading.current_thread():
            continue
        while frame is not None and frame.f_globals is not ns:
            frame = frame.f_back
        if frame is not None or any(notebook(f, ns) for f in (
                getattr(thread, "_target", None), getattr(thread, "function", None), type(thread).run)):
            found.append(f"thread {thread.name}")
    return found


def notebook(function: Any, ns: dict[str, Any]) -> bool:
    """Whether function is defined in the notebook."""
    return getattr(getattr(function, "__func__", function), "__globals__", None) is ns


def alive() -> set[int]:
    """The threads that are alive now."""
    return {t.ident for t in threading.enumerate() if t.ident is not None}


def tasks(ns: dict[str, Any]) -> list[str]:
    """Pending tasks of the running loop whose coroutine is the notebook's."""
    try:
        pending = asyncio.all_tasks()
    except RuntimeError:
        return []
    found = []
    for task in pending:
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and frame.f_globals is ns:
            found.append(f"task {task.get_name()}")
    return found
