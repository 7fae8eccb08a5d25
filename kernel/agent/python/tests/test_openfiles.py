"""Which files what cannot be captured holds open."""
import contextlib
import pathlib
import sqlite3
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kedge_agent import openfiles  # noqa: E402

SOURCE = """
class Client:
    def __init__(self, log=None): self.lock, self.log = threading.Lock(), log
    def pages(self):
        yield self.log
def reading(path):
    with open(path) as f:
        for line in f: yield line
def closing(f):
    def inner(): return f
    return inner
"""


@pytest.fixture
def ns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("a.txt").write_text("1\n2\n")
    space = {"__name__": "__main__", "threading": threading}
    exec(compile(SOURCE, "<cell>", "exec"), space)
    return space


def test_files_are_found_through_objects_generators_and_closures(ns, tmp_path):
    path = str(tmp_path / "a.txt")
    with open("a.txt", "a") as log:
        ns["log"] = log  # what functions find by name is not theirs
        assert openfiles.held([ns["Client"](), ns["Client"], ns["Client"]().pages()], ns) == []
        assert openfiles.held([ns["Client"](log)], ns) == [path]
        assert openfiles.held([ns["Client"](log).pages()], ns) == [path]
        assert openfiles.held([ns["closing"](log)], ns) == [path]
        assert openfiles.held([{"k": [log.write]}], ns) == [path]
    assert openfiles.held([ns["Client"](log)], ns) == []
    lines = ns["reading"]("a.txt")
    next(lines)
    assert openfiles.held([lines], ns) == [path]
    assert openfiles.held([zip(lines, [1], strict=False)], ns) == [path]


def test_what_cannot_be_seen_through_may_hold_any(ns):
    with contextlib.closing(sqlite3.connect("d.db")) as connection:
        assert openfiles.held([{"c": connection}], ns) is None
    with open("a.txt", "rb", buffering=0) as low, open(low.fileno(), closefd=False) as numbered:
        assert openfiles.held([numbered], ns) is None
