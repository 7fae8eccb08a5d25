"""Which names of the user's namespace are the user's."""
from __future__ import annotations

import re
import sys
import types
from typing import Any

HISTORY = re.compile(r"_+|_i+|_i?\d+|_[dio]h|In|Out|__annotations__|__annotate__|__builtins?__|__warningregistry__")
_LIBRARIES = ("numpy", "pandas", "polars", "pyarrow")
_GIVEN = re.compile(r"get_ipython|exit|quit|open|__\w+__")


def given(ns: dict[str, Any], hidden: dict[str, Any]) -> dict[str, Any]:
    """What IPython has put into a namespace in which no cell has run."""
    return {k: v for k, v in ns.items() if isinstance(k, str) and (_GIVEN.fullmatch(k) or hidden.get(k, ns) is v)}


def user_names(ns: dict[str, Any], given: dict[str, Any], taken: bool = False) -> dict[str, Any]:
    """The name → object table without what IPython itself put there: the history, and what was given at the start.

    If a cell has taken the name _ that is a name of the user.
    """
    return {
        k: v for k, v in list(ns.items())
        if isinstance(k, str) and (taken and k == "_" or not HISTORY.fullmatch(k))
        and not (k in given and given[k] is v)
    }


def _size(value: Any) -> int:
    """The bytes of a value, by C code alone.

    pandas makes a series of each column to add them up, which pandas 2 then keeps in the frame.
    """
    found = next(vars(c)["__sizeof__"] for c in type.mro(type(value)) if "__sizeof__" in vars(c))
    if type(found) is not types.FunctionType:
        return sys.getsizeof(value)
    held = getattr(value, "__dict__", {})
    parts = [b.values for b in getattr(held.get("_mgr"), "blocks", ())] or [held.get("_data")]
    known = [p for p in parts if type(p).__module__.split(".")[0] in _LIBRARIES]
    return sum(int(p.nbytes) for p in known) or object.__sizeof__(value)


def describe(name: str, value: Any) -> dict[str, Any]:
    """A variable for people: never calls code of the notebook."""
    out: dict[str, Any] = {"name": name, "type": type(value).__qualname__,
                           "size": _size(value) if type(value).__module__ != "__main__" else 0}
    if type(value).__module__.split(".")[0] in _LIBRARIES and not isinstance(value, type):
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple):
            out["shape"] = [int(n) for n in shape]
    if type(value) in (list, tuple, dict, set, frozenset, str, bytes):
        out["length"] = len(value)
    if type(value) in (int, float, bool, str, type(None)):
        short = value[:80] if type(value) is str else value
        out["shown"] = repr(short)[:80] if type(value) is not int or abs(value) < 1 << 256 else ""
    return out
