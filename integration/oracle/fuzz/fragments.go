package main

// fragment is a piece of a cell. In its code {n} is a number from 1 to 9,
// {kind} a name of that kind that exists above, {+kind} a name of that kind
// that it binds.
type fragment struct {
	feature string
	code    string
}

// The kinds of names: a letter each, so that a name tells its kind.
var kinds = map[string]string{"int": "i", "list": "l", "dict": "d", "set": "s", "arr": "v", "df": "t", "fun": "f", "cls": "K", "obj": "o",
	"gen": "g", "str": "w", "rng": "r", "clo": "c", "mix": "m"}

// What every notebook begins with: names of the first kinds, and
// seeded streams.
const (
	imports = "import os, sys, random, json\n"
	values  = "i1, l1, d1, w1 = 3, [1, 2], {'k': [0]}, 'abc'\n"
	head    = imports + "import numpy as np\nimport pandas as pd\n" + values + "random.seed(3); np.random.seed(4)"
	// The head of notebooks that load no library.
	bareHead = imports + values + "random.seed(3)"
)

// fragments is the grammar. Those with np, pd or v, t, r names need the libraries.
var fragments = []fragment{
	{"atoms", "{+int} = {n}"}, {"atoms", "{+int} = {int} * {n} + 1"}, {"atoms", "{+mix} = -0.0 * {n}"}, {"atoms", "{+mix} = 0.0 * {n}"},
	{"atoms", "{+mix} = True if {n} > 4 else 1"}, {"atoms", "{+str} = {str} + '{n}'"},
	{"lists", "{+list} = [{int}, {n}]"}, {"lists", "{+list} = {list} + [{n}]"}, {"mutation", "{list}.append({n})"},
	{"mutation", "{list}.insert(0, {int})"}, {"mutation", "{list}[0] = {n}"}, {"mutation", "{int} += {n}"}, {"mutation", "{list}.sort(key=str)"},
	{"mutation", "{dict}['k{n}'] = {int}"}, {"mutation", "{dict}.setdefault('k', []).append({n})"}, {"mutation", "{dict}.update(a={n})"},
	{"sharing", "{+list} = {list}"}, {"sharing", "{+list} = [{list}, {list}]"}, {"sharing", "{+dict} = {'k': {list}, 'e': {dict}}"},
	{"sharing", "{dict}['self'] = {list}"}, {"sharing", "{+list} = {dict}.setdefault('k', [{n}])"}, {"sharing", "print({list} is {list}, {dict}.get('k') is {list})"},
	{"sharing", "{+mix} = ({list}, {list})"}, {"order", "{+dict} = dict(sorted({dict}.items(), key=lambda kv: str(kv[0]), reverse={n} > 4))"},
	{"order", "{+dict} = {'b': {n}, 'a': {int}}"}, {"order", "print(list({dict}))"},
	{"sets", "{+set} = {str(x) + 'q{n}' for x in range({n} + 3)}"}, {"sets", "{set}.add('{n}' * {n})"}, {"sets", "{set}.discard('1q{n}')"},
	{"sets", "print(list({set}))"}, {"sets", "print(len({set}))"}, {"sets", "{+set} = {set} | {'z{n}', 'y'}"},
	{"deletes", "try:\n    del {list}\nexcept NameError: print('gone')"}, {"deletes", "del {int}; {+int} = 7"}, {"deletes", "globals().pop('{int}', None)"},
	{"absent", "try: print({int})\nexcept NameError: print('no {int}')"}, {"absent", "print('{list}' in globals())"},
	{"absent", "try: print({fun}({n}))\nexcept NameError as err: print(err)"},
	{"functions", "def {+fun}(x=1): return x + {int} + {n}"}, {"functions", "def {+fun}(x=1): return {fun}(x) * {n}"},
	{"functions", "def {+fun}(x=1, acc=[]):\n    acc.append(x); return len(acc)"}, {"functions", "print({fun}({n}))"}, {"functions", "{+int} = {fun}({n})"},
	{"functions", "{fun}.k = {n}"}, {"functions", "print(getattr({fun}, 'k', None))"}, {"functions", "def {+fun}(x=1):\n    global {int}\n    {int} = x + {n}; return x"},
	{"functions", "def {+fun}(x=1):\n    return len({list}) + x"},
	{"lambdas", "{+list} = [lambda x=1: x + {int}, {n}]"}, {"lambdas", "print([x() for x in {list} if callable(x)])"}, {"lambdas", "{+fun} = lambda x=1: {fun}(x) + {n}"},
	{"closures", "def mk(n):\n    def inc(x=1):\n        nonlocal n\n        n += x; return n\n    return inc\n{+clo} = mk({n})"}, {"closures", "print({clo}())"}, {"closures", "{+clo} = {clo}"},
	{"closures", "def pair():\n    box = [{n}]\n    return (lambda: box.append(1)), (lambda: list(box))\n{+clo}, {+clo} = pair()"},
	{"decorators", "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def w(*a): return f(*a) + {int}\n    return w\n@deco\ndef {+fun}(x=1): return x * {n}"},
	{"decorators", "def twice(f): return lambda x=1: f(f(x))\n@twice\ndef {+fun}(x=1): return x + {n}"}, {"decorators", "print({fun}.__wrapped__(1) if hasattr({fun}, '__wrapped__') else {fun}(1))"},
	{"decorators", "import functools\n@functools.lru_cache\ndef {+fun}(x=1): return x + {n}"},
	{"classes", "class {+cls}:\n    n = {n}\n    def get(self): return self.n + {int}"}, {"classes", "class {+cls}({cls}):\n    m = {n}"}, {"classes", "{+obj} = {cls}()"},
	{"classes", "{cls}.n = {n}"}, {"classes", "{obj}.n = {n}"}, {"classes", "print(type({obj}) is {cls}, isinstance({obj}, {cls}), {obj}.n)"}, {"classes", "print({obj}.get())"},
	{"classes", "{+mix} = {obj}.get"}, {"classes", "class {+cls}:\n    n = {n}\n    @property\n    def p(self): return self.n * {int}\n    @staticmethod\n    def s(): return {int}\n    @classmethod\n    def get(cls): return cls.n"},
	{"classes", "{obj}.held = {list}"}, {"generators", "{+gen} = (x * {n} for x in range(9))"}, {"generators", "print(next({gen}))"}, {"generators", "{+gen} = iter([1, 2, {n}])"},
	{"random", "print(random.random())"}, {"random", "{+int} = random.randint(0, {n})"}, {"random", "random.seed({n})"}, {"random", "random.seed({int}); print(random.random())"},
	{"random", "random.shuffle({list})"}, {"random", "st = random.getstate(); {+int} = random.randint(0, 99); random.setstate(st)"},
	{"numpy random", "print(np.random.rand())"}, {"numpy random", "np.random.seed({n})"}, {"numpy random", "{+arr} = np.random.rand({n})"}, {"numpy random", "{+rng} = np.random.default_rng({n})"},
	{"numpy random", "print({rng}.integers(99))"}, {"numpy random", "{+arr} = {rng}.random(4)"}, {"numpy random", "{+rng} = {rng}"},
	{"arrays", "{+arr} = np.arange({n} + 4)"}, {"arrays", "{+arr} = np.zeros(5) * -{n}"}, {"arrays", "print({arr})"}, {"arrays", "{arr}[0] = {n}"}, {"arrays", "{+arr} = {arr} + {int}"},
	{"arrays", "{+arr} = np.arange(3000) * {n}"}, {"arrays", "print({arr}.dtype, {arr}.strides, {arr}.flags.writeable)"}, {"arrays", "{arr}.flags.writeable = False"},
	{"arrays", "{+arr} = {arr}.astype('f4' if {n} > 4 else 'i4')"},
	{"views", "{+arr} = {arr}[1:]"}, {"views", "{+arr} = {arr}[::-1]"}, {"views", "{+arr} = {arr}[:2]"}, {"views", "{arr}[:1] += {n}"}, {"views", "print(np.shares_memory({arr}, {arr}))"}, {"views", "{dict}['v'] = {arr}"},
	{"frames", "{+df} = pd.DataFrame({'x': range({n} + 2), 'y': 1.5})"}, {"frames", "{df}['z'] = {int}"}, {"frames", "{+df} = {df}[{df}.x > {n} - 3]"}, {"frames", "print({df})"},
	{"frames", "{df}"}, {"frames", "{+df} = {df}.copy()"}, {"frames", "{+df} = {df}"}, {"frames", "{df}.iloc[0, 0] = {n}"}, {"frames", "{+mix} = {df}['x']"},
	{"frames", "{df}.attrs['a'] = {n}"}, {"frames", "{+df} = pd.DataFrame({'x': [1, 2], 'n': ['a', 'b{n}']})"}, {"frames", "{+arr} = {df}['x'].to_numpy()"},
	{"frames", "{df}.index.name = 'i{n}'"}, {"strings", "print(len({df}.query('x > @{int}')))"}, {"strings", "{+str} = 'x >= @{int}'"}, {"strings", "print(len({df}.query({str} if '@' in {str} else 'x > 0')))"},
	{"strings", "print(eval('{int} + {n}'))"}, {"strings", "exec('{int} = {int} + {n}')"}, {"strings", "{+str} = '{int}'\nprint(globals().get({str}))"}, {"strings", "exec('def {+fun}(x=1): return {int}')"},
	{"files", "open('o{n}', 'w').write(str({int}))"}, {"files", "print(open('alpha.txt').read())"}, {"files", "{+int} = int(open('alpha.txt').read())"},
	{"files", "print(open('o{n}').read() if os.path.exists('o{n}') else '-')"}, {"files", "print(sorted(x for x in os.listdir('.') if x.startswith('o')))"}, {"files", "print(os.path.exists('beta.txt'))"},
	{"files", "try: print(open('beta.txt').read())\nexcept OSError: print('-')"}, {"files", "os.makedirs('oo', exist_ok=True); open('oo/a{n}', 'w').write('{n}')"}, {"files", "print(sorted(os.listdir('oo')) if os.path.isdir('oo') else 0)"},
	{"files", "open('o{n}', 'w').write('1'); os.rename('o{n}', 'o0')"}, {"files", "if os.path.exists('o{n}'): os.remove('o{n}')"}, {"files", "print(os.path.getsize('alpha.txt'))"},
	{"files", "with open('o{n}', 'w') as fh: fh.write('x')\nwith open('o{n}', 'a') as fh: fh.write(str({int}))"}, {"files", "import glob\nprint(sorted(glob.glob('*.txt')))"},
	{"files", "json.dump({list}, open('o{n}.json', 'w'), default=str)"}, {"files", "from pathlib import Path\nprint([p.name for p in sorted(Path('.').iterdir()) if p.suffix == '.txt'])"},
	{"files", "np.save('o{n}.npy', {arr})"}, {"files", "{+arr} = np.load('o{n}.npy') if os.path.exists('o{n}.npy') else np.arange(3)"}, {"files", "{df}.to_csv('o{n}.csv', index=False)"},
	{"files", "{+df} = pd.read_csv('gamma.csv')"}, {"files", "open('o{n}', 'w').write('x'); os.chmod('o{n}', 0o640)"},
	{"folder", "os.makedirs('oo', exist_ok=True); os.chdir('oo')"}, {"folder", "os.chdir('..') if os.path.basename(os.getcwd()) == 'oo' else None"}, {"folder", "print(os.path.basename(os.getcwd()) == 'oo')"},
	{"environment", "os.environ['ORACLE_Q'] = '{n}'"}, {"environment", "print(os.environ.get('ORACLE_Q'))"}, {"environment", "print(os.getenv('ORACLE_A'))"}, {"environment", "print('ORACLE_B' in os.environ)"},
	{"environment", "os.environ.pop('ORACLE_Q', None)"}, {"environment", "print(sorted(k for k in os.environ if k.startswith('ORACLE')))"},
	{"options", "pd.set_option('display.precision', {n} % 5)"}, {"options", "pd.options.display.max_rows = {n} + 5"}, {"options", "print(pd.DataFrame({'q': [1 / 3]}))"}, {"options", "np.set_printoptions(precision={n} % 5)"},
	{"options", "print(np.array([1 / 3]))"}, {"options", "import warnings; warnings.simplefilter('error' if {n} > 4 else 'ignore')"}, {"options", "import warnings\ntry: warnings.warn('w{n}'); print('quiet')\nexcept Warning: print('raised')"},
	{"options", "import decimal; decimal.getcontext().prec = {n} + 2"}, {"options", "import decimal; print(decimal.Decimal(1) / 3)"}, {"options", "import logging; logging.getLogger('x{n}').setLevel({n} * 10)"},
	{"options", "import logging; print(logging.getLogger('x{n}').level)"}, {"options", "np.seterr(all='ignore' if {n} > 4 else 'warn')"},
	{"modules", "import helper; print(helper.k)"}, {"modules", "import helper; {+int} = helper.double({n})"}, {"modules", "from helper import double; print(double({int}))"}, {"module state", "import helper; helper.add({n})"},
	{"module state", "import helper; print(helper.total())"}, {"module state", "import helper; helper.k = {n}"}, {"patches", "json.myattr = {n}"}, {"patches", "print(getattr(json, 'myattr', None))"},
	{"patches", "np.myattr = {n}"}, {"patches", "print(getattr(np, 'myattr', None))"},
	{"builtins", "len = lambda x: {n}"}, {"builtins", "print(len({list}))"}, {"builtins", "try: del len\nexcept NameError: pass"}, {"builtins", "sum = lambda x: {int}"}, {"builtins", "print(sum([1, 2]))"},
	{"history", "{n} + {int}"}, {"history", "print(_)"}, {"history", "print(Out)"}, {"history", "print(len(In), In[-2][:9])"}, {"history", "{list}"}, {"history", "{+mix} = _"},
	{"magics", "%time {+int} = {int} + {n}"}, {"magics", "%precision {n}"}, {"magics", "1 / {n}.0"}, {"magics", "%env ORACLE_Q={n}"}, {"magics", "%cd ."}, {"magics", "x = %pwd"},
	{"errors", "{list}.append({n}); 1 / 0"}, {"errors", "raise ValueError({int})"}, {"errors", "{+int} = {n}; [][1]"}, {"errors", "try: 1 / 0\nexcept ZeroDivisionError as err: {+mix} = err"}, {"errors", "assert {int} > {n}, 'too small'"},
	{"shows", "print({int}, {list}, {dict})"}, {"shows", "print({mix}, {str})"}, {"shows", "print({int})"}, {"shows", "print({list})"}, {"shows", "print({dict})"}, {"shows", "print(repr({mix}))"},
	{"displays", "from IPython.display import display, HTML\ndisplay({int})"}, {"displays", "display({list}, display_id='q{n}')"}, {"displays", "from IPython.display import update_display\nupdate_display({int}, display_id='q{n}')"},
	{"displays", "from IPython.display import clear_output\nprint('a'); clear_output(); print({int})"},
	{"imports", "import collections; {+dict} = collections.Counter('abca' * {n})"}, {"imports", "from collections import deque, defaultdict; {+list} = deque({list} if isinstance({list}, (list, tuple)) else [], maxlen=5)"}, {"imports", "import statistics; print(statistics.mean([1, {n}]))"},
	{"imports", "from fractions import Fraction; {+mix} = Fraction({n}, 7)"}, {"imports", "import datetime; {+mix} = datetime.date(2020, 1, {n})"},
	{"parameters", "print(knob)"}, {"parameters", "{+int} = knob + {n}"},
	{"comprehension", "{+list} = [x * {int} for x in range({n})]"}, {"comprehension", "for {int} in range({n}): pass"}, {"comprehension", "print([*map({fun}, range(2))])"},
	{"comprehension", "{+dict} = {k: v for k, v in zip('abc', range({n}))}"},
}
