"""The annotations of the notebook's variables (``x: int = 3``), which a cell that is restored would have noted."""
from __future__ import annotations

import ast
import sys
from typing import Any

from . import normalise

_QUIET = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.BinOp, ast.BitOr, ast.Load)


def note(source: str, ns: dict[str, Any]) -> None:
    """Note what the statements of a cell say; ValueError where only running it would tell."""
    if sys.version_info >= (3, 14):  # they are kept as a function, by the cell that came last
        return
    try:
        tree = ast.parse(normalise.transform(source))
    except SyntaxError:  # a top-level await
        return
    found = [s for s in tree.body if isinstance(s, ast.AnnAssign)]
    if len(found) != sum(isinstance(n, ast.AnnAssign) for s in tree.body for n in _here(s)):
        raise ValueError("it may annotate variables")
    table = {}
    for s in found:
        if not all(isinstance(n, _QUIET) for n in ast.walk(s.annotation)):
            raise ValueError("its annotations call something")
        if isinstance(s.target, ast.Name) and s.simple:
            table[s.target.id] = eval(compile(ast.Expression(s.annotation), "<annotation>", "eval"), ns)
    if found:
        ns.setdefault("__annotations__", {}).update(table)


def _here(s: ast.AST) -> list[ast.AST]:
    """A statement and those in it that run in the same namespace."""
    if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return [s]
    return [s, *(n for child in ast.iter_child_nodes(s) for n in _here(child))]
