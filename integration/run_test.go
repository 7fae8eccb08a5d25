package integration

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// report is the part of `kedge run --json` that these tests read.
type report struct {
	OK    bool
	Steps []struct {
		Name, Status, Why string
		Snapshot          *string
	}
	Cells []struct{ ID, Status, Why string }
	Error *struct {
		Cell          *string
		EName, EValue string
	}
}

// lab is a folder with a notebook, a store of its own and the built binary.
type lab struct {
	t               *testing.T
	kedge, python   string
	dir, home, path string
}

// newLab copies the notebook at source into a fresh folder.
func newLab(t *testing.T, source string) *lab {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, kedge: cmp.Or(os.Getenv("KEDGE_TEST_BINARY"), filepath.Join(root, "bin", "kedge")), python: os.Getenv("KEDGE_TEST_PYTHON"), dir: t.TempDir(), home: t.TempDir()}
	if l.python == "" {
		l.python = filepath.Join(root, ".venv", "bin", "python")
	}
	for _, path := range []string{l.kedge, l.python} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is missing: run `make test`, which builds it", path)
		}
	}
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	l.path = filepath.Join(l.dir, "nb.ipynb")
	l.write(string(data))
	return l
}

func (l *lab) write(content string) {
	l.t.Helper()
	if err := os.WriteFile(l.path, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// file writes a file beside the notebook.
func (l *lab) file(name, content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// edit replaces old, which must be there, in the notebook.
func (l *lab) edit(old, replacement string) {
	l.t.Helper()
	data, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		l.t.Fatalf("the notebook does not contain %q", old)
	}
	l.write(strings.Replace(string(data), old, replacement, 1))
}

// kedgeRun runs the notebook and returns the report, the executed notebook and the exit status.
func (l *lab) run(args ...string) (report, string, int) {
	l.t.Helper()
	out := filepath.Join(l.dir, "out.ipynb")
	cmd := exec.Command(l.kedge, append([]string{"run", l.path, "-o", out, "--json", "--python", l.python}, args...)...)
	cmd.Env = append(os.Environ(), "KEDGE_HOME="+l.home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	code := 0
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			l.t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	if stderr.Len() > 0 {
		l.t.Logf("stderr: %s", stderr.String())
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		l.t.Fatalf("stdout is not JSON: %v\n%s", err, stdout.String())
	}
	data, err := os.ReadFile(out)
	if err != nil && code == 0 {
		l.t.Fatal(err)
	}
	return r, string(data), code
}

// statuses maps steps to statuses, and fails if the run did not end with code.
func statuses(t *testing.T, r report) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, s := range r.Steps {
		m[s.Name] = s.Status
	}
	return m
}

func all(m map[string]string, status string) bool {
	for _, s := range m {
		if s != status {
			return false
		}
	}
	return len(m) > 0
}

// ran are the steps with status ran, sorted.
func ran(m map[string]string) []string {
	var names []string
	for name, s := range m {
		if s == "ran" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestRunRestoresWhatHasNotChanged(t *testing.T) {
	l := newLab(t, "../examples/iris.ipynb")
	cold, coldNotebook, code := l.run()
	if m := statuses(t, cold); code != 0 || !all(m, "ran") {
		t.Fatalf("cold: exit %d, %v", code, m)
	}
	warm, warmNotebook, code := l.run()
	if m := statuses(t, warm); code != 0 || !all(m, "restored") {
		t.Fatalf("warm: exit %d, %+v", code, warm.Steps)
	}
	if stripTimes(t, coldNotebook) != stripTimes(t, warmNotebook) {
		t.Error("the restored notebook differs from the one that ran")
	}
	l.edit(`"def accuracy(`, `"# only a comment\n",`+"\n    "+`"def accuracy(`)
	comment, _, _ := l.run()
	if m := statuses(t, comment); !all(m, "restored") {
		t.Errorf("after a comment: %+v", comment.Steps)
	}
	l.edit(`SVC(C=C)`, `SVC(C=C, gamma=0.2)`)
	edited, _, _ := l.run()
	m := statuses(t, edited)
	if m["svm"] != "ran" || m["forest"] != "restored" || m["load"] != "restored" || m["split"] != "restored" {
		t.Errorf("after an edit of svm: %+v", edited.Steps)
	}
	l.edit(`SVC(C=C, gamma=0.2)`, `SVC(C=C)`)
	again, _, _ := l.run()
	if m := statuses(t, again); !all(m, "restored") {
		t.Errorf("after taking the edit back: %+v", again.Steps)
	}
}

// stripTimes removes what two runs may differ in: the times of execution.
func stripTimes(t *testing.T, nb string) string {
	t.Helper()
	var doc struct {
		Cells []map[string]any `json:"cells"`
	}
	if err := json.Unmarshal([]byte(nb), &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range doc.Cells {
		if m, ok := c["metadata"].(map[string]any); ok {
			delete(m, "execution")
		}
	}
	data, err := json.Marshal(doc.Cells)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// cells makes a notebook of one step per source: tags, then code.
func cells(sources ...string) string {
	type cell struct {
		Type     string         `json:"cell_type"`
		ID       string         `json:"id"`
		Metadata map[string]any `json:"metadata"`
		Source   string         `json:"source"`
		Outputs  []any          `json:"outputs"`
		Count    *int           `json:"execution_count"`
	}
	doc := map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}}
	var list []cell
	for i, s := range sources {
		name := string(rune('a' + i))
		list = append(list, cell{Type: "code", ID: name, Metadata: map[string]any{"tags": []string{"step:" + name}}, Source: s, Outputs: []any{}})
	}
	doc["cells"] = list
	data, _ := json.Marshal(doc)
	return string(data)
}

func TestRules(t *testing.T) {
	for _, test := range []struct {
		name    string
		sources []string
		change  func(l *lab) // between the first and the second run
		ran     []string     // steps that run again
	}{
		{"ValuesReachAfterARestore", []string{"x = [1, 2]\ny = x", "y.append(3)", "print(x)"},
			func(l *lab) { l.edit("print(x)", "print(x, x is y)") }, []string{"c"}},
		{"FileReadChanged", []string{"print(open('data.txt').read())", "z = 1"},
			func(l *lab) { os.WriteFile(filepath.Join(l.dir, "data.txt"), []byte("two"), 0o600) }, []string{"a"}},
		{"FileLookedForAppears", []string{"import os\nprint(os.path.exists('flag'))"},
			func(l *lab) { os.WriteFile(filepath.Join(l.dir, "flag"), nil, 0o600) }, []string{"a"}},
		{"FileWrittenIsRestored", []string{"open('out.txt', 'w').write('hello');", "print(open('out.txt').read())"},
			func(l *lab) { os.Remove(filepath.Join(l.dir, "out.txt")) }, nil},
		{"ModuleEditReachesThoseWhoUseIt", []string{"import lib, other", "x = lib.f()", "print(1)", "print(other.g())", "def h(): return lib.f()", "print(h())", "print(x)"},
			func(l *lab) { l.file("lib.py", "def f(): return 2\n") }, []string{"a", "b", "d", "f", "g"}},
		{"ModuleThatDoesMoreReachesAll", []string{"import noisy", "print(1)"},
			func(l *lab) { l.file("noisy.py", "import sys\nsys.kedge_noise = 2\n") }, []string{"a", "b"}},
		{"ModuleStateReadByAnImport", []string{"import state", "state.items.append(1)", "import state\nprint(state.items)", "from state import items\nprint(items)", "import importlib\nprint(importlib.import_module('state').items)"},
			func(l *lab) { l.edit("append(1)", "append(2)") }, []string{"b", "c", "d", "e"}},
		{"EnvironmentRead", []string{"import os\nprint(os.environ.get('KEDGE_IT_COLOUR_X', os.environ.get('COLOUR')))"},
			func(l *lab) { l.t.Setenv("COLOUR", "red") }, []string{"a"}},
		{"GeneratorIsNotNeeded", []string{"g = (i for i in range(9))", "print(next(g))", "k = 1"}, nil, nil},
		{"GeneratorIsReplayed", []string{"l = [7]\ng = (i + l[0] for i in range(9))", "print(next(g))", "l.append(next(g))", "k = 1", "print(k)"},
			func(l *lab) { l.edit("print(k)", "print(k, next(g), l)") }, []string{"e"}},
		{"OpenFileIsReplayed", []string{"f = open('log.txt', 'w')", "f.write('one\\n');", "f.write('two\\n'); f.flush()", "k = 1"},
			func(l *lab) { l.edit("k = 1", "f.write('three'); f.close(); print(open('log.txt').read())") }, []string{"d"}},
		{"DatabaseIsReplayed", []string{"import sqlite3\ndb = sqlite3.connect(':memory:')", "db.execute('create table t (x)');", "db.executemany('insert into t values (?)', [(1,), (2,)]);", "k = 1"},
			func(l *lab) { l.edit("k = 1", "print(db.execute('select sum(x) from t').fetchall())") }, []string{"d"}},
		{"OpaqueEditedAbove", []string{"g = iter(range(9)); h = (x for x in g)", "print(next(h))", "k = 2", "print(next(h), k)"},
			func(l *lab) { l.edit("range(9)", "range(5, 9)") }, []string{"a", "b", "d"}},
		{"OpaqueCellThatNeverRepeats", []string{"import time\nt = time.time(); g = (i for i in range(9))", "k = 2", "print(k)"},
			func(l *lab) { l.edit("print(k)", "print(next(g), t > 0)") }, []string{"a", "b", "c"}},
		{"AliasInserted", []string{"a = [1]", "b = 0", "a.append(2)", "print(a)"},
			func(l *lab) { l.edit("b = 0", "b = a"); l.edit("print(a)", "print(a, b, a is b)") }, []string{"b", "c", "d"}},
		{"AliasOfWhatIsRead", []string{"a = [1]", "b = 0", "c = a[0]", "print(c)"},
			func(l *lab) { l.edit("b = 0", "b = a") }, []string{"b"}},
		{"AmbientStateFollows", []string{
			"import os, random, warnings\nimport numpy as np\nimport pandas as pd\nimport matplotlib as mpl",
			"os.environ['SHADE'] = 'blue'\nrandom.seed(1)\nnp.random.seed(2)\npd.set_option('display.precision', 2)\nnp.set_printoptions(precision=3)\nmpl.rcParams['figure.dpi'] = 77\nwarnings.simplefilter('error')",
			"print(1)"},
			func(l *lab) {
				l.edit("print(1)", "print(os.environ['SHADE'], random.random(), np.random.rand(), pd.get_option('display.precision'), np.array([1/3]), mpl.rcParams['figure.dpi'], warnings.filters[0][0])")
			}, []string{"c"}},
		{"UnrelatedModuleAppears", []string{"import textwrap, helper\nprint(helper.f())", "k = 4"},
			func(l *lab) { l.file("unrelated.py", "x = 1") }, nil},
		{"LocalModuleEdited", []string{"import helper", "print(helper.f())", "k = 4"},
			func(l *lab) { l.file("helper.py", "def f(): return 'another'") }, []string{"a", "b"}},
		{"LocalModuleShadows", []string{"import colorsys\nprint(colorsys.rgb_to_hsv(1, 0, 0))", "k = 5"},
			func(l *lab) { l.file("colorsys.py", "def rgb_to_hsv(*a): return 'shadow'") }, []string{"a"}},
		{"ThreadLeftRunning", []string{"import threading, time\ndef work():\n    time.sleep(60)\nthreading.Thread(target=work, daemon=True).start()", "k = 6"},
			nil, []string{"a", "b"}},
		{"HistoryOfRestoredCells", []string{"40 + 2", "l = [1]\nl", "l.append(2)", "[l[0]]", "print(1)"},
			func(l *lab) {
				l.edit("print(1)", "print(_, __, Out, In, _2 is l, _i2, _ii)\\n_.append(5)\\nprint(Out[4])")
			}, []string{"e"}},
		{"HistoryOfWhatWasBoundAnew", []string{"x = [1]\nx", "x = [2]", "print(1)"},
			func(l *lab) { l.edit("print(1)", "print(Out)") }, []string{"a", "b", "c"}},
		{"StaleNameOfAGroup", []string{"a = [1]; b = a", "b = 'new'", "print(1)"},
			func(l *lab) { l.edit("print(1)", "print(a, b)") }, []string{"c"}},
		{"UserFileIsSavedFirst", []string{"open('out.txt', 'w').write('mine');"},
			func(l *lab) {
				l.file("out.txt", "the user's own words")
				l.t.Cleanup(func() {
					cmd := exec.Command(l.kedge, "store", "saved")
					cmd.Env = append(os.Environ(), "KEDGE_HOME="+l.home)
					if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "out.txt") {
						l.t.Errorf("kedge store saved: %v\n%s", err, out)
					}
				})
			}, nil},
		{"FutureFeatureIsRestored", []string{"from __future__ import annotations", "x = 1"},
			func(l *lab) { l.edit("x = 1", "def f(a: Missing): pass\\nprint(f.__annotations__)") }, []string{"b"}},
		{"LoggingLevelIsRestored", []string{"import logging\nlogging.getLogger().setLevel(10);", "print(1)"},
			func(l *lab) { l.edit("print(1)", "print(logging.getLogger().level)") }, []string{"b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, "../examples/iris.ipynb")
			l.write(cells(test.sources...))
			l.file("data.txt", "one")
			l.file("helper.py", "def f(): return 'helped'")
			l.file("lib.py", "def f(): return 1\n")
			l.file("other.py", "import lib\ndef g(): return lib.f()\n")
			l.file("noisy.py", "import sys\nsys.kedge_noise = 1\n")
			l.file("state.py", "items = []\n")
			if r, _, code := l.run(); code != 0 {
				t.Fatalf("cold: exit %d: %+v", code, r.Error)
			}
			if test.change != nil {
				test.change(l)
			}
			warm, out, code := l.run()
			if got := ran(statuses(t, warm)); code != 0 || !slices.Equal(got, test.ran) {
				t.Fatalf("exit %d, ran %v, want %v: %+v", code, got, test.ran, warm.Steps)
			}
			straight, want, _ := l.run("--no-cache")
			if !straight.OK || stripTimes(t, out) != stripTimes(t, want) {
				t.Errorf("the restored run differs from a straight one\ngot  %s\nwant %s", stripTimes(t, out), stripTimes(t, want))
			}
		})
	}
}

func TestALeftoverThatARunSawIsObserved(t *testing.T) {
	l := newLab(t, "../examples/iris.ipynb")
	l.write(cells("import os\nprint(os.path.exists('made.txt'), 'made.txt' in os.listdir('.'))", "open('made.txt', 'w').write('x');"))
	if r, _, code := l.run(); code != 0 {
		t.Fatalf("cold: exit %d: %+v", code, r.Error)
	}
	l.edit("print(os", "print(1, os")
	if _, out, _ := l.run(); !strings.Contains(out, "1 True True") {
		t.Fatalf("a cell that runs sees the folder as it stands: %s", out)
	}
	if warm, _, _ := l.run(); !all(statuses(t, warm), "restored") {
		t.Errorf("with the leftover in its place: %+v", warm.Steps)
	}
	if err := os.Remove(filepath.Join(l.dir, "made.txt")); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := l.run(); !strings.Contains(out, "1 False False") {
		t.Errorf("without the leftover: %s", out)
	}
}

func TestGivingUpTakesFilesBack(t *testing.T) {
	l := newLab(t, "../examples/iris.ipynb")
	l.write(cells("import os\nprint(os.path.exists('made.txt'))", "open('made.txt', 'w').write('x');", "import time\nt = time.time(); g = (i for i in [1])", "k = 1"))
	if r, _, code := l.run(); code != 0 {
		t.Fatalf("cold: exit %d: %+v", code, r.Error)
	}
	if err := os.Remove(filepath.Join(l.dir, "made.txt")); err != nil {
		t.Fatal(err)
	}
	l.edit("print(os", "print(1, os")
	l.edit("k = 1", "print(len(list(g)))")
	report, out, _ := l.run()
	if got := ran(statuses(t, report)); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("ran %v; want all, for c does not do the same again", got)
	}
	if !strings.Contains(out, "1 False") {
		t.Errorf("the straight run found what the abandoned one had restored: %s", out)
	}
}

func TestAMovedFolderIsRestored(t *testing.T) {
	l := newLab(t, "../examples/iris.ipynb")
	l.write(cells("import os\nos.makedirs('out', exist_ok=True)\nopen('out/a.txt', 'w').write('a');", "print(sorted(os.listdir('out')), open('out/a.txt').read())",
		"os.chdir('out')", "print(os.path.basename(os.getcwd()))"))
	if r, _, code := l.run(); code != 0 {
		t.Fatalf("cold: exit %d: %+v", code, r.Error)
	}
	moved := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(l.dir, moved); err != nil {
		t.Fatal(err)
	}
	l.dir, l.path = moved, filepath.Join(moved, "nb.ipynb")
	warm, _, _ := l.run()
	if m := statuses(t, warm); !all(m, "restored") {
		t.Errorf("after the move: %+v", warm.Steps)
	}
	l.edit("os.path.basename(os.getcwd())", "os.getcwd()")
	_, out, code := l.run()
	if code != 0 || !strings.Contains(out, moved+"/out") {
		t.Errorf("exit %d; the working folder is not the moved one: %s", code, out)
	}
}

func TestBadInput(t *testing.T) {
	for _, test := range []struct {
		name, content string
		code          int
		ename         string
	}{
		{"BrokenJSON", "{", 3, "KedgeError"},
		{"NotANotebook", `{"a": 1}`, 3, "KedgeError"},
		{"CellRaises", cells("x = 1", "1/0", "y = 2"), 1, "ZeroDivisionError"},
		{"KernelDies", cells("import os\nos._exit(3)"), 1, "KernelDied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, "../examples/iris.ipynb")
			l.write(test.content)
			r, _, code := l.run()
			if code != test.code || r.Error == nil || r.Error.EName != test.ename {
				t.Fatalf("exit %d, error %+v; want exit %d and %s", code, r.Error, test.code, test.ename)
			}
		})
	}
}
