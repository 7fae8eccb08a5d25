package integration

import (
	"slices"
	"strings"
	"testing"
)

// TestFreshStreams checks that random streams which nobody has seeded are as
// good as those of an earlier process, unless a cell has asked for their state.
func TestFreshStreams(t *testing.T) {
	t.Run("drawn from", func(t *testing.T) {
		l := newLab(t, "../examples/iris.ipynb")
		l.write(cells("import random\nimport numpy as np", "a = random.random()", "b = np.random.rand()",
			"from sklearn.svm import SVC\nm = SVC().fit([[0], [1]], [0, 1])", "print(random.random() < 2, np.random.rand() < 2)"))
		if r, _, code := l.run(); code != 0 {
			t.Fatalf("cold: exit %d: %+v", code, r.Error)
		}
		l.edit(`import random`, `import json\nimport random`)
		r, _, code := l.run()
		if got := ran(statuses(t, r)); code != 0 || !slices.Equal(got, []string{"a"}) {
			t.Errorf("exit %d, ran %v, want a: %+v", code, got, r.Steps)
		}
	})
	t.Run("asked for", func(t *testing.T) {
		l := newLab(t, "../examples/iris.ipynb")
		l.write(cells("import random\nimport numpy as np", "s, n = random.getstate(), np.random.get_state()", "a, b = random.random(), np.random.rand()",
			"random.setstate(s)\nnp.random.set_state(n)\nprint(a == random.random(), b == np.random.rand())"))
		for _, change := range []string{"", `s, n =`, `import random`} {
			if change != "" {
				l.edit(change, `0\n`+change)
			}
			if r, _, code := l.run(); code != 0 || !strings.Contains(l.out(), "True True") {
				t.Errorf("edit of %q: exit %d, shown %q, error %+v", change, code, l.out(), r.Error)
			}
		}
	})
}
