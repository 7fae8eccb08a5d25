"""Results that share with variables: references where the variables are at hand, nothing where they are not."""
import pathlib
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kedge_agent import live, pickler, references, saving  # noqa: E402


class Notebook:
    def __init__(self, folder):
        self.ns = sys.modules["__main__"].__dict__
        self.live = live.Live(self.ns)
        self.spool = str(folder / "spool")

    def result(self, head, expression, near=None, earlier=()):
        """(the group of a result, the result as it comes back where the variables stay as they are)."""
        exec(head, self.ns)
        user = {n: v for n, v in self.ns.items() if not n.startswith("_") and type(v) is not types.ModuleType}
        value = eval(expression, self.ns)
        others = {f"Out {i}": eval(e, self.ns) for i, e in enumerate(earlier)}
        beside = saving.Beside("Out", value, set(user) if near is None else near, others)
        found = saving.Saver(self.live).save(set(), user, self.spool, beside)["results"]
        if not found:
            return None, None
        with open(self.spool, "rb") as file:
            buffers = list(pickler.pieces(file, found[0]["buffers"]))
            file.seek(found[0]["stream"][0])
            return found[0], pickler.load(file, buffers, self.live)["Out"]


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    return Notebook(tmp_path)


LISTS = "xs = [[1], {'k': [2]}, (3, [4])]\nclass C:\n    held = [7]\n    def __init__(self): self.own = [8]\nc = C()"


@pytest.mark.parametrize("expression", ["xs[0]", "xs[1]['k']", "xs[2]", "c.own", "vars(c)", "xs"])
def test_a_part_of_a_variable_is_that_very_part(book, expression):
    group, back = book.result(LISTS, expression)
    assert back is eval(expression, book.ns)
    assert group["within"] == ["c" if "c" in expression else "xs"]


@pytest.mark.parametrize("expression,part", [
    ("[xs[0], 5]", "r[0] is xs[0]"), ("xs[:1]", "r[0] is xs[0]"), ("xs.append", "r.__self__ is xs"),
    ("(c, xs[1])", "r[0] is c"), ("xs[1].keys()", "list(r) == ['k'] and not xs[1].update(n=1) and 'n' in r")])
def test_what_holds_parts_holds_those_very_parts(book, expression, part):
    _, back = book.result(LISTS, expression)
    assert eval(part, {**book.ns, "r": back})


def test_memory_is_shared(book):
    np = pytest.importorskip("numpy")
    for expression in ("a[1:]", "a.T", "a[0]", "b[2:4]"):
        _, back = book.result("import numpy as np\na = np.arange(12.0).reshape(3, 4)\nb = np.zeros(9000)", expression)
        value = eval(expression, book.ns)
        assert back is not value and np.shares_memory(back, value) and back.base is value.base
        assert back.strides == value.strides and (back == value).all()


FRAME = "import pandas as pd\ndf = pd.DataFrame({'a': [3, 1, 2], 'b': [1.5, 2.5, 3.5], 'c': ['x', 'y', 'z']})"


def test_frames_share_and_are_copied_on_write(book):
    np = pytest.importorskip("numpy")
    pytest.importorskip("pandas")
    for expression in ("df['a']", "df.head(2)[['a']]", "df.iloc[1:][['a']]", "df['a'].to_frame()"):
        _, back = book.result(FRAME, expression)
        values = book.ns["df"]["a"].values
        assert np.shares_memory(back.values, values) == np.shares_memory(eval(expression, book.ns).values, values)
        before = back.to_dict()
        book.ns["df"].loc[1, "a"] = 99
        assert back.to_dict() == before, expression
    _, back = book.result(FRAME, "df.columns")
    assert back is book.ns["df"].columns
    _, back = book.result(FRAME, "df['b'].index")
    assert back._references is not book.ns["df"].columns._references


@pytest.mark.parametrize("expression,near,earlier", [
    ("xs[0]", {"c"}, ()),  # the cell has not read the variable
    ("[c, C.held]", None, ()),  # what a class holds is reached past its objects
    ("_ys[0]", None, ["_ys"]),  # shared with what was shown before only
    ("(i for i in xs)", None, ()),
])
def test_what_cannot_be_proved_has_no_form(book, expression, near, earlier):
    book.ns["_ys"] = [[1]]
    assert book.result(LISTS, expression, near, earlier) == (None, None)


def test_memory_of_what_the_cell_has_not_read_is_not_taken_for_shared(book):
    pytest.importorskip("numpy")
    for size in (5, 9000):  # in the stream, and beside it
        assert book.result(f"import numpy as np\nb = np.zeros({size})\nc = 1", "b[1:]", {"c"}) == (None, None)


def test_a_part_that_is_another_now_is_noticed(book):
    book.result("import numpy as np\nxs = [np.zeros(3)]", "xs[0]")
    live.push(book.live)
    try:
        made, found = references.Reference(book.ns["xs"][0], "xs", (("at", 0),)).reduce()
        assert made(*found) is book.ns["xs"][0]
        book.ns["xs"][0] = book.ns["np"].zeros(4)
        with pytest.raises(LookupError):
            made(*found)
    finally:
        live.pop()
