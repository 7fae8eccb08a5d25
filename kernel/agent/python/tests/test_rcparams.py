"""Whoever asks matplotlib's settings for anything is noted, and nobody else."""
import copy
import os
import pathlib
import pickle
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
from kedge_agent.ambient import rcparams  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

RC = matplotlib.rcParams
WAYS = {
    "an item": lambda: RC["axes.grid"],
    "get": lambda: RC.get("axes.grid"),
    "in": lambda: "axes.grid" in RC,
    "length": lambda: len(RC),
    "dict": lambda: dict(RC),
    "as arguments": lambda: dict(**RC),
    "unpacked": lambda: {**RC},
    "items": lambda: list(RC.items()),
    "values": lambda: list(RC.values()),
    "union": lambda: {} | RC,
    "equality": lambda: RC == {},
    "a copy": lambda: copy.copy(RC),
    "a deep copy": lambda: copy.deepcopy(RC),
    "a pickle": lambda: pickle.dumps(RC),
    "shown": lambda: repr(RC),
    "set to what it is": lambda: RC.update({"axes.grid": False}),
    "a context": lambda: plt.rc_context().__enter__(),
    "defaults": plt.rcdefaults,
    "a style": lambda: plt.style.use("default"),
    "a figure": lambda: plt.close(plt.figure()),
    "a figure without pyplot": Figure,
    "a colour map": plt.get_cmap,
    "a fork": lambda: os.waitpid(os.fork() or os._exit(0), 0),
}


@pytest.fixture(autouse=True, scope="module")
def started():
    rcparams.listen()
    rcparams.begin()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_ask_is_noted(way):
    rcparams.begin()
    assert not rcparams.touched(())
    WAYS[way]()
    assert rcparams.touched(())


def test_what_matplotlib_draws_is_noted(tmp_path):
    axes = Figure().subplots()
    path = tmp_path / "x.png"
    for draw in (lambda: axes.plot([1], [2]), lambda: axes.set_title("a"), lambda: axes.figure.savefig(path)):
        rcparams.begin()
        draw()
        assert rcparams.touched(())


def test_a_cell_that_imports_matplotlib_has_to_do_with_it():
    rcparams.begin()
    assert rcparams.touched({"matplotlib"})


def test_a_class_that_cannot_be_noted_counts_as_asked(monkeypatch):
    class RcParams(dict):
        pass

    monkeypatch.setattr(matplotlib, "rcParams", RcParams(RC))
    rcparams.begin()
    assert rcparams.touched(())
    monkeypatch.undo()
    rcparams.begin()
    assert not rcparams.touched(())
    monkeypatch.setattr(type(RC), "__getitem__", lambda self, key: self._get(key), raising=False)
    rcparams.begin()
    assert rcparams.touched(())
    monkeypatch.undo()
    rcparams.begin()
    assert not rcparams.touched(())


def test_whether_pyplot_draws_at_once_is_known_to_all_cells():
    plt.switch_backend("agg")
    rcparams.begin()
    matplotlib.is_interactive()
    assert not rcparams.touched(())
    matplotlib.interactive(False)
    assert rcparams.touched(())


def test_whether_pyplot_draws_at_once_counts_where_no_backend_is_loaded(monkeypatch):
    monkeypatch.setattr(rcparams.backend, "capture", lambda: b"")
    rcparams.begin()
    matplotlib.is_interactive()
    assert rcparams.touched(())


def test_code_that_leads_to_matplotlib_is_known():
    assert rcparams.named({"numpy", "matplotlib.pyplot"}) and rcparams.named({"rcParams"})
    assert not rcparams.named({"numpy", "pandas.core.frame", "seaborn"})
