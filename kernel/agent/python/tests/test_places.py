"""What lives outside the namespace as objects: captured under pseudo-names, shared with variables, bound again."""
import importlib.util

import pytest
from shells import round_trip, shell  # noqa: F401

FRAME = importlib.import_module("pandas").DataFrame.__module__ if importlib.util.find_spec("pandas") else ""

# name: (cells, look, pseudo-names that are captured at the end)
CASES = {
    "attribute of a module": (["import numpy as np", "np.foo = [1]; kept = np.foo"],
                              "(np.foo, kept is np.foo) if hasattr(np, 'foo') else 0", {"numpy:foo"}),
    "method of a class": (["import pandas as pd\nscale = 2", "pd.DataFrame.size2 = lambda self: self.size * scale"],
                          "pd.DataFrame.size2(pd.DataFrame({'a': [1, 2]})) if hasattr(pd.DataFrame, 'size2') else 0",
                          {f"{FRAME}:DataFrame.size2"}),
    "patched function": (["import statistics", "statistics.mean = lambda x: 42"], "statistics.mean([1])",
                         {"statistics:mean"}),
    "deleted attribute": (["import string", "del string.digits"], "hasattr(string, 'digits')", {"string:digits"}),
    "set in the cell that imports": (["0", "import colorsys\ncolorsys.mine = 3"],
                                     "__import__('colorsys').__dict__.get('mine')", {"colorsys:mine"}),
    "set by setattr": (["import fractions", "setattr(fractions.Fraction, 'half', property(lambda s: s / 2))"],
                       "getattr(fractions.Fraction(1, 2), 'half', 0)", {"fractions:Fraction.half"}),
    "builtins": (["import builtins", "builtins.foo = 5"], "__builtins__.get('foo') if isinstance(__builtins__, dict)"
                 " else getattr(__builtins__, 'foo', 0)", {"builtins:foo"}),
    "accessor": (["import pandas as pd", "@pd.api.extensions.register_dataframe_accessor('zz')\nclass Z:\n"
                  "    def __init__(self, df): self.df = df\n    def n(self): return len(self.df)"],
                 "(pd.DataFrame({'a': [1]}).zz.n(), 'zz' in dir(pd.DataFrame()), type(pd.DataFrame().zz) is Z)"
                 " if hasattr(pd.DataFrame, 'zz') else 0", {f"{FRAME}:DataFrame.zz"}),
    "excepthook": (["import threading", "def hook(*a): pass\nthreading.excepthook = hook"],
                   "threading.excepthook is globals().get('hook')", {"threading:excepthook"}),
    "showwarning": (["import warnings", "seen = []\nwarnings.showwarning = lambda *a, **k: seen.append(1)"],
                    "'seen' in globals() and (warnings.showwarning('x', UserWarning, 'f', 1), seen)",
                    {"warnings:showwarning"}),
    "signal": (["import signal", "got = []\nsignal.signal(signal.SIGUSR1, lambda *a: got.append(1));"],
               "(globals().get('got') is not None and signal.raise_signal(signal.SIGUSR1), globals().get('got'))",
               {"signal:handler SIGUSR1"}),
    "callback": (["0", "done = []\ndef after(result): done.append(1)\n"
                  "get_ipython().events.register('post_run_cell', after)"],
                 "(get_ipython().events.trigger('post_run_cell', 0), len(globals().get('done', [])) > 0)",
                 {"IPython:event post_run_cell"}),
    "formatter": (["class C: pass", "get_ipython().display_formatter.formatters['text/html'].for_type("
                   "C, lambda c: '<b>')"], "get_ipython().display_formatter.format(C())[0].get('text/html')",
                  {"IPython:formatter text/html __main__.C"}),
    "formatter of a number": (["0", "get_ipython().display_formatter.formatters['text/plain'].for_type("
                               "int, lambda n, p, c: p.text(f'{n:,}'))"],
                              "get_ipython().display_formatter.format(12345)[0]",
                              {"IPython:formatter text/plain builtins.int"}),
    "formatter by name": (["0", "get_ipython().display_formatter.formatters['text/html'].for_type_by_name("
                           "'fractions', 'Fraction', lambda f: '<i>')"],
                          "get_ipython().display_formatter.format(__import__('fractions').Fraction(1))[0]",
                          {"IPython:formatter text/html fractions.Fraction"}),
    "magic": (["0", "from IPython.core.magic import register_line_magic\n@register_line_magic\n"
               "def twice(line): return line * 2"],
              "get_ipython().find_line_magic('twice') and get_ipython().run_line_magic('twice', 'ab')",
              {"IPython:magic line twice"}),
    "alias of a magic": (["0", "%alias_magic t time"], "bool(get_ipython().find_line_magic('t'))",
                         {"IPython:magic line t", "IPython:magic cell t"}),
    "input transformer": (["0", "def shout(lines): return [l.replace('SHOUT', 'print') for l in lines]\n"
                           "get_ipython().input_transformers_post.append(shout)"],
                          "get_ipython().transform_cell('SHOUT(1)')", {"IPython:transformers post"}),
    "handler": (["import logging, io\nout = []", "class Keep(logging.Handler):\n"
                 "    def emit(self, record): out.append(self.format(record))\n"
                 "keep = Keep(); keep.setFormatter(logging.Formatter('%(name)s:%(message)s'))\n"
                 "logging.getLogger('x').addHandler(keep)"],
                "(logging.getLogger('x').warning('hi'), out,"
                " logging.getLogger('x').handlers == [globals().get('keep')])",
                {"logging:handlers x"}),
    "basicConfig": (["import logging, sys",
                     "logging.basicConfig(level=20, format='%(levelname)s %(message)s', stream=sys.stderr)"],
                    "[(type(h).__name__, h.formatter._fmt, h.stream is sys.stderr) for h in logging.root.handlers]",
                    {"logging:handlers root"}),
    "file handler": (["import logging", "logging.getLogger('f').addHandler(logging.FileHandler('run.log', mode='w'))\n"
                      "logging.getLogger('f').error('one')"],
                     "(logging.getLogger('f').error('two'), open('run.log').read().splitlines()[0]) if"
                     " logging.getLogger('f').handlers else 0", {"logging:handlers f"}),
    "filter": (["import logging", "logging.getLogger('g').addFilter(lambda r: False)"],
               "logging.getLogger('g').filter(logging.LogRecord('g', 50, '', 1, '', (), None))",
               {"logging:filters g"}),
    "option": (["import pandas as pd", "pd.options.display.float_format = lambda x: f'{x:.1f}!'"],
               "str(pd.Series([1/3]))", {"pandas:option display.float_format"}),
    "format method": (["import pandas as pd", "pd.set_option('display.float_format', '{:.2f}'.format)"],
                      "str(pd.Series([1/3]))", {"pandas:option display.float_format"}),
    "print formatter": (["import numpy as np", "np.set_printoptions(formatter={'float': lambda x: f'<{x:.1f}>'})"],
                        "str(np.array([1/3]))", {"numpy:print formatter"}),
    "template": (["import plotly.io as pio, plotly.graph_objects as go",
                  "mine = go.layout.Template(layout={'font': {'size': 20}}); pio.templates['mine'] = mine\n"
                  "pio.templates.default = 'plotly+mine'"],
                 "('mine' in pio.templates and pio.templates['mine'].layout.font.size, pio.templates.default)",
                 {"plotly:template mine"}),
    "open figures": (["import matplotlib; matplotlib.use('agg')\nimport matplotlib.pyplot as plt",
                      "a, ax = plt.subplots(); ax.plot([1, 2]); b = plt.figure(7, figsize=(2, 2)); plt.plot([3, 1])\n"
                      "plt.figure(1);"],
                     "(plt.get_fignums(), plt.gcf() is globals().get('a'), plt.gcf().number,"
                     " [len(x.lines) for x in plt.figure(7).axes], plt.figure(1).number)"
                     " if plt.get_fignums() else 0", {"matplotlib:open figures"}),
}


@pytest.mark.parametrize("name", CASES)
def test_place(shell, name):  # noqa: F811
    cells, look, pseudo = CASES[name]
    first, _ = round_trip(shell, cells, look)
    after = first.effects[-1][0]
    assert {n for g in after["groups"] for n in g["names"] if ":" in n} == pseudo
    before, _ = first.cell("1")
    assert pseudo <= {n for n, there in before["reads"].items() if there}, "later cells observe it"


def test_a_patch_taken_back_is_deleted(shell):  # noqa: F811
    first, other = shell(), shell()
    first.cell("import statistics, numpy as np\nplain = statistics.mean")
    first.cell("statistics.mean = lambda x: 42; np.foo = 1")
    _, after = first.cell("statistics.mean = plain; del np.foo")
    assert after["deleted"] == ["numpy:foo", "statistics:mean"]
    other.restore(first)
    assert other.run("", "(statistics.mean([1, 3]), hasattr(np, 'foo'))") == "(2, False)"


def test_names_that_held_functions_read_are_read(shell):  # noqa: F811
    one = shell()
    one.cell("import numpy as np\nk = 1\ndef f(): return k")
    one.cell("np.foo = f")
    before, _ = one.cell("np.foo()")
    assert {"k", "numpy:foo"} <= set(before["reads"])


def test_open_figures_go_on(shell):  # noqa: F811
    first, other = shell(), shell()
    first.cell("import matplotlib; matplotlib.use('agg')\nimport matplotlib.pyplot as plt; plt.plot([1, 2]);")
    other.restore(first)
    for one in (first, other):
        one.cell("plt.plot([2, 1]); plt.title('more')")
    look = ("(plt.figure().number, [len(a.lines) for a in plt.figure(1).axes], plt.close(1), plt.get_fignums(),"
            " plt.gcf().number)")
    assert other.run("", look) == first.run("", look)


def test_what_cannot_be_captured_is_named(shell):  # noqa: F811
    one = shell()
    one.cell("import numpy as np")
    _, after = one.cell("np.foo = (x for x in 'ab')")
    assert [u["name"] for u in after["uncaptured"]] == ["numpy:foo"]
