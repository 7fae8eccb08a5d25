package oracle

import (
	"os"
	"testing"
)

// result is a cell whose last expression, or whose `_`, a later cell may look at.
type result struct {
	Name, Known string
	Head        string // makes what the expression is of
	Cell        string
	Tells       string // told apart: what is one object, what shares memory, what later changes show
	Runs        bool   // the cell runs in a live kernel: not provable
}

// TestResults runs notebooks, and asks live kernels for cells, that show a part of a variable. The second run and the
// second kernel have them restored, and the cells below, which are edited, run on that. A third of the table, all with
// KEDGE_ORACLE=all.
func TestResults(t *testing.T) {
	var table []result
	play := player(t, "testdata/results.json", &table)
	for i, r := range table {
		if i%3 != 0 && os.Getenv("KEDGE_ORACLE") != "all" {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			cells := func(tells string) []Cell {
				return []Cell{{ID: "head", Source: r.Head}, {ID: "cell", Source: r.Cell}, {ID: "between", Source: "between = 1"},
					{ID: "tells", Source: tells, Raises: true}}
			}
			steps := []Step{{Clean: true, Cells: cells("0")}, {Clean: true, Cells: cells(r.Tells)},
				{Clean: true, Live: true, Cells: cells("0")}, {Clean: true, Live: true, Queued: true, Cells: cells(r.Tells + "\n1")}, {Clean: true, Live: true, Cells: cells(r.Tells + "\n0")}}
			last := play(t, steps, r.Known)
			for _, c := range last.Kedge.Cells[:3] {
				if ran := c.Status == "ran"; ran != (r.Runs && c.ID == "cell") {
					t.Errorf("%s %s: %s", c.ID, c.Status, c.Why)
				}
			}
		})
	}
}
