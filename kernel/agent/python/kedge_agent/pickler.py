"""The pickler of groups, and the proof that what it wrote can be read back."""
from __future__ import annotations

import functools
import hashlib
import io
import mmap
import pickle
import sys
import types
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from . import (
    arrays,
    atoms,
    builtin,
    caches,
    classes,
    columnar,
    figures,
    forked,
    frames,
    functions,
    learning,
    libraries,
    linked,
    live,
    named,
    paths,
    proof,
    references,
    sets,
    tensors,
)
from .ambient import log_handlers
from .refused import Uncapturable, refuse

_STAND_INS = (sets.Shape, arrays.Memory, functions.Globals, live.Namespace, linked.Mark, atoms.One, atoms.Interned,
              references.Reference)
FLOOR = 16 << 10  # bytes; smaller buffers stay in the stream
SLACK = 256 << 20  # bytes; a stream may have these and twice what the process holds in memory


class Pickler(pickle.Pickler):
    """Pickles one group; views, functions and classes keep what they share."""

    def __init__(self, file: Any, where: live.Live, callback: Callable[[Any], bool], plain: set[Hashable]) -> None:
        super().__init__(file, protocol=5, buffer_callback=callback)
        self._live = where
        self._arrays = arrays.Arrays(plain)
        self._tensors = tensors.Tensors(self._arrays)
        self._owners = frames.Owners(plain, where)
        self._memories: columnar.Memories = getattr(plain, "memories", columnar.Memories(()))
        self._spaces: dict[int, functions.Globals] = {}
        self._simple = functools.cache(proof.simple)
        self.last: Any = None  # what was being pickled, if that fails
        self.odd = False  # whether a class of the program pickles its objects in its own way

    def reducer_override(self, obj: Any) -> Any:
        """See pickle.Pickler."""
        forked.pulse[0] += 1
        self.last = obj
        kind = type(obj)
        if self._simple(kind) and not self._live.slow:
            found = named.name(obj)
            return NotImplemented if found is None else (named.get, found)
        if issubclass(kind, type):
            return classes.reduce_class(obj, self._live)
        if kind is types.FunctionType:
            return functions.reduce_function(obj, self._live, self._spaces)
        refuse(obj, self._live)
        made = self._own(obj, kind)
        if made is not NotImplemented:
            return made
        found = named.name(obj)
        if found is not None:
            return named.get, found
        made = self._library(obj, kind)
        if made is NotImplemented and kind is not caches.Volatile and proof.local(kind) and not proof.plain(kind):
            self.odd = True
        return made

    def _own(self, obj: Any, kind: type) -> Any:
        """The reductions of Python's own types, and of what stands for others in a stream."""
        if kind is types.CodeType:
            return functions.reduce_code(obj)
        if kind is types.CellType:
            return functions.reduce_cell(obj)
        if kind is types.MethodType:
            return functions.reduce_method(obj)
        if kind in _STAND_INS:
            return obj.reduce()
        if classes.is_member(obj):
            return classes.reduce_member(obj)
        return builtin.reduce(obj, kind)

    def _library(self, obj: Any, kind: type) -> Any:
        numpy = sys.modules.get("numpy")
        if numpy is not None and issubclass(kind, numpy.ndarray):
            return self._arrays.reduce(obj)
        if numpy is not None and issubclass(kind, numpy.dtype):
            return arrays.reduce_dtype(obj)
        if tensors.is_tensor(kind):
            return self._tensors.reduce(obj)
        if issubclass(kind, tensors.storage_class()):
            return self._tensors.storage(obj)
        if frames.is_block(obj) or frames.is_index(obj):
            return self._owners.reduce(obj)
        if kind.__name__ == "SingleBlockManager":  # its own way leaves out the block
            return kind, (obj.blocks[0], obj.axes[0])
        if frames.is_refs(obj):
            return frames.make_refs, ()
        made = columnar.reduce(obj, self._memories)
        if made is not NotImplemented:
            return made
        for family in (frames, libraries, figures, log_handlers, learning):
            found = family.reduce(obj)
            if found is not NotImplemented:
                return found
        return NotImplemented


class SetPickler(Pickler):
    """A pickler that keeps the layout of sets, and the namespace where it is.

    Slower, for only persistent_id sees an exact set or dict.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._shapes: dict[int, sets.Shape] = {}
        self._nans: dict[int, atoms.One] = {}
        self.parts: dict[int, references.Reference] = {}  # see keep

    def keep(self, parts: dict[int, references.Reference] | None) -> None:
        """What parts stand for is referred to, by address."""
        self.parts, self._owners.parts = parts or {}, parts

    def persistent_id(self, obj: Any) -> Any:
        """A set is its Shape, from which unpickling gives the set. A part of a variable is a reference to it."""
        found = self.parts.get(id(obj))
        if found is not None:
            return found
        kind = type(obj)
        if obj is self._live.ns:
            return live.Namespace()
        if kind is set or kind is frozenset and len(obj) > 1:
            return self._shapes.setdefault(id(obj), sets.Shape(obj))
        if kind is float and obj != obj:
            return self._nan(obj)
        return None


    def _nan(self, obj: float) -> atoms.One | None:
        """What stands for a NaN; None where it is the argument of that."""
        made = self._nans.get(id(obj))
        if made is None:
            made = self._nans[id(obj)] = atoms.One(obj)
            return made
        if not made.given:
            made.given = True
            return None
        return made


class Unpickler(pickle.Unpickler):
    """Reads what SetPickler wrote."""

    def __init__(self, *args: Any, twins: Sequence[Any], **options: Any) -> None:
        super().__init__(*args, **options)
        self._twins = twins

    def persistent_load(self, pid: Any) -> Any:
        """The set itself; for a number, the twin with it (see grafting.py)."""
        return self._twins[pid] if type(pid) is int else pid

    def find_class(self, module: str, name: str) -> Any:
        """Nothing is found by name in the notebook: it may not be there yet, or another."""
        if module == "__main__":
            raise Uncapturable(f"refers to {name} of the notebook by its name")
        return super().find_class(module, name)


def plausible() -> int:
    """More bytes than a stream of what this process holds has."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return SLACK + 2 * int(statm.read().split()[1]) * mmap.PAGESIZE


class Sink:
    """The end of a file, written to by a pickler; most bytes, if that is not 0."""

    def __init__(self, file: BinaryIO, most: int = 0) -> None:
        self.file, self.start, self.length, self._most = file, file.tell(), 0, most or plausible()

    def write(self, data: Any) -> int:
        """See io.RawIOBase."""
        forked.pulse[0] += 1
        size = memoryview(data).nbytes
        self.length += size
        if self.length > self._most:
            raise Uncapturable("has no end when it is pickled")
        self.file.write(data)
        return size

    def source(self) -> BinaryIO:
        """The file again, at the start of what was written."""
        self.file.flush()
        self.file.seek(self.start)
        return self.file

    def clear(self) -> None:
        """Take back what was written."""
        self.file.seek(self.start)
        self.file.truncate()
        self.length = 0


def dump(values: dict[str, Any], where: live.Live, plain: set[Hashable], sink: Any, layouts: bool = False,
         interned: Iterable[str] = (), make: Callable[..., Pickler] | None = None,
         parts: dict[int, references.Reference] | None = None) -> tuple[list[Any], bool]:
    """Write a stream; (out-of-band buffers as flat memoryviews, whether to compare with the values as they were).

    Where the values hold interned strings, a pickle that makes those goes before them; its memo is theirs.

    plain holds the keys that the user reaches past pandas. Uncapturable, with the path inside the variable
    where it is found, if something has no captured form. layouts keeps the order of sets; parts needs it too.
    """
    buffers: list[Any] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < FLOOR:
            return True
        buffers.append(raw)
        return False

    pickler = (make or (SetPickler if layouts else Pickler))(sink, where, keep, plain)
    if isinstance(pickler, SetPickler):
        pickler.keep(parts)
    try:
        if interned:
            texts = sorted(interned)
            sink.write(atoms.preamble(texts))
            pickler.memo = {id(text): (i, text) for i, text in enumerate(texts)}
        pickler.dump(atoms.stand_ins(values))
    except (Exception, forked.Stalled) as err:
        why = str(err) or type(err).__name__
        last = type(pickler.last)
        if isinstance(err, forked.Stalled):
            where.slow.add(f"{live.module(last)}.{live.name(last)}")
            why = f"takes longer than {forked.PATIENCE:g} s to pickle"
        path = paths.locate(values, pickler.last)
        tight = isinstance(err, (Uncapturable, forked.Stalled))
        told = f"{path} {why}" if tight and path else f"{path}: {why}" if path else why
        raise Uncapturable(told, pickler.odd) from err
    return buffers, pickler.odd


class _Digest:
    """A sink that keeps only a digest."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        """See io.RawIOBase."""
        self.hash.update(data)
        return memoryview(data).nbytes


def digest(cls: type, where: live.Live) -> str:
    """A digest of the definition of a class, good in this process only."""
    sink = _Digest()
    try:
        buffers, _ = dump({"": cls}, where, set(), sink)
    except Uncapturable as err:
        return str(err)
    for b in buffers:
        sink.write(b)
    return sink.hash.hexdigest()


def load(file: Any, buffers: Iterable[Any], where: live.Live, twins: Sequence[Any] = ()) -> dict[str, Any]:
    """Unpickle through a trampoline in the namespace, which formulas look into."""
    hop = types.FunctionType((lambda f: f()).__code__, where.ns)
    live.push(where)
    unpickler = Unpickler(file, buffers=buffers, twins=twins)
    try:
        found = hop(unpickler.load)
        return hop(unpickler.load) if found is None else found
    finally:
        live.pop()


def loads(stream: bytes | bytearray, buffers: Iterable[Any], where: live.Live) -> dict[str, Any]:
    """load from memory."""
    return load(io.BytesIO(stream), buffers, where)


def capture(values: dict[str, Any], where: live.Live, plain: set[Hashable], file: BinaryIO,
            layouts: bool = False, most: int = 0, interned: Iterable[str] = (),
            shared: references.Shared | None = None) -> tuple[int, list[Any], bool]:
    """dump to the end of file, proved: (length of the stream, buffers, whether prove has to be called elsewhere).

    layouts is needed if the namespace or what a module holds is reached; sets are found to need it. What is
    unpickled from the stream is compared with values. Buffers are not copied for that, so it costs as much as
    the stream, whatever the size of arrays. Runs in a fork, or where nothing of the program can run. Uncapturable
    if something does not come back as it is, or if the stream is longer than most bytes. What is shared with
    variables is written as references to them.
    """
    sink = Sink(file, most)
    parts = shared.parts if shared is not None else None
    layouts = layouts or shared is not None
    buffers, odd = dump(values, where, plain, sink, layouts, interned, parts=parts)
    walk = proof.Walk(where.ns)
    if shared is not None:  # of buffers that are lent nobody can tell with whom they are shared
        why = prove(walk, values, sink.source(), _lent(buffers, most or plausible()), where, shared.differs)
    else:
        why = _differs(walk, values, sink, _lent(buffers, most), where)
    if walk.sets and not layouts:
        sink.clear()
        buffers, odd = dump(values, where, plain, sink, True, interned)
        why = _differs(proof.Walk(where.ns), values, sink, _lent(buffers, most), where)
    if why:
        raise Uncapturable(why, odd)
    file.seek(sink.start + sink.length)
    return sink.length, buffers, odd


def _lent(buffers: list[Any], most: int) -> list[Any]:
    """What the proof reads the buffers from: in a fork (most is 0) the buffers themselves.

    Elsewhere copies, of most bytes at most: a cycle among what is read back would hold the program's memory until a
    collection. Uncapturable if they are longer.
    """
    if most == 0:
        return buffers
    if sum(b.nbytes for b in buffers) > most:
        raise Uncapturable("is too large to be copied")
    return [bytes(b) if b.readonly else bytearray(b) for b in buffers]


def _differs(walk: proof.Walk, values: dict[str, Any], sink: Sink, buffers: list[Any], where: live.Live) -> str:
    return prove(walk, values, sink.source(), buffers, where)


def prove(walk: proof.Walk, values: dict[str, Any], file: Any, buffers: list[Any], where: live.Live,
          also: Callable[[dict[str, Any], dict[str, Any]], str] = lambda values, back: "") -> str:
    """How what is read from file differs from values, or what also finds; empty if it does not."""
    try:
        with arrays.lent():
            back = load(file, buffers, live.Live(where.ns))
        forked.keep(back)
        walk.compare(values, back)
        for name in atoms.apart(values, back):
            return f"{name} is shared in another way when it comes back"
        return also(values, back)
    except proof.Differs as err:
        return str(err)
    except forked.Stalled:
        return f"takes longer than {forked.PATIENCE:g} s to be read back"
    except Exception as err:
        return f"cannot be read back: {type(err).__name__}: {err}"


def pieces(file: Any, spans: list[list[Any]]) -> Iterator[Any]:
    """The buffers that lie in file at [offset, length, readonly], as new memory."""
    for offset, length, readonly in spans:
        file.seek(offset)
        data = file.read(length)
        yield data if readonly else bytearray(data)
