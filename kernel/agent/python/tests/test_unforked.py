"""What is saved without a fork: the same bytes as with one, and nothing of the program runs or changes meanwhile."""
import copyreg
import gc
import pathlib
import sys
import threading
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kedge_agent import forked, live, saving, unforked  # noqa: E402

PLAIN = [
    "x = 3",
    "x = [1, 'a', -0.0, 1j, None, ..., b'b', range(3)]; y = {'k': x, 2: (x, 'a')}",
    "x = {'a', 'b', 'c'}; y = frozenset([1])",
    "x = bytearray(b'abc'); x = [x]; x.append(x)",
    "import collections as c; x = c.deque([1], 3); y = c.OrderedDict(b=1, a=2); z = c.defaultdict(list, {1: [2]})",
    "import datetime as d, decimal; x = [d.date(2020, 1, 2), d.timedelta(3), decimal.Decimal('1.20')]",
    "k = 3\ndef x(a, b=[1], *, c=2):\n    'doc'\n    return [k for _ in range(a)]",
    "def mk():\n    n = [1]\n    return (lambda: n), (lambda: n.append(1))\nx, y = mk(); y()",
    "import json, collections; x = collections.OrderedDict; y = json.dumps",
    "import numpy as np; x = np.arange(5000.); y = x[::-2]; z = [np.float32(1), np.array(['a', None], object)]",
    "import numpy as np; x = bytearray(16); y = np.frombuffer(x, 'i4'); z = np.zeros(3); z.flags.writeable = False",
    # Since Python 3.14 code has to run to tell annotations.
    *(["def x(a, *, c: int = 2): return a"] if sys.version_info < (3, 14) else []),
]

# What runs code of the notebook if it is pickled, read back or looked at; it appends to calls.
ACTIVE = [
    "class K:\n    def __reduce_ex__(self, p): calls.append(1); return K, ()\nx = K()",
    "class K:\n    def __init_subclass__(cls): calls.append(1)\nclass L(K): pass\ncalls.clear()",
    "class S(str):\n    def __reduce_ex__(self, p): calls.append(1); return str, ('',)\nx = [S('a')]",
    "class D(dict):\n    def items(self): calls.append(1); return ()\n"
    "    def __iter__(self): calls.append(1); return iter(())\nx = D(a=1)",
    "class K:\n    def __hash__(self): calls.append(1); return 1\n"
    "    def __eq__(self, o): calls.append(1); return True\nx = {K(): 1}; y = {(K(),)}; calls.clear()",
    "class K:\n    def __getattribute__(self, n): calls.append(n); return 1\nx = (K(),)",
    "class M(type):\n    def __getattribute__(cls, n): calls.append(n); return type.__getattribute__(cls, n)\n"
    "class K(metaclass=M): pass\nx = [K()]; calls.clear()",
    "class K:\n    def __del__(self): calls.append(1)\ndef x(a=K()): pass",
    "class K:\n    def __repr__(self): calls.append(1); return ''\ndef x(a: K() = 1): pass",
    "import numpy as np\nclass A(np.ndarray):\n    def __array_finalize__(self, o): calls.append(1)\n"
    "    nbytes = property(lambda s: calls.append(1) or 8)\nx = np.zeros(3).view(A); calls.clear()",
    "import numpy as np\nclass K:\n    def __reduce_ex__(self, p): calls.append(1); return int, ()\n"
    "x = np.array([K(), 1], object)",
    "import numpy as np\nclass K:\n    def __reduce_ex__(self, p): calls.append(1); return int, ()\n"
    "x = np.zeros(1, np.dtype('f8', metadata={'a': K()}))",
    "import logging\nclass H(logging.Handler):\n"
    "    def __getattribute__(self, n): calls.append(n); return object.__getattribute__(self, n)\n"
    "x = H(); calls.clear()",
]


class Notebook:
    def __init__(self, folder):
        self.ns = sys.modules["__main__"].__dict__
        self.saver = saving.Saver(live.Live(self.ns))
        self.spool = folder / "spool"
        self.ns["calls"] = []

    def save(self, code, more=()):
        """The groups of everything, as bytes."""
        exec(compile(code, "<cell>", "exec"), self.ns)
        user = {n: v for n, v in self.ns.items() if not n.startswith("_")}
        found = self.saver.save(user.keys() - {"calls"}, {**user, **dict(more)}, str(self.spool))
        data = self.spool.read_bytes()
        spans = [[g["stream"], *([o, n] for o, n, _ in g["buffers"])] for g in found["groups"]]
        names = [g["names"] for g in found["groups"]]
        return names, [[data[o:o + n] for o, n in s] for s in spans], found["uncaptured"]


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    return Notebook(tmp_path)


@pytest.fixture
def forks(monkeypatch):
    """A list with an entry for each fork."""
    run, made = forked.run, []
    monkeypatch.setattr(forked, "run", lambda work: (made.append(1), run(work))[1])
    return made


@pytest.mark.parametrize("code", PLAIN)
def test_plain_things_take_no_fork_and_give_the_same_bytes(book, forks, monkeypatch, code):
    if "numpy" in code:
        pytest.importorskip("numpy")
    here = book.save(code)
    assert forks == [] and here[2] == []
    monkeypatch.setattr(unforked, "quiet", lambda *_: False)
    assert book.save(code.partition("\n")[0] if code.startswith("import") else "pass")[2] == []
    assert book.save("pass") == book.save("pass") and forks
    monkeypatch.undo()
    again = book.save("pass")
    monkeypatch.setattr(unforked, "quiet", lambda *_: False)
    assert again == book.save("pass")


@pytest.mark.parametrize("code", ACTIVE)
def test_nothing_of_the_notebook_runs(book, forks, code):
    if "numpy" in code:
        pytest.importorskip("numpy")
    book.save(code)
    assert book.ns["calls"] == [] and forks
    del forks[:]
    gc.collect()
    book.ns["calls"].clear()
    book.save("")
    assert book.ns["calls"] == []


def test_what_is_not_wanted_may_be_anything_that_can_be_looked_at(book, forks):
    book.save("class K:\n    def __reduce_ex__(self, p): calls.append(1); return K, ()\nx = K()")
    del forks[:]
    user = {n: v for n, v in book.ns.items() if not n.startswith("_")}
    book.ns["y"] = user["y"] = [1]
    assert [g["names"] for g in book.saver.save({"y"}, user, str(book.spool))["groups"]] == [["y"]]
    assert forks == []


def test_a_thread_of_the_notebook_takes_a_fork(book, forks):
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    book.save("x = 1")
    stop.set()
    thread.join()
    assert forks


def test_a_tracer_takes_a_fork(book, forks):
    sys.settrace(lambda *_: None)
    try:
        book.save("x = 1")
    finally:
        sys.settrace(None)
    assert forks


def test_a_signal_handler_and_a_patched_library_take_a_fork(book, forks):
    book.save("x = 1", {"signal:handler SIGALRM": print}.items())
    assert forks.pop()
    book.save("x = 1", {"json:dumps": print}.items())
    assert forks.pop()
    book.save("x = 1", {"json:mine": 3}.items())
    assert not forks


def test_a_reducer_of_the_notebooks_takes_a_fork(book, forks):
    import collections
    calls = book.ns["calls"]
    copyreg.pickle(collections.deque, lambda d: (calls.append(1), (collections.deque, ()))[1])
    try:
        book.save("import collections\nx = collections.deque([1])")
    finally:
        del copyreg.dispatch_table[collections.deque]
    assert forks and not calls


def test_much_takes_a_fork(book, forks):
    book.save(f"x = [[] for _ in range({unforked.MOST})]")
    assert forks


def test_a_long_stream_takes_a_fork(book, forks, monkeypatch):
    monkeypatch.setattr(unforked, "LONGEST", 1000)
    book.save("x = 'a' * 2000")
    assert forks


def test_what_nests_deep_takes_a_fork(book, forks):
    names, _, lost = book.save("x = []\nfor _ in range(5000): x = [x]")
    # Since Python 3.14 C code ends before its stack does.
    assert (forks or sys.version_info >= (3, 14)) and names == [["x"]] or lost


def test_the_collector_is_as_it_was(book):
    gc.disable()
    try:
        book.save("x = 1")
        assert not gc.isenabled()
    finally:
        gc.enable()
    book.save("x = 1")
    assert gc.isenabled()


def test_arrays_are_let_go(book, forks):
    np = pytest.importorskip("numpy")
    book.save("import numpy as np\nx = [np.zeros(10000)]; x.append(x)\nclass K: w = x[0]\nk = [1, K()]")
    assert not forks
    x = book.ns["x"][0]
    book.ns["x"].clear()
    del book.ns["K"].w
    x.resize(20000)  # refuses if anything refers to it
    assert type(x) is np.ndarray


def test_large_arrays_take_a_fork(book, forks, monkeypatch):
    pytest.importorskip("numpy")
    monkeypatch.setattr(unforked, "LONGEST", 50_000)
    book.save("import numpy as np\nx = np.zeros(10000)")
    assert forks
