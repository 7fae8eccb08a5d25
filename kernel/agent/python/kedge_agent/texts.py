"""The text of the notebook's cells, to which the definitions in them lead: file names, lines, line numbers.

A cell is compiled under a file name that follows from its text and this process. A stream holds the text instead;
where it is read, the code stands in the cell as its text is now: the last that was entered with the same normal form.
"""
from __future__ import annotations

import ast
import functools
import hashlib
import linecache
import sys
import types
from typing import Any

from . import flow, normalise

Place = tuple[str, str, int]  # (kind, what, first line): the text of a cell, the name of a module, or a file name

looked: set[str] = set()  # the texts that something has looked at since the last taken
_shell: list[Any] = []
_numbers: dict[str, int] = {}  # text → number of its cell
_latest: dict[str, str] = {}  # digest of a normal form → the last text entered that has it
_files: dict[str, str] = {}  # compiled file → text
_names: dict[str, str] = {}  # text → compiled file
_modules: dict[str, str] = {}  # source file → module


def install(shell: Any) -> None:
    """From now on note who looks at the text of cells: inspect, traceback, warnings and others ask linecache."""
    _shell[:] = [shell]
    plain = linecache.getlines
    if hasattr(plain, "__wrapped__"):
        return

    def getlines(filename: Any, module_globals: Any = None) -> Any:
        if filename in _files:
            looked.add(_files[filename])
        return plain(filename, module_globals)

    getlines.__code__ = getlines.__code__.replace(co_filename=linecache.__file__)
    linecache.getlines = functools.wraps(plain)(getlines)


def enter(text: str, number: int, normal: str = "") -> None:
    """A cell with this text has this number. normal is the sha256 of its normal form, if it is known."""
    _numbers[text] = number
    _latest[normal or _digest(text)] = text


def begin(text: str, number: int) -> None:
    """The kernel will run a cell with this text."""
    enter(text, number)
    shell = _shell[0]
    _note(text, shell.compile.get_code_name(text, shell.transform_cell(text), number))


def taken() -> list[str]:
    """The texts that something has looked at since the last call."""
    found = sorted(looked)
    looked.clear()
    return found


def place(code: types.CodeType) -> Place:
    """Where code stands, for a stream."""
    file = code.co_filename
    if file in _files:
        return "cell", _files[file], code.co_firstlineno
    title = _module(file)
    return ("module", title, code.co_firstlineno) if title else ("file", file, code.co_firstlineno)


def find(where: Place, name: str, table: bytes) -> tuple[str, int, bytes]:
    """(file name, first line, line table) in this process of code that stood there."""
    kind, what, line = where
    if kind == "file":
        return what, line, table
    if kind == "module":
        return str(vars(sys.modules.get(what, types)).get("__file__", what)), line, table
    text = _latest.get(_digest(what), what)
    if text != what:
        moved = _moved(what, text).get((name, line, table))
        if moved is None:  # not as it is compiled
            text = what
        else:
            line, table = moved
    return _names.get(text) or _cache(text), line, table


def _note(text: str, file: str) -> None:
    _files[file], _names[text] = text, file


def _cache(text: str) -> str:
    """Have the text in linecache as a cell that ran has it; the name of its file."""
    shell = _shell[0]
    file = shell.compile.cache(shell.transform_cell(text), _numbers.get(text, 0), raw_code=text)
    _note(text, file)
    return str(file)


@functools.lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    return hashlib.sha256(normalise.normalise(text)["normal"].encode("utf-8", "surrogatepass")).hexdigest()


@functools.lru_cache(maxsize=64)
def _moved(old: str, new: str) -> dict[tuple[str, int, bytes], tuple[int, bytes]]:
    """(name, first line, line table) of code in the old text → (first line, line table) in the new one."""
    found = {}
    for one, other in zip(_codes(old), _codes(new), strict=True):
        found[one.co_name, one.co_firstlineno, one.co_linetable] = other.co_firstlineno, other.co_linetable
    return found


def _codes(text: str) -> list[types.CodeType]:
    tree = compile(normalise.transform(text), "<cell>", "exec", ast.PyCF_ONLY_AST | flow.FLAGS)
    return [code for s in tree.body for code in flow.codes(flow.compiled([s]))]


def _module(file: str) -> str:
    """The module whose source a file is, if there is one."""
    if file not in _modules:
        if file.startswith("<"):
            return ""
        for title, module in list(sys.modules.items()):
            path = vars(module).get("__file__") if issubclass(type(module), types.ModuleType) else None
            if type(path) is str and title != "__main__":
                _modules.setdefault(path, title)
    return _modules.get(file, "")
