package session

import (
	"context"

	"kedge/cellgraph"
)

// Plan says what a run would do, starting no kernel.
func (s *Session) Plan(ctx context.Context) *Report {
	r := &Report{Notebook: s.cfg.Path, Kernel: s.cfg.KernelID, OK: true, Steps: []StepReport{}, Cells: []CellReport{}}
	forecasts, skipped := s.forecasts(ctx)
	for _, cell := range s.cfg.Outline.Cells {
		c := CellReport{ID: cell.ID, Uncaptured: []UncapturedName{}}
		if cell.Step != "" {
			step := cell.Step
			c.Step = &step
		}
		if why, ok := skipped[cell.ID]; ok {
			c.Status, c.Why = NotRun, why
		} else {
			f := forecasts[cell.ID]
			c.Status, c.Why, c.Seconds = string(f.Status), f.Why, f.Seconds
			if f.Hit != nil {
				c.Why, c.saved, c.Seconds = "nothing changed", f.Hit.Seconds, 0
			}
		}
		r.Cells = append(r.Cells, c)
	}
	names := []string{}
	for _, step := range s.cfg.Outline.Steps {
		names = append(names, step.Name)
	}
	r.sumUp(names)
	for i := range r.Steps {
		r.Steps[i].Status, r.Steps[i].Why = s.planned(r, r.Steps[i].Name)
	}
	return r
}

// forecasts are the plan's words on the cells by id, and why other cells would not run.
func (s *Session) forecasts(ctx context.Context) (of map[string]cellgraph.Forecast, skipped map[string]string) {
	cells, skipped := s.planCells(ctx)
	// The world answers for the folder before anything ran; what a fresh cell
	// wrote is a leftover there, so the plan's own state is laid over it.
	of = map[string]cellgraph.Forecast{}
	for _, f := range cellgraph.Plan(cells, s.state.Clone(), s.world.over) {
		of[f.ID] = f
	}
	return of, skipped
}

// planned joins the forecasts of a step's cells: unknown before stale before fresh.
func (s *Session) planned(r *Report, step string) (status, why string) {
	rank := map[string]int{NotRun: 0, string(cellgraph.Fresh): 1, string(cellgraph.Stale): 2, string(cellgraph.Unknown): 3}
	status = NotRun
	for _, c := range r.Cells {
		if c.Step != nil && *c.Step == step && (why == "" || rank[c.Status] > rank[status]) {
			status, why = c.Status, c.Why
		}
	}
	return status, why
}

// planCells gathers what the plan folds over, and why other cells would not run.
func (s *Session) planCells(ctx context.Context) (cells []cellgraph.PlanCell, skipped map[string]string) {
	skipped = map[string]string{}
	reached, last := s.cfg.From == "", s.lastOf(s.cfg.To)
	for i, cell := range s.cfg.Outline.Cells {
		reached = reached || cell.Step == s.cfg.From
		switch {
		case cell.Skip:
			skipped[cell.ID] = "skip"
			continue
		case last >= 0 && i > last:
			skipped[cell.ID] = "after --to " + s.cfg.To
			continue
		}
		p := cellgraph.PlanCell{ID: cell.ID, Step: cell.Step, Entered: s.entered(cell), Binds: s.cfg.Sources[cell.ID].Binds}
		traces, err := s.cfg.Store.Traces(ctx, s.code(cell))
		if err != nil {
			s.fault("look up cell "+cell.ID, err)
		}
		p.Traces, p.Last = fitting(traces, cell), s.last(ctx, cell.ID)
		p.Ran = s.lostWhy(ctx, cell)
		if p.Last == nil && len(traces) > 0 {
			p.Last = &traces[0]
		}
		switch {
		case cell.Step == "":
			p.Forced = "no step tags"
		case s.cfg.Blind != "":
			p.Forced = s.cfg.Blind
		case s.step(cell.Step).Cache == "disabled":
			p.Forced, p.Never = "cache:disabled", true
		case s.cfg.From != "" && reached:
			p.Forced = "--from " + s.cfg.From
		}
		cells = append(cells, p)
	}
	return cells, skipped
}

// last is the newest trace that the cell left, whatever its code was then.
func (s *Session) last(ctx context.Context, cell string) *cellgraph.Trace {
	data, ok, err := s.cfg.Store.Memo(ctx, "last", s.key(cell))
	if err != nil || !ok {
		return nil
	}
	code, err := cellgraph.ParseDigest(string(data))
	if err != nil {
		return nil
	}
	traces, err := s.cfg.Store.Traces(ctx, code)
	if err != nil || len(traces) == 0 {
		return nil
	}
	return &traces[0]
}

// Graph joins the declared edges with those seen when the cells last ran.
func (s *Session) Graph(ctx context.Context) cellgraph.Graph {
	var runs []cellgraph.StepRun
	for _, cell := range s.cfg.Outline.Cells {
		if cell.Skip {
			continue
		}
		run := cellgraph.StepRun{Step: cell.Step, Trace: s.last(ctx, cell.ID)}
		for _, step := range s.cfg.Outline.Steps {
			if step.Name == cell.Step {
				run.Prev = step.Prev
			}
		}
		runs = append(runs, run)
	}
	return cellgraph.NewGraph(runs)
}
