"""What people see of values, and that looking at them runs nothing, leaves nothing and stays small."""
import datetime
import json
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import namespace, previews  # noqa: E402

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")


def sketch(value, at=0):
    return previews.preview(value)["sketches"][at]


def test_sizes_are_told_without_code_of_the_value(monkeypatch):
    frame = pd.DataFrame({"a": range(100), "b": 1.5})
    monkeypatch.setattr(pd.DataFrame, "memory_usage", lambda *_, **__: pytest.fail("it ran"))  # __sizeof__ asks it
    assert namespace.describe("frame", frame)["size"] == 1600
    assert namespace.describe("many", [frame])["size"] == sys.getsizeof([frame])


def test_numbers_are_counted_and_drawn():
    found = sketch(np.array([0.0, 1, 2, 3, np.nan, np.inf, 16]))
    assert (found["low"], found["high"], found["missing"], found["seen"], found["of"]) == ("0", "16", 1, 7, 7)
    assert sum(found["bins"]) == 5 and len(found["bins"]) == 16 and found["bins"][0] == 2
    assert found["line"] == [0, 6, 12, 19, -1, -1, 99]
    assert sketch(np.arange(4))["bins"] == [1, 1, 1, 1] and sketch(np.array([True, False, True]))["bins"] == [1, 2]
    assert sketch(np.full(9, 7))["bins"] == [9] and sketch(np.array([1e308, -1e308]))["line"] == [99, 0]
    dates = sketch(np.array(["2020-01-01", "NaT", "2020-03-01"], "M8[D]"))
    assert dates["type"] == "datetime64[D]" and dates["missing"] == 1
    assert (dates["low"], dates["high"]) == ("2020-01-01", "2020-03-01")


def test_arrays_show_their_corner_and_levels():
    shown = previews.preview(np.arange(12).reshape(3, 4))
    assert shown["rows"][1] == ["4", "5", "6", "7"] and shown["grid"][0][0] == 0 and shown["grid"][2][3] == 99
    shown = previews.preview(np.zeros((100, 100, 3), "u1"))
    assert len(shown["grid"]) <= 16 and len(shown["grid"][0]) <= 24 and len(shown["rows"]) == 5
    assert "grid" not in previews.preview(np.arange(3)) and "grid" not in previews.preview(np.full((3, 3), np.nan))


def test_columns_of_every_kind():
    frame = pd.DataFrame({
        "n": [1.5, None, 2.5], "w": ["a", "b", "a"], "c": pd.Categorical(["x", None, "x"]),
        "i": pd.array([1, None, 3], dtype="Int64"), "t": pd.to_datetime(["2021-05-01", "2021-05-02", None]),
        "z": pd.date_range("2021", periods=3, tz="UTC"), "o": [[1], "b", 2], "b": [True, False, True]})
    found = {c["name"]: c for c in previews.preview(frame)["sketches"]}
    assert [c["of"] for c in found.values()] == [3] * 8
    assert found["n"]["missing"] == found["c"]["missing"] == found["i"]["missing"] == found["t"]["missing"] == 1
    assert found["w"]["top"][0] == {"text": "a", "count": 2} and found["w"]["distinct"] == 2
    assert found["c"]["type"] == "category" and found["i"]["type"] == "Int64"
    assert found["t"]["low"] == "2021-05-01" and "sum" not in found["o"]
    assert found["b"]["bins"] == [1, 2]


def test_a_changed_column_is_told_from_the_others():
    frame = pd.DataFrame({"a": range(9), "b": list("abcdefghi"), "c": 1.0})
    before = [c["sum"] for c in previews.preview(frame)["sketches"]]
    frame.loc[5, "b"] = "new"
    after = [c["sum"] for c in previews.preview(frame)["sketches"]]
    assert [x == y for x, y in zip(before, after, strict=True)] == [True, False, True]
    large = np.arange(1 << 20)
    assert sketch(large)["sum"].startswith("~") and not sketch(large[:100])["sum"].startswith("~")
    assert "sum" not in sketch(pd.Series([[1], [2]]))


@pytest.mark.parametrize("value", [
    pd.DataFrame(np.random.default_rng(1).normal(size=(200, 2000))), np.zeros((3000, 3000)),
    pd.Series(["x" * 10_000] * 5000), pd.DataFrame({"k" * 5000: [10**300, 1]}),
    pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame([[1, 2]], columns=["\x1b[31m\0", "<b>"]),
    pd.DataFrame(), pd.Series(dtype="int64"),
    np.array([10**400, 1], dtype=object), np.array([]), np.array(5), np.zeros((0, 3, 4)), np.zeros((2, 0, 4)),
    np.zeros(3, dtype=[("x", "i4"), ("y", "O")]), np.arange(6)[::-2], np.array([1, 2], ">i4"),
    np.array([0, 2**64 - 1], "u8"), np.array(["a", "b"]), np.array([1j])])
def test_what_is_said_is_bounded(value):
    text = json.dumps(previews.preview(value), allow_nan=False)
    assert len(text) < 40_000
    assert previews.preview(value).get("sketches", 1), text
    began = time.perf_counter()
    previews.preview(value)
    assert time.perf_counter() - began < 0.5


def test_nothing_of_the_notebook_is_called(monkeypatch):
    called = []

    class Own(np.ndarray):
        def __getattribute__(self, name):
            called.append(name)
            return super().__getattribute__(name)

        def __getitem__(self, at):
            called.append(at)
            return super().__getitem__(at)

    class Text(str):
        def __repr__(self):
            called.append("repr")
            return "?"

        __str__ = __eq__ = __hash__ = __repr__

    class Foreign(pd.api.extensions.ExtensionArray):
        dtype = np.dtype("O")

        def __init__(self, n):
            self.n = n

        def __len__(self):
            called.append("len")
            return self.n

        def __getattribute__(self, name):
            called.append(name)
            return super().__getattribute__(name)

    class Frame(pd.DataFrame):
        pass

    frame = pd.DataFrame({"a": [1, 2]})
    frame["t"] = pd.Series([Text("x"), Text("y")], dtype=object)
    values = [np.zeros(4).view(Own), frame, np.array([Text("x")], dtype=object), Frame({"a": [1]})]
    for name in ("min", "max", "sum", "histogram", "isnan", "unique", "sort"):
        monkeypatch.setattr(np, name, lambda *_, name=name, **__: called.append(name))
    monkeypatch.setattr(pd.DataFrame, "head", lambda *_: called.append("head"))
    called.clear()
    for value in values:
        previews.preview(value)
    assert previews._sketch(Foreign(3)) == {"type": "Foreign"} and previews._kind(Foreign(3)) == {"type": "Foreign"}
    assert not called, called


def test_nothing_is_left_in_what_is_looked_at():
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "t": pd.date_range("2020", periods=2)})

    def state():
        held = [frame, *frame._mgr.axes, *(b.values for b in frame._mgr.blocks), frame._mgr.axes[0]._data]
        return [repr(getattr(h, "_cache", None)) + repr(sorted(getattr(h, "__dict__", {}))) for h in held]

    before, modules = state(), set(sys.modules)
    previews.preview(frame)
    assert state() == before and set(sys.modules) == modules


def polars_frame():
    pl = pytest.importorskip("polars")
    return pl.DataFrame({
        "n": [1, None, 3], "f": [1.5, float("nan"), 2.5], "w": ["a", "b", "a"], "d": [datetime.date(2020, 1, 1)] * 3,
        "t": [datetime.datetime(2020, 1, n, 3) for n in (1, 2, 3)], "l": [[1], [], None],
        "c": pl.Series(["x", None, "x"], dtype=pl.Categorical)})


def test_frames_of_polars():
    frame = polars_frame()
    modules = set(sys.modules)
    shown = previews.preview(frame)
    assert shown["columns"] == ["n", "f", "w", "d", "t", "l", "…"]
    assert shown["rows"][1] == ["None", "nan", "b", "2020-01-01", "2020-01-02 03:00:00", "…", "…"]
    found = {c["name"]: c for c in shown["sketches"]}
    assert [c["of"] for c in found.values()] == [3] * 7
    assert (found["n"]["type"], found["n"]["missing"], found["n"]["high"]) == ("Int64", 1, "3")
    assert (found["f"]["missing"], found["t"]["low"]) == (1, "2020-01-01T03:00:00")
    assert found["w"]["top"][0] == {"text": "a", "count": 2} and found["c"]["missing"] == 1
    assert found["l"] == {"name": "l", "type": "List(Int64)", "of": 3}
    series = previews.preview(frame["f"])
    assert series["rows"] == [["1.5"], ["nan"], ["2.5"]] and series["sketches"][0]["line"] == [0, -1, 99]
    assert previews.preview(frame.lazy()) is None and previews.preview(frame.clear().drop(frame.columns)) is None
    assert set(sys.modules) == modules
    other = previews.preview(frame.with_columns(n=frame["n"] + 1))
    same = [a["sum"] == b["sum"] for a, b in zip(shown["sketches"], other["sketches"], strict=True) if "sum" in a]
    assert same == [False] + [True] * 5


def test_tables_of_arrow():
    pa = pytest.importorskip("pyarrow")
    data = {"a": [1, None, 3], "b": ["x", "y", "x"], "l": [[1], [2], [3]]}
    tables = [pa.table(data), pa.record_batch(data)]
    modules = set(sys.modules)
    for table in tables:
        shown = previews.preview(table)
        assert shown["columns"] == ["a", "b", "l"] and shown["rows"][1] == ["None", "y", "…"]
        assert shown["sketches"][0]["missing"] == 1 and shown["sketches"][1]["top"][0] == {"text": "x", "count": 2}
    assert previews.preview(tables[0].column("a"))["sketches"][0]["of"] == 3
    assert set(sys.modules) == modules


def test_what_is_said_of_tables_is_bounded(monkeypatch):
    pl = pytest.importorskip("polars")
    called = []
    for name in ("head", "to_list", "slice", "__getitem__", "__len__", "dtype", "shape"):
        monkeypatch.setattr(pl.Series, name, lambda *_, name=name, **__: called.append(name))
    for name in ("head", "get_columns", "columns", "slice", "height", "__getitem__", "__len__"):
        monkeypatch.setattr(pl.DataFrame, name, lambda *_, name=name, **__: called.append(name))

    class Own(pl.DataFrame):
        pass

    wide = pl.DataFrame([pl.Series(f"{n}" * 200, np.arange(10_000) + n) for n in range(2000)])
    values = [wide, pl.Series("s", ["x" * 10_000] * 5000), pl.Series("o", [object()] * 3, dtype=pl.Object),
              pl.DataFrame({"e": pl.Series([], dtype=pl.Int64)})]
    called.clear()
    for value in values:
        began = time.perf_counter()
        text = json.dumps(previews.preview(value), allow_nan=False)
        assert len(text) < 40_000 and time.perf_counter() - began < 0.5
    assert previews.preview(Own()) is None
    assert not called, called
