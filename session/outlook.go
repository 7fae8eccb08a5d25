package session

import (
	"context"

	"kedge/cellgraph"
	"kedge/notebook"
)

// Prospect is what an [Outlook] says of a cell.
type Prospect struct {
	Runs     bool // it would really run
	Uncached bool // it runs each time: what it does is not kept, or cannot be laid over a live kernel
	Skipped  bool // neither runs nor is restored
	Why      string
	Seconds  float64 // of the run that would be restored, else of the last one; 0 if it never ran
}

// Outlook is what a straight run of a notebook in a live kernel would restore
// and run, as [Session.Plan] forecasts it, and how its steps depend on each other.
type Outlook struct {
	Cells map[string]Prospect // by id; those of steps
	Graph cellgraph.Graph
}

// Look forecasts a straight run of outline, which need not be saved. It runs
// and changes nothing, and may be called from any goroutine. cfg is as for [Open].
func Look(ctx context.Context, cfg Config, outline *notebook.Outline, sources map[string]Source) (Outlook, error) {
	cfg.Outline, cfg.Sources, cfg.Blind = outline, sources, ""
	s, err := Open(ctx, cfg)
	if err != nil {
		return Outlook{}, err
	}
	forecasts, skipped := s.forecasts(ctx)
	o := Outlook{Cells: map[string]Prospect{}, Graph: s.Graph(ctx)}
	for _, cell := range outline.Cells {
		if why, ok := skipped[cell.ID]; ok {
			o.Cells[cell.ID] = Prospect{Skipped: true, Why: why}
			continue
		}
		f, ok := forecasts[cell.ID]
		if !ok || cell.Step == "" {
			continue
		}
		p := Prospect{Runs: f.Hit == nil, Uncached: f.Uncached, Why: f.Why, Seconds: f.Seconds}
		if f.Hit != nil {
			p.Why = "nothing changed"
			if why := outOfReach(f.Hit); why != "" {
				p.Runs, p.Uncached, p.Why = true, true, why
			}
		}
		o.Cells[cell.ID] = p
	}
	return o, nil
}
