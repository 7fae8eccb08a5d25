"""Where restored code stands, which values are one object, and what is let go."""
import hashlib

import pytest
from shells import shell  # noqa: F401

OLD = "def f():\n    # one\n    return 1"
NEW = "# more\ndef f():\n    # two\n    return 1"


def tell(shell, code):  # noqa: F811
    """Let a shell know of a cell that was restored."""
    normal = hashlib.sha256(shell.ask("normalise", code=code)["normal"].encode()).hexdigest()
    shell.ask("apply", texts=[{"count": 1, "code": code, "normal": normal}])


def test_restored_code_stands_in_the_text_of_its_cell(shell):  # noqa: F811
    first, other = shell(), shell()
    first.cell(OLD)
    tell(other, OLD)
    other.restore(first)
    assert "# one" in other.run("import inspect", "inspect.getsource(f)")
    assert other.run("", "f.__code__.co_filename") == first.run("", "f.__code__.co_filename")


def test_restored_code_stands_in_the_text_as_it_is_now(shell):  # noqa: F811
    first, other = shell(), shell()
    first.cell(OLD)
    tell(other, NEW)
    other.restore(first)
    assert "# two" in other.run("import inspect", "inspect.getsource(f)")
    assert other.run("", "f.__code__.co_firstlineno") == "2"


def test_who_looks_at_lines_has_looked_at_the_text(shell):  # noqa: F811
    first = shell()
    first.cell(OLD)
    assert first.cell("f()")[1]["texts"] == []
    assert first.cell("import inspect\ns = inspect.getsource(f)")[1]["texts"] == [OLD]
    assert first.cell("import linecache\nlinecache.getline(f.__code__.co_filename, 1)")[1]["placed"]


@pytest.mark.parametrize(("cell", "look"), [
    ("a = 10**20\nb = a", "a is b"),
    ("a = 10**20\nb = 10**19 * 10", "a is not b"),
    ("a = ('x', 1.5)\nb = a", "a is b"),
    ("n = float('nan')\nl = [n, float('nan'), n]\nd = {n: 1}", "(l[0] is l[2] is n is list(d)[0], l[1] is not n)"),
    ("import math\nl = [math.nan]", "l[0] is math.nan"),
    ("M = 'missing'\ndef f(x=M): return x is M", "f()"),
    ("a = ''.join(['mis', 'sing'])\nb = 'missing'", "a is not b"),
])
def test_one_object_stays_one(shell, cell, look):  # noqa: F811
    first, other = shell(), shell()
    first.cell(cell)
    other.restore(first)
    assert "False" not in first.run("", look)
    assert other.run("", look) == first.run("", look)


def test_what_a_cell_lets_go_is_freed_at_once(shell):  # noqa: F811
    first = shell()
    first.cell("import gc\ngc.disable()\ngone = []\nclass D:\n    def __del__(self): gone.append(1)")
    first.cell("d = D()")
    first.cell("del d")
    assert first.run("", "gone") == "[1]"
