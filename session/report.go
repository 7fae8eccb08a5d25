package session

import (
	"slices"

	"kedge/cellgraph"
)

// Statuses of cells and steps in a [Report].
const (
	Ran      = "ran"
	Restored = "restored"
	Failed   = "failed"
	NotRun   = "not_run"
)

// Report is what `kedge run --json` prints.
type Report struct {
	Notebook     string       `json:"notebook"`
	Kernel       string       `json:"kernel"`
	OK           bool         `json:"ok"`
	Seconds      float64      `json:"seconds"`
	SavedSeconds float64      `json:"saved_seconds"`
	Steps        []StepReport `json:"steps"`
	Cells        []CellReport `json:"cells"`
	Error        *RunError    `json:"error"`
}

// StepReport is one step of a [Report].
type StepReport struct {
	Name         string   `json:"name"`
	Cells        []string `json:"cells"`
	Status       string   `json:"status"`
	Why          string   `json:"why"`
	Seconds      float64  `json:"seconds"`
	SavedSeconds float64  `json:"saved_seconds"`
	Snapshot     *string  `json:"snapshot"`
}

// CellReport is one non-blank code cell of a [Report].
type CellReport struct {
	ID         string           `json:"id"`
	Step       *string          `json:"step"`
	Status     string           `json:"status"`
	Why        string           `json:"why"`
	Seconds    float64          `json:"seconds"`
	Uncaptured []UncapturedName `json:"uncaptured"`

	saved    float64
	snapshot string
}

// UncapturedName is a name that a cell left bound to what has no captured form.
type UncapturedName struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// RunError says what ended a run. Cell is nil if no cell was to blame.
type RunError struct {
	Cell   *string `json:"cell"`
	EName  string  `json:"ename"`
	EValue string  `json:"evalue"`
}

// leaves lists what the cell left bound to what has no captured form.
func (c *CellReport) leaves(t *cellgraph.Trace) {
	for _, u := range t.Effect.Opaque {
		c.Uncaptured = append(c.Uncaptured, UncapturedName{Name: u.Name, Reason: u.Reason})
	}
}

// Touched reports whether a cell ran or was restored, in whole or in part.
func (r *Report) Touched() bool {
	return slices.ContainsFunc(r.Cells, func(c CellReport) bool { return c.Status != NotRun })
}

// sumUp fills the steps of r from its cells, in the order of names.
func (r *Report) sumUp(names []string) {
	r.Steps = []StepReport{}
	for _, name := range names {
		s := StepReport{Name: name, Cells: []string{}, Status: NotRun}
		restored, ran := 0, 0
		for _, c := range r.Cells {
			if c.Step == nil || *c.Step != name {
				continue
			}
			s.Cells = append(s.Cells, c.ID)
			s.Seconds += c.Seconds
			s.SavedSeconds += c.saved
			s.Snapshot = nil // a step's snapshot is that of its last cell
			if c.snapshot != "" {
				s.Snapshot = &c.snapshot
			}
			switch c.Status {
			case Failed:
				s.Status, s.Why = Failed, c.Why
			case Restored:
				restored++
			case Ran:
				ran++
				if s.Why == "" {
					s.Why = c.Why
				}
			}
			if s.Why == "" && c.Status == NotRun {
				s.Why = c.Why
			}
		}
		switch {
		case s.Status == Failed:
		case restored > 0 && ran == 0 && restored == len(s.Cells):
			s.Status, s.Why = Restored, "nothing changed"
		case restored+ran > 0:
			s.Status = Ran
		}
		r.Steps = append(r.Steps, s)
		r.SavedSeconds += s.SavedSeconds
	}
}
