package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// helperSource is a module with state, and with questions to IPython that a cell could not ask without reading everything.
const helperSource = `
import IPython
total = 0
items = []
def add(x):
    global total
    total += x
    items.append(x)
def formats():
    tables = IPython.get_ipython().display_formatter.formatters
    return sorted(m for m, f in tables.items() for t in f.type_printers if t.__name__ == 'Figure')
def reloads():
    return IPython.get_ipython().magics_manager.magics['line']['autoreload'].__self__._reloader.check_all
`

// TestAmbient sets process state in step b, reads it in step c and shows it in
// step d. Restored, it is what a straight run leaves; edited, it reaches those
// that read it.
func TestAmbient(t *testing.T) {
	for _, test := range []struct {
		name    string
		imports string    // step a
		set     [2]string // step b, and its edit
		look    string    // steps c and d show it
		blind   bool      // step c does not observe the setting: a stream that it does not draw from
	}{
		{name: "Random", imports: "import random", set: [2]string{"random.seed(1)", "random.seed(2)"}, look: "random.random()"},
		{name: "NumpyRandom", imports: "import numpy as np", set: [2]string{"np.random.seed(1)", "np.random.seed(2)"}, look: "np.random.rand()"},
		{name: "Environment", imports: "import os", set: [2]string{"os.environ['SHADE'] = 'red'", "os.environ['SHADE'] = 'blue'"}, look: "os.environ['SHADE']"},
		{name: "Folder", imports: "import os\nos.makedirs('one', exist_ok=True); os.makedirs('two', exist_ok=True)", set: [2]string{"os.chdir('one')", "os.chdir('two')"}, look: "os.path.basename(os.getcwd())"},
		{name: "Path", imports: "import sys", set: [2]string{"sys.path.append('lib')", "sys.path.append('src')"}, look: "sys.path[-1]"},
		{name: "Recursion", imports: "import sys", set: [2]string{"sys.setrecursionlimit(4000)", "sys.setrecursionlimit(5000)"}, look: "sys.getrecursionlimit()"},
		{name: "Umask", imports: "import os", set: [2]string{"os.umask(0o077);", "os.umask(0o027);"}, look: "(open('f', 'w').close(), oct(os.stat('f').st_mode), os.remove('f'))"},
		{name: "Timeout", imports: "import socket", set: [2]string{"socket.setdefaulttimeout(3)", "socket.setdefaulttimeout(4)"}, look: "socket.getdefaulttimeout()"},
		{name: "Locale", imports: "import locale", set: [2]string{"locale.setlocale(locale.LC_ALL, 'C');", "locale.setlocale(locale.LC_ALL, 'POSIX');"}, look: "locale.setlocale(locale.LC_ALL)", blind: true},
		{name: "Decimal", imports: "import decimal", set: [2]string{"decimal.getcontext().prec = 50", "decimal.getcontext().prec = 5"}, look: "decimal.Decimal(1) / 3"},
		{name: "Warnings", imports: "import warnings", set: [2]string{"warnings.filterwarnings('ignore')", "warnings.filterwarnings('error')"}, look: "warnings.filters[0][0]"},
		{name: "Logging", imports: "import logging", set: [2]string{"logging.basicConfig(level=logging.INFO)", "logging.basicConfig(level=logging.DEBUG)"}, look: "(logging.root.level, len(logging.root.handlers), logging.info('hi'))"},
		{name: "LogHandler", imports: "import logging\nout = []\nclass Keep(logging.Handler):\n    def emit(self, record): out.append(record.getMessage())", set: [2]string{"logging.getLogger('x').addHandler(Keep(10))", "logging.getLogger('x').addHandler(Keep(50))"}, look: "(logging.getLogger('x').warning('hi'), out, [h.level for h in logging.getLogger('x').handlers])"},
		{name: "LogFile", imports: "import logging", set: [2]string{"logging.getLogger('f').addHandler(logging.FileHandler('run.log'))", "logging.getLogger('f').addHandler(logging.FileHandler('other.log'))"}, look: "[h.baseFilename.rsplit('/')[-1] for h in logging.getLogger('f').handlers]"},
		{name: "PandasOption", imports: "import pandas as pd", set: [2]string{"pd.set_option('display.max_rows', 4)", "pd.set_option('display.max_rows', 6)"}, look: "pd.DataFrame({'a': range(50)})"},
		{name: "PandasFormat", imports: "import pandas as pd", set: [2]string{"pd.options.display.float_format = lambda x: f'{x:.1f}'", "pd.options.display.float_format = lambda x: f'{x:.3f}'"}, look: "pd.Series([1/3])"},
		{name: "PandasAccessor", imports: "import pandas as pd", set: [2]string{"@pd.api.extensions.register_dataframe_accessor('zz')\nclass Z:\n    def __init__(self, df): self.df = df\n    def n(self): return len(self.df)", "@pd.api.extensions.register_dataframe_accessor('zz')\nclass Z:\n    def __init__(self, df): self.df = df\n    def n(self): return -len(self.df)"}, look: "pd.DataFrame({'a': [1, 2]}).zz.n()"},
		{name: "NumpyOptions", imports: "import numpy as np", set: [2]string{"np.set_printoptions(precision=2)", "np.set_printoptions(precision=3)"}, look: "np.array([1/3])"},
		{name: "NumpyErrors", imports: "import numpy as np", set: [2]string{"np.seterr(all='raise');", "np.seterr(all='ignore');"}, look: "np.geterr()"},
		{name: "Style", imports: "import matplotlib.pyplot as plt", set: [2]string{"plt.style.use('ggplot')", "plt.style.use('bmh')"}, look: "plt.rcParams['axes.facecolor']"},
		{name: "RcParams", imports: "import matplotlib.pyplot as plt", set: [2]string{"plt.rcParams.update({'font.size': 7})", "plt.rcParams.update({'font.size': 8})"}, look: "plt.rcParams['font.size']"},
		{name: "Inline", imports: "import helper\nimport matplotlib.pyplot as plt", set: [2]string{"%matplotlib inline\n%config InlineBackend.figure_format = 'svg'", "%matplotlib inline\n%config InlineBackend.figure_format = 'png'"}, look: "(plt.get_backend(), helper.formats())"},
		{name: "OpenFigures", imports: "import matplotlib; matplotlib.use('agg')\nimport matplotlib.pyplot as plt", set: [2]string{"plt.figure(3); plt.plot([1, 2]);", "plt.figure(4); plt.plot([1, 2]);"}, look: "(plt.get_fignums(), len(plt.gca().lines))"},
		{name: "Seaborn", imports: "import seaborn as sns, matplotlib as mpl", set: [2]string{"sns.set_theme()", "sns.set_theme(palette='bright')"}, look: "mpl.colors.to_hex('b')"},
		{name: "Plotly", imports: "import plotly.io as pio", set: [2]string{"pio.templates.default = 'plotly_dark'", "pio.templates.default = 'ggplot2'"}, look: "pio.templates.default"},
		{name: "Polars", imports: "import polars as pl", set: [2]string{"pl.Config.set_tbl_rows(3);", "pl.Config.set_tbl_rows(4);"}, look: "str(pl.DataFrame({'a': range(9)}))"},
		{name: "Tqdm", imports: "import pandas as pd\nfrom tqdm.auto import tqdm", set: [2]string{"tqdm.pandas(desc='going', disable=True)", "tqdm.pandas(desc='gone', disable=True)"}, look: "(pd.Series([1, 2]).progress_apply(lambda v: v + 1).tolist(), pd.Series.progress_apply.__closure__[-1].cell_contents)"},
		{name: "Precision", imports: "1;", set: [2]string{"%precision 3", "%precision 4"}, look: "1/3"},
		{name: "Interactivity", imports: "1;", set: [2]string{"from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.ast_node_interactivity = 'all'", "from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.ast_node_interactivity = 'last_expr_or_assign'"}, look: "(1, 2)\nv = 3"},
		{name: "Extension", imports: "import helper", set: [2]string{"%load_ext autoreload\n%autoreload 2", "%load_ext autoreload\n%autoreload 1"}, look: "helper.reloads()"},
		{name: "Formatter", imports: "class C:\n    def __repr__(self): return 'C'", set: [2]string{"get_ipython().display_formatter.formatters['text/html'].for_type(C, lambda c: '<b>')", "get_ipython().display_formatter.formatters['text/html'].for_type(C, lambda c: '<i>')"}, look: "C()"},
		{name: "Callback", imports: "1;", set: [2]string{"get_ipython().events.register('post_run_cell', lambda r: print('done'))", "get_ipython().events.register('post_run_cell', lambda r: print('over'))"}, look: "7"},
		{name: "Transformer", imports: "1;", set: [2]string{"get_ipython().input_transformers_post.append(lambda lines: [l.replace('SHOW', 'print(1);') for l in lines])", "get_ipython().input_transformers_post.append(lambda lines: [l.replace('SHOW', 'print(2);') for l in lines])"}, look: "SHOW"},
		{name: "Signal", imports: "import signal", set: [2]string{"signal.signal(signal.SIGUSR1, lambda *a: print('got'));", "signal.signal(signal.SIGUSR1, lambda *a: print('took'));"}, look: "signal.raise_signal(signal.SIGUSR1)"},
		{name: "ModuleAttribute", imports: "import statistics", set: [2]string{"statistics.mean = lambda x: 42", "statistics.mean = lambda x: 43"}, look: "statistics.mean([1])"},
		{name: "ClassAttribute", imports: "import pandas as pd", set: [2]string{"pd.DataFrame.hello = lambda self: 5", "pd.DataFrame.hello = lambda self: 6"}, look: "pd.DataFrame().hello()"},
		{name: "LocalModule", imports: "import helper", set: [2]string{"helper.add(1)", "helper.add(2)"}, look: "(helper.total, helper.items)"},
		{name: "LocalModuleShared", imports: "import helper\nmine = helper.items", set: [2]string{"mine.append(1)", "mine.append(2)"}, look: "(helper.items, helper.items is mine)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "../examples/iris.ipynb")
			l.file("helper.py", helperSource)
			l.write(cells(test.imports, test.set[0], test.look, test.look))
			if r, _, code := l.run(); code != 0 {
				t.Fatalf("cold: exit %d: %+v", code, r.Error)
			}
			l.edit(`"step:d"]},"source":"`, `"step:d"]},"source":"again = 1\n`)
			l.warm("the last cell edited", []string{"d"})
			l.edit(strings.Trim(jsonString(test.set[0]), `"`), strings.Trim(jsonString(test.set[1]), `"`))
			want := []string{"b", "c", "d"}
			if test.blind {
				want = []string{"b"}
			}
			l.warm("the setting edited", want)
		})
	}
}

// warm runs the notebook and compares it with a straight run; ran are the
// steps that run.
func (l *lab) warm(phase string, want []string) {
	l.t.Helper()
	r, got, code := l.run()
	if steps := ran(statuses(l.t, r)); code != 0 || !slices.Equal(steps, want) {
		l.t.Errorf("%s: exit %d, ran %v, want %v: %+v %+v", phase, code, steps, want, r.Steps, r.Error)
	}
	if _, straight, _ := l.run("--no-cache"); stripTimes(l.t, got) != stripTimes(l.t, straight) {
		l.t.Errorf("%s: differs from a straight run\ngot  %s\nwant %s", phase, stripTimes(l.t, got), stripTimes(l.t, straight))
	}
}

// jsonString is text as it stands in a notebook.
func jsonString(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}
