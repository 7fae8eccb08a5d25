package integration

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTracebacksNameCellsAsTheyAreNow compares restored tracebacks with those of a straight run.
func TestTracebacksNameCellsAsTheyAreNow(t *testing.T) {
	fails := "try: f()\nexcept Exception: get_ipython().showtraceback()"
	process := regexp.MustCompile(`ipykernel_\d+`)
	for _, test := range []struct {
		name, old, replacement string
		ran                    []string
	}{
		{"nothing", "", "", nil},
		{"a comment in the definition", "def f():", "# why\\ndef f():", []string{"c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "../examples/iris.ipynb")
			l.write(cells("def f():\n    1/0", "x = 1", fails))
			if r, _, code := l.run(); code != 0 {
				t.Fatalf("cold: exit %d: %+v", code, r.Error)
			}
			if test.old != "" {
				l.edit(test.old, test.replacement)
			}
			r, got, _ := l.run()
			if m := ran(statuses(t, r)); !slices.Equal(m, test.ran) {
				t.Errorf("ran %v; want %v", m, test.ran)
			}
			_, want, _ := l.run("--no-cache")
			got, want = process.ReplaceAllString(stripTimes(t, got), ""), process.ReplaceAllString(stripTimes(t, want), "")
			if got != want {
				t.Errorf("restored:\n%s\nstraight:\n%s", got, want)
			}
		})
	}
	t.Run("a cell inserted above", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, "../examples/iris.ipynb")
		l.write(cells("def f():\n    1/0", fails))
		l.run()
		l.write(strings.Replace(cells("z = 1", "def f():\n    1/0", fails), `"id":"a"`, `"id":"z"`, 1))
		_, got, _ := l.run()
		if !strings.Contains(got, "In[2]") || !strings.Contains(got, "In[3]") || strings.Contains(got, "In[1]") {
			t.Errorf("the traceback does not have the numbers of now: %s", got)
		}
	})
}
