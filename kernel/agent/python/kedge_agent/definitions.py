"""Whether importing a module does nothing but define what the module holds.

Such a module's source matters to those only that reach the module. One that does more, such as setting an option
or registering with a library, may matter to all code that runs later.
"""
from __future__ import annotations

import ast
import tokenize


def only(path: str | None) -> bool:
    """Whether the source file at path holds imports, definitions and assignments to its own names only."""
    try:
        with tokenize.open(path or "") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return False
    return all(map(_defines, tree.body))


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.Pass)):
        return True
    if isinstance(node, ast.ClassDef):
        return all(map(_defines, node.body))
    if isinstance(node, ast.Assign):
        return all(map(_own, node.targets))
    if isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        return _own(node.target)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return all(map(_defines, node.body + node.orelse))
    if isinstance(node, ast.Try):
        handled = [stmt for handler in node.handlers for stmt in handler.body]
        return all(map(_defines, node.body + handled + node.orelse + node.finalbody))
    return type(node).__name__ == "TypeAlias"


def _own(target: ast.expr) -> bool:
    """Whether an assignment to target binds names of the module."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return all(map(_own, target.elts))
    return isinstance(target.value if isinstance(target, ast.Starred) else target, ast.Name)
