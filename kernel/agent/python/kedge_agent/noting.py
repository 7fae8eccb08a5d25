"""Notes that functions of libraries were called, out of the sight of programs.

A statement that notes the call is put before the first of a function's body. Nothing else of the function changes:
its text, its lines in tracebacks and its signature are as they were, and no frame is added.
"""
from __future__ import annotations
import __future__

import ast
import functools
import inspect
import os
import tokenize
import types
from collections.abc import Callable
from typing import Any

_MARK = "kedge: called"  # stands for the callable until the code is compiled
_FUTURES = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})


def note(function: Any, told: Callable[[Any], Any], argument: str) -> bool:
    """Whether told is called from now on with the argument of that name, before function does anything.

    told should be a function in C that takes anything, such as a method of a list: it may not raise.
    """
    if type(function) is not types.FunctionType:
        return False
    try:
        code = function.__code__
        found = compiled(code, code.co_filename, argument)
        if found is None or found.co_freevars != code.co_freevars or found.co_varnames != code.co_varnames:
            return False
        consts = tuple(told if c == _MARK else c for c in found.co_consts)
        same = {"co_flags": code.co_flags, "co_firstlineno": code.co_firstlineno, "co_name": code.co_name}
        if hasattr(code, "co_qualname"):
            same["co_qualname"] = code.co_qualname
        function.__code__ = found.replace(co_consts=consts, **same)
    except (OSError, SyntaxError, ValueError, IndexError, tokenize.TokenError):
        return False
    return True


def note_forks(told: Callable[[Any], Any]) -> None:
    """Call told with None whenever this process is forked with its state: nothing notes what the child calls."""
    os.register_at_fork(before=functools.partial(told, None))


@functools.cache
def compiled(code: types.CodeType, path: str, argument: str) -> types.CodeType | None:
    """The code of a function with the statement in it, each line where it was; None if its source is another.

    Kept, so that a process which forks kernels can do the work for all of them; code of two files may be equal.
    """
    with tokenize.open(path) as file:
        lines = file.readlines()
    block = inspect.getblock(lines[code.co_firstlineno - 1:])
    nested = block[0][:1].isspace()
    tree = ast.parse(("if 1:\n" if nested else "") + "".join(block))
    ast.increment_lineno(tree, code.co_firstlineno - 1 - nested)
    node = tree.body[0].body[0] if nested else tree.body[0]  # type: ignore[attr-defined]
    if not isinstance(node, ast.FunctionDef) or node.name != code.co_name:
        return None
    node.decorator_list = []
    documented = ast.get_docstring(node, clean=False) is not None
    first = node.body[min(int(documented), len(node.body) - 1)]
    call = ast.parse(f"{_MARK!r}.__call__({argument})").body[0]
    for part in ast.walk(call):
        ast.copy_location(part, first)
    node.body.insert(int(documented), call)
    module = compile(ast.Module([node], []), code.co_filename, "exec", code.co_flags & _FUTURES, dont_inherit=True)
    return next((c for c in module.co_consts if isinstance(c, types.CodeType)), None)
