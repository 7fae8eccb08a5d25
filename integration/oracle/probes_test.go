package oracle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kedge/integration/oracle/shell"
)

// probe is one thing that a cell can do in two ways, and a cell that can tell
// which of them it was.
type probe struct {
	Name, Known string
	Head        string // imports
	Ways        [2]string
	Tells       string
}

// history runs the notebook with each way, and then with either and an edited
// cell below it, which runs on what was restored.
func (p probe) history(live bool) []Step {
	edited := p.Tells + "\nedited = 1"
	if strings.HasPrefix(p.Tells, "%") || strings.HasPrefix(p.Tells, "!") {
		edited = p.Tells + "  "
	}
	var steps []Step
	for _, s := range [][2]string{{p.Ways[0], p.Tells}, {p.Ways[1], p.Tells}, {p.Ways[0], p.Tells}, {p.Ways[0], edited}, {p.Ways[1], edited}} {
		steps = append(steps, Step{Clean: true, Live: live, Cells: []Cell{{ID: "head", Source: "import os, sys\n" + p.Head, Raises: true},
			{ID: "way", Source: s[0], Raises: true}, {ID: "between", Source: "between = 1"}, {ID: "tells", Source: s[1], Raises: true}}})
	}
	return steps
}

// TestProbes tries what a cell can do to a process, its folder and its objects
// in ways that a later cell can tell apart. A third of them, and live kernels
// only with KEDGE_ORACLE=all.
func TestProbes(t *testing.T) {
	python := os.Getenv("KEDGE_TEST_PYTHON")
	if python == "" {
		t.Skip("KEDGE_TEST_PYTHON is not set: run `make test`")
	}
	data, err := os.ReadFile("testdata/probes.json")
	if err != nil {
		t.Fatal(err)
	}
	var table []probe
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	all := os.Getenv("KEDGE_ORACLE") == "all"
	root := memory(t)
	server := parent(t, shell.Config{Python: python, Dir: root, Libraries: true})
	for i, p := range table {
		if all || i%3 == 0 {
			t.Run(p.Name, func(t *testing.T) { p.play(t, server, filepath.Join(root, fmt.Sprint("probe", i)), false) })
		}
		if all {
			t.Run(p.Name+" in a live kernel", func(t *testing.T) { p.play(t, server, filepath.Join(root, fmt.Sprint("live", i)), true) })
		}
	}
}

func (p probe) play(t *testing.T, server *shell.Server, root string, live bool) {
	play, err := NewPlay(t.Context(), server, root, Mutant{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := play.Close(); err != nil {
			t.Error(err)
		}
	}()
	problem := ""
	for n, step := range p.history(live) {
		got, err := play.Do(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Differences) > 0 && problem == "" {
			problem = fmt.Sprintf("run %d: kedge (+) and straight (-) differ:\n%s", n, strings.Join(got.Differences, "\n"))
		}
	}
	judge(t, p.Known, problem)
}
