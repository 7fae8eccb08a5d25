"""The agent in real kernels."""
import importlib.util
import os
import pathlib
import sys
from importlib import metadata

import pytest
from jupyter_client import KernelManager

LAUNCH = str(pathlib.Path(__file__).parents[1] / "kedge_launch.py")


class Kernel:
    def __init__(self, plain=False):
        self.km = KernelManager(transport="ipc")  # free ports are fought for by tests that run at once
        start = ["-m", "ipykernel_launcher"] if plain else [LAUNCH]
        self.km.kernel_spec.argv = [sys.executable, *start, "-f", "{connection_file}"]
        self.km.start_kernel(env={**os.environ,
                                  "PYTHONHASHSEED": "0", "KEDGE_HIDE": "PYTHONHASHSEED,KEDGE_HIDE"})
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.wait_for_ready(60)

    def ask(self, kind, **content):
        msg = self.kc.session.msg(kind, content)
        self.kc.shell_channel.send(msg)
        while True:
            reply = self.kc.get_shell_msg(timeout=60)
            if reply["parent_header"]["msg_id"] == msg["header"]["msg_id"]:
                return reply["content"]

    def run(self, code, expr="0"):
        r = self.ask("execute_request", code=code, silent=False, store_history=True,
                     user_expressions={"x": expr}, allow_stdin=False, stop_on_error=True)
        assert r["status"] == "ok", r
        return r["user_expressions"]["x"]["data"]["text/plain"]

    def cell(self, code, spool):
        b = self.ask("kedge_before", code=code)
        assert b["status"] == "ok", b
        self.run(code)
        a = self.ask("kedge_after", spool=str(spool))
        assert a["status"] == "ok", a
        return b, a

    def stop(self):
        self.kc.stop_channels()
        self.km.shutdown_kernel(now=True)


@pytest.fixture
def kernel():
    made = []
    def make(**kw):
        made.append(Kernel(**kw))
        return made[-1]
    yield make
    for k in made:
        k.stop()


def applied(after, spool, **more):
    return dict(groups=[{"names": g["names"], "stream": {"ranges": [[str(spool), *g["stream"]]]},
                         "buffers": [{"ranges": [[str(spool), o, n]], "readonly": r}
                                     for o, n, r in g["buffers"]]}
                        for g in after["groups"]],
                ambient=after["ambient"], modules=after["modules"], delete=after["deleted"], **more)


COPY_ON_WRITE = pytest.mark.skipif(
    importlib.util.find_spec("pandas") is None or int(metadata.version("pandas").split(".")[0]) < 3,
    reason="pandas 2 shares memory in another way; see SHARED of test_capture.py")

CASES = [
    ("a=[1]; b={'a':a}",
     "b['a'] is a"),
    ('import numpy as np\n'
     'a=np.arange(9000.); b=a[::2]',
     'np.shares_memory(a,b) and float(b[2])==4 and a.flags.writeable'),
    ('def f():\n'
     ' n=0\n'
     ' def inc():\n'
     '  nonlocal n; n+=1; return n\n'
     ' def get(): return n\n'
     ' return inc,get\n'
     'inc,get=f()',
     'inc()==get()'),
    ('class C:\n'
     ' def __init__(self): self.v=3\n'
     ' def m(self): return self.v+K\n'
     'K=2\n'
     'c=C(); d=C()',
     'isinstance(c,C) and isinstance(d,C) and c.m()==5'),
    ('import pandas as pd\n'
     "df=pd.DataFrame({'a':[1,2,3],'s':['x','y','z'],'t':pd.date_range('2020',periods=3)})",
     "df.a.sum()==6 and df.s[2]=='z' and df.t[1].day==2"),
    pytest.param("import pandas as pd\ndf=pd.DataFrame({'a':range(5000),'b':range(5000),'s':['x']*5000,'t':1.5})\n"
     "X=df[['a','b']]; y=df['a']; z=df['s']; i=df.index; w=pd.DataFrame({'q':1.0},index=i); f=pd.Index(y)",
     "(df.__setitem__('a', 7), df.iloc.__setitem__((0,1), 9), X.iloc.__setitem__((1,0), 8),"
     " z.iloc.__setitem__(0, 'q'))"
     " and (y[1],X.b[0],df.b[0],df.s[0],z[0],f[1],w.q[4999])==(1,0,9,'x','q',1,1.0)", marks=COPY_ON_WRITE),
    ("import pandas as pd, numpy as np\ns=pd.Series(np.arange(5000.)); v=s.to_numpy()",
     "np.shares_memory(v, s.to_numpy())"),
    pytest.param("import pandas as pd, numpy as np\ns=pd.Series([1.,2.]); t=s[:]; v=s.to_numpy()",
     "s.iloc.__setitem__(0, 9.) is None and (s[0], t[0], v[0]) == (9, 1, 1)"
     " and np.shares_memory(t.to_numpy(), v) and not v.flags.writeable", marks=COPY_ON_WRITE),
    ("import pandas as pd\nimport warnings; warnings.simplefilter('ignore')\n"
     "n=[1]; df=pd.DataFrame({'a':[1]}); df.note=n", "df.note is n and df.a[0] == 1"),
]


@pytest.mark.parametrize("code,check", CASES)
def test_round_trip(kernel, tmp_path, code, check):
    spool = tmp_path / "spool"
    _, after = kernel().cell(code, spool)
    assert after["uncaptured"] == []
    other = kernel()
    r = other.ask("kedge_apply", **applied(after, spool))
    assert r["status"] == "ok", r
    assert other.run("", f"bool({check})") == "True"


SETS = ("import random; random.seed(3)\n"
        "a=set(range(1001)); [a.discard(i) for i in range(1000) if i!=5]\n"
        "b={str(random.random()) for _ in range(500)}; c=frozenset(list(b)[:50]); b.pop()\n"
        "class N:\n def __init__(self): self.own={self.__class__.__name__, 'z', 'y'}\n"
        "n=N(); m=[n.own, n.own, {'k': set()}]")


def test_sets_keep_their_order(kernel, tmp_path):
    k, other = kernel(), kernel()
    _, after = k.cell(SETS, tmp_path / "s")
    assert after["uncaptured"] == []
    r = other.ask("kedge_apply", **applied(after, tmp_path / "s"))
    assert r["status"] == "ok", r
    for look in ("(list(a), list(b), list(c), list(n.own), m[0] is m[1] is n.own, m[2])",
                 "([b.add(str(i)) for i in range(300)], list(b), [b.pop() for i in range(9)], '0.5' in b)"):
        assert other.run("", look) == k.run("", look)


def test_random_continues(kernel, tmp_path):
    k = kernel()
    _, after = k.cell("import random; random.seed(4); random.random()", tmp_path / "s")
    other = kernel()
    assert other.ask("kedge_apply", **applied(after, tmp_path / "s"))["status"] == "ok"
    assert other.run("import random", "random.random()") == k.run("", "random.random()")


def test_generator_is_uncaptured(kernel, tmp_path):
    _, after = kernel().cell("g=(x for x in 'ab'); h=1", tmp_path / "s")
    assert [u["name"] for u in after["uncaptured"]] == ["g"]
    assert [g["names"] for g in after["groups"]] == [["h"]]


def test_agent_is_invisible(kernel, tmp_path):
    look = ("[__import__('sys').path, sorted(globals()), _, len(In), dict(Out),"
            " __import__('sys').argv[0], 'PYTHONHASHSEED' in __import__('os').environ,"
            " 'KEDGE_HIDE' in __import__('os').environ]")
    k, p = kernel(), kernel(plain=True)
    k.cell("7", tmp_path / "s")
    hide = "__import__('os').environ.pop('{}')"
    p.run("; ".join([hide.format("PYTHONHASHSEED"), hide.format("KEDGE_HIDE"), "7"]))
    assert k.run("", look) == p.run("", look)


REFUSED = [
    ("class A: pass\na={A(), A()}; d={1}", {"a"}, "a set in the order of addresses"),
    ("class L:\n def __init__(self): self.x=1; self.y=2\n def __getstate__(self): return {'x': self.x}\n"
     "a={'k': [0, L()]}", {"a"}, "a['k'][1].y is not kept by the pickling of L"),
    ("class L:\n def __init__(self, x=1): self.x=x\n def __reduce__(self): return (L, ())\n"
     "a=L(2)", {"a"}, "a.x changes"),
    ("class M: pass\nmodel=M(); model.cache={'x': (i for i in 'ab')}", {"model"},
     "model.cache['x'] is a builtins.generator"),
    ("import threading\nclass M: pass\nmodel=M(); model.parts=[threading.Lock()]", {"model"},
     "model.parts[0]: cannot pickle"),
    ("import numpy as np\nclass L:\n def __init__(self): self.x=np.zeros(5_000_000); self.y=2\n"
     " def __getstate__(self): return {'x': self.x}\nbig=L()", {"big"}, "big.y is not kept"),
    ("f=open('/dev/null'); g=[f]; h=1", {"f", "g"}, "TextIOWrapper"),
]


@pytest.mark.parametrize("code,names,why", REFUSED)
def test_refuses(kernel, tmp_path, code, names, why):
    _, after = kernel().cell(code, tmp_path / "s")
    found = {u["name"] for u in after["uncaptured"]}
    assert all(why in u["reason"] for u in after["uncaptured"]), after["uncaptured"]
    assert found == names


def test_local_modules_are_files(kernel, tmp_path):
    (tmp_path / "pkg").mkdir()
    for name in ("__init__", "sub"):
        (tmp_path / "pkg" / f"{name}.py").write_text("")
    _, after = kernel().cell(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
                             "import pkg.sub, sklearn", tmp_path / "s")
    got = after["module_versions"]
    assert got["pkg.sub"] == f"file:{tmp_path}/pkg/sub.py" and "pkg" in got
    assert got["sklearn"][0].isdigit() and not any("." in n for n, v in got.items() if v[:5] != "file:")


FIGURE = ("import matplotlib.pyplot as plt, io\n"
          "def png(f):\n out=io.BytesIO(); f.savefig(out); return out.getvalue()\n"
          "def ink(f):\n import hashlib; return hashlib.sha256(png(f)).hexdigest()\n")
DRAWN = ("figure, (left, right) = plt.subplots(1, 2)\n"
         "line, = left.plot([1, 2, 4], label='a'); left.legend()\n"
         "bars = right.hexbin(range(50), range(50), gridsize=9)\n"
         "figure.tight_layout()")
SEEN = ("(left.figure is figure, line.axes is left, figure.axes[1] is right, plt.get_fignums(),"
        " type(figure.canvas).__name__, figure.stale, left.stale_callback.__name__, figure.number,"
        " len(left.transData._parents), figure.gca() is right)")
AFTER = "(left.plot([3, 1]), figure.add_axes([0, 0, .2, .2]), right.set_xlim(0, 9))"


def test_figure(kernel, tmp_path):
    k, other = kernel(), kernel()
    k.cell(FIGURE, tmp_path / "f")
    _, after = k.cell(DRAWN, tmp_path / "s")
    assert after["uncaptured"] == []
    assert ["bars", "figure", "left", "line", "right"] in [g["names"] for g in after["groups"]]
    assert k.run("", "plt.get_fignums()") == "[]"
    other.run(FIGURE)
    assert other.ask("kedge_apply", **applied(after, tmp_path / "s"))["status"] == "ok"
    assert other.run("", SEEN) == k.run("", SEEN)
    assert other.run("", "ink(figure)") == k.run("", "ink(figure)")
    for one in (k, other):
        one.run(AFTER)
    assert other.run("", "(ink(figure), figure.gca() is figure.axes[2])") == k.run(
        "", "(ink(figure), figure.gca() is figure.axes[2])")
    assert other.run("", "plt.figure().number") == k.run("", "plt.figure().number")


OPEN = [("figure = plt.figure()\nfigure.canvas.mpl_connect('pick_event', print); 0", {"figure"},
         "pick_event")]


@pytest.mark.parametrize("code,names,why", OPEN)
def test_figure_refused(kernel, tmp_path, code, names, why):
    k = kernel()
    k.cell(FIGURE + "%matplotlib inline", tmp_path / "f")
    _, after = k.cell(code, tmp_path / "s")
    assert {u["name"] for u in after["uncaptured"]} == names
    assert all(why in u["reason"] for u in after["uncaptured"]), after["uncaptured"]


BROKEN = [{"ambient": [{"name": "random", "state": "{state}"}, {"name": "process", "state": "eA=="}]},
          {"modules": ["no_such_module"]}, {"cwd": "/no/such/folder"}]


@pytest.mark.parametrize("broken", BROKEN)
def test_apply_is_all_or_nothing(kernel, tmp_path, broken):
    k, other = kernel(), kernel()
    _, after = k.cell("import random; random.seed(4); a=1; b=2", tmp_path / "s")
    state = next(a["state"] for a in after["ambient"] if a["name"] == "random")
    if "ambient" in broken:
        broken = {"ambient": [{**broken["ambient"][0], "state": state}, broken["ambient"][1]]}
    look = "(a, 'b' in globals(), c, __import__('random').getstate(), __import__('os').getcwd())"
    was = other.run("a=[5]; c=3", look)
    message = {**applied(after, tmp_path / "s"), "delete": ["c"], "ambient": [], **broken}
    assert other.ask("kedge_apply", **message)["status"] == "error"
    assert other.run("", look) == was


def test_inputs_told_to_a_cell_are_no_change_of_its_own(kernel, tmp_path):
    k = kernel()
    assert k.ask("kedge_execution", count=2)["status"] == "ok"
    assert k.ask("kedge_before", code="In[1]")["status"] == "ok"
    told = k.ask("kedge_apply", history=[{"count": 1, "code": "a = 1"}, {"count": 2, "code": "a"}])
    assert told["status"] == "ok", told
    assert k.run("first = In[1]", "first") == "'a = 1'"
    after = k.ask("kedge_after", spool=str(tmp_path / "s"))
    assert after["refused"] == [], after
    k.ask("kedge_before", code="In[1] = 2")
    k.run("In[1] = 2")
    assert k.ask("kedge_after", spool=str(tmp_path / "s"))["refused"] == ["changed In"]
