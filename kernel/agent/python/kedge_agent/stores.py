"""Which attributes a cell's code may set, and which names its functions may bind."""
from __future__ import annotations

import ast
import dis
import types
from collections.abc import Iterable

_STORES = {dis.opmap["STORE_ATTR"], dis.opmap["DELETE_ATTR"]}
_BINDS = {dis.opmap["STORE_GLOBAL"]}
# Names through which code sets attributes that its opcodes do not name.
_INDIRECT = {"setattr", "delattr", "__setattr__", "__delattr__", "__dict__", "vars", "patch", "MonkeyPatch"}


def attributes(codes: Iterable[types.CodeType]) -> set[str]:
    """The names of the attributes that any of codes stores or deletes."""
    found: set[str] = set()
    for code in codes:
        if _INDIRECT.intersection(code.co_names):
            found |= set(_words(code.co_consts))
        found |= _named(code, _STORES)
    return found


def names(codes: Iterable[types.CodeType]) -> set[str]:
    """The names that any of codes binds as global ones."""
    return {name for code in codes for name in _named(code, _BINDS)}


def _named(code: types.CodeType, steps: set[int]) -> set[str]:
    """The names that code has these steps with."""
    found: set[str] = set()
    raw, extended = code.co_code, 0
    for i in range(0, len(raw), 2):
        if raw[i] == dis.EXTENDED_ARG:
            extended = (extended | raw[i + 1]) << 8
            continue
        if raw[i] in steps and extended | raw[i + 1] < len(code.co_names):
            found.add(code.co_names[extended | raw[i + 1]])
        extended = 0
    return found


def deletes(codes: Iterable[types.CodeType]) -> bool:
    """Whether any of codes deletes attributes."""
    steps = (step for code in codes for step in dis.get_instructions(code))
    return any(step.opname == "DELETE_ATTR" or step.argval == "delattr" for step in steps)


def made_up(tree: ast.AST) -> list[str]:
    """The objects, as the code has them, of which it sets attributes by names that it makes up as it runs."""
    return [ast.unparse(n.args[0]) for n in ast.walk(tree) if isinstance(n, ast.Call) and len(n.args) > 1
            and isinstance(n.func, ast.Name) and n.func.id == "setattr" and not isinstance(n.args[1], ast.Constant)]


def _words(constants: Iterable[object]) -> Iterable[str]:
    """The identifiers in strings among constants: those of "os.path.exists", and names of arguments."""
    for value in constants:
        if isinstance(value, tuple):
            yield from _words(value)
        elif isinstance(value, str):
            yield from (part for part in value.split(".") if part.isidentifier())


def dotted(node: ast.AST | None) -> list[str]:
    """The parts of a dotted name; none if node is something else."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    return [node.id, *path] if isinstance(node, ast.Name) else []


def roots(tree: ast.AST) -> list[list[str]]:
    """The dotted names whose attributes a cell may set by other names than its code shows: setattr(numpy, …)."""
    found = []
    for node in ast.walk(tree):
        obj: ast.AST | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _INDIRECT and node.args:
            obj = node.args[0]
        elif isinstance(node, ast.Attribute) and node.attr in _INDIRECT:
            obj = node.value
        if path := dotted(obj):
            found.append(path)
    return found


def targets(tree: ast.AST) -> list[list[str]]:
    """The dotted targets that a cell assigns to or deletes: numpy.random.foo = … is [numpy, random, foo]."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load):
            continue
        if path := dotted(node):
            found.append(path)
    return found
