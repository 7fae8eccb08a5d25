package main

import (
	"io"
	"os"
	"testing"
)

// TestSample plays the first lives of one seed.
func TestSample(t *testing.T) {
	python := os.Getenv("KEDGE_TEST_PYTHON")
	if python == "" {
		t.Skip("KEDGE_TEST_PYTHON is not set: run `make test`")
	}
	o := options{seed: 1, actions: 60, workers: 1, worker: -1, most: 1, tries: 100, python: python}
	total, err := work(t.Context(), o, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := total.conclude(io.Writer(os.Stdout), o); err != nil {
		t.Error(err)
	}
	if total.Actions < o.actions || total.Restored < total.Cells/4 {
		t.Errorf("%d actions, %d of %d cells restored: the sample shows too little", total.Actions, total.Restored, total.Cells)
	}
}

// A history must be the same each time, or no failure could be shown again.
func TestLivesAreDeterministic(t *testing.T) {
	a, b := newLife(5, 7), newLife(5, 7)
	for range 20 {
		if x, y := a.act(), b.act(); x != y {
			t.Fatalf("one life did %q, the other %q", x, y)
		}
		for i := range a.cells {
			if a.cells[i].Source != b.cells[i].Source {
				t.Fatalf("cell %d differs:\n%s\n%s", i, a.cells[i].Source, b.cells[i].Source)
			}
		}
	}
}

// What shares no word with a change has to be restored; what does has not.
func TestExpected(t *testing.T) {
	before := newLife(1, 1).step()
	before.Cells = before.Cells[:1]
	for id, source := range map[string]string{"a": "i2 = 3", "b": "l2 = [i2]", "c": "d2 = {}"} {
		c := before.Cells[0]
		c.ID, c.Source = id, source
		before.Cells = append(before.Cells, c)
	}
	now := before
	now.Cells = append(before.Cells[:0:0], before.Cells...)
	for i, c := range now.Cells {
		if c.ID == "a" {
			now.Cells[i].Source = "i2 = 4"
		}
	}
	got := expected(before, now)
	if got["a"] || !got["c"] {
		t.Errorf("expected %v", got)
	}
}
