"""Descriptors that a cell leaves open are no numbers like others."""
import pytest
from shells import shell  # noqa: F401


@pytest.mark.parametrize("code, left", [
    ("import os\nd = os.open('p', os.O_CREAT | os.O_RDWR)", True),
    ("import os\nd = os.open('p', os.O_CREAT | os.O_RDWR)\nos.close(d)", False),
    ("import os\nf = open('p', 'w'); d = os.dup(f.fileno())", True),
    ("import os\nf = open(os.path.join('.', 'p'), 'w')", False),  # a file that owns its descriptor
    ("import os\nr, w = os.pipe()", True),
    ("import tempfile\nd, p = tempfile.mkstemp(dir='.')", True),
    ("import socket\na, b = socket.socketpair()", False),
])
def test_what_is_left_open_by_hand(shell, code, left):  # noqa: F811
    _, after = shell().cell(code)
    assert ("left a descriptor open" in after["refused"]) is left
    assert after["hidden"] is left  # and what comes after depends on it


def test_what_cannot_grow_is_told(shell):  # noqa: F811
    one = shell()
    one.cell("b = bytearray(3); m = memoryview(b); x = [1]")
    for code, exports in (("b.append(1)", True), ("x.append(1)", False)):
        assert one.ask("before", code=code)["exports"] is exports
