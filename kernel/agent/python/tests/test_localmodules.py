"""What local modules hold: captured once it has changed, observed by the cells that reach the module."""
import pytest
from shells import round_trip, shell  # noqa: F401

HELPER = """
import functools, threading
total = 0
items = []
kept = {"a": [1]}
limit = None
log = []
lock = threading.Lock()
class C:
    made = 0
    def __init__(self): C.made += 1
def add(x):
    global total
    total += x
def append(x): items.append(x)
def gather(x, acc=[]):
    acc.append(x); return list(acc)
def counter():
    n = 0
    def count():
        nonlocal n
        n += 1; return n
    return count
count = counter()
def tag(x): tag.seen = x
def hooked(): return limit()
@functools.lru_cache
def load(x):
    log.append(x); return [x]
"""
CASES = {
    "number": ("helper.add(2)", "helper.total", {"total"}),
    "list": ("helper.append(2)", "helper.items", {"items"}),
    "nested": ("helper.kept['a'].append(2)", "helper.kept", {"kept"}),
    "class": ("helper.C(); helper.C()", "helper.C.made", {"C.made"}),
    "default": ("helper.gather(4)", "helper.gather(5)", {"gather.__defaults__"}),
    "closure": ("helper.count()", "helper.count()", {"count.__closure__.n"}),
    "attribute of a function": ("helper.tag(3)", "getattr(helper.tag, 'seen', 0)", {"tag.seen"}),
    "function of the notebook": ("k = 4\nhelper.limit = lambda: k", "helper.limit and helper.hooked()", {"limit"}),
    "patched": ("helper.add = lambda x: 'patched'", "helper.add(0)", {"add"}),
    "new": ("helper.more = [1]", "getattr(helper, 'more', 0)", {"more"}),
    "deleted": ("del helper.limit", "hasattr(helper, 'limit')", {"limit"}),
    "through a function": ("add = helper.add\nadd(3)", "helper.total", {"total"}),
}


@pytest.mark.parametrize("name", CASES)
def test_piece(shell, tmp_path, name):  # noqa: F811
    (tmp_path / "helper.py").write_text(HELPER)
    code, look, pieces = CASES[name]
    first, _ = round_trip(shell, ["import helper", code], look)
    after = first.effects[-1][0]
    assert {n for g in after["groups"] for n in g["names"] if ":" in n} == {f"helper:{p}" for p in pieces}
    before, _ = first.cell("helper")
    assert {f"helper:{p}" for p in pieces} <= before["reads"].keys() and "module helper" in before["ambient"]
    before, _ = first.cell("z = 1")
    assert not any(":" in n for n in before["reads"]) and "module helper" not in before["ambient"]


def test_sharing_with_variables(shell, tmp_path):  # noqa: F811
    (tmp_path / "helper.py").write_text(HELPER)
    first, other = shell(), shell()
    first.cell("import helper\nmine = helper.items")
    names = [g["names"] for g in first.effects[0][0]["groups"]]
    assert ["helper:items", "mine"] in names
    other.restore(first)
    for one in (first, other):
        one.cell("mine.append(5)")
    look = "(helper.items, helper.items is mine)"
    assert other.run("", look) == first.run("", look) == "([5], True)"


def test_unchanged_is_not_touched(shell, tmp_path):  # noqa: F811
    (tmp_path / "helper.py").write_text(HELPER)
    first = shell()
    for code in ("import helper", "helper.kept", "from helper import add, C, kept as k2\nf = add"):
        _, after = first.cell(code)
    assert [g["names"] for g in after["groups"]] == [["C"], ["add"], ["f"], ["helper:kept", "k2"]]
    first.cell("helper.gather")
    assert [g["names"] for g in first.effects[-1][0]["groups"]] == [["helper"]]


def test_reached_through_another_module_and_through_instances(shell, tmp_path):  # noqa: F811
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "other.py").write_text("def go():\n    import helper\n    helper.add(1)\nclass D:\n"
                                       "    def go(self): go()\n")
    first, fresh = shell(), shell()
    first.cell("import helper, other\nd = other.D()")
    for code in ("other.go()", "d.go()", "[d][0].go()"):
        before, after = first.cell(code)
        assert {"module helper", "module other"} <= before["ambient"].keys()
        assert ["helper:total"] in [g["names"] for g in after["groups"]]
    fresh.restore(first)
    assert fresh.run("", "helper.total") == "3"


def test_a_cell_that_imports_observes_what_the_module_held_before(shell, tmp_path):  # noqa: F811
    (tmp_path / "helper.py").write_text(HELPER)
    _, after = shell().cell("import helper\nhelper.add(1)")
    assert after["reached"] == ["module helper"]
    assert "helper:total" in {n for g in after["groups"] for n in g["names"]}


def test_names_that_a_hook_in_a_module_reads(shell, tmp_path):  # noqa: F811
    (tmp_path / "helper.py").write_text(HELPER)
    one = shell()
    one.cell("import helper\nk = 4")
    one.cell("def f(): return k\nhelper.limit = f")
    before, _ = one.cell("helper.hooked()")
    assert {"k", "helper:limit"} <= before["reads"].keys()


@pytest.mark.parametrize("source,code,name", [
    ("import sqlite3\ndb = sqlite3.connect(':memory:')\n", "import helper", "helper:db"),
    (HELPER, "import helper\nhelper.load(1)", "helper:load.cache_info"),
    ("g = None\n", "import helper\nhelper.g = (x for x in 'ab')", "helper:g")])
def test_what_cannot_be_captured_is_named(shell, tmp_path, source, code, name):  # noqa: F811
    (tmp_path / "helper.py").write_text(source)
    one = shell()
    _, after = one.cell(code)
    assert [u["name"] for u in after["uncaptured"]] == [name]
    before, _ = one.cell("helper.x = 1")
    assert before["reads"][name]


def test_tracebacks_of_imports_are_plain(shell, tmp_path):  # noqa: F811
    (tmp_path / "broken.py").write_text("1/0\n")
    one = shell()
    reply = one.run("import traceback\ntry:\n    import broken\nexcept ZeroDivisionError as e:\n    seen = "
                    "[f.filename.rsplit('/')[-1] for f in traceback.extract_tb(e.__traceback__)]", "seen[1:]")
    assert reply == "['broken.py']"


def test_registering_while_importing_is_no_change(shell, tmp_path):  # noqa: F811
    (tmp_path / "base.py").write_text("known = []\n")
    (tmp_path / "plugin.py").write_text("import base\nbase.known.append('plugin')\n")
    _, after = shell().cell("import plugin")
    assert [g["names"] for g in after["groups"]] == [["plugin"]]


def test_a_piece_is_taken_back(shell, tmp_path):  # noqa: F811
    (tmp_path / "helper.py").write_text(HELPER)
    one = shell()
    one.cell("import helper")
    one.cell("helper.add(1); helper.more = 2")
    one.cell("helper.append(1)")
    assert one.ask("apply", delete=["helper:total", "helper:more"])["bound"] == []
    assert one.run("", "(helper.total, hasattr(helper, 'more'))") == "(0, False)"
    assert "cannot be taken back" in one.ask("apply", delete=["helper:total", "helper:items"])["error"]
