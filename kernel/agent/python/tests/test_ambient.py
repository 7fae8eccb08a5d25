"""Adapters of process state: a fresh process takes the state over."""
import pathlib
import pickle
import sys

import pytest
from shells import round_trip, shell  # noqa: F401

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kedge_agent.ambient import canonical  # noqa: E402

CASES = {
    "random": (["import random", "random.seed(3); random.random()"], "random.getstate()"),
    "numpy.random": (["import numpy as np", "np.random.seed(3); np.random.rand()"],
                     "np.random.get_state()[1].tolist()"),
    "environ": (["import os", "os.environ['SHADE']='blue'; os.environ['PATH'] += ':/opt/x'; os.environ.pop('HOME', 0)"],
                "(os.environ['SHADE'], os.environ['PATH'], 'HOME' in os.environ)"
                " if 'SHADE' in os.environ else 0"),
    "cwd": (["import os\nos.makedirs('sub', exist_ok=True)", "os.chdir('sub')"], "os.path.basename(os.getcwd())"),
    "folders of %cd": (["import os\nos.makedirs('sub', exist_ok=True)", "%cd -q sub"],
                       "([os.path.basename(p) for p in _dh[-1:]], len(_dh) > 1)"),
    "libraries": (["import sys", "sys.setdlopenflags(258)"], "sys.getdlopenflags()"),
    "origins": (["import sys", "sys.set_coroutine_origin_tracking_depth(3)"],
                "sys.get_coroutine_origin_tracking_depth()"),
    "parent of a logger": (["import logging", "logging.getLogger('p.q').parent = logging.getLogger('r')"],
                           "logging.getLogger('p.q').parent.name"),
    "figures in svg": (["import matplotlib.pyplot as plt\nimport matplotlib_inline.backend_inline as inline",
                        "inline.set_matplotlib_formats('svg')"],
                       "get_ipython().display_formatter.formatters['image/svg+xml'].lookup_by_type(plt.Figure).keywords['fmt']"
                       " if plt.Figure in get_ipython().display_formatter.formatters['image/svg+xml'].type_printers"
                       " else None"),
    "sys.path": (["import sys, os", "sys.path.insert(0, os.path.abspath('lib')); sys.path.append('..')"], "sys.path"),
    "recursion": (["import sys", "sys.setrecursionlimit(2345)"], "sys.getrecursionlimit()"),
    "switch": (["import sys", "sys.setswitchinterval(0.5)"], "sys.getswitchinterval()"),
    "umask": (["import os", "old = os.umask(0o077)"], "(open('f', 'w').close(), os.stat('f').st_mode, os.remove('f'))"),
    "timeout": (["import socket", "socket.setdefaulttimeout(3)"], "socket.getdefaulttimeout()"),
    "locale": (["import locale", "locale.setlocale(locale.LC_ALL, 'C.UTF-8' if locale.setlocale(locale.LC_ALL)"
                "!= 'C.UTF-8' else 'C');"], "locale.setlocale(locale.LC_ALL)"),
    "zone": (["import os, time", "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()"], "time.tzname"),
    "decimal": (["import decimal", "decimal.getcontext().prec = 50"], "decimal.Decimal(1) / 3"),
    "gc": (["import gc", "gc.disable(); gc.set_threshold(900, 20, 20)"], "(gc.isenabled(), gc.get_threshold())"),
    "warnings": (["import warnings", "warnings.filterwarnings('ignore')"], "warnings.filters[0]"),
    "warnings shown": (["import warnings", "warnings.warn('once', UserWarning)"],
                       "[k for k in globals().get('__warningregistry__', {}) if k != 'version']"),
    "numpy options": (["import numpy as np", "np.set_printoptions(precision=2); np.seterr(all='raise')"],
                      "(str(np.array([1/3])), np.geterr())"),
    "pandas options": (["import pandas as pd", "pd.set_option('display.max_rows', 4); pd.options.display.precision=2"],
                       "str(pd.DataFrame({'a': [1/3] * 9}))"),
    "rcParams": (["import matplotlib.pyplot as plt", "plt.style.use('ggplot'); plt.rcParams.update({'font.size': 7})"],
                 "dict(plt.rcParams)"),
    "backend": (["import matplotlib.pyplot as plt\nplt.get_backend()", "%matplotlib inline"],
                "(plt.get_backend(), plt.isinteractive(), [f.__name__ for f in get_ipython().events"
                ".callbacks['post_execute']])"),
    "inline": (["%matplotlib inline", "%config InlineBackend.figure_format = 'svg'"],
               "sorted(m for m, f in get_ipython().display_formatter.formatters.items() for t in f.type_printers"
               " if t.__name__ == 'Figure')"),
    "seaborn": (["import seaborn as sns, matplotlib as mpl", "sns.set_theme(palette='deep')"],
                "(dict(mpl.rcParams), mpl.colors.to_rgb('b'))"),
    "precision": (["import numpy as np", "%precision 3"], "(get_ipython().display_formatter.format(1/3)[0],"
                  " np.get_printoptions()['precision'])"),
    "extension": (["0", "%load_ext autoreload\n%autoreload 2"],
                  "(sorted(get_ipython().extension_manager.loaded), vars(get_ipython().magics_manager.magics['line']"
                  ".get('autoreload', print).__self__).get('_reloader').check_all)"
                  " if any('autoreload' in e for e in get_ipython().extension_manager.loaded) else 0"),
    "interactivity": (["0", "from IPython.core.interactiveshell import InteractiveShell\n"
                       "InteractiveShell.ast_node_interactivity = 'all'"], "get_ipython().ast_node_interactivity"),
    "interactivity of the shell": (["0", "get_ipython().ast_node_interactivity = 'all'"],
                                   "get_ipython().ast_node_interactivity"),
    "config": (["0", "%config InteractiveShell.ast_node_interactivity = 'last_expr_or_assign'\n%xmode Plain\n%pprint"],
               "(get_ipython().ast_node_interactivity, get_ipython().InteractiveTB.mode,"
               " get_ipython().display_formatter.formatters['text/plain'].pprint)"),
    "config of a part": (["0", "%config Completer.use_jedi = False"],
                         "(get_ipython().Completer.use_jedi, get_ipython().config.Completer)"),
    "hidden names": (["0", "get_ipython().push({'unseen': 3}, interactive=False)"],
                     "('unseen' in get_ipython().user_ns, 'unseen' in get_ipython().user_ns_hidden)"),
    "debug mode of the loop": (["import asyncio", "asyncio.get_event_loop_policy().get_event_loop().set_debug(True)"],
                               "asyncio.get_event_loop_policy().get_event_loop().get_debug()"),
    "plotly": (["import plotly.io as pio", "pio.templates.default = 'plotly_dark'; pio.renderers.default = 'svg'"],
               "(pio.templates.default, pio.renderers.default)"),
    "polars": (["import polars as pl", "pl.Config.set_tbl_rows(3); pl.Config.set_float_precision(2);"],
               "str(pl.DataFrame({'a': [1/3] * 9}))"),
    "tqdm": (["import pandas as pd\nfrom tqdm.auto import tqdm", "tqdm.pandas(desc='going')"],
             "hasattr(pd.DataFrame, 'progress_apply') and pd.DataFrame.progress_apply.__closure__[-1].cell_contents"),
    "logging": (["import logging", "logging.getLogger('a.b').setLevel(10); logging.addLevelName(25, 'NOTE')\n"
                 "logging.captureWarnings(True); logging.getLogger('c').propagate = False; logging.disable(5)"],
                "(logging.getLogger('a.b').level, logging.getLevelName(25), logging.root.manager.disable,"
                " logging.getLogger('c').propagate, __import__('warnings').showwarning.__module__)"),
}


@pytest.mark.parametrize("name", CASES)
def test_adapter(shell, name):  # noqa: F811
    if name == "tqdm":
        pytest.importorskip("tqdm")
    if name == "debug mode of the loop" and sys.version_info >= (3, 14):
        pytest.skip("there is no loop where none runs")
    round_trip(shell, *CASES[name])


def test_nothing_differs_in_a_fresh_process(shell):  # noqa: F811
    _, after = shell().cell("import numpy, pandas, matplotlib.pyplot, plotly.graph_objects, logging")
    assert set(after["ambient_after"]) <= {"random", "numpy.random", "warnings"} and after["refused"] == []


def test_formatters_are_made_by_the_first_output(shell):  # noqa: F811
    one = shell()
    one.cell("x = 1")
    assert one.run("", "'formatters' in get_ipython().display_formatter._trait_values") == "False"


def test_what_a_cell_does_to_the_history_keeps_it_from_being_cached(shell):  # noqa: F811
    for code in ("In[1] = 'a'", "Out['k'] = 1", "Out[99] = 1", "Out.clear()"):
        one = shell()
        one.cell("5")
        _, after = one.cell("6")
        assert after["refused"] == [] and not after["hidden"]
        _, after = one.cell(code)
        assert after["hidden"] and "changed " + code.partition("[")[0].partition(".")[0] in after["refused"], code


@pytest.mark.parametrize("code, what", [
    ("import threading\nthreading.settrace(lambda *a: None)", "changed the tracing hooks"),
    ("get_ipython().showtraceback = lambda *a, **k: None", "changed attributes of the shell"),
    ("get_ipython().display_pub.publish = lambda *a, **k: None", "changed attributes of the shell"),
    ("%logstart -q l.log", "changed attributes of the shell"),
    ("import sys\nsys.__stdout__.reconfigure(errors='replace')", "changed the streams of the process"),
    ("import sys\nsys.set_asyncgen_hooks(firstiter=print)", "changed the hooks of asynchronous generators"),
    ("import ctypes\nctypes.CDLL(None).srand(5)", "calls CDLL"),
    ("import fcntl\nfcntl.flock(open('l', 'w'), fcntl.LOCK_EX)", "calls flock"),
    ("_dh.clear()", "left cwd in a state that cannot be captured (ValueError: _dh was changed by hand)"),
])
def test_what_is_not_restored_is_refused(shell, code, what):  # noqa: F811
    one = shell()
    one.cell("pass")
    _, after = one.cell(code)
    assert what in after["refused"] and after["hidden"], after["refused"]


def test_a_cell_that_asks_when_files_changed_is_not_cached(shell):  # noqa: F811
    _, after = shell().cell("import os\nopen('f', 'w').close(); os.path.getmtime('f')")
    assert after["refused"] == ["asks when files were changed"] and not after["hidden"]


def test_a_setting_taken_back_leaves_nothing(shell):  # noqa: F811
    first, other = shell(), shell()
    first.cell("import pandas as pd, os\npd.set_option('display.max_rows', 4); os.environ['X'] = '1'")
    _, after = first.cell("pd.reset_option('display.max_rows'); del os.environ['X']")
    assert {"name": "pandas", "state": ""} in after["ambient"]
    other.restore(first)
    assert other.run("", "(pd.get_option('display.max_rows'), 'X' in os.environ)") == "(60, False)"


def test_equal_states_are_equal_bytes():
    one = [("ignore", "".join(["a", "b"]), {"k": "ab"})]
    both = ["".join(["a", "b"])] * 2
    assert canonical.dumps(both) == canonical.dumps(["ab", "".join(["a", "b"])])
    assert canonical.dumps(pickle.loads(canonical.dumps(one))) == canonical.dumps(one)


def test_definitions_are_no_attributes_of_the_shell(shell):  # noqa: F811
    """The shell's module has the namespace as its own, and what was shown last is an attribute too."""
    one = shell()
    one.cell("pass")
    for code in ("def f(): pass", "class C: pass\nc = C()", "c"):
        _, after = one.cell(code)
        assert after["refused"] == [], code
