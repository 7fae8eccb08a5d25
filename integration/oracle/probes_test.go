package oracle

import (
	"cmp"
	"os"
	"strings"
	"testing"
)

// probe is one thing that a cell can do in two ways, and a cell that can tell
// which of them it was.
type probe struct {
	Name, Known string
	KnownLive   string // the fault that only a live kernel shows
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
	for i, s := range [][2]string{{p.Ways[0], p.Tells}, {p.Ways[1], p.Tells}, {p.Ways[0], p.Tells}, {p.Ways[0], edited}, {p.Ways[1], edited}} {
		steps = append(steps, Step{Clean: true, Live: live, Queued: live && i%2 == 0, Cells: []Cell{{ID: "head", Source: "import os, sys\n" + p.Head, Raises: true},
			{ID: "way", Source: s[0], Raises: true}, {ID: "between", Source: "between = 1"}, {ID: "tells", Source: s[1], Raises: true}}})
	}
	return steps
}

// past runs each way before the notebook has steps, and none, unless the cell that tells would end the kernel then.
func (p probe) past() []Step {
	var steps []Step
	ways := []string{p.Ways[0], p.Ways[1], p.Ways[0]}
	if !strings.Contains(p.Tells, "os.kill") {
		ways = append(ways, "pass")
	}
	for _, way := range ways {
		steps = append(steps, Step{Clean: true, Live: true, Cells: []Cell{{ID: "head", Source: "import os, sys\n" + p.Head, Past: true},
			{ID: "way", Source: way, Past: true}, {ID: "between", Source: "between = 1"}, {ID: "tells", Source: p.Tells, Raises: true}}})
	}
	return steps
}

// TestProbes tries what a cell can do to a process, its folder and its objects
// in ways that a later cell can tell apart. A quarter of them, and live kernels
// only with KEDGE_ORACLE=all.
func TestProbes(t *testing.T) {
	var table []probe
	play := player(t, "testdata/probes.json", &table)
	all := os.Getenv("KEDGE_ORACLE") == "all"
	for i, p := range table {
		if all || i%4 == 0 {
			t.Run(p.Name, func(t *testing.T) { play(t, p.history(false), p.Known) })
		}
		if all {
			t.Run(p.Name+" in a live kernel", func(t *testing.T) { play(t, p.history(true), cmp.Or(p.KnownLive, p.Known)) })
			t.Run(p.Name+" before the steps", func(t *testing.T) { play(t, p.past(), p.Known) })
		}
	}
}
