package oracle

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kedge/integration/oracle/shell"
)

// TestNamedCases runs every named case in forked shells: cold, changed, and
// compared with a straight run.
func TestNamedCases(t *testing.T) {
	python := os.Getenv("KEDGE_TEST_PYTHON")
	if python == "" {
		t.Skip("KEDGE_TEST_PYTHON is not set: run `make test`")
	}
	root := memory(t)
	server := parent(t, shell.Config{Python: python, Dir: root, Libraries: true})
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var table []example
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	known := 0
	for i, e := range table {
		if e.Kernel {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			p, err := NewPlay(t.Context(), server, filepath.Join(root, fmt.Sprint("life", i)), Mutant{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}()
			problem := e.play(t, p)
			judge(t, e.Known, problem)
			if e.Known != "" {
				known++
			}
		})
	}
	t.Logf("%d cases, of which %d show a fault that is known", len(table), known)
}

// parent starts a warm parent for the test.
func parent(t *testing.T, cfg shell.Config) *shell.Server {
	t.Helper()
	server, err := shell.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// memory is a folder in memory, if there is one.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kedge-oracle-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = removeAll(dir) })
	return dir
}

// play runs the case and says what is wrong; "" if nothing is.
func (e example) play(t *testing.T, p *Play) string {
	t.Helper()
	before, after := e.notebooks(t)
	first := Step{Cells: fast(before), Files: map[string]string{}, Env: map[string]string{"ORACLE": "1"}, Folder: "lab"}
	maps.Copy(first.Env, e.Env)
	put(first.Files, e.Files)
	second := Step{Cells: fast(after), Files: maps.Clone(first.Files), Env: maps.Clone(first.Env), Folder: "lab"}
	if c := e.Change; c != nil {
		maps.Copy(second.Env, c.Env)
		put(second.Files, c.Files)
		second.Folder = cmp.Or(c.Rename, second.Folder)
	}
	for name := range second.Env {
		t.Setenv(name, "") // is put back after the test
	}
	cold, err := p.Do(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Do(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Outcome{cold, got} {
		if len(o.Differences) > 0 {
			return "kedge (+) and straight (-) differ:\n" + strings.Join(o.Differences, "\n") + "\n" + o.Kedge.GaveUp
		}
	}
	for _, c := range got.Kedge.Cells {
		if e.Runs != nil && c.Status == "ran" && !slices.Contains(e.Runs, c.ID) {
			return fmt.Sprintf("step %s ran (%s); at most %v should", c.ID, c.Why, e.Runs)
		}
	}
	return ""
}

// put lays files over others; nil takes one away.
func put(files map[string]string, more map[string]*string) {
	for name, text := range more {
		if delete(files, name); text != nil {
			files[name] = *text
		}
	}
}

func fast(cells []cell) []Cell {
	var list []Cell
	for _, c := range cells {
		list = append(list, Cell{ID: c.id, Source: c.source, Raises: strings.Contains(c.source, "#raises")})
	}
	return list
}
