package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fileRule is a notebook whose cells touch files, what is done to its folder
// between two runs, and which of the steps a, b, … must really run again. With
// no change, what the notebook wrote is deleted, so that it has to come back.
type fileRule struct {
	name    string
	cells   []string
	prepare string // Python that makes the folder what it is before the first run
	change  string // Python that changes it
	env     [2]string
	ran     []string
}

const tables = `
import numpy as np, pandas as pd, sys
n = int(sys.argv[1]) if len(sys.argv) > 1 else 1
df = pd.DataFrame({"a": [n, 2, 3], "b": ["x", "y", "z"]})
df.to_parquet("t.parquet"); df.to_feather("t.feather"); df.to_csv("t.csv", index=False)
np.save("t.npy", np.arange(6) + n)
`

var fileRules = []fileRule{
	{name: "SubprocessReads", cells: []string{"import subprocess\nprint(subprocess.run(['cat', 'data.txt'], capture_output=True, text=True).stdout)", "k = 1"},
		change: "open('data.txt', 'w').write('two')", ran: []string{"a"}},
	{name: "SubprocessIsRestored", cells: []string{"import subprocess\nr = subprocess.run(['cat', 'data.txt'], capture_output=True, text=True).stdout\nprint(r)", "print(r)"}},
	{name: "BareEnvironment", cells: []string{"import subprocess\nprint(subprocess.run(['cat', 'data.txt'], capture_output=True, text=True, env={}).stdout)"},
		change: "open('data.txt', 'w').write('two')", ran: []string{"a"}},
	{name: "ShellEscape", cells: []string{"!cat data.txt", "!ls *.txt | sort | tr a-z A-Z > upper.out"},
		change: "open('data.txt', 'w').write('two')", ran: []string{"a", "b"}},
	{name: "ShellGlob", cells: []string{"!ls *.txt"}, change: "open('more.txt', 'w').write('')", ran: []string{"a"}},
	{name: "BashRedirect", cells: []string{"%%bash\necho hi > out.txt\ncat data.txt >> out.txt", "print(open('out.txt').read())"}},
	{name: "SystemAndPopen", cells: []string{"import os\nos.system('cat data.txt > s.txt')\nprint(os.popen('cat s.txt').read())"}},
	{name: "ChildPythonWrites", cells: []string{"import subprocess, sys\nsubprocess.run([sys.executable, '-c', \"open('c.txt', 'w').write(open('data.txt').read() * 2)\"], check=True);",
		"print(open('c.txt').read())"}},
	{name: "ChildPythonReads", cells: []string{"import subprocess, sys\nprint(subprocess.run([sys.executable, 'script.py'], capture_output=True, text=True).stdout)"},
		prepare: "open('script.py', 'w').write('print(open(\"data.txt\").read())')", change: "open('script.py', 'w').write('print(5)')", ran: []string{"a"}},
	{name: "AbsentForChild", cells: []string{"!test -e flag && echo there || echo absent"}, change: "open('flag', 'w')", ran: []string{"a"}},
	{name: "NativeReaders", prepare: tables, cells: []string{
		"import pandas as pd\nprint(pd.read_parquet('t.parquet'))", "import polars as pl\nprint(pl.read_csv('t.csv').sum())",
		"import pyarrow.parquet as pq\nprint(pq.read_table('t.parquet').num_rows)", "import pyarrow.feather as pf\nprint(pf.read_table('t.feather', memory_map=True).column(0))",
		"import numpy as np\nprint(int(np.load('t.npy', mmap_mode='r').sum()))", "print(pl.scan_parquet('t.parquet').collect())"},
		change: "import sys; sys.argv = ['', '7']" + tables, ran: []string{"a", "b", "c", "d", "e", "f"}},
	{name: "NativeReadersRestored", prepare: tables, cells: []string{"import pandas as pd\nprint(pd.read_parquet('t.parquet'))",
		"import polars as pl\nprint(pl.scan_parquet('t.parquet').collect())", "import numpy as np\nprint(int(np.load('t.npy', mmap_mode='r').sum()))"}},
	{name: "SqliteAcrossCells", cells: []string{
		"import sqlite3\nwith sqlite3.connect('d.db') as c:\n    c.execute('create table t (x)'); c.execute('insert into t values (3)')\nc.close(); del c",
		"c = sqlite3.connect('d.db')\nprint(c.execute('select * from t').fetchall())\nc.close(); del c"}},
	{name: "RenameOver", cells: []string{"import os\nopen('new.txt', 'w').write('fresh')\nos.replace('new.txt', 'data.txt');", "print(open('data.txt').read(), os.path.exists('new.txt'))"},
		change: "open('data.txt', 'w').write('one')"},
	{name: "RenameFolder", prepare: "import os; os.mkdir('d'); open('d/x', 'w').write('1')", cells: []string{"import os\nos.rename('d', 'e')", "print(open('e/x').read(), os.path.exists('d'))"},
		change: "import os; os.rename('e', 'd')"},
	{name: "CopyTree", prepare: "import os; os.makedirs('d/s'); open('d/s/x', 'w').write('1')", cells: []string{"import shutil\nshutil.copytree('d', 'copy');", "print(open('copy/s/x').read())"},
		change: "import shutil; shutil.rmtree('copy', ignore_errors=True); open('d/s/x', 'w').write('2')", ran: []string{"a", "b"}},
	{name: "RemoveTree", prepare: "import os; os.makedirs('d/s'); open('d/s/x', 'w').write('1')", cells: []string{"import shutil\nshutil.rmtree('d')", "import os\nprint(os.listdir('.').count('d'))"},
		change: "import os; os.makedirs('d/s'); open('d/s/x', 'w').write('1')"},
	{name: "TemporaryFiles", cells: []string{"import tempfile\ndef f():\n    with tempfile.TemporaryDirectory() as d:\n        open(d + '/x', 'w').write('1')\n        return open(d + '/x').read()\nprint(f())"}},
	{name: "Glob", cells: []string{"import glob\nprint(sorted(glob.glob('*.txt')))", "k = 1"}, change: "open('z.txt', 'w')", ran: []string{"a"}},
	{name: "ListThenWrite", cells: []string{"import os\nn = len(os.listdir('.'))\nopen('made.txt', 'w').write(str(n));", "print(n)"}},
	{name: "Append", cells: []string{"with open('data.txt', 'a') as f:\n    f.write(' more');", "print(open('data.txt').read())"}, change: "open('data.txt', 'w').write('one')"},
	{name: "AppendToOther", cells: []string{"with open('data.txt', 'a') as f:\n    f.write(' more');", "print(open('data.txt').read())"}, change: "open('data.txt', 'w').write('two')", ran: []string{"a", "b"}},
	{name: "LoadAndDump", prepare: "open('c.json', 'w').write('[1]')", cells: []string{"import json\nv = json.load(open('c.json'))\nv.append(2)\njson.dump(v, open('c.json', 'w'))", "print(open('c.json').read())"},
		change: "open('c.json', 'w').write('[1]')"},
	{name: "LinkRetargeted", prepare: "import os; os.mkdir('r1'); os.mkdir('r2'); open('r1/x', 'w').write('1'); open('r2/x', 'w').write('1'); os.symlink('r1', 'latest')",
		cells: []string{"import os\nprint(open('latest/x').read(), os.path.realpath('latest').endswith('r1'))", "k = 1"}, change: "import os; os.remove('latest'); os.symlink('r2', 'latest')", ran: []string{"a"}},
	{name: "LinkBroken", prepare: "import os; os.symlink('data.txt', 'l')", cells: []string{"import os\nprint(os.path.exists('l'))", "k = 1"}, change: "import os; os.remove('data.txt')", ran: []string{"a"}},
	{name: "OpenAcrossCells", cells: []string{"f = open('log.txt', 'w')", "f.write('x'); f.flush()", "print(open('log.txt').read())"}},
	{name: "ProgramOfTheFolder", prepare: "import os; open('tool', 'w').write('#!/bin/sh\\necho one\\n'); os.chmod('tool', 0o755)", cells: []string{"!./tool", "k = 1"},
		change: "open('tool', 'w').write('#!/bin/sh\\necho two\\n')", ran: []string{"a"}},
	{name: "EnvironmentOfAShell", cells: []string{"!echo $COLOUR", "k = 1"}, env: [2]string{"COLOUR", "red"}, ran: []string{"a"}},
	{name: "Pools", cells: []string{
		"import multiprocessing as mp\nfrom joblib import Parallel, delayed\ndef read(i): return open('data.txt').read() * i",
		"with mp.get_context('fork').Pool(2) as p:\n    print(p.map(read, range(3)))", "print(Parallel(n_jobs=2)(delayed(len)('x' * i) for i in range(4)))"}},
	{name: "PoolReads", cells: []string{
		"import multiprocessing as mp\ndef read(i): return open('data.txt').read() * i", "with mp.get_context('fork').Pool(2) as p:\n    print(p.map(read, range(3)))"},
		change: "open('data.txt', 'w').write('two')", ran: []string{"b"}},
	{name: "LeftRunning", cells: []string{"import subprocess\nsubprocess.Popen(['sleep', '60'])\nk = 1", "print(k)"}, ran: []string{"a", "b"}},
	{name: "Daemon", cells: []string{"import os\nos.system('setsid sleep 60 > /dev/null 2>&1 &');", "print(1)"}, ran: []string{"a", "b"}},
	{name: "OutsideTheFolder", prepare: "import os, tempfile; os.symlink(tempfile.mkdtemp(dir='/var/tmp'), 'out')", cells: []string{"open('out/x', 'w').write('1');"}, ran: []string{"a"}},
}

// TestFileRules compares the second run with one in a fresh folder without a
// cache: what the reader sees, and every file.
func TestFileRules(t *testing.T) {
	for _, rule := range fileRules {
		t.Run(rule.name, func(t *testing.T) {
			warm, straight := newLab(t, "../examples/iris.ipynb"), newLab(t, "../examples/iris.ipynb")
			for _, l := range []*lab{warm, straight} {
				l.write(cells(rule.cells...))
				l.file("data.txt", "one")
				l.prepare(rule.prepare)
			}
			given := names(t, warm.dir)
			if r, _, code := warm.run(); code != 0 {
				t.Fatalf("cold: exit %d: %+v", code, r.Error)
			}
			switch {
			case rule.env[0] != "":
				t.Setenv(rule.env[0], rule.env[1])
			case rule.change == "":
				for _, name := range names(t, warm.dir) {
					if !slices.Contains(given, name) {
						os.RemoveAll(filepath.Join(warm.dir, name))
					}
				}
			default:
				warm.prepare(rule.change)
				if len(rule.ran) > 0 {
					straight.prepare(rule.change)
				}
			}
			r, _, code := warm.run()
			if got := ran(statuses(t, r)); code != 0 || !slices.Equal(got, rule.ran) {
				t.Errorf("exit %d, ran %v, want %v: %+v", code, got, rule.ran, r.Steps)
			}
			if _, _, code := straight.run("--no-cache"); code != 0 {
				t.Fatalf("straight: exit %d", code)
			}
			got := collect(t, filepath.Join(warm.dir, "out.ipynb"), warm.dir, warm.path)
			want := collect(t, filepath.Join(straight.dir, "out.ipynb"), straight.dir, straight.path)
			for _, d := range append(differences("notebook", got.Notebook, want.Notebook), differences("files", got.Files, want.Files)...) {
				t.Error(d)
			}
		})
	}
}

// prepare runs Python in the notebook's folder.
func (l *lab) prepare(source string) {
	l.t.Helper()
	if source == "" {
		return
	}
	cmd := exec.Command(l.python, "-c", source)
	cmd.Dir = l.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
}

// names lists what lies in a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestAKernelThatCannotBeObserved puts a static program in front of the
// interpreter, which drops the library: every cell runs each time and says why.
func TestAKernelThatCannotBeObserved(t *testing.T) {
	l := newLab(t, "../examples/iris.ipynb")
	bin := t.TempDir()
	source, launcher := filepath.Join(bin, "launch.c"), filepath.Join(bin, "python3")
	code := fmt.Sprintf(`#include <stdlib.h>
#include <unistd.h>
int main(int n, char **v) { unsetenv("LD_PRELOAD"); unsetenv("KEDGE_OBSERVE_RING"); v[0] = %q; return execv(v[0], v); }`, l.python)
	if err := os.WriteFile(source, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-static", "-o", launcher, source).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	l.python = launcher
	l.write(cells("x = 1"))
	for _, why := range []string{"never run", "cannot be observed"} {
		if r, _, code := l.run(); code != 0 || r.Cells[0].Status != "ran" || !strings.Contains(r.Cells[0].Why, why) {
			t.Errorf("exit %d, %+v, want %s", code, r.Cells, why)
		}
	}
	doctor := exec.Command(l.kedge, "doctor")
	doctor.Env = append(os.Environ(), "KEDGE_HOME="+l.home, "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := doctor.CombinedOutput(); err != nil || !strings.Contains(string(out), "python3 cannot be observed") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}
