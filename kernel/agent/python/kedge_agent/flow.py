"""Which names a cell's own code reads before it binds them, and which of its code only later cells may call."""
from __future__ import annotations

import ast
import copy
import dis
import sys
import types
from collections.abc import Iterable

FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_LOADS = {dis.opmap[n]: 0 for n in (
    "LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_NAME", "DELETE_GLOBAL") if n in dis.opmap}
if sys.version_info >= (3, 11):  # the lowest bit says whether a NULL is pushed
    _LOADS[dis.opmap["LOAD_GLOBAL"]] = 1


def codes(code: types.CodeType) -> Iterable[types.CodeType]:
    """code and all code nested in it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from codes(const)


def loads(top: types.CodeType) -> set[str]:
    """The global names that top and its nested code load or delete."""
    found: set[str] = set()
    for code in codes(top):
        raw, extended = code.co_code, 0
        for i in range(0, len(raw), 2):
            if raw[i] == dis.EXTENDED_ARG:
                extended = (extended | raw[i + 1]) << 8
                continue
            if raw[i] in _LOADS:
                name = code.co_names[(extended | raw[i + 1]) >> _LOADS[raw[i]]]
                if name != "__annotations__" or not _annotates(raw, i + 2):
                    found.add(name)
            extended = 0
    return found


def _annotates(raw: bytes, at: int) -> bool:
    """Whether what is loaded before at gets an item with a constant key there: so x: int = 1 is compiled."""
    while raw[at:at + 1] == bytes([dis.EXTENDED_ARG]):
        at += 2
    return raw[at:at + 4:2] == bytes([dis.opmap["LOAD_CONST"], dis.opmap["STORE_SUBSCR"]])


def compiled(statements: list[ast.stmt]) -> types.CodeType:
    """Statements as the code of a cell."""
    return compile(ast.Module(statements, []), "<cell>", "exec", FLAGS)


def imports(statements: list[ast.stmt]) -> list[str]:
    """The modules that statements import if they run to their end, by what they say of them, in order."""
    found: list[str] = []
    for s in statements:
        if isinstance(s, ast.Import):
            found += [a.name for a in s.names]
        elif isinstance(s, ast.ImportFrom) and not s.level and s.module:
            found += [s.module, *(f"{s.module}.{a.name}" for a in s.names)]
        elif isinstance(s, (ast.With, ast.AsyncWith, ast.Try)):
            found += imports(s.body[:1])
    return [parent for name in found for parent in (*_packages(name), name)]


def _packages(name: str) -> list[str]:
    return [name[:i] for i, c in enumerate(name) if c == "."]


class Flow:
    """One walk through the statements of a cell, in order."""

    def __init__(self, tree: ast.Module) -> None:
        self.reads: set[str] = set()  # names loaded where the cell may not have bound them yet
        self.loads: set[str] = set()  # all names that the code which runs now loads
        self.later: dict[str, list[types.CodeType]] = {}  # bodies that run if something calls that name
        self._deleted = {t.id for n in ast.walk(tree) if isinstance(n, ast.Delete)
                         for t in n.targets if isinstance(t, ast.Name)}
        self.sure: set[str] = set()  # names that it binds if it runs to its end
        self._block(tree.body, self.sure)
        self.now = compiled([header(s) for s in tree.body])  # the code without those bodies

    def _block(self, statements: list[ast.stmt], bound: set[str]) -> None:
        """Walk statements; bound grows by what they surely bind."""
        for s in statements:
            walk = getattr(self, "_" + type(s).__name__.lower(), self._other)
            walk(s, bound)

    def _branch(self, statements: list[ast.stmt], bound: set[str]) -> set[str]:
        inside = set(bound)
        self._block(statements, inside)
        return inside

    def _other(self, s: ast.stmt, bound: set[str]) -> None:
        names = loads(compiled([s]))
        self.loads |= names
        self.reads |= names - bound

    def _value(self, node: ast.expr | None, bound: set[str]) -> None:
        if node is not None and not isinstance(node, ast.Constant):
            self._other(ast.copy_location(ast.Expr(node), node), bound)

    def _bind(self, name: str, bound: set[str]) -> None:
        if name not in self._deleted:
            bound.add(name)

    def _target(self, node: ast.expr, bound: set[str]) -> None:
        if isinstance(node, ast.Name):
            self._bind(node.id, bound)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for element in node.elts:
                self._target(element, bound)
        elif isinstance(node, ast.Starred):
            self._target(node.value, bound)
        elif isinstance(node, ast.Attribute):
            self._value(node.value, bound)
        elif isinstance(node, ast.Subscript):
            self._value(node.value, bound)
            self._value(node.slice, bound)

    def _import(self, s: ast.Import | ast.ImportFrom, bound: set[str]) -> None:
        for a in s.names:
            self._bind((a.asname or a.name).split(".")[0], bound)

    _importfrom = _import

    def _assign(self, s: ast.Assign, bound: set[str]) -> None:
        self._value(s.value, bound)
        for target in s.targets:
            self._target(target, bound)

    def _for(self, s: ast.For | ast.AsyncFor, bound: set[str]) -> None:
        self._value(s.iter, bound)
        inside = set(bound)
        self._target(s.target, inside)
        self._block(s.body, inside)
        self._branch(s.orelse, bound)

    _asyncfor = _for

    def _while(self, s: ast.While, bound: set[str]) -> None:
        self._value(s.test, bound)
        self._branch(s.body, bound)
        self._branch(s.orelse, bound)

    def _break(self, s: ast.Break | ast.Continue, bound: set[str]) -> None:
        """It reads nothing, and by itself it is no code."""

    _continue = _break

    def _match(self, s: ast.stmt, bound: set[str]) -> None:
        loop = ast.copy_location(ast.While(ast.copy_location(ast.Constant(True), s), [s], []), s)
        self._other(loop, bound)  # a case may break off a loop

    def _if(self, s: ast.If, bound: set[str]) -> None:
        self._value(s.test, bound)
        bound |= self._branch(s.body, bound) & self._branch(s.orelse, bound)

    def _with(self, s: ast.With | ast.AsyncWith, bound: set[str]) -> None:
        inside = set(bound)
        for item in s.items:
            self._value(item.context_expr, inside)
            if item.optional_vars is not None:
                self._target(item.optional_vars, inside)
            if item is s.items[0]:
                bound |= inside  # the rest may fail, and the first swallow it
        self._block(s.body, inside)

    _asyncwith = _with

    def _try(self, s: ast.Try, bound: set[str]) -> None:
        ends = [self._branch([*s.body, *s.orelse], bound)]
        for handler in s.handlers:
            self._value(handler.type, bound)
            inside = set(bound)
            if handler.name is not None:
                inside.add(handler.name)
            self._block(handler.body, inside)
            ends.append(inside - {handler.name})
        self._branch(s.finalbody, bound)
        kept = set.intersection(*ends)
        bound &= kept  # a handler unbinds its name
        bound |= kept

    _trystar = _try

    def _functiondef(self, s: ast.FunctionDef | ast.AsyncFunctionDef, bound: set[str]) -> None:
        self._other(header(s), bound)
        if plain(s):
            whole = compiled([s])
            self.later.setdefault(s.name, []).extend(c for c in whole.co_consts if isinstance(c, types.CodeType))
        self._bind(s.name, bound)

    _asyncfunctiondef = _functiondef

    def _classdef(self, s: ast.ClassDef, bound: set[str]) -> None:
        self._other(s, bound)
        self._bind(s.name, bound)


def plain(node: ast.stmt) -> bool:
    """Whether a definition runs nothing but its defaults and annotations where it stands."""
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.decorator_list


def header(node: ast.stmt) -> ast.stmt:
    """A plain definition without its body; any other statement as it is."""
    if not plain(node):
        return node
    short = copy.copy(node)
    short.body = [ast.copy_location(ast.Pass(), node)]  # type: ignore[attr-defined]
    return short
