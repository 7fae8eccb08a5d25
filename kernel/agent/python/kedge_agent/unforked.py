"""Saves groups without a fork, where nothing of the program can run or change meanwhile.

That is so if every object is of a type that is written in C and cannot be changed, or a plain function, and if no
other thread, signal handler or hook of the program is there. Whatever else there is needs a fork.
"""
from __future__ import annotations

import array
import collections
import contextlib
import copyreg
import datetime
import decimal
import functools
import gc
import logging
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from . import caches, frames, groups, live, localmodules, memory, places, proof, regions, running, tensors
from .functions import by_name

MOST = 20_000  # objects looked at; a fork does not stop the program for more
LONGEST = 32 << 20  # bytes of strings, of one stream, and of its buffers, which the proof holds a second time
# The same where a fork can go on beside the next cell, so that it stops the program for less.
MOST_BESIDE = 3_000
LONGEST_BESIDE = 4 << 20
_DEEPEST = 5_000  # recursions that the stack of any thread holds

_CONSTANT = 1 << 8  # of a type's flags: its attributes cannot be set
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range)
_VALUES = (datetime.date, datetime.timedelta, decimal.Decimal)
_KINDS = {list, tuple, dict, set, frozenset, bytearray, types.CellType, collections.deque, collections.OrderedDict,
          collections.defaultdict, property, staticmethod, classmethod, weakref.ref, type(threading.Lock())}
_ELEMENTS = {str, bytes, int, bool}  # whose hashes are the same in every process
_COMPLEX = copyreg.dispatch_table.get(complex)
_EXPORTERS = {type(None), bytes, bytearray, array.array}
_GENERATORS = {("numpy.random._generator", "Generator"), ("numpy.random._pcg64", "PCG64"),
               ("numpy.random.bit_generator", "SeedSequence"), ("numpy.random._mt19937", "MT19937")}
# What a class of the notebook may define of its own accord without having a say in pickling, or when it is freed.
_METHODS = {"__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__firstlineno__",
            "__static_attributes__", "__annotations__", "__slotnames__", "__init__", "__repr__", "__str__",
            "__call__"}
_KERNEL = {"ipykernel", "IPython", "zmq", "tornado"}  # whose threads leave the program's objects alone


class Needed(Exception):
    """A fork is needed."""


def _fixed(kind: type) -> bool:
    """Whether nobody can change what kind does."""
    return not live.heap(kind) or bool(kind.__flags__ & _CONSTANT)


class Watch:
    """Looks at every object that a partition meets. Needed if even looking at one takes a fork."""

    def __init__(self, ns: dict[str, Any], beside: bool = False) -> None:
        self._ns = ns
        self._most, self.longest = (MOST_BESIDE, LONGEST_BESIDE) if beside else (MOST, LONGEST)
        self._met = self._length = 0
        self._kinds: dict[type, bool] = {}  # found so far

    def kind(self, kind: type) -> None:
        """Needed if a metaclass of the program's may run where an object's kind is looked at."""
        if type(kind) is not type and proof.local(type(kind)):
            raise Needed

    def text(self, length: int) -> None:
        """Needed for strings that take long to pickle, or that copies of would fill the memory."""
        self._length += length
        if self._length > self.longest:
            raise Needed

    def owned(self, value: Any) -> bool:
        """The same as object for a part of a value of pandas."""
        kind = type(value)
        self.kind(kind)
        if proof.local(kind):
            raise Needed
        return self.object(value, kind)

    def leaf(self, kind: type) -> bool:
        """Whether an object of an immutable kind can be pickled here."""
        if kind in _ATOMS:
            return True
        numpy = sys.modules.get("numpy")
        scalar = numpy is not None and issubclass(kind, numpy.generic) and getattr(numpy, live.name(kind), None) is kind
        known = scalar or kind in _VALUES or groups.is_offset(kind)
        return known and _fixed(kind) and kind not in copyreg.dispatch_table

    def object(self, obj: Any, kind: type) -> bool:
        """Whether obj itself can be pickled here; what it holds is looked at in turn."""
        self._met += 1
        if self._met > self._most:
            raise Needed
        if tensors.is_tensor(kind):
            raise Needed
        if kind in _KINDS:
            if kind in (list, tuple) and len(obj) > self._most and type(obj[0]) not in _ATOMS:
                raise Needed  # without a look at as many of its elements
            if kind is bytearray:
                self.text(len(obj))
            if kind in (set, frozenset) and len(obj) > 1 and not all(type(x) in _ELEMENTS for x in obj):
                return False
            return _fixed(kind) and kind not in copyreg.dispatch_table
        if kind is types.FunctionType:
            return self._function(obj)
        if kind is types.MethodType:
            if type(obj.__func__) is not types.FunctionType:
                raise Needed
            return True
        if kind is types.ModuleType:
            return sys.modules.get(vars(obj).get("__name__", "")) is obj
        if kind is types.CodeType:
            return _code(obj)
        if issubclass(kind, type):
            self.kind(obj)
            return _class(obj) if live.local(obj) else not proof.local(obj)
        numpy = sys.modules.get("numpy")
        if numpy is not None and issubclass(kind, numpy.ndarray):
            return self._array(obj, kind, numpy)
        if proof.local(kind) and issubclass(kind, (logging.Handler, *_pandas())):
            raise Needed
        return _class(kind) if live.local(kind) else self._known(kind)

    def _known(self, kind: type) -> bool:
        """Whether kind is a class of pandas, or of a random generator, in which nothing is the program's."""
        found = self._kinds.get(kind)
        if found is None:
            module = live.module(kind)
            named = (module, live.name(kind)) in _GENERATORS or module.partition(".")[0] == "pandas" and (
                live.name(kind) != "ArrowExtensionArray")  # whose types may be the program's
            found = self._kinds[kind] = (named and not proof.local(kind) and kind not in copyreg.dispatch_table
                                         and all(map(self._pristine, type.mro(kind))))
        return found

    def _pristine(self, cls: type) -> bool:
        """Whether no method of cls was set by the program."""
        if _fixed(cls):
            return True
        for value in vars(cls).values():
            kind = type(value)
            parts = ((value.fget, value.fset, value.fdel) if kind is property
                     else (value.__func__,) if kind in (staticmethod, classmethod) else (value,))
            for part in parts:
                if type(part) is types.FunctionType:
                    if self._foreign(part):
                        return False
                elif type(part) is functools.partial or proof.local(type(part)):
                    return False
        return True

    def _foreign(self, func: types.FunctionType) -> bool:
        """Whether a function comes from no library."""
        return func.__globals__ is self._ns or localmodules.local_path(func.__code__.co_filename)

    def _function(self, func: Any) -> bool:
        if func.__globals__ is not self._ns:
            return by_name(func)
        if caches.is_dispatcher(func) or getattr(func, "__annotate__", None) is not None:
            return False
        return (type(func.__doc__) in (str, type(None)) and type(func.__module__) in (str, type(None))
                and all(type(v) is str or type(v) is type and live.module(v) == "builtins"
                        for v in func.__annotations__.values())
                and _code(func.__code__))

    def _array(self, arr: Any, kind: type, numpy: Any) -> bool:
        if proof.local(kind) or proof.local(type(memory._exporter(memory.root(arr)))):
            raise Needed
        if kind is not numpy.ndarray or not _plain(memory._exporter(memory.root(arr))):
            return False
        if arr.dtype.metadata is not None or kind in copyreg.dispatch_table:
            return False
        return arr.dtype.kind in "biufcmMSU" or arr.dtype.kind == "O" and arr.size <= 1000


def _plain(exporter: Any) -> bool:
    """Whether what an array shows, if anything, is memory that nobody else has a say in."""
    return type(exporter) in _EXPORTERS or regions.lent(exporter)


def _class(cls: type) -> bool:
    """Whether a class of the notebook is plain: nothing of it runs when it or an object of it is pickled and read back.

    What its attributes hold is looked at in turn.
    """
    return type(cls) is type and all(
        c is object or live.local(c) and type(c) is type and all(
            key in _METHODS or not (key.startswith("__") and key.endswith("__")) for key in vars(c))
        for c in type.mro(cls)) and cls not in copyreg.dispatch_table and live.name(cls) != "SingleBlockManager"


def _pandas() -> tuple[type, ...]:
    """The classes of pandas whose objects, and those of subclasses, a partition asks for attributes."""
    module = frames.pandas()
    return () if module is None else (module.Index, sys.modules["pandas._libs.internals"].Block)


def _code(code: types.CodeType) -> bool:
    """Whether code holds nothing but what the compiler puts there."""
    stack: list[Any] = [code]
    while stack:
        value = stack.pop()
        if type(value) is types.CodeType:
            stack.extend(value.co_consts)
        elif type(value) in (tuple, frozenset):
            stack.extend(value)
        elif type(value) not in _ATOMS:
            return False
    return True


def quiet(table: dict[str, Any], ns: dict[str, Any]) -> bool:
    """Whether nothing but this thread's code runs for now. table holds what is set on libraries, too."""
    if sys.gettrace() is not None or sys.getprofile() is not None or sys.getrecursionlimit() > _DEEPEST:
        return False
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None and any(monitoring.get_tool(i) is not None for i in range(6)):
        return False
    if copyreg.dispatch_table.get(complex, _COMPLEX) is not _COMPLEX:
        return False
    for name in filter(places.is_pseudo, table):
        module, _, rest = name.partition(":")
        patch = " " not in rest and not localmodules.is_local(sys.modules.get(module))
        if module == "signal" or patch and type(table[name]) not in _ATOMS:
            return False
    return _alone(ns)


def _alone(ns: dict[str, Any]) -> bool:
    """Whether the other threads are the kernel's, and at no code of the program."""
    others = running.frames()
    if not others:
        return True
    threads = {t.ident: t for t in threading.enumerate()}
    frame: Any
    for ident, frame in others.items():
        if _origin(threads.get(ident)).partition(".")[0] not in _KERNEL:
            return False
        while frame is not None:
            if frame.f_globals is ns:
                return False
            frame = frame.f_back
    return True


def _origin(thread: threading.Thread | None) -> str:
    """The module that a thread runs a function of; empty if that cannot be told."""
    if type(thread) is not threading.Thread:
        return live.module(type(thread))
    target = getattr(thread, "_target", None)
    func = target.__func__ if type(target) is types.MethodType else target
    return str(func.__globals__.get("__name__")) if type(func) is types.FunctionType else ""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No finaliser of the program runs because of a collection."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def unmarked(found: Iterable[type]) -> Iterator[None]:
    """Pickling objects of these classes leaves no mark in them."""
    marked = [cls for cls in found if "__slotnames__" not in vars(cls)]
    try:
        yield
    finally:
        for cls in marked:
            if "__slotnames__" in vars(cls):
                type.__delattr__(cls, "__slotnames__")
