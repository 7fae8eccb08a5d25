"""What the references in a stream stand for in this process: the namespace and the notebook's classes."""
from __future__ import annotations

import contextlib
import hashlib
import os
import types
import weakref
from collections.abc import Callable, Container, Iterator
from typing import Any

SKIPPED = {"__dict__", "__weakref__", "__module__", "__qualname__", "__firstlineno__", "__slots__",
           "__abstractmethods__", "_abc_impl", "__slotnames__"}
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)


class Live:
    """The namespace, and which class of the notebook has which token.

    A token is a name with a digest of the definition as it was when the class was first met. Of several
    classes with one definition the one that the notebook has under its name has the bare token; it passes on
    when the cell is run again, so that objects which a restore brings are instances of the class of that name.
    """

    def __init__(self, ns: dict[str, Any]) -> None:
        self.ns = ns
        self.slow: set[str] = set()  # types whose pickling took too long
        self.definitions: dict[str, str] = {}  # token → digest of the definition as last saved
        self._classes: dict[str, weakref.ref[type]] = {}
        self._tokens: dict[int, tuple[str, weakref.ref[type]]] = {}
        self._numbers: dict[str, int] = {}
        self.journal: list[tuple[type, dict[str, Any]]] | None = None  # classes changed, as they were
        self.sharers: dict[int, Any] = {}  # of pandas' blocks, by token, see linked.py
        self.salt = os.urandom(8).hex()  # of the tokens given here
        # While state is laid over the kernel: the values so far, and the names that are not yet what they will be.
        self.loading: tuple[dict[str, Any], Container[str]] | None = None
        self.fresh: dict[str, Any] = {}  # names that are about to be bound, to what references to them mean

    def find(self, token: str) -> type | None:
        """The class of a token, if it is alive."""
        ref = self._classes.get(token)
        return ref() if ref is not None else None

    def put(self, token: str, cls: type) -> None:
        """Give cls this token."""
        ref = weakref.ref(cls)
        self._classes[token], self._tokens[id(cls)] = ref, (token, ref)
        base, _, number = token.partition("#")
        self._numbers[base] = max(self._numbers.get(base, 0), int(number or 0))

    def known(self, cls: type) -> str | None:
        """The token that cls has."""
        token, ref = self._tokens.get(id(cls), ("", None))
        return token if ref is not None and ref() is cls else None

    def _number(self, base: str, cls: type) -> str:
        token = f"{base}#{self._numbers.get(base, 0) + 1}"
        self.put(token, cls)
        return token

    def _home(self, cls: type) -> bool:
        return self.ns.get(name(cls)) is cls

    def token(self, cls: type) -> str:
        """The token of a class of the notebook; it gets one if it has none."""
        token = self.known(cls)
        base = (token or definition(cls)).partition("#")[0]
        holder = self.find(base)
        if holder is cls:
            return base
        if holder is None or self._home(cls) and not self._home(holder):
            self.put(base, cls)
            if holder is not None:
                self._number(base, holder)
            return base
        return token or self._number(base, cls)

    def tokens(self) -> dict[int, str]:
        """The tokens of the classes that are alive, by address."""
        return {i: token for i, (token, ref) in self._tokens.items() if ref() is not None}

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """If this is left by an exception no class has got another token."""
        before = dict(self._classes), dict(self._tokens), dict(self._numbers)
        try:
            yield
        except BaseException:
            self._classes, self._tokens, self._numbers = before
            raise

    def learn(self, tokens: dict[int, str], alive: dict[int, weakref.ref[type]] | None = None) -> None:
        """Take over the tokens that a fork has given to classes of this process.

        alive are the notebook's classes at the time of the fork; None if this process has stood still since.
        """
        have = self.tokens()
        fresh = {i: token for i, token in tokens.items() if have.get(i) != token}
        if fresh and alive is not None:
            for i, ref in alive.items():
                cls = ref()
                if cls is not None and i in fresh:
                    self.put(fresh[i], cls)
        elif fresh:
            for cls in subclasses():
                if id(cls) in fresh:
                    self.put(fresh[id(cls)], cls)

    def begin(self) -> None:
        """From now on note how classes were."""
        self.journal = []

    def end(self, undo: bool) -> None:
        """Stop noting; undo what was done to classes since begin, if so asked."""
        if undo:
            self._undo(self.journal or [])
        self.journal = None

    @contextlib.contextmanager
    def keeping(self, kept: Callable[[], Container[int]]) -> Iterator[None]:
        """What is read meanwhile leaves classes as they are whose addresses are in what kept gives afterwards."""
        outer, self.journal = self.journal, []
        try:
            yield
            addresses = kept()
            self._undo([entry for entry in self.journal if id(entry[0]) in addresses])
        finally:
            if outer is not None:
                outer.extend(self.journal)
            self.journal = outer

    @staticmethod
    def _undo(journal: list[tuple[type, dict[str, Any]]]) -> None:
        from . import classes
        for cls, held in reversed(journal):
            for key in classes.held(cls).keys() - held.keys():
                type.__delattr__(cls, key)
            for key, value in held.items():
                if vars(cls).get(key, held) is not value:
                    type.__setattr__(cls, key, value)


_live: list[Live] = []  # the innermost is in force while unpickling


def push(live: Live) -> None:
    """Put live in force for unpickling."""
    _live.append(live)


def pop() -> None:
    """Undo the last push."""
    _live.pop()


def current() -> Live:
    """What is in force."""
    return _live[-1]


class Namespace:
    """Stands in a stream for the namespace itself."""

    def reduce(self) -> tuple[Any, ...]:
        """A reduction that gives the namespace where the stream is read."""
        return namespace, ()


def namespace() -> dict[str, Any]:
    """The live namespace."""
    return current().ns


def name(cls: type) -> str:
    """cls.__name__, past what a metaclass makes of it."""
    return str(type.__dict__["__name__"].__get__(cls))  # type: ignore[index]


def module(cls: type) -> str:
    """cls.__module__, past what a metaclass makes of it; empty if that is no name."""
    found = type.__dict__["__module__"].__get__(cls)
    return found if type(found) is str else ""


def local(cls: type) -> bool:
    """Whether cls is a class of the notebook."""
    return module(cls) == "__main__"


def heap(kind: type) -> bool:
    """Whether a type was made at run time (Py_TPFLAGS_HEAPTYPE), as all are that Python code makes."""
    return bool(kind.__flags__ & 1 << 9)


def subclasses() -> list[type]:
    """Every class that is alive."""
    found, seen = [object], {id(object)}
    for cls in found:
        for sub in type.__subclasses__(cls):
            if id(sub) not in seen:
                seen.add(id(sub))
                found.append(sub)
    return found


def definition(cls: type) -> str:
    """The name of cls with a digest of what it is made of that is the same in every process."""
    h = hashlib.sha256()

    def put(value: Any, depth: int = 0) -> None:
        kind = type(value)
        h.update(name(kind).encode() + b"\0")
        value = getattr(value, "__func__", value) if kind in (staticmethod, classmethod) else value
        if kind is property:
            for part in (value.fget, value.fset, value.fdel):
                put(part, depth)
        elif kind is types.FunctionType:
            put(value.__code__, depth)
            put(value.__defaults__, depth + 1)
        elif kind is types.CodeType:
            h.update(value.co_code)
            for part in (value.co_consts, value.co_names, value.co_varnames):
                put(part, depth)
        elif kind in (tuple, list) and depth < 4:
            for part in value:
                put(part, depth + 1)
        elif kind is dict and depth < 4:
            for pair in value.items():
                put(pair, depth + 1)
        elif kind in _PLAIN:
            h.update(repr(value).encode("utf-8", "surrogatepass") + b"\0")

    qualified = str(type.__dict__["__qualname__"].__get__(cls))  # type: ignore[index]
    for base in (*cls.__bases__, type(cls)):
        h.update(f"{module(base)}.{name(base)}\0".encode())
    for key in sorted(k for k in vars(cls) if k not in SKIPPED):
        h.update(key.encode() + b"\0")
        put(vars(cls)[key])
    return f"{qualified}:{h.hexdigest()[:16]}"
