package oracle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kedge/integration/oracle/shell"
)

// TestHistories plays what the fuzzer once found and shrank: every run of a
// history is compared with a straight one.
func TestHistories(t *testing.T) {
	var table []struct {
		Name, Known string
		History     []Step
	}
	play := player(t, "testdata/histories.json", &table)
	for _, h := range table {
		t.Run(h.Name, func(t *testing.T) { play(t, h.History, h.Known) })
		if slices.ContainsFunc(h.History, func(s Step) bool { return s.Live && !s.Queued }) {
			for i := range h.History {
				h.History[i].Queued = true
			}
			t.Run(h.Name+" all at once", func(t *testing.T) { play(t, h.History, h.Known) })
		}
	}
}

// player reads a table and returns what plays a history: every step of it is
// compared, in a lab of its own. It gives the outcome of the last.
func player(t *testing.T, path string, table any) func(t *testing.T, history []Step, known string) (last Outcome) {
	t.Helper()
	python := os.Getenv("KEDGE_TEST_PYTHON")
	if python == "" {
		t.Skip("KEDGE_TEST_PYTHON is not set: run `make test`")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, table); err != nil {
		t.Fatal(err)
	}
	root, lives := memory(t), 0
	server := parent(t, shell.Config{Python: python, Dir: root, Libraries: true})
	return func(t *testing.T, history []Step, known string) (last Outcome) {
		t.Helper()
		lives++
		p, err := NewPlay(t.Context(), server, filepath.Join(root, fmt.Sprint("life", lives)), Mutant{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}()
		problem := ""
		for n, step := range history {
			got, err := p.Do(t.Context(), step)
			if err != nil {
				t.Fatal(err)
			}
			last = got
			if len(got.Differences) > 0 && problem == "" {
				problem = fmt.Sprintf("run %d: kedge (+) and straight (-) differ:\n%s", n, strings.Join(got.Differences, "\n"))
			}
		}
		judge(t, known, problem)
		return last
	}
}

// judge fails the test if there is a problem that is not known, or none though one is known.
func judge(t *testing.T, known, problem string) {
	t.Helper()
	switch {
	case known == "" && problem != "":
		t.Error(problem)
	case known != "" && problem == "":
		t.Errorf("mended: take the note %q out of the case", known)
	}
}
