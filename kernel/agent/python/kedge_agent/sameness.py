"""Whether code may ask if two equal numbers or strings are one object, which a restored cell does not always keep.

``x is y`` and ``id(x)`` can tell; what is compared with a constant, or with a name whose value has an identity that
is kept, cannot. It matters only where equal ones are met twice: in what is captured apart, or, for numbers, at all,
since pickle keeps no identity of numbers.
"""
from __future__ import annotations

import builtins
import dis
import sys
import types
from collections.abc import Iterable
from typing import Any

from . import atoms, frames
from .groups import children

_IS = dis.opmap["IS_OP"]
_NAMES = {"LOAD_NAME", "LOAD_GLOBAL"}
_CONSTANTS = {"LOAD_CONST", "LOAD_SMALL_INT", "LOAD_COMMON_CONSTANT"}
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))
_MOST = 50_000  # objects looked at; more are taken to hold equal ones


def _tells(code: types.CodeType, ns: dict[str, Any], binds: Iterable[str]) -> bool:
    if not {"id", "is_", "is_not"}.isdisjoint(code.co_names):
        return True
    if _IS not in code.co_code[::2]:
        return False
    before = None
    for step in dis.get_instructions(code):
        if step.opcode == _IS and before is not None and before.opname not in _CONSTANTS:
            name = before.argval if before.opname in _NAMES else None
            value = ns.get(name, getattr(builtins, str(name), None))
            if name is None or name in binds or value is not None and atoms.telling(value):
                return True
        if step.opname not in ("CACHE", "EXTENDED_ARG"):
            before = step
    return False


def _values(value: Any, ns: dict[str, Any], seen: dict[int, Any]) -> Iterable[Any]:
    """The atoms that value reaches past what was seen, some more than once. OverflowError if that is much."""
    work = [value]
    while work:
        obj = work.pop()
        if len(seen) + len(work) > _MOST:
            raise OverflowError
        if issubclass(type(obj), (types.ModuleType, type)) or obj is ns:
            continue
        if atoms.telling(obj) or type(obj) is str and len(obj) > 1:
            yield obj
        if id(obj) not in seen and not issubclass(type(obj), (str, bytes, int, float)):
            seen[id(obj)] = obj
            known = frames.parts(obj)
            if known is None:
                work.extend(children(obj, ns))
                continue
            work.extend(known[0])
            for one in known[1]:
                work.extend(frames.inside(one)[0])


APART = "apart"  # a restored cell may not leave them as they were
TOGETHER = "together"  # it does, but no digest tells


def asks(codes: Iterable[types.CodeType], values: dict[str, Any], ns: dict[str, Any], binds: Iterable[str]) -> str:
    """How equal ones of these values are kept of which code that reads them may see that they are one, or ""."""
    if not any(_tells(code, ns, binds) for code in codes):
        return ""
    found = ""
    seen: dict[int, Any] = {}
    left = [4 * _MOST]  # steps within tuples
    met: dict[tuple[type, Any], str] = {}  # where it was met; "" where it is the value of a name, see atoms.py
    numpy = sys.modules.get("numpy")
    numbers = (int, float, complex) if numpy is None else (int, float, complex, numpy.generic)
    try:
        for name, value in values.items():
            for atom in _values(value, ns, seen):
                where = "" if atom is value else name
                hashable = _hashable(atom, left)
                first = _meet(met, atom, where, hashable)
                if first is not None and (first != where or where and isinstance(atom, numbers)):
                    if hashable:
                        return APART
                    found = TOGETHER
    except (OverflowError, RecursionError):
        return APART
    return found


def _hashable(atom: Any, left: list[int]) -> bool:
    """Whether it holds nothing that has an identity, by which all who hold it would be captured together.

    Nothing is asked of what it holds, which may be the program's. OverflowError if that is more than what is left.
    """
    work = [atom]
    while work:
        one = work.pop()
        left[0] -= 1
        if left[0] < 0:
            raise OverflowError
        if type(one) in (tuple, frozenset):
            work.extend(one)
        elif type(one) not in _PLAIN and not atoms.telling(one):
            return False
    return True


def _meet(met: dict[tuple[type, Any], str], atom: Any, where: str, hashable: bool) -> str | None:
    """Where an equal one was met before."""
    key = (type(atom), atom) if hashable else (tuple, tuple(map(id, atom)))
    first = met.get(key)
    met.setdefault(key, where)
    return first
