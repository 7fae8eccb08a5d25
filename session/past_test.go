package session

import (
	"slices"
	"strings"
	"testing"

	"kedge/kernel"
)

// early runs code on both sides before anybody watches.
func (d *desk) early(sources ...string) {
	d.Helper()
	for _, source := range sources {
		res, err := d.kedge.Execute(d.Context(), kernel.Request{Code: source})
		if err != nil {
			d.Fatal(err)
		}
		d.compare("early", source, res.Outputs, res.ExecutionCount)
	}
	d.nb.Past(d.Context(), sources, nil)
}

// TestCodeBeforeTheSteps: cells of steps come in a kernel that has run code of which nobody was told. What it left is
// observed; each life is compared with a plain kernel, request by request.
func TestCodeBeforeTheSteps(t *testing.T) {
	const r, n, either = Restored, Ran, ""
	type request struct{ id, source, status string } // either: it may do either, but what it shows is compared
	type life struct {
		early    []string
		requests []request
	}
	setup := "import random, os, sys, warnings"
	for _, test := range []struct {
		name  string
		lives []life
	}{
		{"RunAgain", []life{
			{[]string{"x = [1, 2]", "y = sum(x)\ny"}, []request{{"a", "x = [1, 2]", n}, {"b", "y = sum(x)\ny", n}, {"a", "x = [1, 2]", r}, {"b", "y = sum(x)\ny", r}}},
			{nil, []request{{"a", "x = [1, 2]", r}, {"b", "y = sum(x)\ny", r}, {"c", "print(x, y, _, Out)", n}}},
		}},
		{"Libraries", []life{
			{[]string{"import numpy as np, pandas as pd", "df = pd.DataFrame({'a': [1, 2, 3]})\ndf.columns = ['b']\ndf.index.name = 'k'", "df.describe()"}, []request{
				{"a", "import numpy as np, pandas as pd", n}, {"b", "df = pd.DataFrame({'a': np.arange(3)})", n}, {"c", "df.a.sum()", n},
				{"b", "df = pd.DataFrame({'a': np.arange(3)})", r}, {"c", "df.a.sum()", r}}},
			{nil, []request{{"a", "import numpy as np, pandas as pd", either}, {"b", "df = pd.DataFrame({'a': np.arange(3)})", r}, {"c", "df.a.sum()", r}, {"d", "print(df, df.index)", n}}},
			{nil, []request{{"a", "import numpy as np, pandas as pd", r}, {"b", "df = pd.DataFrame({'a': np.arange(3)})", r}}},
		}},
		{"NamesAreRead", []life{
			{[]string{"k = 1"}, []request{{"a", "print(k)", n}}},
			{[]string{"k = 2"}, []request{{"a", "print(k)", n}}},
			{[]string{"k = 5", "k -= 4"}, []request{{"a", "print(k)", r}}},
			{nil, []request{{"a", "try:\n    print(k)\nexcept NameError:\n    print('none')", n}}},
		}},
		{"InPlace", []life{
			{[]string{"x = [1]", "z = x", "x.append(2)"}, []request{{"a", "print(x)", n}, {"b", "x.append(3)", n}, {"c", "print(x, z, x is z)", n}}},
			{[]string{"x = [1]"}, []request{{"a", "print(x)", n}, {"b", "x.append(3)", n}, {"c", "print(x)", n}}},
			{[]string{"x = [1, 2]", "z = [1, 2]"}, []request{{"a", "print(x)", r}, {"b", "x.append(3)", n}, {"c", "print(x, z, x is z)", n}}},
		}},
		{"Environment", []life{
			{[]string{"import os; os.environ['SHADE'] = 'red'"}, []request{{"a", "import os; print(os.environ.get('SHADE'))", n}}},
			{nil, []request{{"a", "import os; print(os.environ.get('SHADE'))", n}}},
			{[]string{"import os; os.environ['SHADE'] = 'blue'"}, []request{{"a", "import os; print(os.environ.get('SHADE'))", n}}},
		}},
		{"WorkingFolder", []life{
			{[]string{"import os; os.mkdir('sub'); open('sub/f', 'w').write('1'); open('f', 'w').write('0'); os.chdir('sub')"}, []request{{"a", "print(open('f').read())", n}}},
			{nil, []request{{"a", "print(open('f').read())", n}}},
		}},
		{"SearchPath", []life{
			{[]string{"import sys, os; os.mkdir('lib'); open('lib/late_mod.py', 'w').write('v = 1'); sys.path.insert(0, 'lib')"}, []request{{"a", "import late_mod; print(late_mod.v)", n}}},
			{nil, []request{{"a", "try:\n    import late_mod; print(late_mod.v)\nexcept ImportError:\n    print('none')", n}}},
		}},
		{"Options", []life{
			{[]string{"import pandas as pd; pd.set_option('display.max_rows', 4)"}, []request{{"a", "import pandas as pd; pd.Series(range(9))", n}}},
			{[]string{"import pandas as pd"}, []request{{"a", "import pandas as pd; pd.Series(range(9))", n}}},
			{nil, []request{{"a", "import pandas as pd; pd.Series(range(9))", either}}},
			{[]string{"import numpy as np; np.set_printoptions(precision=2)"}, []request{{"b", "import numpy as np; print(np.array([1/3]))", n}}},
			{nil, []request{{"b", "import numpy as np; print(np.array([1/3]))", n}}},
		}},
		{"Decimal", []life{
			{[]string{"import decimal; decimal.getcontext().prec = 5"}, []request{{"a", "import decimal; print(decimal.Decimal(1) / 3)", n}}},
			{nil, []request{{"a", "import decimal; print(decimal.Decimal(1) / 3)", n}}},
		}},
		{"SeededStream", []life{
			{[]string{"import random; random.seed(5); random.random()"}, []request{{"a", "import random; print(random.random())", n}}},
			{[]string{"import random; random.seed(6)"}, []request{{"a", "import random; print(random.random())", n}}},
			{[]string{"import random; random.seed(5); random.random()"}, []request{{"a", "import random; print(random.random())", r}, {"b", "print(random.random())", n}}},
		}},
		{"NumpyStream", []life{
			{[]string{"import numpy as np", "np.random.seed(5)", "np.random.rand()"}, []request{{"a", "print(np.random.rand())", n}}},
			{[]string{"import numpy as np", "np.random.seed(6)"}, []request{{"a", "print(np.random.rand())", n}}},
			{[]string{"import numpy as np; np.random.seed(5); np.random.rand();"}, []request{{"a", "print(np.random.rand())", r}, {"b", "print(np.random.rand())", n}}},
		}},
		{"FreshStreamAskedFor", []life{
			{[]string{setup, "random.seed(1); state = random.getstate()"}, []request{{"a", "print(random.random(), state == random.getstate())", n}}},
			{[]string{setup, "state = None; random.seed(1)"}, []request{{"a", "print(random.random(), state == random.getstate())", n}}},
		}},
		{"Monkeypatch", []life{
			{[]string{"import textwrap", "def dedent(text): return 'patched'", "textwrap.dedent = dedent"}, []request{{"a", "import textwrap; print(textwrap.dedent('  x'))", n}}},
			{nil, []request{{"a", "import textwrap; print(textwrap.dedent('  x'))", n}}},
			{[]string{"import textwrap"}, []request{{"a", "import textwrap; print(textwrap.dedent('  x'))", r}}},
		}},
		{"MonkeypatchOfALaterImport", []life{
			{[]string{"import fractions", "def put(module, value): module.__str__ = value", "put(fractions.Fraction, lambda self: 'patched')", "del fractions, put"}, []request{{"a", "import fractions; print(fractions.Fraction(1, 3))", n}}},
			{nil, []request{{"a", "import fractions; print(fractions.Fraction(1, 3))", n}}},
		}},
		{"MonkeypatchByName", []life{
			{[]string{"import colorsys", "setattr(colorsys, 'ONE_' + 'THIRD', 7)"}, []request{{"a", "import colorsys; print(colorsys.ONE_THIRD)", n}}},
			{nil, []request{{"a", "import colorsys; print(colorsys.ONE_THIRD)", n}}},
		}},
		{"PatchOfAConstant", []life{
			{[]string{"import colorsys", "m = colorsys", "for k in [m]:\n    k.ONE_SIXTH = 7", "del m, k"}, []request{{"a", "import colorsys; print(colorsys.ONE_SIXTH)", n}}},
			{nil, []request{{"a", "import colorsys; print(colorsys.ONE_SIXTH)", n}}},
		}},
		{"PatchByAFunctionThatIsGone", []life{
			{[]string{"import textwrap\ndef f():\n    textwrap.shorten = len", "f()", "def f(): pass"}, []request{{"a", "import textwrap; print(textwrap.shorten('x y', 9))", n}}},
			{nil, []request{{"a", "import textwrap; print(textwrap.shorten('x y', 9))", n}}},
		}},
		{"OpenFile", []life{
			{[]string{"f = open('log', 'w+')"}, []request{{"a", "f.write('a'); f.flush()", n}, {"b", "print(open('log').read())", n}, {"a", "f.write('a'); f.flush()", n}, {"b", "print(open('log').read())", n}}},
			{[]string{"f = open('log', 'w+'); f.write('0');"}, []request{{"a", "f.write('a'); f.flush()", n}, {"b", "print(open('log').read())", n}}},
		}},
		{"DescriptorByHand", []life{
			{[]string{"import os; d = os.open('one', os.O_RDWR | os.O_CREAT)"}, []request{{"a", "import os; os.write(d, b'x');", n}, {"b", "print(os.listdir('.'), os.path.getsize('one'))", n}}},
			{[]string{"import os; d = os.open('two', os.O_RDWR | os.O_CREAT)"}, []request{{"a", "import os; os.write(d, b'x');", n}, {"b", "print(sorted(os.listdir('.')), os.path.getsize('two'))", n}}},
		}},
		{"Generators", []life{
			{[]string{"g = iter(i for i in range(9))", "next(g)"}, []request{{"a", "v = next(g)", n}, {"b", "print(v)", n}}},
			{[]string{"g = iter(i for i in range(9))"}, []request{{"a", "v = next(g)", n}, {"b", "print(v)", n}}},
			{[]string{"g = iter(i for i in range(9))", "next(g)"}, []request{{"a", "v = next(g)", n}, {"b", "print(v)", r}}},
		}},
		{"FilesWritten", []life{
			{nil, []request{{"a", "open('out', 'w').write('1');", n}, {"b", "print(open('out').read())", n}}},
			{[]string{"open('out', 'w').write('2');"}, []request{{"b", "print(open('out').read())", n}, {"c", "import os; print(os.path.exists('out'), os.listdir('.'))", n}}},
			{[]string{"open('out', 'w').write('1');"}, []request{{"c", "import os; print(os.path.exists('out'), os.listdir('.'))", either}}},
		}},
		{"ALeftoverThatWasWritten", []life{
			{nil, []request{{"c", "import os; print(os.path.exists('out'))", n}, {"a", "open('out', 'w').write('1');", n}}},
			{[]string{"open('out', 'w').write('1');"}, []request{{"c", "import os; print(os.path.exists('out'))", n}}},
		}},
		{"Threads", []life{
			{[]string{"import threading, time\ncount = 0\ndef work():\n    global count\n    for _ in range(200):\n        time.sleep(.05)\n", "t = threading.Thread(target=work, daemon=True); t.start()"}, []request{{"a", "x = 1", n}, {"b", "y = x", n}, {"a", "x = 1", n}}},
		}},
		{"Processes", []life{
			{[]string{"import subprocess; p = subprocess.Popen(['sleep', '5'], start_new_session=True)"}, []request{{"a", "x = 1", n}, {"b", "y = x", n}, {"a", "x = 1", n}}},
		}},
		{"Warnings", []life{
			{[]string{setup, "warnings.filterwarnings('ignore', 'w')"}, []request{{"a", "import warnings\ntry:\n    warnings.warn_explicit('w', UserWarning, 'file', 1)\n    print('no error')\nexcept UserWarning:\n    print('error')", n}}},
			{nil, []request{{"a", "import warnings\ntry:\n    warnings.warn_explicit('w', UserWarning, 'file', 1)\n    print('no error')\nexcept UserWarning:\n    print('error')", n}}},
		}},
		{"Logging", []life{
			{[]string{"import logging, sys; logging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s')"}, []request{{"a", "import logging; logging.info('heard')", n}}},
			{nil, []request{{"a", "import logging; logging.info('heard')", n}}},
		}},
		{"IPythonsOwn", []life{
			{[]string{"get_ipython().display_formatter.formatters['text/plain'].for_type(int, lambda o, p, c: p.text('int'))"}, []request{{"a", "1 + 1", n}}},
			{nil, []request{{"a", "1 + 1", n}}},
			{[]string{"get_ipython().events.register('post_run_cell', lambda *a: print('after'))"}, []request{{"b", "z = 3", n}}},
			{nil, []request{{"b", "z = 3", n}}},
			{[]string{"%config InteractiveShell.ast_node_interactivity = 'all'"}, []request{{"c", "1\n2", n}}},
			{nil, []request{{"c", "1\n2", n}}},
		}},
		{"HiddenRegistries", []life{
			{[]string{"import csv; csv.register_dialect('d', delimiter=';')"}, []request{{"a", "import csv, io; print(list(csv.reader(['a;b'], 'd')))", n}}},
			{[]string{"import csv; csv.register_dialect('d', delimiter=',')"}, []request{{"a", "import csv, io; print(list(csv.reader(['a;b'], 'd')))", n}}},
		}},
		{"CodeThatIsNotShown", []life{
			{[]string{"exec('import textwrap; textwrap.' + 'dedent = len')"}, []request{{"a", "import textwrap; print(textwrap.dedent('  x'))", n}}},
			{nil, []request{{"a", "import textwrap; print(textwrap.dedent('  x'))", n}}},
		}},
		{"Classes", []life{
			{[]string{"class C:\n    k = 1", "o = C()", "C.k = 2"}, []request{{"a", "print(o.k, isinstance(o, C))", n}, {"b", "class C:\n    k = 1", n}, {"c", "print(o.k, isinstance(o, C))", n}}},
			{[]string{"class C:\n    k = 1", "o = C()"}, []request{{"a", "print(o.k, isinstance(o, C))", n}}},
			{nil, []request{{"b", "class C:\n    k = 1", either}, {"d", "o = C()\nprint(o.k)", n}}},
		}},
		{"Imports", []life{
			{[]string{"import xml.dom.minidom"}, []request{{"a", "import xml.dom.minidom", n}, {"b", "print(xml.dom.minidom.__name__)", n}}},
			{nil, []request{{"a", "import xml.dom.minidom", either}, {"c", "print(xml.dom.minidom.parseString('<a/>').toxml())", n}}},
		}},
		{"ImportsForTheirEffect", []life{
			{[]string{"import xml.dom.minidom", "import wsgiref.headers"}, []request{{"a", "import wsgiref.headers as h; del h", n}}},
			{nil, []request{{"a", "import wsgiref.headers as h; del h", either}, {"c", "import sys; print('wsgiref.headers' in sys.modules)", n}}},
		}},
		{"LocalModules", []life{
			{[]string{"open('local_a.py', 'w').write('total = 0\\ndef add(n):\\n    global total\\n    total += n\\n    return total\\n');", "import local_a; local_a.add(1)"},
				[]request{{"a", "import local_a; print(local_a.add(2))", n}}},
			{nil, []request{{"a", "import local_a; print(local_a.add(2))", n}, {"b", "print(local_a.total)", n}}},
		}},
		{"ALocalModuleThatWasEdited", []life{
			{[]string{"open('local_b.py', 'w').write('def f(): return 1\\n');", "import local_b", "open('local_b.py', 'w').write('def f(): return 22\\n');"}, []request{{"a", "import local_b; print(local_b.f())", n}}},
			{nil, []request{{"a", "import local_b; print(local_b.f())", n}}},
		}},
		{"ALocalModuleOfThatTime", []life{
			{[]string{"open('local_c.py', 'w').write('print(end=\"\")\\ndef f(): return 1\\n');", "import local_c"}, []request{{"a", "import local_c; print(local_c.f())", n}}},
			{[]string{"open('local_c.py', 'w').write('print(end=\"\")\\ndef f(): return 2\\n');", "import local_c"}, []request{{"a", "import local_c; print(local_c.f())", n}}},
			{[]string{"open('local_c.py', 'w').write('print(end=\"\")\\ndef f(): return 3\\n');"}, []request{{"a", "import local_c; print(local_c.f())", n}}},
		}},
		{"ClassesOfTheKernelsOwn", []life{
			{[]string{"import textwrap", "def put(c): c.fill = lambda self, text: 'patched'", "put(textwrap.TextWrapper)", "del put"}, []request{{"a", "import textwrap; print(textwrap.TextWrapper().fill('x'))", n}}},
			{nil, []request{{"a", "import textwrap; print(textwrap.TextWrapper().fill('x'))", n}}},
		}},
		{"WhatALibraryLost", []life{
			{[]string{"import fractions", "def lose(c): del c.limit_denominator", "lose(fractions.Fraction)"}, []request{{"a", "import fractions; print(hasattr(fractions.Fraction, 'limit_denominator'))", n}}},
			{nil, []request{{"a", "import fractions; print(hasattr(fractions.Fraction, 'limit_denominator'))", n}}},
		}},
		{"NamesThatAreMadeUp", []life{
			{[]string{"import fractions", "word = 'numerator'\nfor c in [fractions.Fraction, int()]:\n    try:\n        setattr(c, word, 'made up')\n    except (AttributeError, TypeError):\n        pass"}, []request{{"a", "import fractions; print(fractions.Fraction(1, 3).numerator)", n}}},
			{nil, []request{{"a", "import fractions; print(fractions.Fraction(1, 3).numerator)", n}}},
		}},
		{"AModuleInPlaceOfAnother", []life{
			{[]string{"import sys, types\nsys.modules['colorsys'] = types.SimpleNamespace(ONE_THIRD=7)"}, []request{{"a", "import colorsys; print(colorsys.ONE_THIRD)", n}}},
			{nil, []request{{"a", "import colorsys; print(colorsys.ONE_THIRD)", n}}},
		}},
		{"TheNameOfResults", []life{
			{[]string{"5", "for _ in range(3): pass", "6"}, []request{{"a", "print(_)", n}, {"b", "7", n}, {"c", "print(_, Out)", n}}},
			{[]string{"5", "for _ in range(4): pass", "6"}, []request{{"a", "print(_)", n}, {"b", "7", either}, {"c", "print(_, Out)", n}}},
			{[]string{"5", "__ = 4"}, []request{{"a", "print(_)", n}, {"b", "7", either}, {"c", "print(_, __, Out)", n}}},
		}},
		{"History", []life{
			{[]string{"41", "42"}, []request{{"a", "print(_, Out)", n}, {"b", "_ + 1", n}}},
			{[]string{"41", "43"}, []request{{"a", "print(_, Out)", n}, {"b", "_ + 1", n}}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			for i, l := range test.lives {
				if i > 0 {
					d.restart()
				}
				if len(l.early) > 0 {
					d.early(l.early...)
				}
				for _, q := range l.requests {
					a := d.ask(q.id, q.source)
					t.Logf("life %d: %s %s: %s", i, q.id, a.Status, a.Why)
					if q.status != either && a.Status != q.status {
						t.Errorf("life %d: cell %s (%s) %s, want %s: %s", i, q.id, q.source, a.Status, q.status, a.Why)
					}
				}
			}
		})
	}
}

// TestWhyACellRunsAfterCodeThatNobodyWatched: what cannot be known is the reason that people are given.
func TestWhyACellRunsAfterCodeThatNobodyWatched(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.ask("a", "x = 1")
	d.restart()
	d.early("exec('y = ' + '2')")
	if a := d.ask("a", "x = 1"); a.Status != Ran || !strings.Contains(a.Why, "before the notebook had step tags") {
		t.Errorf("%s: %s", a.Status, a.Why)
	}
	if faults := d.nb.Faults(); !slices.Equal(faults, nil) {
		t.Error(faults)
	}
}
