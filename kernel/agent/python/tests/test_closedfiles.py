"""A closed file comes back as it was; an open one does not."""
import io
import os
import pathlib
import pickle
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import closedfiles, forked  # noqa: E402


def again(file):
    call, args = closedfiles.reduce(file)
    return call(*pickle.loads(pickle.dumps(args)))


def look(file):
    seen = [type(file), repr(file), file.name, file.mode, file.closed, vars(file).keys() - {"__IOBase_closed"}]
    for name in ("encoding", "errors", "newlines", "line_buffering", "write_through", "closefd"):
        seen.append(getattr(file, name, None))
    inner = getattr(file, "buffer", None) or getattr(file, "raw", None)
    return seen + (look(inner) if inner is not None else [])


@pytest.mark.parametrize("mode", ["r", "rb", "w", "wb", "a", "x", "r+", "w+b", "xb"])
@pytest.mark.parametrize("options", [{}, {"buffering": 1}, {"encoding": "latin-1", "errors": "replace"}])
def test_a_closed_file_comes_back(tmp_path, mode, options):
    path = tmp_path / "f.txt"
    if "x" not in mode:
        path.write_bytes(b"one\ntwo\r\n")
    if "b" in mode:
        options = {}
    with open(path, mode, **options) as f:
        if mode == "r+":
            f.write("0")
        elif "r" in mode:
            f.read()
    path.unlink()
    assert look(again(f)) == look(f)
    assert not path.exists()


def test_a_file_without_a_buffer(tmp_path):
    f = open(tmp_path / "g", "wb", buffering=0)
    f.close()
    assert look(again(f)) == look(f)


def test_what_is_open_or_shared_is_not_reduced(tmp_path):
    f = open(tmp_path / "g", "w")
    assert closedfiles.reduce(f) is NotImplemented
    buffer = f.buffer
    f.close()
    assert closedfiles.reduce(f) is NotImplemented
    del buffer
    assert closedfiles.reduce(f) is not NotImplemented
    assert closedfiles.reduce(io.StringIO()) is NotImplemented


def test_in_a_fork_a_descriptor_may_be_wrapped_but_no_file_written():
    forked._hook("open", (5, "wb", os.O_WRONLY))
    with pytest.raises(PermissionError):
        forked._hook("open", ("some/file", "wb", os.O_WRONLY))
