"""Arrays that own the store's segments, mapped: in processes with the library that kernels carry."""
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("numpy")
AGENT = pathlib.Path(__file__).parents[1]
LIBRARY = AGENT.parents[1] / "observe" / "lib" / "libkedge_observe.so"
pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="kernel/observe/build.sh builds the library")

HEAD = """
import contextvars, ctypes, gc, hashlib, pickle, sys
import numpy as np
from kedge_agent import arrays, live, memory, pickler, regions
path = sys.argv[1]
def segment(data, before=4096):
    with open(path, "wb") as f:
        f.write(bytes(before)); f.write(data)
    return [[path, before, len(data)]]
def digest():
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).digest()
def maps():
    with open("/proc/self/maps") as f:
        return sum(path in line for line in f)
def count():
    return ctypes.CDLL(None).kedge_region_maps()
data = np.arange(500_000, dtype="f8") * 3
def restored(shape=(500_000,), dtype="f8", order="C", writeable=True, ranges=None):
    found = regions.buffer(ranges or segment(data.tobytes()), not writeable)
    assert found is not None
    return arrays.owned(found, shape, np.dtype(dtype), order, writeable)
"""


def check(tmp_path, code, preload=True):
    """Run code in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(AGENT)}
    if preload:
        env["LD_PRELOAD"] = str(LIBRARY)
    done = subprocess.run([sys.executable, "-c", HEAD + textwrap.dedent(code), str(tmp_path / "seg")], env=env,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_mapped_array_is_as_any_other(tmp_path):
    """Nothing that a program can ask of the array tells."""
    check(tmp_path, """
    x = restored()
    assert maps() == 1 and count() == 2
    y = data.copy()
    assert x.flags.owndata and x.base is None and x.flags.writeable and type(x) is np.ndarray
    assert str(x.flags) == str(y.flags) and x.strides == y.strides and sys.getsizeof(x) == sys.getsizeof(y)
    core = getattr(np, "_core", None) or np.core
    name = core.multiarray.get_handler_name
    assert name(x) == name(y) and name() == name(y)
    assert core.multiarray.get_handler_version(x) == core.multiarray.get_handler_version(y)
    assert not any("alloc" in v.name for v in contextvars.copy_context())
    assert np.array_equal(x, y) and not memory.mapped(x)
    assert sys.getrefcount(x) == sys.getrefcount(y)
    assert not vars(ctypes.pythonapi).keys() & {"PyCapsule_New", "PyCapsule_GetPointer"}
    """)


def test_writing_does_not_reach_the_store(tmp_path):
    """The segment holds what it held."""
    check(tmp_path, """
    x = restored()
    before = digest()
    x[:] = -1
    x.sort()
    del x
    assert digest() == before and maps() == 0 and count() == 0
    assert np.array_equal(restored(ranges=[[path, 4096, data.nbytes]]), data)
    """)


def test_resizing_and_freeing(tmp_path):
    """As with memory of numpy's own; what was mapped is gone then."""
    check(tmp_path, """
    x = restored()
    x.resize(600_000, refcheck=False)
    assert maps() == 0 and np.array_equal(x[:500_000], data) and not x[500_000:].any() and x.flags.owndata
    x.resize((10, 3), refcheck=False)
    assert np.array_equal(x.ravel(), data[:30])
    x = restored()
    x.resize(499_999, refcheck=False)
    assert np.array_equal(x, data[:-1])
    x.resize(499_998, refcheck=False)
    x.resize(500_001, refcheck=False)
    assert x[-3:].tolist() == [0, 0, 0]
    view = restored()[5:]
    gc.collect()
    assert maps() == 1 and view[0] == 15
    del view, x
    assert maps() == 0 and count() == 0
    big = np.empty(500_000)
    assert count() == 0
    """)


def test_order_types_and_padding(tmp_path):
    """All bytes are those that were saved."""
    check(tmp_path, """
    f = np.asfortranarray(data.reshape(1000, 500))
    x = restored((1000, 500), "f8", "F", ranges=segment(f.tobytes(order="A")))
    assert x.flags.f_contiguous and x.strides == f.strides and np.array_equal(x, f) and x.flags.owndata
    padded = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8]})
    raw = np.random.default_rng(1).bytes(16 * 200_000)
    x = restored((200_000,), padded, ranges=segment(raw))
    assert x.tobytes() == raw and maps() == 1
    x = restored((200_000,), "M8[ns]", writeable=False, ranges=segment(raw[:1_600_000]))
    assert not x.flags.writeable and x.flags.owndata and x.tobytes() == raw[:1_600_000]
    x.flags.writeable = True
    """)


def test_what_cannot_be_mapped_is_read(tmp_path):
    """Ranges that begin in the middle of a page, many pieces, small ends, too many maps."""
    check(tmp_path, """
    raw = data.tobytes()
    x = restored(ranges=segment(raw, before=4097))
    assert maps() == 0 and x.flags.owndata and np.array_equal(x, data)
    half = 1 << 21
    x = restored(ranges=[[path, 4097, half], [path, 4097 + half, len(raw) - half]])
    assert np.array_equal(x, data)
    segment(raw)
    x = restored(ranges=[[path, 4096, half], [path, 4096 + half, len(raw) - half]])
    assert maps() >= 1 and np.array_equal(x, data)
    step = 1 << 14
    x = restored(ranges=[[path, 4096 + at, min(step, len(raw) - at)] for at in range(0, len(raw), step)])
    assert maps() == 0 and np.array_equal(x, data)
    many, piece = regions.PIECES + 1, 1 << 16
    ranges = segment(raw[:piece])
    for n in (many, many - 1):
        x = restored((n * piece // 8,), ranges=ranges * n)
        assert maps() == (0 if n == many else n) and np.array_equal(x, np.tile(data[:piece // 8], n))
    segment(raw)
    x = restored(ranges=[[path, 4096, half], [path, 4096 + half, 1 << 20], [path, 4096 + half + (1 << 20), 4000],
                         [path, 4096 + half + (1 << 20) + 4000, len(raw) - half - (1 << 20) - 4000]])
    assert np.array_equal(x, data)
    """)


def test_there_are_not_too_many_maps(tmp_path):
    """Beyond the budget there is no memory of ours, and no error; what is freed counts no more."""
    check(tmp_path, """
    ranges = segment(data[:20_000].tobytes())
    kept = []
    while (found := regions.buffer(ranges, False)) is not None:
        kept.append(arrays.owned(found, (20_000,), np.dtype("f8"), "C", True))
        del found
        assert len(kept) <= 8192
    assert count() in (8191, 8192) and len(kept) >= 4096, (count(), len(kept))
    kept[0].resize(30_000, refcheck=False)
    kept.clear()
    assert count() == 0 and regions.buffer(ranges, False) is not None
    """)


def test_a_segment_that_is_too_short_is_an_error(tmp_path):
    """Nothing beyond the end of a file is mapped: looking there would end the kernel."""
    check(tmp_path, """
    ranges = segment(data.tobytes())
    for cut in (1, 4096, data.nbytes):
        with open(path, "r+b") as f:
            f.truncate(4096 + data.nbytes - cut)
        for wanted in (ranges, [[path, 4096, 8192], [path, 12288, data.nbytes - 8192]]):
            try:
                regions.buffer(wanted, False)
            except EOFError:
                assert maps() == 0 and count() == 0
            else:
                raise AssertionError(cut)
    """)


def test_memory_that_others_show(tmp_path):
    """What stands for memory that arrays show is captured as a bytearray would be, and is no array of the program."""
    check(tmp_path, """
    import io
    ranges = segment(data.tobytes())
    where = live.Live({})
    def streams(base):
        arr = arrays.view(base, 80, (1000,), (8,), np.dtype("f8"), True)
        assert memory.root(arr) is arr and not arr.flags.owndata
        sink = io.BytesIO()
        buffers, _ = pickler.dump({"x": arr}, where, set(), pickler.Sink(sink))
        assert arr.tolist() == data[10:1010].tolist()
        return sink.getvalue(), [bytes(b) for b in buffers]
    mapped = regions.buffer(ranges, False)
    assert streams(arrays.same(mapped)) == streams(bytearray(data.tobytes()))
    assert arrays.same(3) == 3
    """)


def test_captured_again_and_through_a_fork(tmp_path):
    """A child sees the values, and what it does stays with it."""
    check(tmp_path, """
    import os
    x = restored()
    x[1] = 7
    pid = os.fork()
    if pid == 0:
        ok = x[1] == 7 and x[2] == 6
        x[2] = 0
        x.resize(900_000, refcheck=False)
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0 and x[2] == 6 and maps() == 1
    again = pickle.loads(pickle.dumps(x))
    assert np.array_equal(again, x)
    """)


def test_without_the_library(tmp_path):
    """Then there is no such memory."""
    check(tmp_path, """
    assert regions.buffer(segment(data.tobytes()), False) is None
    assert bytes(regions.gather([[path, 4096, 8], [path, 4104, 8]])) == data[:2].tobytes()
    try:
        regions.gather([[path, 4096, data.nbytes + 1]])
    except EOFError:
        pass
    else:
        raise AssertionError
    """, preload=False)
