"""What a cell's code says of random streams: which it seeds before it draws, whether it asks for their state."""
from __future__ import annotations

import ast
from collections.abc import Iterable

_NAMES = {"random": "random", "numpy.random": "numpy.random", "np.random": "numpy.random", "torch": "torch.random"}
_CALLS = {"random": ("seed",), "numpy.random": ("seed",), "torch.random": ("manual_seed",)}
# Importing these draws from no stream.
_QUIET = {"random", "numpy", "pandas", "torch", "os", "sys", "re", "math", "time", "json", "matplotlib", "sklearn",
          "scipy", "collections", "itertools", "functools", "datetime", "pathlib", "typing", "warnings", "logging",
          "seaborn", "plotly", "polars", "pyarrow", "tqdm"}

# What leads to the state of a stream other than by drawing from it.
_ASKS = {"getstate", "get_state", "get_rng_state", "initial_seed", "fork_rng", "default_generator", "_inst", "_rand",
         "mtrand", "get_bit_generator", "_bit_generator", "__getstate__", "__reduce__", "__reduce_ex__"}


def asks(words: Iterable[str]) -> bool:
    """Whether code with these words may ask for the state of a stream."""
    return any(part in _ASKS for word in words for part in word.split("."))


def seeded(tree: ast.Module | None) -> set[str]:
    """The streams, by adapter, that the cell's own first statements seed: what they were before is of no account."""
    found: set[str] = set()
    names = dict(_NAMES)
    for statement in tree.body if tree is not None else ():
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            if not _import(statement, names):
                break
            continue
        if isinstance(statement, ast.Assign) and _harmless(statement.value):
            continue
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Constant):
            continue
        stream = _seeds(call, names) if isinstance(call, ast.Call) else None
        if stream is None:
            break
        found.add(stream)
    return found


def _import(statement: ast.Import | ast.ImportFrom, names: dict[str, str]) -> bool:
    """Whether an import is quiet; names learns what the modules of streams are called."""
    if isinstance(statement, ast.ImportFrom):
        if statement.module == "numpy":
            names.update((a.asname or a.name, "numpy.random") for a in statement.names if a.name == "random")
        return (statement.module or "").split(".")[0] in _QUIET
    for alias in statement.names:
        if alias.name == "random":
            names[alias.asname or "random"] = "random"
        elif alias.name == "numpy":
            names[f"{alias.asname or 'numpy'}.random"] = "numpy.random"
        elif alias.name == "torch":
            names[alias.asname or "torch"] = "torch.random"
    return all(a.name.split(".")[0] in _QUIET for a in statement.names)


def _harmless(value: ast.expr) -> bool:
    """Whether evaluating value runs no code of anybody's."""
    return all(isinstance(n, (ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.List)) for n in ast.walk(value))


def _seeds(call: ast.Call, names: dict[str, str]) -> str | None:
    """The stream that a call seeds with a value."""
    if not isinstance(call.func, ast.Attribute) or len(call.args) != 1 or call.keywords:
        return None
    stream = names.get(ast.unparse(call.func.value))
    if stream is None or call.func.attr not in _CALLS[stream] or not _harmless(call.args[0]):
        return None
    return stream
