package session

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// counter counts how often state is laid over a kernel.
type counter struct {
	Kernel
	applied int
}

func (c *counter) Call(ctx context.Context, channel, msgType string, content any, buffers [][]byte) (json.RawMessage, [][]byte, error) {
	if msgType == "kedge_apply" {
		c.applied++
	}
	return c.Kernel.Call(ctx, channel, msgType, content, buffers)
}

// all asks both sides for cells at once, as Run All does, and says how each was answered.
func (d *desk) all(sources ...string) (statuses []string) {
	d.Helper()
	var cells []notebook.CodeCell
	for i, source := range sources {
		id := string(rune('a' + i))
		cells = append(cells, notebook.CodeCell{Cell: notebook.Cell{ID: id, Source: source}, Step: id})
	}
	for i, cell := range cells {
		behind := cells[i+1:]
		a, err := d.nb.Begin(d.Context(), cell, func() (next notebook.CodeCell, ok bool) {
			if len(behind) == 0 {
				return next, false
			}
			next, behind = behind[0], behind[1:]
			return next, true
		})
		if err != nil {
			d.Fatal(err)
		}
		if a.Status == Ran {
			res, err := d.kedge.Execute(d.Context(), kernel.Request{Code: cell.Source, StopOnError: true})
			if err != nil {
				d.Fatal(err)
			}
			d.nb.End(d.Context(), res)
			a.Outputs, a.Count = res.Outputs, res.ExecutionCount
		}
		statuses = append(statuses, a.Status)
		d.compare(cell.ID, cell.Source, a.Outputs, a.Count)
	}
	if f := d.nb.Faults(); len(f) > 0 {
		d.Fatalf("faults: %v", f)
	}
	return statuses
}

func TestHitsThatWaitAreLaidOverTheKernelOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		cells   []string
		runs    int // number of the first that runs also if the cells come one by one; 0: none
		applied int // how often state was laid over the kernel, or tried to
	}{
		{"One", []string{"x = 1"}, 0, 1},
		{"InPlaceAgainAndAgain", []string{"x = [1]", "x.append(2)", "y = x", "y.append(3)", "print(x)", "len(x)", "z = {'k': x}", "z"}, 0, 1},
		{"BoundAnew", []string{"x = [1]", "x.append(2)", "x = x + [3]", "del x", "x = 'new'"}, 0, 1},
		{"ResultsThatAreParts", []string{"x = [1]", "[x]", "y = 2", "[y]", "_"}, 4, 1},
		{"AResultIsBoundToSomethingElse", []string{"x = [1]", "x", "x = [2]", "x", "[x]", "y = 1", "x.append(1)"}, 6, 3},
		{"Streams", []string{"import random; random.seed(1)", "random.random()", "random.random()", "random.seed(2)"}, 0, 1},
		{"Files", []string{"open('f', 'w').write('1');", "open('f', 'a').write('2');", "print(open('f').read())", "import os; os.remove('f')", "print(os.path.exists('f'))", "open('f', 'w').write('3');"}, 0, 1},
		{"Classes", []string{"class P:\n    k = 1", "p = P()", "p.k += 1", "print(p.k, P.k, type(p) is P)", "f = lambda: p", "f().k"}, 0, 1},
		{"TheHistoryIsRead", []string{"1 + 1", "_ + 1", "_ + _", "Out", "In"}, 3, 1},
		{"TheHistorysNamesAreBound", []string{"1 + 1", "_ = 5", "2 + 2", "_"}, 3, 3},
		{"TheSameCode", []string{"x = 1", "x += 1", "x += 1", "x"}, 0, 1},
		{"Annotations", []string{"x: int = 1", "y: str = 'a'", "print(__annotations__)"}, 2, 1},
		{"Modules", []string{"import json", "json.dumps([1])", "import decimal", "decimal.getcontext().prec = 3", "decimal.Decimal(1) / 3"}, 0, 1},
		{"Definitions", []string{"def f(): return 1", "f()", "import inspect\nprint(inspect.getsource(f))", "def f(): return 1  # again", "g = f", "print(inspect.getsource(g))"}, 0, 2},
		{"ACellThatCannotBeRestored", []string{"x = 1", "g = (i for i in range(9))", "y = 2", "h = (i for i in 'ab')", "z = 3"}, 1, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.all(test.cells...)
			d.restart()
			c := &counter{Kernel: d.kedge}
			d.nb.s.kernel, d.nb.s.agent = c, agent.NewClient(c)
			got := d.all(test.cells...)
			d.foreign("print(In, Out, _, __, _i, _ii, sorted(n for n in globals() if n in 'xyzpf'))")
			if c.applied != test.applied {
				t.Errorf("applied %d times, want %d: %v", c.applied, test.applied, got)
			}
			if ran := slices.Index(got, Ran); ran >= 0 && ran != test.runs || ran < 0 && test.runs > 0 {
				t.Errorf("%v: want the first to run to be %d", got, test.runs)
			}
		})
	}
}

// unreadable is a store that has lost a blob.
type unreadable struct {
	Store
	lost cellgraph.Digest
}

func (u unreadable) CopyBlob(ctx context.Context, id cellgraph.Digest, to *os.File) error {
	if id == u.lost {
		return errors.New("lost")
	}
	return u.Store.CopyBlob(ctx, id, to)
}

func TestAFileThatCannotBeRestoredLeavesTheKernelAsItWas(t *testing.T) {
	d := newDesk(t)
	cells := []string{"x = [1]", "x.append(2)\nopen('f', 'w').write('content');", "print(x, open('f').read())"}
	d.all(cells...)
	d.restart()
	d.nb.s.world.store = unreadable{d.store, cellgraph.Sum([]byte("content"))}
	if err := os.Remove(filepath.Join(d.dir, "kedge", "f")); err != nil {
		t.Fatal(err)
	}
	if got, want := d.all(cells...), []string{Restored, Ran, Restored}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	d.foreign("print(x)")
	left, err := filepath.Glob(filepath.Join(d.dir, "kedge", ".kedge-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
