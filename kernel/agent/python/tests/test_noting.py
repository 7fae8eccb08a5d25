"""Calls of functions of libraries are noted, and nothing of the functions shows it."""
import inspect
import linecache
import pathlib
import sys
import traceback

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kedge_agent import noting  # noqa: E402

SOURCE = '''
class Box:
    @staticmethod
    def plain(x):
        """Doc."""
        return x

    def fails(self,
              x):
        y = x + 1
        return y / (x -
                    x)


def top(a, *, b=2): return a + b
'''


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "box.py"
    path.write_text(SOURCE)
    space = {"__name__": "box"}
    exec(compile(SOURCE, str(path), "exec"), space)
    return space


def test_every_call_is_noted_before_it_acts(box):
    asked = []
    assert noting.note(box["Box"].fails, asked.append, "self")
    assert noting.note(box["Box"].plain, asked.append, "None")
    assert noting.note(box["top"], asked.append, "a")
    it = box["Box"]()
    with pytest.raises(ZeroDivisionError):
        it.fails(1)
    assert it.plain(3) == 3 and box["top"](1, b=4) == 5
    assert asked == [it, None, 1]


def test_a_traceback_and_the_source_are_as_they_were(box):
    def look():
        linecache.clearcache()
        with pytest.raises(ZeroDivisionError) as caught:
            box["Box"]().fails(1)
        return "".join(traceback.format_tb(caught.tb)[1:]), inspect.getsource(box["Box"].fails)

    before = look()
    assert noting.note(box["Box"].fails, [].append, "self")
    assert look() == before
    assert hash(box["Box"].fails.__code__) and box["Box"].plain.__doc__ == "Doc."


def test_what_has_no_source_is_left_alone(box):
    space = {}
    exec(compile("def f(x): return x", "<nowhere>", "exec"), space)
    plain = space["f"].__code__
    assert not noting.note(space["f"], [].append, "x")
    assert space["f"].__code__ is plain
    assert not noting.note(len, [].append, "x")


def test_modules_may_hold_what_is_gone():
    import types
    import weakref

    from kedge_agent.ambient import logs

    class Thing:
        pass

    module = types.ModuleType("kedge_fresh")
    module.gone = weakref.proxy(Thing())
    sys.modules["kedge_fresh"] = module
    try:
        logs.start()
        logs.listen()
        logs.begin()
        sys.modules["kedge_odd"] = None
        assert not logs.touched(["kedge_fresh", "kedge_odd"])
        module.log = logs.logging.getLogger("kedge_fresh")
        assert logs.touched(["kedge_fresh"])
    finally:
        del sys.modules["kedge_fresh"], sys.modules["kedge_odd"]
