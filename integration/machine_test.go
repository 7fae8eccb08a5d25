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

// asks are cells, and on which other machine each has to run: one with another
// kernel (r), another name (h), other processors (p), another zone (z).
var asks = []struct{ code, runs string }{
	{"import os, platform, socket, sys, time, datetime, pwd, uuid\nimport numpy as np, pandas as pd", "z"}, // pandas asks for the zone
	{"x = np.arange(3).sum()\nprint(x)", ""},
	{"print(platform.system(), platform.machine(), platform.python_version(), sys.platform)", ""},
	{"print(os.uname().release)", "rh"},
	{"print(platform.node())", "rh"},
	{"print(platform.platform())", "rh"},
	{"print(platform.platform())\n1", "rh"}, // which platform has kept
	{"print(platform.uname())", "rh"},
	{"print(getattr(os, 'un' + 'ame')()[2])", "rh"},
	{"print(socket.gethostname())", "rh"},
	{"print(open('/proc/sys/kernel/osrelease').read())", "rh"},
	{"print(open('/proc/version').read())", "rh"},
	{"!uname -r", "rhz"}, // a shell takes in TZ
	{"def where():\n    return platform.node()", ""},
	{"print(where())", "rh"},
	{"print(os.cpu_count())", "p"},
	{"print(len(os.sched_getaffinity(0)))", "p"},
	{"print(datetime.datetime.fromtimestamp(0))", "z"},
	{"print(time.tzname)", "z"},
	{"print(datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc))", "z"}, // its text says so
	{"print(os.getuid(), pwd.getpwuid(os.getuid()).pw_name)", ""},
	{"df = pd.DataFrame({'a': [1, 2]})\ndf", ""},
	{"from sklearn.cluster import KMeans\nprint(KMeans(2, n_init=1, random_state=0).fit(np.arange(20.).reshape(10, 2)).labels_)", ""},
	{"import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()", ""},
	{"import polars as pl\nprint(pl.DataFrame({'a': [x]}))", ""},
	{"print(x + 1)", ""},
}

// elsewhere makes l run as on another machine: argv is what runs it there.
func (l *lab) elsewhere(argv string) {
	l.t.Helper()
	script := filepath.Join(l.t.TempDir(), "kedge")
	if err := os.WriteFile(script, []byte(fmt.Sprintf("#!/bin/sh\n%s\n", strings.ReplaceAll(argv, "KEDGE", l.kedge))), 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.kedge = script
}

var machines = []struct{ name, letter, argv, try string }{
	{"another kernel", "r", `exec setarch --uname-2.6 KEDGE "$@"`, "setarch --uname-2.6 true"},
	{"another host", "h", `exec unshare --uts sh -c 'hostname another && exec KEDGE "$@"' sh "$@"`, "unshare --uts hostname another"},
	{"other processors", "p", `exec taskset -c 0 KEDGE "$@"`, "taskset -c 0 true"},
	{"another zone", "z", `TZ=Asia/Tokyo exec KEDGE "$@"`, "true"},
}

// TestAnotherMachine runs a notebook here, and then with a copy of the store as
// on other machines: only the cells that ask about what is another there run.
func TestAnotherMachine(t *testing.T) {
	var codes []string
	for _, a := range asks {
		codes = append(codes, a.code)
	}
	here := newLab(t, "../examples/iris.ipynb")
	here.write(cells(codes...))
	if r, _, code := here.run(); code != 0 {
		t.Fatalf("exit %d: %+v", code, r.Error)
	}
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			if out, err := exec.Command("sh", "-c", m.try).CombinedOutput(); err != nil {
				t.Skipf("%s: %v: %s", m.try, err, out)
			}
			there := *here
			there.t, there.home, there.dir = t, t.TempDir(), filepath.Join(t.TempDir(), "folder")
			if err := os.MkdirAll(there.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("cp", "-r", here.home+"/.", there.home).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			there.path = filepath.Join(there.dir, "nb.ipynb")
			there.write(cells(codes...))
			there.elsewhere(m.argv)
			r, out, code := there.run()
			if code != 0 {
				t.Fatalf("exit %d: %+v", code, r.Error)
			}
			for i, s := range r.Steps {
				if must := strings.Contains(asks[i].runs, m.letter); must != (s.Status == "ran") {
					t.Errorf("%q is %s, want it to run: %t (%s)", asks[i].code, s.Status, must, s.Why)
				}
			}
			straight, plain, _ := there.run("--no-cache")
			if straight.Error != nil || stripTimes(t, out) != stripTimes(t, plain) {
				t.Errorf("another output than in a straight run:\n%s\n%s", out, plain)
			}
		})
	}
}

// TestInAHomeOfNothing: where nobody has imported matplotlib before, that makes its folders. What a cell makes there itself is no part of that.
func TestInAHomeOfNothing(t *testing.T) {
	l := newLab(t, "../examples/iris.ipynb")
	l.write(cells("import matplotlib.pyplot as plt", "import pathlib\nplt.plot([1, 2])\nplt.show()", "(pathlib.Path.home() / '.config' / 'mine').mkdir()", "pathlib.Path.home().joinpath('.config').chmod(0o755)"))
	fresh := t.TempDir()
	l.elsewhere(fmt.Sprintf("HOME=%s TMPDIR=%s exec KEDGE \"$@\"", fresh, t.TempDir())) // else the home is temporary
	want := []string{"ran", "ran", "ran", "ran"}
	for range 2 {
		if r, _, code := l.run(); code != 0 || len(r.Steps) != 4 || r.Steps[0].Status != want[0] || r.Steps[1].Status != want[1] || r.Steps[2].Status != want[2] || r.Steps[3].Status != want[3] {
			t.Fatalf("exit %d, want %v: %+v", code, want, r.Steps)
		}
		if _, err := os.Stat(filepath.Join(fresh, ".config", "matplotlib")); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(fresh, ".config", "mine")); err != nil {
			t.Fatal(err)
		}
		want[0], want[1] = "restored", "restored"
	}
}

// TestAModuleMayHoldWhereItWasImported: what a module asks for while it is
// imported it may keep, so that every cell from there on depends on it.
func TestAModuleMayHoldWhereItWasImported(t *testing.T) {
	if out, err := exec.Command("sh", "-c", machines[1].try).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	packages := t.TempDir()
	if err := os.WriteFile(filepath.Join(packages, "whereabouts.py"), []byte("import socket\nHOST = socket.gethostname()\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", packages)
	l := newLab(t, "../examples/iris.ipynb")
	l.write(cells("y = 1", "import whereabouts", "print(whereabouts.HOST)"))
	if r, _, code := l.run(); code != 0 {
		t.Fatalf("exit %d: %+v", code, r.Error)
	}
	l.elsewhere(machines[1].argv)
	r, out, _ := l.run()
	var got []string
	for _, s := range r.Steps {
		got = append(got, s.Status)
	}
	if !slices.Equal(got, []string{"restored", "ran", "ran"}) || !strings.Contains(out, "another") {
		t.Errorf("%v: %s", got, out)
	}
}
