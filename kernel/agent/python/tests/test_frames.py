"""What looking at a pandas object has cached in it is no part of it."""
import pathlib
import sys

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
