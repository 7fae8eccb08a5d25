package share

import (
	"errors"
	"fmt"

	"kedge/cellgraph"
	"kedge/kernel/agent"
)

// What of a manifest is only shown is bounded, so that whoever shows it need not be careful.
const (
	maxWord     = 4 << 10 // bytes of a text that is shown
	maxRows     = 64      // of a preview or grid
	maxColumns  = 300
	maxBins     = 128 // of a sketch, and levels of its line
	maxLevel    = 99
	maxSteps    = 2_000 // of a graph
	maxEdges    = 20_000
	maxObserved = 200_000 // names that edges carry
)

// checkShown refuses what no kedge says.
func (m *Manifest) checkShown() error {
	if m.Format == 1 && m.news() {
		return errors.New("format 1 has no such fields")
	}
	if len(m.Cells) > maxLine {
		return fmt.Errorf("%d cells", len(m.Cells))
	}
	if s := m.Sizes; s != nil && (s.Own < 0 || s.Own > s.Logical) {
		return fmt.Errorf("%d of %d bytes", s.Own, s.Logical)
	}
	if err := checkGraph(m.Graph); err != nil {
		return err
	}
	for _, v := range m.Variables {
		if err := v.check(); err != nil {
			return err
		}
	}
	for _, c := range m.Cells {
		if c.Changed == nil {
			continue
		}
		for _, v := range c.Changed.Variables {
			if err := v.check(); err != nil {
				return err
			}
		}
		for _, f := range c.Changed.Files {
			if err := checkFiles([]File{f}); err != nil {
				return err
			}
		}
	}
	return nil
}

// news reports whether m has fields that came with format 2.
func (m *Manifest) news() bool {
	for _, c := range m.Cells {
		if c.Changed != nil {
			return true
		}
	}
	for _, v := range m.Variables {
		if v.Preview != nil || v.Bytes != 0 || v.Own != 0 {
			return true
		}
	}
	return m.Graph != nil || m.Sizes != nil
}

func checkGraph(g *cellgraph.Graph) error {
	if g == nil {
		return nil
	}
	names := 0
	for _, e := range g.Edges {
		names += len(e.Observed)
	}
	if len(g.Steps) > maxSteps || len(g.Edges) > maxEdges || names > maxObserved {
		return fmt.Errorf("a graph of %d steps, %d edges, %d names", len(g.Steps), len(g.Edges), names)
	}
	known := map[string]bool{}
	for _, s := range g.Steps {
		if known[s] || len(s) > maxWord {
			return fmt.Errorf("step %.80q", s)
		}
		known[s] = true
	}
	for _, e := range g.Edges {
		if !known[e.To] {
			return fmt.Errorf("an edge to %.80q, which is no step", e.To)
		}
	}
	return nil
}

func (v *Variable) check() error {
	bad := v.Size < 0 || v.Bytes < 0 || v.Own < 0 || v.Own > v.Bytes || v.Length != nil && *v.Length < 0 || len(v.Shape) > maxRows
	for _, n := range v.Shape {
		bad = bad || n < 0
	}
	if p := v.Preview; p != nil {
		bad = bad || !sane(p)
	}
	if bad {
		return fmt.Errorf("variable %.80q is said to be what none can be", v.Name)
	}
	return nil
}

// sane reports whether a preview is one that a kedge makes.
func sane(p *agent.Preview) bool {
	ok := word(p.Text) && words(p.Columns) && len(p.Rows) <= maxRows && len(p.Sketches) <= maxColumns && len(p.Grid) <= maxRows
	for _, row := range p.Rows {
		ok = ok && words(row)
	}
	for _, row := range p.Grid {
		ok = ok && len(row) <= maxRows && levels(row)
	}
	for _, s := range p.Sketches {
		ok = ok && word(s.Name) && word(s.Type) && word(s.Low) && word(s.High) && word(s.Sum) && len(s.Bins) <= maxBins && len(s.Line) <= maxBins && levels(s.Line) &&
			len(s.Top) <= maxRows && min(s.Of, s.Seen, s.Missing, s.Distinct) >= 0 && max(s.Seen, s.Missing, s.Distinct) <= max(s.Of, s.Seen)
		for _, n := range s.Bins {
			ok = ok && n >= 0
		}
		for _, t := range s.Top {
			ok = ok && word(t.Text) && t.Count >= 0
		}
	}
	return ok
}

func word(s string) bool { return len(s) <= maxWord }

func words(all []string) bool {
	ok := len(all) <= maxColumns
	for _, s := range all {
		ok = ok && word(s)
	}
	return ok
}

func levels(all []int) bool {
	ok := true
	for _, n := range all {
		ok = ok && n >= -1 && n <= maxLevel
	}
	return ok
}

// outline is of a preview what tells which columns changed.
func outline(p *agent.Preview) *agent.Preview {
	if p == nil || len(p.Sketches) == 0 {
		return nil
	}
	o := &agent.Preview{Sketches: make([]agent.Sketch, len(p.Sketches))}
	for i, s := range p.Sketches {
		o.Sketches[i] = agent.Sketch{Name: s.Name, Type: s.Type, Of: s.Of, Sum: s.Sum}
	}
	return o
}
