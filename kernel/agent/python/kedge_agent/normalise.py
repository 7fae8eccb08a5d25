"""Normal form of cells. ``python -I normalise.py`` maps JSON to JSON on stdin/stdout.

In: {"cells": [source, …]}. Out: {"cells": [{normal, binds, loads, error}, …]}. With the argument ``lines`` there may
be many of them, each on a line.
"""
from __future__ import annotations

import ast
import functools
import json
import symtable
import sys
from typing import Any


def transform(source: str) -> str:
    """IPython syntax → Python; source itself if IPython is not installed."""
    try:
        from IPython.core.inputtransformer2 import TransformerManager
    except ImportError:
        return source
    return TransformerManager().transform_cell(source)


def quiet(source: str) -> bool:
    """Whether the cell ends in a ``;`` that suppresses its display."""
    import io
    import tokenize
    last = ""
    try:
        for tok in tokenize.generate_tokens(io.StringIO(source).readline):
            if tok.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE,
                                tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT):
                last = tok.string
    except (tokenize.TokenError, SyntaxError):
        return source.rstrip().endswith(";")
    return last == ";"


def names(tree: ast.AST, code: str) -> tuple[list[str], list[str]]:
    """(names bound at module level, names loaded anywhere), sorted."""
    loads = {n.id for n in ast.walk(tree)
             if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    # x += 1 and del x read x although the syntax tree calls it a store or a delete.
    for n in ast.walk(tree):
        if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name):
            loads.add(n.target.id)
        elif isinstance(n, ast.Name) and isinstance(n.ctx, ast.Del):
            loads.add(n.id)
    binds: set[str] = set()

    def visit(table: symtable.SymbolTable, top: bool) -> None:
        for s in table.get_symbols():
            if (s.is_assigned() or s.is_imported()) and (top or s.is_declared_global()):
                binds.add(s.get_name())
        for child in table.get_children():
            visit(child, False)

    try:
        visit(symtable.symtable(code, "<cell>", "exec"), True)
    except SyntaxError:  # top-level await
        binds |= {n.id for n in ast.walk(tree)
                  if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return sorted(binds), sorted(loads)


@functools.lru_cache(maxsize=64)
def normalise(source: str) -> dict[str, Any]:
    """The normal form of one cell; never raises. Not to be modified: it is kept for those who ask again."""
    try:
        code = transform(source)
        tree = compile(code, "<cell>", "exec",
                       ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        binds, loads = names(tree, code)
        normal = ast.dump(tree, include_attributes=False)
        if quiet(code):
            normal += ";"
        return {"normal": normal, "binds": binds, "loads": loads, "error": None}
    except Exception as err:
        return {"normal": source, "binds": [], "loads": [], "error": f"{type(err).__name__}: {err}"}


def main() -> None:
    """Serve one request, or one a line."""
    requests = sys.stdin if sys.argv[1:] == ["lines"] else [sys.stdin.read()]
    for request in requests:
        json.dump({"cells": [normalise(s) for s in json.loads(request)["cells"]]}, sys.stdout)
        print(flush=True)


if __name__ == "__main__":
    main()
