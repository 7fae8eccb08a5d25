"""A kernel that is kept ready to take another's place: until it does, it has no session in IPython's history."""
from __future__ import annotations

import types
import uuid
from typing import Any

_begin: list[Any] = []  # HistoryManager.new_session, while this process waits


def wait() -> None:
    """This process is a spare: sessions that begin before it takes another's place are not noted."""
    from IPython.core.history import HistoryManager
    if not _begin:
        _begin.append(HistoryManager.new_session)
        HistoryManager.new_session = lambda self, conn=None: None  # type: ignore[method-assign]


def take_over(kernel: Any, content: dict[str, Any]) -> dict[str, Any]:
    """kedge_take_over: from now on the kernel is the one that clients know by this session and name.

    Its next subshells have the ids that clients know.
    """
    from IPython.core.history import HistoryManager
    if _begin:
        HistoryManager.new_session = _begin.pop()  # type: ignore[method-assign]
        kernel.shell.history_manager.new_session()
    kernel.session.session = content["session"]
    if content.get("name"):
        kernel.ident = content["name"]
    ids = list(content.get("subshells") or [])
    if ids:
        from ipykernel import subshell_manager

        def next_id() -> str:
            if len(ids) == 1:
                subshell_manager.uuid = uuid
            return str(ids.pop(0))

        subshell_manager.uuid = types.SimpleNamespace(uuid4=next_id)  # type: ignore[attr-defined]
    return {}


def register(kernel: Any) -> None:
    """Put kedge_take_over into kernel's table."""
    async def handle(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        try:
            reply = {"status": "ok", **take_over(kernel, parent["content"])}
        except BaseException as err:
            reply = {"status": "error", "reason": f"{type(err).__name__}: {err}"}
        kernel.session.send(stream, "kedge_take_over_reply", reply, parent, ident=ident)

    kernel.shell_handlers["kedge_take_over"] = handle
