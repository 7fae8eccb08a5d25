package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
	"kedge/snapshotter"
)

// desk is a notebook in a live kernel with Kedge, and the plain kernel that gets the same requests.
type desk struct {
	*testing.T
	dir          string
	store        *snapshotter.Store
	kedge, plain *kernel.Kernel
	nb           *Interactive
	ring         *observe.Ring
}

func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("KEDGE_TEST_PYTHON")
	if path == "" {
		path, _ = filepath.Abs("../.venv/bin/python")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is missing: run `make test`, which makes it", path)
	}
	return path
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, dir: t.TempDir()}
	var err error
	if d.store, err = snapshotter.Open(t.Context(), snapshotter.Config{Dir: filepath.Join(t.TempDir(), "store")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.store.Close() })
	for _, sub := range []string{"kedge", "plain"} {
		if err := os.Mkdir(filepath.Join(d.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.restart()
	return d
}

// restart gives both sides a fresh kernel; the store stays.
func (d *desk) restart() {
	d.Helper()
	python := python(d.T)
	agents := d.TempDir()
	launcher, err := agent.Install(agents)
	if err != nil {
		d.Fatal(err)
	}
	library, err := observe.Library(filepath.Join(agents, "lib"))
	if err != nil {
		d.Fatal(err)
	}
	runtime := d.TempDir()
	if d.ring, err = observe.Create(runtime); err != nil {
		d.Fatal(err)
	}
	env := append(os.Environ(), "PYTHONHASHSEED=0", "IPYTHONDIR="+d.TempDir())
	start := func(dir string, env []string, argv ...string) *kernel.Kernel {
		k, err := kernel.Start(d.Context(), kernel.Config{Argv: append([]string{python}, argv...), Dir: filepath.Join(d.dir, dir), Env: env})
		if err != nil {
			d.Fatal(err)
		}
		d.Cleanup(func() { _ = k.Shutdown(context.Background()) })
		return k
	}
	d.kedge = start("kedge", d.ring.Env(library, append(env, "KEDGE_HIDE=PYTHONHASHSEED")), launcher, "-f", "{connection_file}")
	d.plain = start("plain", env, "-m", "ipykernel_launcher", "-f", "{connection_file}")
	doc, err := notebook.Parse([]byte(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}`))
	if err != nil {
		d.Fatal(err)
	}
	d.nb, err = OpenInteractive(d.Context(), Config{Store: d.store, Path: filepath.Join(d.dir, "kedge", "nb.ipynb"), Document: doc,
		Outline: &notebook.Outline{}, Modules: map[string]string{"python": "3"}, Runtime: runtime, Secret: []byte("key")}, d.kedge, d.ring)
	if err != nil {
		d.Fatal(err)
	}
	stopped := make(chan struct{})
	nb := d.nb
	go func() { nb.Run(context.Background()); close(stopped) }()
	d.Cleanup(func() { nb.Close(); <-stopped })
}

// shown is what a reader sees of a result: outputs and count.
func shown(t *testing.T, outputs []json.RawMessage, count int) string {
	t.Helper()
	var lines []string
	for _, raw := range outputs {
		var o map[string]any
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		delete(o, "traceback")
		line, _ := json.Marshal(o)
		lines = append(lines, string(line))
	}
	return fmt.Sprintf("[%d] %s", count, strings.Join(lines, " "))
}

// begin asks for a cell of a step in the kernel with Kedge, which runs it if it is not restored.
func (d *desk) begin(id, source string) (Answer, kernel.Result) {
	d.Helper()
	a, err := d.nb.Begin(d.Context(), notebook.CodeCell{Cell: notebook.Cell{ID: id, Source: source}, Step: id}, nil)
	if err != nil {
		d.Fatal(err)
	}
	if a.Status == Restored {
		return a, kernel.Result{}
	}
	res, err := d.kedge.Execute(d.Context(), kernel.Request{Code: source, StopOnError: true})
	if err != nil {
		d.Fatal(err)
	}
	return a, res
}

// end ends what begin began, and says how Kedge answered.
func (d *desk) end(a Answer, res kernel.Result) Answer {
	if a.Status == Restored {
		return a
	}
	end := d.nb.End(d.Context(), res)
	end.Why, end.Outputs, end.Count = a.Why, res.Outputs, res.ExecutionCount
	return end
}

// ask sends a cell of a step to both sides and compares. It returns how Kedge answered.
func (d *desk) ask(id, source string) Answer {
	d.Helper()
	a := d.end(d.begin(id, source))
	d.compare(id, source, a.Outputs, a.Count)
	if f := d.nb.Faults(); len(f) > 0 {
		d.Fatalf("faults: %v", f)
	}
	return a
}

// aside runs code that is no cell of a step in the kernel with Kedge.
func (d *desk) aside(source string) kernel.Result {
	d.Helper()
	d.nb.Foreign(d.Context(), source)
	res, err := d.kedge.Execute(d.Context(), kernel.Request{Code: source})
	d.nb.EndForeign()
	if err != nil {
		d.Fatal(err)
	}
	return res
}

// foreign runs code that is no cell of a step on both sides.
func (d *desk) foreign(source string) {
	d.Helper()
	res := d.aside(source)
	d.compare("foreign", source, res.Outputs, res.ExecutionCount)
}

func (d *desk) compare(id, source string, outputs []json.RawMessage, count int) {
	d.Helper()
	res, err := d.plain.Execute(d.Context(), kernel.Request{Code: source, StopOnError: true})
	if err != nil {
		d.Fatal(err)
	}
	if got, want := shown(d.T, outputs, count), shown(d.T, res.Outputs, res.ExecutionCount); got != want {
		d.Errorf("cell %s (%s)\ngot  %s\nwant %s", id, source, got, want)
	}
}

func TestALiveKernelCannotBeTold(t *testing.T) {
	type request struct{ id, source, status string } // status "" is foreign code, "restart" a new kernel
	const r, n = Restored, Ran
	for _, test := range []struct {
		name     string
		requests []request
	}{
		{"RunAllAfterARestart", []request{{"a", "x = [1]\nx", n}, {"b", "x.append(2)\nx", n}, {"c", "y = {'k': x}", n}, {"", "", "restart"},
			{"a", "x = [1]\nx", r}, {"b", "x.append(2)\nx", r}, {"c", "y = {'k': x}", r}, {"d", "print(y['k'] is x, _, Out, In)", n}}},
		{"TheSameAgain", []request{{"a", "x = 1", n}, {"b", "x += 1", n}, {"b", "x += 1", n}, {"c", "x", n}, {"", "", "restart"},
			{"a", "x = 1", r}, {"b", "x += 1", r}, {"b", "x += 1", n}, {"c", "x", r}}},
		{"BottomUp", []request{{"a", "x = 1", n}, {"b", "y = x + 1", n}, {"c", "print(y)", n}, {"a", "x = 5", n}, {"c", "print(y)", r}, {"b", "y = x + 1", n}, {"c", "print(y)", n}, {"a", "x = 1", r}, {"b", "y = x + 1", r}, {"c", "print(y)", r}}},
		{"ACellThatFails", []request{{"a", "l = []", n}, {"b", "l.append(1)\n1/0\nl.append(2)", n}, {"c", "print(l)", n}, {"b", "l.append(1)\n1/0\nl.append(2)", n}, {"c", "print(l)", n}}},
		{"ForeignCode", []request{{"a", "x = 1", n}, {"b", "print(x)", n}, {"", "x = 2", ""}, {"b", "print(x)", n}, {"", "x = 1", ""}, {"b", "print(x)", r}, {"", "del x", ""}, {"b", "print(x)", n}}},
		{"ForeignModules", []request{{"", "open('fm.py', 'w').write('print(end=\"\")\\ndef f(): return 1\\n');", ""}, {"", "import fm", ""}, {"a", "import fm; print(fm.f())", n}, {"", "", "restart"},
			{"", "open('fm.py', 'w').write('print(end=\"\")\\ndef f(): return 22\\n');", ""}, {"", "import fm", ""}, {"a", "import fm; print(fm.f())", n}, {"", "", "restart"}, {"", "import fm", ""}, {"a", "import fm; print(fm.f())", r},
			{"", "", "restart"}, {"", "import fm; open('fm.py', 'w').write('print(end=\"\")\\ndef f(): return 333\\n');", ""}, {"a", "import fm; print(fm.f())", n}, {"", "", "restart"}, {"a", "import fm; print(fm.f())", n}}},
		{"ForeignAlias", []request{{"a", "x = [1]", n}, {"b", "x.append(2)", n}, {"a", "x = [1]", r}, {"", "z = x", ""}, {"b", "x.append(2)", n}, {"c", "print(x, z, z is x)", n}}},
		{"ResultsChangeInPlace", []request{{"a", "x = [1]\nx", n}, {"b", "x.append(2)", n}, {"", "", "restart"}, {"a", "x = [1]\nx", r}, {"b", "x.append(2)", r}, {"c", "print(Out[1], Out[1] is x, _)", n}}},
		{"ResultsHoldWhatChanges", []request{{"a", "x = [1]\n[x]", n}, {"b", "x.append(2)", n}, {"", "", "restart"}, {"a", "x = [1]\n[x]", r}, {"b", "x.append(2)", n}, {"c", "print(Out[1])", n}}},
		{"OpaqueThings", []request{{"a", "g = iter(i for i in range(9))", n}, {"b", "v = next(g)", n}, {"c", "print(v)", n}, {"a", "g = iter(i for i in range(9))", n}, {"b", "v = next(g)", n}, {"c", "print(v)", r}}},
		{"FilesChangedByHand", []request{{"a", "open('f', 'w').write('1');", n}, {"b", "print(open('f').read())", n}, {"", "open('f', 'w').write('2');", ""}, {"b", "print(open('f').read())", n}, {"a", "open('f', 'w').write('1');", r}, {"b", "print(open('f').read())", r}}},
		{"FilesThatAreGone", []request{{"a", "import os", n}, {"b", "open('f', 'w').write('1');", n}, {"c", "os.remove('f')", n}, {"", "", "restart"}, {"a", "import os", r}, {"c", "os.remove('f')", n}}},
		{"DeletedNames", []request{{"a", "x = 1", n}, {"b", "del x", n}, {"c", "print('x' in dir())", n}, {"a", "x = 1", r}, {"b", "del x", r}, {"d", "try:\n    print(x)\nexcept NameError:\n    print('gone')", n}}},
		{"RandomStreams", []request{{"a", "import random; random.seed(3)", n}, {"b", "print(random.random())", n}, {"", "", "restart"}, {"a", "import random; random.seed(3)", r}, {"b", "print(random.random())", r}, {"c", "print(random.random())", n}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			var got, want []string
			for _, q := range test.requests {
				switch q.status {
				case "":
					d.foreign(q.source)
				case "restart":
					d.restart()
				default:
					a := d.ask(q.id, q.source)
					got, want = append(got, q.id+" "+a.Status), append(want, q.id+" "+q.status)
					t.Logf("%s %s: %s", q.id, a.Status, a.Why)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestACellIsInterruptedBeforeTheKernelHasIt(t *testing.T) {
	d := newDesk(t)
	d.ask("a", "x = 1")
	d.ask("b", "x")
	d.restart()
	stop := errors.New("stop")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	cell := notebook.CodeCell{Cell: notebook.Cell{ID: "a", Source: "x = 1"}, Step: "a"}
	if _, err := d.nb.Begin(ended, cell, nil); !errors.Is(err, stop) {
		t.Fatalf("begun although interrupted: %v", err)
	}
	count, err := d.nb.Enter(t.Context(), cell.Source)
	if err != nil {
		t.Fatal(err)
	}
	res, err := d.plain.Execute(t.Context(), kernel.Request{Code: "pass"})
	if err != nil || res.ExecutionCount != count {
		t.Errorf("entered as %d, a plain kernel has %d, %v", count, res.ExecutionCount, err)
	}
	d.ask("a", "x = 1")
	if a := d.ask("b", "x"); a.Status != Restored {
		t.Errorf("after the interrupt: %s", a.Why)
	}
	d.ask("c", "print(len(In), sorted(Out))")
}
