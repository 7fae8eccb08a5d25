"""Jupyter widgets: whether those that a cell made do more than show something, and making them again."""
from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

_MODULE = "ipywidgets.widgets.widget"
_PREFIX = "IPY_MODEL_"


def alive() -> set[str]:
    """The ids of the widgets that the kernel has."""
    return set(_instances())


def _instances() -> dict[str, Any]:
    found = getattr(sys.modules.get(_MODULE), "_instances", None)
    return found if isinstance(found, dict) else {}


def refused(before: set[str]) -> list[str]:
    """Why what a cell made may not be made again from the state that front ends have."""
    module = sys.modules.get(_MODULE)
    if module is None:
        return []
    if getattr(module.Widget, "_widget_construction_callback", None) is not None:
        return ["asked to be called for each widget"]
    return [f"made a widget that {why}" for key, widget in list(_instances().items())
            if key not in before and (why := _reacts(widget, module))]


def _reacts(widget: Any, module: Any) -> str:
    """What is more to a widget than its state, or ""."""
    kind = type(widget)
    if not kind.__module__.startswith(("ipywidgets.", "tqdm.")):
        return f"is a {kind.__module__}.{kind.__name__}"
    for handlers in [*widget._trait_notifiers.values(), *widget._trait_validators.values()]:
        for handler in [h for hs in handlers.values() for h in hs] if isinstance(handlers, dict) else [handlers]:
            if not _own(handler, widget):
                return "calls back"
    for value in [*widget._trait_values.values(), *vars(widget).values()]:
        if issubclass(type(value), module.CallbackDispatcher) and value.callbacks:  # it may be a dead proxy
            return "calls back"
    channel = widget.comm
    if getattr(channel, "_msg_callback", None) != widget._handle_msg or getattr(channel, "_close_callback", None):
        return "calls back"
    if any(not name.startswith("_") and name != "pbar" for name in vars(widget)):
        return "has attributes of its own"
    return ""


def _own(handler: Any, widget: Any) -> bool:
    """Whether a handler is one that the class of widget brings along."""
    if type(handler).__module__ == "traitlets.traitlets":  # made by @observe or @validate
        return any(vars(cls).get(handler.name) is handler for cls in type(widget).__mro__)
    return getattr(handler, "__self__", None) is widget


def reopen(wanted: list[dict[str, Any]]) -> Callable[[], None]:
    """Make widgets again, each after those that it refers to, without a word to front ends.

    Returns what takes them back. An exception, after which none is there, says that they cannot be made as they were.
    """
    made: list[Any] = []

    def back() -> None:
        for widget in reversed(made):
            _silence(widget.comm)
            widget.close()

    if not wanted:
        return back
    import comm
    from ipywidgets.widgets import widget as module
    if module.Widget._widget_construction_callback is not None:
        raise ValueError("somebody asked to be called for each widget")
    try:
        for one in wanted:
            if one["id"] not in module._instances:
                made.append(_make(one, module, comm))
    except BaseException:
        back()
        raise
    return back


def _silence(channel: Any) -> None:
    """Nothing that goes through a comm reaches front ends from here on."""
    channel.publish_msg = lambda *_, **__: None


def _make(one: dict[str, Any], module: Any, comm: Any) -> Any:
    from ipykernel.kernelbase import Kernel
    state = dict(one["state"])
    for part in one["buffers"]:
        module._put_buffers(state, [part["path"]], [base64.b64decode(part["data"])])
    kind = module._registry.get(*(state[f"_{part}"] for part in (
        "model_module", "model_module_version", "model_name", "view_module", "view_module_version", "view_name")))
    values = {}
    for name, value in state.items():
        trait = kind.class_traits().get(name)
        if trait is not None and not trait.read_only:
            values[name] = (trait.metadata.get("from_json") or _resolved)(value, None)
    channel = comm.create_comm(target_name="jupyter.widget", comm_id=one["id"], primary=False)
    _silence(channel)
    comm.get_comm_manager().register_comm(channel)
    try:
        widget = kind(comm=channel, **values)
        _check(widget, state, module)
    except BaseException:
        comm.get_comm_manager().unregister_comm(channel)
        module._instances.pop(one["id"], None)
        raise
    del channel.publish_msg
    channel.kernel = Kernel.instance()  # as if it had opened it: without, a widget sends nothing
    return widget


def _resolved(value: Any, _: Any) -> Any:
    """A value of a state, with widgets in place of their ids."""
    if isinstance(value, str) and value.startswith(_PREFIX):
        return _instances().get(value[len(_PREFIX):], value)
    if isinstance(value, list):
        return [_resolved(v, None) for v in value]
    if isinstance(value, dict):
        return {k: _resolved(v, None) for k, v in value.items()}
    return value


def _check(widget: Any, state: dict[str, Any], module: Any) -> None:
    """ValueError unless a widget has the state that it should have."""
    def plain(values: dict[str, Any]) -> Any:
        rest, paths, buffers = module._remove_buffers(values)
        return json.loads(json.dumps(rest)), paths, [bytes(b) for b in buffers]
    got, want = plain(widget.get_state()), plain(state)
    if got != want:
        raise ValueError(f"the widget {type(widget).__name__} is not as it was")
