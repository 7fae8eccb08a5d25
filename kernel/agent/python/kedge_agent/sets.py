"""Sets with the layout of their tables, on which the order of iteration and of pop depends."""
from __future__ import annotations

import ctypes
from typing import Any

_FILL, _USED, _MASK, _TABLE, _HASH, _FINGER = range(2, 8)  # words of a PySetObject
_WORD = ctypes.sizeof(ctypes.c_ssize_t)


def _words(obj: Any) -> Any:
    return (ctypes.c_ssize_t * 8).from_address(id(obj))


def _table(obj: Any) -> Any:
    head = _words(obj)
    return (ctypes.c_ssize_t * (2 * (head[_MASK] + 1))).from_address(head[_TABLE])


def _dummy() -> int:
    """The address that marks a slot whose element was removed."""
    one = {1}
    one.discard(1)
    return _table(one)[2]


DUMMY = _dummy()


def layout(obj: Any) -> tuple[int, int, list[int], list[int], list[Any]]:
    """(mask, finger, slots of elements, slots of removed ones, elements in order of slots)."""
    head, table = _words(obj), _table(obj)
    items = list(obj)
    slots, removed = [], []
    for i, key in enumerate(table[::2]):
        if key == DUMMY:
            removed.append(i)
        elif key:
            slots.append(i)
    finger = head[_FINGER] if type(obj) is set else 0
    return head[_MASK], finger, slots, removed, items


def _room(kind: type, size: int) -> Any:
    """A new set with a table of size slots; what it holds is to be replaced."""
    return kind() if kind is set and size == 8 else kind(set(range(max(5, size // 4) if size > 8 else 1)))


def fill(obj: Any, state: tuple[Any, ...]) -> None:
    """Give a new set the table of state. ValueError if it cannot work as a set here."""
    mask, finger, slots, removed, items = state
    if not obj:
        obj.update(_room(set, mask + 1))
    head = _words(obj)
    if head[_MASK] != mask or len(items) != len(slots):
        raise ValueError("a set cannot be laid out as it was")
    hashes = [hash(x) for x in items]
    table = _table(obj)
    for key in list(table[::2]):
        if key and key != DUMMY:
            ctypes.pythonapi.Py_DecRef(ctypes.c_void_p(key))
    ctypes.memset(head[_TABLE], 0, 2 * _WORD * (mask + 1))
    for i in removed:
        table[2 * i], table[2 * i + 1] = DUMMY, -1
    for i, x, h in zip(slots, items, hashes, strict=True):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(x))
        table[2 * i], table[2 * i + 1] = id(x), h
    head[_FILL], head[_USED], head[_FINGER] = len(items) + len(removed), len(items), finger
    if not all(x in obj for x in items):
        raise ValueError("a set in the order of addresses cannot be laid out again")


def frozen(state: tuple[Any, ...]) -> frozenset[Any]:
    """The frozenset of state."""
    made = _room(frozenset, state[0] + 1)
    fill(made, state)
    return made


class Shape:
    """Stands for one set in a stream."""

    def __init__(self, obj: Any) -> None:
        self.obj = obj

    def reduce(self) -> tuple[Any, ...]:
        """A reduction that gives the set itself."""
        if type(self.obj) is frozenset:
            return frozen, (layout(self.obj),)
        return set, (), layout(self.obj), None, None, fill
