"""The place of what was registered with codecs: search functions and error handlers.

The interpreter shows neither table; both are lists and dicts that the garbage collector knows.
"""
from __future__ import annotations

import codecs
import encodings
import gc
from typing import Any

NAME = "codecs"
_searches: list[Any] = []  # the interpreter's own list, in here
_errors: list[dict[str, Any]] = []  # its dict of error handlers, likewise
_START: tuple[list[Any], dict[str, Any]] = [], {}


def _find() -> None:
    for found in gc.get_referrers(encodings.search_function):
        if type(found) is list and found is not _searches and found[:1] == [encodings.search_function]:
            _searches[:] = [found]
    for table in gc.get_referrers(codecs.lookup_error("xmlcharrefreplace")):
        if type(table) is dict and {"strict", "xmlcharrefreplace"} <= table.keys() and "__name__" not in table:
            _errors[:] = [table]


_find()


def start() -> None:
    """See places.Place."""
    _START[0][:] = _list()
    _START[1].clear()
    _START[1].update(_table())


def _list() -> list[Any]:
    return list(_searches[0]) if _searches else []


def _table() -> dict[str, Any]:
    return dict(_errors[0]) if _errors else {}


def entries() -> dict[str, Any]:
    """See places.Place: the search functions in order, handlers by name."""
    found: dict[str, Any] = {}
    more = [f for f in _list() if not any(f is old for old in _START[0])]
    if more:
        found["search functions"] = more
    for name, handler in _table().items():
        if _START[1].get(name) is not handler:
            found[f"error handler {name}"] = handler
    return found


def bind(name: str, value: Any) -> None:
    """See places.Place."""
    if name != "search functions":
        codecs.register_error(name.removeprefix("error handler "), value)
        return
    unbind(name)
    for function in value:
        codecs.register(function)


def unbind(name: str) -> None:
    """See places.Place."""
    if name == "search functions":
        for function in entries().get(name, ()):
            codecs.unregister(function)
        return
    title = name.removeprefix("error handler ")
    if title in _START[1]:
        codecs.register_error(title, _START[1][title])
    elif _errors:
        _errors[0].pop(title, None)
