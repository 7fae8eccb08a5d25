"""What libraries keep of the notebook's objects (kedge_agent/registrations.py)."""
import sys
import types

import pytest
from kedge_agent.reads import Reads
from kedge_agent.registrations import Registrations

LIBRARY = """
table, listed, members = {}, [], set()
_lookup_cache = {}
class Spec:
    def __init__(self, entry): self.entry = entry
class Hub:
    known = {}
    def __init__(self): self.inner = {}
hub = Hub()
"""
DEFINED = "def f(): pass\nclass C:\n    def m(self): pass\nc = C()\n"
KEPT = {
    "a function": "lib.table['f'] = f",
    "a class": "lib.listed.append(C)",
    "an object": "lib.members.add(c)",
    "a method": "lib.listed.append(c.m)",
    "a partial": "import functools; lib.listed.append(functools.partial(f))",
    "in a description": "lib.table['c'] = lib.Spec(C)",
    "in a class of the library": "lib.Hub.known['c'] = C",
    "in an object of the library": "lib.hub.inner['c'] = C",
    "an object of the library's that is a variable": "s = lib.Spec(1); lib.listed.append(s)",
    "a name": "lib.table['mine'] = lib.Spec(1)",
}
NOT_KEPT = {
    "nothing": "pass",
    "what was looked up": "lib._lookup_cache['f'] = f",
    "the library's own": "lib.listed.append(lib.Spec)",
    "a name that does not stand in the cell": "lib.table['mi' + 'ne'] = 1",
    "what is taken back": "lib.listed.append(f); lib.listed.pop()",
}


class Cells:
    """A namespace, a library, and the cells that run in it."""

    def __init__(self, monkeypatch):
        self.library = types.ModuleType("kept_library")
        exec(LIBRARY, self.library.__dict__)
        self.patch, self.ns = monkeypatch, {"__name__": "__main__"}
        self.kept = Registrations(self.ns)
        exec(DEFINED, self.ns)
        self.ns["lib"] = self.library

    def load(self):
        self.patch.setitem(sys.modules, "kept_library", self.library)

    def cell(self, code, load=False):
        found = Reads(self.ns, {})
        found.cell(code)
        self.kept.before(found)
        if load:
            self.load()
        exec(code, self.ns)
        return self.kept.after()


@pytest.fixture
def cells(monkeypatch):
    return Cells(monkeypatch)


@pytest.mark.parametrize("code", KEPT.values(), ids=KEPT)
def test_kept(cells, code):
    cells.load()
    assert cells.cell("pass") == []
    assert [w for w in cells.cell(code) if "kept_library" in w], "a registration was not noticed"
    assert cells.cell("pass") == [], "the cell below has registered nothing"


@pytest.mark.parametrize("code", NOT_KEPT.values(), ids=NOT_KEPT)
def test_not_kept(cells, code):
    cells.load()
    assert cells.cell("pass") == []
    assert cells.cell(code) == []


def test_replaced(cells):
    """Registered again under its name: the table is as long as before."""
    cells.load()
    cells.cell("lib.table['f'] = f")
    assert cells.cell("def f(): return 2\nlib.table['f'] = f") == ["registered something with kept_library.table"]


def test_imported_by_the_same_cell(cells):
    assert cells.cell("lib.table['f'] = f", load=True) == ["registered something with kept_library.table"]


def test_names_of_a_library_just_imported(cells):
    """What it holds by itself is not registered, whatever stands in the cell."""
    cells.library.table["mine"] = 1
    assert cells.cell("'mine'", load=True) == []


def test_before_the_steps(cells):
    cells.load()
    assert cells.kept.past() == []
    exec("lib.listed.append(f)", cells.ns)
    assert cells.kept.past() == ["may have registered something with kept_library.listed"]


def test_the_namespace_is_no_library(monkeypatch):
    """joblib's workers know the notebook's module by another name too."""
    module = types.ModuleType("__mp_main__")
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    kept = Registrations(module.__dict__)
    module.__dict__.update(held={}, f=test_kept)
    found = Reads(module.__dict__, {})
    found.cell("pass")
    kept.before(found)
    exec("def g(): pass\nheld['g'] = g", module.__dict__)
    assert kept.after() == []
