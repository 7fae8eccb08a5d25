"""What looking at a pandas object has cached in it is no part of it."""
import gc
import pathlib
import sys
import weakref

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import frames, proof  # noqa: E402

pd = pytest.importorskip("pandas")


@pytest.mark.parametrize("array", [
    pd.date_range("2024-01-01", periods=4, freq="h").array,
    pd.to_timedelta(range(4), unit="D").array,
    pd.period_range("2024-01", periods=4, freq="M").array,
    pd.Categorical(["a", "b", "a"]),
    pd.date_range("2024-01-01", periods=4, tz="Europe/Athens").array,
])
def test_an_array_is_captured_without_its_caches(array):
    vars(array)["_cache"] = {"looked": 9}
    made = frames.reduce(array)
    assert not any(isinstance(part, dict) and "_cache" in part for part in made[2])
    back = made[0](*made[1])
    back.__setstate__(made[2])
    assert list(back) == list(array) and back.dtype == array.dtype
    assert proof.equal(array, back, {})


def test_what_pandas_2_remembers_of_where_a_column_and_a_copy_come_from_comes_back(monkeypatch):
    monkeypatch.setattr(frames, "lazy", lambda: False)
    frame = pd.DataFrame({"a": [1, 2], "b": 1.5})
    column, copy, loose = frame["a"], frame[frame.a > 1], frame["b"]
    vars(frame)["_item_cache"] = {"a": column}
    vars(column)["_cacher"] = "a", weakref.ref(frame)
    vars(loose)["_cacher"] = "b", weakref.ref(frame)
    vars(loose).pop("_is_copy", None)
    vars(copy)["_is_copy"] = weakref.ref(frame)
    back = []
    for obj in (column, copy, loose):
        made = frames.reduce(obj)
        back.append(made[0](*made[1]))
        made[5](back[-1], made[2])
    assert frame._item_cache["a"] is back[0] and vars(back[0])["_cacher"][1]() is frame
    assert vars(back[1])["_is_copy"]() is frame
    assert vars(back[2])["_cacher"][0] == "b" and "b" not in frame._item_cache
    del frame._item_cache["a"], frame, made
    gc.collect()
    assert not any(frames._ties(obj) for obj in back)
