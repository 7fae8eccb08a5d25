"""Files that are closed: ``with open(…) as f`` leaves one behind in most notebooks.

A closed file holds nothing of the world any more. What is left to look at is its name, its mode, how it encoded text
and which line ends it has read; all of it is made again over /dev/null, or over a pipe with line ends to read.
"""
from __future__ import annotations

import io
import os
import sys
from typing import Any

_BUFFERED = (io.BufferedReader, io.BufferedWriter, io.BufferedRandom)


def _alone() -> int:
    """References to what only its wrapper holds: the wrapper's, a variable's and, before Python 3.14, an argument's."""
    held = [object()]
    inner = held[0]
    return sys.getrefcount(inner)


_ALONE = _alone()


def is_closed(obj: Any) -> bool:
    """Whether obj is a closed file that can be made again."""
    kind = type(obj)
    try:
        if kind is io.TextIOWrapper:
            inner = obj.buffer
            return (obj.closed and sys.getrefcount(inner) == _ALONE and _buffered(inner, 1)
                    and (obj.newlines is None or type(inner) is io.BufferedReader))
        if kind in _BUFFERED:
            return _buffered(obj, 0)
        return kind is io.FileIO and obj.closed and obj.closefd and type(obj.name) in (str, bytes)
    except Exception:  # detached, or not initialised
        return False


def _buffered(obj: Any, wrappers: int) -> bool:
    """is_closed for a buffer; a text wrapper around it keeps the file below it too."""
    raw = obj.raw
    return (type(obj) in _BUFFERED and obj.closed and sys.getrefcount(raw) == _ALONE + wrappers
            and type(raw) is io.FileIO and is_closed(raw))


def reduce(obj: Any) -> Any:
    """The reduction of a closed file; NotImplemented for anything else."""
    if not is_closed(obj):
        return NotImplemented
    layers = [obj]
    while type(layers[-1]) is not io.FileIO:
        layers.append(layers[-1].buffer if type(layers[-1]) is io.TextIOWrapper else layers[-1].raw)
    held = tuple({k: v for k, v in vars(f).items() if not k.startswith("__IOBase")} for f in layers)
    text = None
    if type(obj) is io.TextIOWrapper:
        text = (obj.encoding, obj.errors, obj.line_buffering, obj.write_through, obj.newlines)
    return make, (tuple(type(f).__name__ for f in layers), layers[-1].mode, text, held)


def make(kinds: tuple[str, ...], mode: str, text: Any, held: tuple[dict[str, Any], ...]) -> Any:
    """A file like that, and closed. It never opens what it is named after."""
    seen = text[-1] if text is not None else None
    if seen is None:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    else:
        descriptor, end = os.pipe()
        os.write(end, ("".join(seen) if isinstance(seen, tuple) else seen).encode(text[0]))
        os.close(end)
    made: Any = io.FileIO(descriptor, mode)
    layers = [made]
    for kind in reversed(kinds[:-1]):
        if kind == "TextIOWrapper":
            made = io.TextIOWrapper(made, text[0], text[1], None, text[2], text[3])
        else:
            made = getattr(io, kind)(made)
        layers.append(made)
    if seen is not None:
        made.read()
    made.close()
    for layer, attributes in zip(layers, reversed(held), strict=True):
        for key, value in attributes.items():
            setattr(layer, key, value)
    return made
