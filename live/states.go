package live

import (
	"context"
	"errors"

	"kedge/kernel/agent"
	"kedge/notebook"
	"kedge/session"
)

// standing is what has become of the cells in this kernel so far.
type standing struct {
	outcomes map[string]outcome
	running  string
	notice   string
}

// cellState is how a cell stands.
type cellState struct {
	ID    string  `json:"id"`
	State string  `json:"state"` // fresh, restored, stale, running, uncached or none
	Step  string  `json:"step"`  // "" if it is in none
	Why   string  `json:"reason"`
	Secs  float64 `json:"seconds"`       // of its last run
	Saved float64 `json:"saved_seconds"` // by its restoring in this kernel
	Runs  bool    `json:"runs"`          // it would run, were the notebook run top to bottom
}

// stepEdge says that a step depends on another.
type stepEdge struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Declared bool     `json:"declared"`
	Observed []string `json:"observed"` // names and files
}

// totals sum the cells up.
type totals struct {
	Cells    int     `json:"cells"`         // that are in steps
	Runs     int     `json:"runs"`          // of these, that would run
	Seconds  float64 `json:"seconds"`       // that these took when they last ran
	Unknown  int     `json:"unknown"`       // of these, that have never run
	Restored int     `json:"restored"`      // times that a cell was restored in this kernel
	Saved    float64 `json:"saved_seconds"` // by that
	Logical  int64   `json:"logical_bytes"` // of all snapshots of the notebook
	Unique   int64   `json:"unique_bytes"`  // of these, that are stored
}

// states is how the cells of a page stand.
type states struct {
	Type    string      `json:"type"`
	Seq     int         `json:"seq"` // of the cells that it is about
	Cells   []cellState `json:"cells"`
	Steps   []string    `json:"steps"`
	Edges   []stepEdge  `json:"edges"`
	Totals  totals      `json:"totals"`
	First   string      `json:"first"`   // the first cell that would run, "" if none would
	Problem string      `json:"problem"` // why there is nothing to be said of the cells
	At      string      `json:"at"`      // the cell whose tag that is about
	Notice  string      `json:"notice"`
	Auto    bool        `json:"auto"`  // every cell is a step
	Plain   bool        `json:"plain"` // the notebook has no steps
}

// states looks at the cells of a page. It runs nothing in the kernel.
func (d *desk) states(ctx context.Context, p *page, known standing) states {
	s := states{Type: "states", Seq: p.seq, Cells: []cellState{}, Steps: []string{}, Edges: []stepEdge{}, Notice: known.notice, Auto: p.auto}
	for _, o := range known.outcomes {
		if o.answer.Status == session.Restored {
			s.Totals.Restored++
			s.Totals.Saved += o.answer.SavedSeconds
		}
	}
	outline, err := p.outline()
	var tag *notebook.TagError
	if errors.As(err, &tag) {
		s.At = tag.Cell
	}
	var look session.Outlook
	if err == nil && len(outline.Steps) == 0 {
		s.Plain = true
	} else if err == nil {
		look, err = d.look(ctx, outline)
	}
	if err != nil {
		s.Problem, outline, look = err.Error(), &notebook.Outline{}, session.Outlook{}
	}
	of := map[string]notebook.CodeCell{}
	for _, cell := range outline.Cells {
		of[cell.ID] = cell
	}
	for _, id := range p.ids {
		c := state(of[id], look, known)
		c.ID = id
		if id == s.At {
			c.Why = s.Problem
		}
		s.Cells = append(s.Cells, c)
		if c.Runs && s.First == "" {
			s.First = id
		}
		s.Totals.add(c)
	}
	if !s.Plain && s.Problem == "" {
		of := d.measure(ctx)
		s.Totals.Logical, s.Totals.Unique = of.logical, of.unique
	}
	s.Steps = append(s.Steps, look.Graph.Steps...)
	for _, e := range look.Graph.Edges {
		s.Edges = append(s.Edges, stepEdge{e.From, e.To, e.Declared, append([]string{}, e.Observed...)})
	}
	return s
}

// state is how one cell stands; the zero cell is one that no step has.
func state(cell notebook.CodeCell, look session.Outlook, known standing) cellState {
	c := cellState{State: "none", Step: cell.Step}
	if known.running != "" && known.running == cell.ID {
		c.State = "running"
	}
	p, ok := look.Cells[cell.ID]
	if !ok {
		return c
	}
	c.Why, c.Secs, c.Runs = p.Why, p.Seconds, p.Runs
	o, asked := known.outcomes[cell.ID]
	switch {
	case c.State == "running", p.Skipped:
		c.Runs = c.Runs && !p.Skipped
	case p.Runs && asked && o.saving && same(o.source, cell.Source):
		c.State, c.Why = "running", "what it left is being saved"
	case p.Uncached:
		c.State = "uncached"
	case p.Runs:
		c.State = "stale"
	case asked && o.answer.Status == session.Restored && same(o.source, cell.Source):
		c.State, c.Saved = "restored", o.answer.SavedSeconds
	default:
		c.State = "fresh"
	}
	return c
}

func (t *totals) add(c cellState) {
	if c.Step == "" {
		return
	}
	t.Cells++
	if c.Runs {
		t.Runs++
		t.Seconds += c.Secs
		if c.Secs == 0 {
			t.Unknown++
		}
	}
}

// list are the page's cells in their order.
func (p *page) list() (cells []notebook.Cell) {
	for _, id := range p.ids {
		cells = append(cells, notebook.Cell{ID: id, Source: p.cells[id].Source, Tags: p.cells[id].Tags})
	}
	return cells
}

// outline are the steps of a page's cells. The error is a *notebook.TagError.
func (p *page) outline() (*notebook.Outline, error) { return notebook.OutlineOf(p.list(), p.auto) }

var errNoNotebook = errors.New("this kernel is not told which notebook it is for, so nothing is restored or kept")

// look asks the rule what a straight run would do.
func (d *desk) look(ctx context.Context, outline *notebook.Outline) (session.Outlook, error) {
	path := d.path()
	if d.opening.open == nil || path == "" {
		return session.Outlook{}, errNoNotebook
	}
	cfg, err := d.opening.get(ctx, path)
	if err != nil {
		return session.Outlook{}, err
	}
	if d.glance == nil {
		d.glance = &session.Glance{Store: cfg.Store}
		d.normaliser = agent.NewNormaliser(cfg.Normaliser)
	}
	cfg.Store = d.glance
	var code []string
	for _, cell := range outline.Cells {
		code = append(code, cell.Source)
	}
	normal, err := d.normaliser.Normalise(ctx, code)
	if err != nil {
		return session.Outlook{}, err
	}
	sources := map[string]session.Source{}
	for i, cell := range outline.Cells {
		sources[cell.ID] = normal[i]
	}
	return session.Look(ctx, cfg, outline, sources)
}
