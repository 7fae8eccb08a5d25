"""Which attributes a cell's code may set."""
from __future__ import annotations

import ast
import dis
import types
from collections.abc import Iterable

_STORES = {dis.opmap["STORE_ATTR"], dis.opmap["DELETE_ATTR"]}
# Names through which code sets attributes that its opcodes do not name.
_INDIRECT = {"setattr", "delattr", "__setattr__", "__delattr__", "__dict__", "vars", "patch", "MonkeyPatch"}


def attributes(codes: Iterable[types.CodeType]) -> set[str]:
    """The names of the attributes that any of codes stores or deletes."""
    found: set[str] = set()
    for code in codes:
        if _INDIRECT.intersection(code.co_names):
            words = (part for c in code.co_consts if isinstance(c, str) for part in c.split("."))  # "os.path.exists"
            found |= {word for word in words if word.isidentifier()}
        raw, extended = code.co_code, 0
        for i in range(0, len(raw), 2):
            if raw[i] == dis.EXTENDED_ARG:
                extended = (extended | raw[i + 1]) << 8
                continue
            if raw[i] in _STORES and extended | raw[i + 1] < len(code.co_names):
                found.add(code.co_names[extended | raw[i + 1]])
            extended = 0
    return found


def targets(tree: ast.AST) -> list[list[str]]:
    """The dotted targets that a cell assigns to or deletes: numpy.random.foo = … is [numpy, random, foo]."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load):
            continue
        path, obj = [node.attr], node.value
        while isinstance(obj, ast.Attribute):
            path.append(obj.attr)
            obj = obj.value
        if isinstance(obj, ast.Name):
            found.append([obj.id, *reversed(path)])
    return found
