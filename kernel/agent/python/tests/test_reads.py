"""What a cell reads, found from its code and the namespace before it runs."""
import collections
import dataclasses
import functools
import os
import pathlib
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import environ, lookups, reads, sameness  # noqa: E402


def find(source, absent=(), **user):
    return reads.find(source, user, user, absent)[0]


@pytest.mark.parametrize("source, read", [
    ("y = x", {"x"}),
    ("x = 1; y = x", set()),
    ("x += 1", {"x"}),
    ("del x", {"x"}),
    ("x = 1; del x; print(x)", {"x"}),
    ("if a: x = 1\nprint(x)", {"a", "x"}),
    ("if a: x = 1\nelse: x = 2\nprint(x)", {"a"}),
    ("for x in a: pass\nprint(x)", {"a", "x"}),
    ("for x in a: print(x)", {"a"}),
    ("with open('p') as x: print(x)\nx.closed", set()),
    ("with open('p') as x: y = 1\nprint(y)", {"y"}),
    ("with suppress(E), open('p') as x: pass\nx", {"x"}),
    ("try: x = f()\nexcept E: pass\nprint(x)", {"x"}),
    ("try: x = f()\nexcept E: x = 0\nprint(x)", set()),
    ("try: pass\nexcept E as x: pass\nprint(x)", {"x"}),
    ("x = 0\ntry: f()\nexcept E as x: pass\nprint(x)", {"x"}),
    ("for v in a:\n    if v: break\n    elif y: continue\n    x = 1\nprint(x)", {"a", "x", "y"}),
    ("while y:\n    match a:\n        case [x]: break", {"a", "y"}),
    ("[x for x in a]", {"a"}),
    ("b = [x + y for x in a]", {"a", "y"}),
    ("f = lambda x: x + y", {"y"}),
    ("a.x = 1; a['x'] = y", {"a", "y"}),
    ("print(a.x)", {"a"}),
    ("def f(): return x", set()),
    ("def f(): return x\nf()", {"x"}),
    ("def f(): return x\ndef y(): return f()\ny()", {"x"}),
    ("def f(v=x): return y", {"x"}),
    ("@a\ndef f(): return x", {"a", "x"}),
    ("class C:\n    def f(self): return x", {"x"}),
    ("(y := 1)\nprint(y, x)", {"x", "y"}),
    ("import x\nx.y", set()),
    ("%%time\nx = 1\nprint(x, y)", {"y"}),
    ("!ls {x} $y", {"x", "y"}),
    ("%timeit x", {"x"}),
])
def test_names_are_read_where_the_cell_has_not_bound_them(source, read):
    found = find(source, x=1, y=2, a=[1])
    assert not found.all
    assert (found.names - found.weak) & {"x", "y", "a"} == read


def test_a_body_runs_if_something_else_calls_the_name():
    ns = {"x": 1}
    exec("def g(): return f()", ns)
    user = {"g": ns["g"], "x": 1}
    assert "x" in reads.find("def f(): return x\ng()", ns, user)[0].names


@pytest.mark.parametrize("source", ["df.query('a > @x')", "sql('select * from x')", "s = 'x'"])
def test_names_in_strings_are_weak(source):
    found = find(source, x=1)
    assert "x" in found.names and "x" in found.weak


def test_a_name_in_the_text_of_a_magic_counts_though_the_kernel_does_not_hold_it():
    assert "x" in find("%%bash\necho $x", absent=["x"]).names


@pytest.mark.parametrize("magic", ["%%time\n", "%%capture\n", "%time "])
def test_the_text_of_a_magic_that_is_code_is_no_string(magic):
    found = find(magic + "for x in a: pass", x=1, a=[1])
    assert "x" not in found.names
    assert "x" in find(magic + "for x in a: print('x')", x=1, a=[1]).weak


@pytest.mark.parametrize("magic", ["%%time\n", "%%capture\n", "%time "])
def test_what_the_text_of_a_magic_binds_the_cell_binds(magic):
    assert reads.find(magic + "x = 1", {}, {"x": 1})[1] == ["x"]


def test_text_that_is_read_as_code_tells_nothing_more_when_it_is_compiled():
    ns = {}
    seen = lookups.Lookups(ns)
    exec("def ask(tell, text): tell(b'compile', (text,))", ns)
    seen._known = {"for x in a: pass\n"}
    ns["ask"](lambda *told: seen._told(*told), "for x in a: pass\n")
    assert not seen.classes
    ns["ask"](lambda *told: seen._told(*told), "for x in b: pass\n")
    assert {"x", "b"} <= seen.classes


@pytest.mark.parametrize("path, names", [
    (collections.__file__, set()),
    (dataclasses.__file__, set()),
    ("/here/dataclasses.py", {"lambda", "x"}),
])
def test_the_fields_of_classes_that_are_written_as_text_are_no_names(path, names):
    maker, ns = {}, {}
    seen = lookups.Lookups(ns)
    exec(compile("def make(tell): tell(b'compile', ('lambda x: 1',))", path, "exec"), maker)
    exec("def ask(make, tell): make(tell)", ns)
    ns["ask"](maker["make"], seen._told)
    assert seen.classes - {"1"} == names


def test_what_unpickles_is_said():
    assert find("import pickle\npickle.loads(b)").unpickles
    assert not find("import pickle\npickle.dumps(b)").unpickles
    assert not find("import json\njson.loads(b)").unpickles


def test_without_a_hook_frames_are_taken_to_be_looked_at():
    seen = lookups.Lookups({})
    seen.begin(set())
    assert seen.frames or seen.heard


@pytest.mark.parametrize("path, notebook, counts", [
    ("/site-packages/patsy/eval.py", True, True),
    ("/site-packages/patsy/eval.py", False, False),  # a thread of the kernel's own
    ("/lib/python3.11/enum.py", True, False),
    ("<cell>", True, True),
])
def test_frames_count_by_who_asks_for_them(path, notebook, counts):
    ns, library = {}, {}
    seen = lookups.Lookups(ns)
    seen.frames = False
    library["tell"] = lambda: seen._told(b"sys._getframe", ())
    exec(compile("def currentframe(tell): tell()", "/lib/python3.11/inspect.py", "exec"), library)
    code = compile("def ask(currentframe=currentframe, tell=tell): currentframe(tell)", path, "exec")
    exec(code, library)
    library["tell"].__code__ = library["tell"].__code__.replace(co_filename="/lib/python3.11/inspect.py")
    exec(compile("ask()", "<cell>", "exec"), ns if notebook else {}, {"ask": library["ask"]})
    assert seen.frames is counts


def test_asking_for_a_variable_of_the_environment_is_no_look_at_frames(monkeypatch):
    ns = {"os": os}
    seen = lookups.Lookups(ns)
    seen.frames = False
    encode = environ._noting(os.environ.encodekey, str)
    told = types.SimpleNamespace(_getframe=functools.partial(seen._told, b"sys._getframe"))
    with monkeypatch.context() as patch, pytest.raises(AttributeError, match="f_code"):  # it was told
        patch.setattr(os.environ, "encodekey", encode)
        patch.setattr(environ, "sys", told)
        exec("os.environ.get('NO')", ns)
    assert not seen.frames


def test_classes_of_the_notebook_that_a_pickle_names_are_noted():
    seen = lookups.Lookups({})
    seen._told(b"pickle.find_class", ("__main__", "Point.Inner"))
    seen._told(b"pickle.find_class", ("collections", "deque"))
    assert seen.classes == {"Point"}


def test_annotating_is_not_asking_for_annotations():
    for code in ("x: int = 1", "class A:\n    x: int = 1", "def f():\n    class A:\n        x: int\n    return A"):
        found, _ = reads.find(code, {}, {})
        assert not found.beyond(), code
    for code in ("print(__annotations__)", "def f(): return __annotations__['x']\nf()", "k = 'x'\n__annotations__[k]"):
        found, _ = reads.find(code, {}, {})
        assert found.beyond(), code


@pytest.mark.parametrize("code, asks", [
    ("a[0] is b[0]", True),
    ("id(a[0]) == id(b[0])", True),
    ("import operator\noperator.is_(a[0], b[0])", True),
    ("def f(x, y): return x is y\nf(a[0], b[0])", True),
    ("a[0] is c[0]", False),  # nothing equal in both
    ("n[0] is n[1]", True),  # pickle keeps no identity of numbers
    ("a[0] is None or a[0] is not True", False),
    ("a is b", False),
    ("s is t", False),  # the values of names: kept
    ("p is q", False),
    ("type(a[0]) is str", False),
    ("a[0] == b[0]", False),
])
def test_code_may_ask_whether_equal_values_are_one(code, asks):
    one, other, both = ("".join(parts) for parts in (["my ", "price"], ["my ", "price"], ["x ", "y"]))
    ns = {"a": [one], "b": [other], "c": ["c d"], "n": [1000.5, 1000 + float("0.5")], "s": both, "t": both}
    ns["p"] = ns["q"] = (1000, one)
    found, _ = reads.find(code, ns, ns)
    assert ("one object" in found.beyond()) is asks


@pytest.mark.parametrize("make", [lambda x: (x,), lambda x: [((1, x), 2)], lambda x: frozenset([x])])
def test_equal_values_are_looked_for_without_running_code_of_theirs(make):
    called = []

    class Odd:
        def __hash__(self):
            called.append("hash")
            return 1

        def __eq__(self, other):
            called.append("eq")
            return True

        __class__ = property(lambda self: called.append("class"))

    values = {"a": make(Odd()), "b": make(Odd())}
    called.clear()
    code = compile("a[0] is b[0]", "<cell>", "exec")
    assert sameness.asks([code], values, dict(values), []) == ""
    assert called == []
    assert sameness.asks([code], {"a": [2000], "b": [2000]}, {}, []) == sameness.APART


def test_what_is_nested_deeper_than_the_interpreter_goes_is_taken_to_be_told_apart():
    def deep():
        value = (3000,)
        for _ in range(100_000):
            value = (value,)
        return value

    code = compile("a[0] is b[0]", "<cell>", "exec")
    assert sameness.asks([code], {"a": [deep()], "b": [deep()]}, {}, []) in (sameness.APART, "")
