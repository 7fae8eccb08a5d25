package integration

import (
	"slices"
	"testing"
)

// TestCommentInFunctionKeepsItsReaders edits a comment in a function along
// with a value of the same cell, so that the cell runs and defines the
// function anew, with other line numbers.
func TestCommentInFunctionKeepsItsReaders(t *testing.T) {
	l := newLab(t, "../examples/iris.ipynb")
	l.write(cells("def double(x):\n    return (lambda: 2 * x)()\nclass Box:\n    def get(self):\n        return 7\nlimit = 1",
		"print(double(4))", "box = Box()\nprint(box.get())", "print(limit)"))
	if r, _, code := l.run(); code != 0 {
		t.Fatalf("cold: exit %d: %+v", code, r.Error)
	}
	l.edit(`def double(x):`, `# twice\n\ndef double(x):\n    # still twice`)
	l.edit(`self):`, `self):\n        # seven`)
	l.edit(`limit = 1`, `limit = 2`)
	r, _, code := l.run()
	if got := ran(statuses(t, r)); code != 0 || !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("exit %d, ran %v, want a and d: %+v", code, got, r.Steps)
	}
	l.edit(`2 * x`, `3 * x`)
	r, _, code = l.run()
	if got := ran(statuses(t, r)); code != 0 || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("exit %d, ran %v, want a and b: %+v", code, got, r.Steps)
	}
}
