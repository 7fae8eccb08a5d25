package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// whyCase is a step and the reason it is given in the second run.
type whyCase struct {
	tags string // beside step:
	code string
	why  string // a part of it
}

// whyNotebook has one case of each reason. What the second run finds changed is in TestWhy.
func whyNotebook(host string) []whyCase {
	return []whyCase{
		{"", "import os, random, importlib.metadata\nimport numpy as np", "nothing changed"},
		{"", "threshold = 3", "code edited"},
		{"", "print(threshold * 2)", "threshold 3 → 4"},
		{"", "def helper(x):\n    return x + 1", "code edited"},
		{"", "print(helper(1))", "helper() edited"},
		{"", "class Model:\n    depth = 1", "code edited"},
		{"", "print(Model.depth)", "class Model edited"},
		{"", "a = [1]; b = [1]", "code edited"},
		{"", "a.append(2)", "b now shares memory with a"},
		{"", "spare = 1", "code edited"},
		{"", "try:\n    print(spare)\nexcept NameError:\n    print(extra)", "extra is defined now"},
		{"", "print(open('trips.csv').read())", "trips.csv changed"},
		{"", "print(os.path.exists('flag'))", "flag appeared"},
		{"", "print(os.path.exists('lock'))", "lock is gone"},
		{"", "print(sorted(os.listdir('data')))", "the entries of data changed"},
		{"", "print(os.environ.get('SHADE'))", "environment variable SHADE changed"},
		{"", "import helpers\nprint(helpers.f())", "helpers.py changed"},
		{"", "random.seed(1)", "code edited"},
		{"", "print(random.random())", "random state changed"},
		{"", "numbers = (i for i in range(threshold))", "threshold 3 → 4"},
		{"", "print(next(numbers))", "numbers has another history"},
		{"", "import socket\nsocket.create_connection(('127.0.0.1', " + host + ")).close()", "connected to 127.0.0.1:" + host + ": not cached"},
		{"", "open(os.path.expanduser('~/why.txt'), 'w').close()", "why.txt, which is in no volume: not cached"},
		{"cache:disabled", "1 + 1", "cache:disabled"},
		{"", "import whydist\nprint(whydist.x)", "whydist 1.0 → 1.1"},
	}
}

// venv makes an environment of the test's own that has the packages of l's Python, and returns its folder for packages.
func (l *lab) venv() string {
	l.t.Helper()
	const purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
	dir := filepath.Join(l.home, "venv")
	var paths []string
	for _, args := range [][]string{{l.python, "-c", purelib}, {l.python, "-m", "venv", "--without-pip", dir}, {filepath.Join(dir, "bin", "python"), "-c", purelib}} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			l.t.Fatalf("%s: %v\n%s", args, err, out)
		}
		paths = append(paths, strings.TrimSpace(string(out)))
	}
	if err := os.WriteFile(filepath.Join(paths[2], "base.pth"), []byte(paths[0]+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.python = filepath.Join(dir, "bin", "python")
	return paths[2]
}

// whyDist is a package with a version, in a folder of packages.
func whyDist(t *testing.T, dir, version string) {
	t.Helper()
	for _, old := range []string{"1.0", "1.1"} {
		if err := os.RemoveAll(filepath.Join(dir, "whydist-"+old+".dist-info")); err != nil {
			t.Fatal(err)
		}
	}
	info := filepath.Join(dir, "whydist-"+version+".dist-info")
	files := map[string]string{
		filepath.Join(dir, "whydist", "__init__.py"): "x = '" + version + "'\n",
		filepath.Join(info, "METADATA"):              "Metadata-Version: 2.1\nName: whydist\nVersion: " + version + "\n",
		filepath.Join(info, "RECORD"):                "whydist/__init__.py,,\n",
		filepath.Join(info, "INSTALLER"):             "pip\n",
		filepath.Join(info, "top_level.txt"):         "whydist\n",
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhy runs a notebook with one case of each reason, changes what the
// reasons are about, and looks at what each cell says. Run with -v it prints
// the table.
func TestWhy(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	list := whyNotebook(port)
	var sources []string
	for i, c := range list {
		sources = append(sources, strings.Trim(fmt.Sprintf("step:s%d,%s", i, c.tags), ","), c.code)
	}
	l := newLab(t, "../examples/iris.ipynb")
	l.write(tagged(5, sources...))
	site := l.venv()
	t.Setenv("SHADE", "red")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("TMPDIR", filepath.Join(l.home, "tmp")) // so that the home is no temporary folder
	if err := os.Mkdir(os.Getenv("TMPDIR"), 0o755); err != nil {
		t.Fatal(err)
	}
	whyDist(t, site, "1.0")
	if err := os.Mkdir(filepath.Join(l.dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.file("trips.csv", "one")
	l.file("lock", "")
	l.file("helpers.py", "def f():\n    return 1\n")
	cold, _, code := l.run()
	if code != 0 {
		t.Fatalf("cold: exit %d, %+v", code, cold.Error)
	}
	for _, c := range cold.Cells {
		if !strings.HasPrefix(c.Why, "never run") && !strings.HasPrefix(c.Why, "cache:disabled") {
			t.Errorf("cold: %s: %s", c.ID, c.Why)
		}
	}

	l.edit("threshold = 3", "threshold = 4")
	l.edit("return x + 1", "return x + 2")
	l.edit("depth = 1", "depth = 2")
	l.edit("b = [1]", "b = a")
	l.edit("spare = 1", "extra = 1")
	l.edit("random.seed(1)", "random.seed(2)")
	l.file("trips.csv", "two")
	l.file("flag", "")
	l.file("data/new", "")
	l.file("helpers.py", "def f():\n    return 2\n")
	if err := os.Remove(filepath.Join(l.dir, "lock")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHADE", "blue")
	whyDist(t, site, "1.1")
	warm, _, code := l.run()
	if code != 0 {
		t.Fatalf("warm: exit %d, %+v", code, warm.Error)
	}
	for i, c := range warm.Cells {
		t.Logf("%-70.70s %-9s %s", strings.ReplaceAll(list[i].code, "\n", "; "), c.Status, c.Why)
		if !strings.Contains(c.Why, list[i].why) {
			t.Errorf("%q: %s, want %s", list[i].code, c.Why, list[i].why)
		}
	}
}
