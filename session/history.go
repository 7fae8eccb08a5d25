package session

import (
	"context"
	"fmt"
	"slices"

	"kedge/cellgraph"
	"kedge/kernel/agent"
)

// tell gives the kernel's history the cells that were restored so far, for a
// cell that may read it; all cells so far, if some were run again out of their
// order. The error says why that cannot be done.
func (s *Session) tell(ctx context.Context) error {
	var r agent.Restore
	for i, p := range s.past {
		if s.executed[i] && !s.retell || s.told[i] {
			continue
		}
		entry := agent.Entry{Count: p.count, Code: p.cell.Source}
		if s.executed[i] {
			r.History = append(r.History, entry) // what it showed is there
			continue
		}
		if why := s.unknownHistory(i); why != "" {
			return fmt.Errorf("cell %s %s", p.cell.ID, why)
		}
		if p.shows {
			var err error
			if entry.Result, err = s.shownAgain(ctx, p.trace.Effect.Result); err != nil {
				return err
			}
		}
		r.History = append(r.History, entry)
	}
	if len(r.History) == 0 {
		return nil
	}
	if _, err := s.agent.Apply(ctx, r); err != nil {
		return err
	}
	for i := range s.past {
		s.told[i] = true
	}
	s.retell = false
	return nil
}

// unknownHistory says why what a restored cell left in the history is not known; "" if it is.
func (s *Session) unknownHistory(i int) string {
	p := s.past[i]
	shown := slices.ContainsFunc(s.past[:i+1], func(p passed) bool { return p.shows })
	if shown && slices.ContainsFunc(p.trace.Observed, func(o cellgraph.Observation) bool {
		return o.Kind == cellgraph.KindName && (cellgraph.IsHistory(o.Name) && !o.ID.IsZero() || o.Name == cellgraph.Everything)
	}) {
		return "may have changed what earlier cells showed"
	}
	if slices.ContainsFunc(p.trace.Bound, cellgraph.IsHistory) {
		return "takes a name of the history"
	}
	result := p.trace.Effect.Result
	if !p.shows {
		return ""
	}
	if result == nil || *result == (cellgraph.Result{}) {
		return "showed something that was not captured"
	}
	for _, later := range s.past[i+1:] {
		e := later.trace.Effect
		if result.Is != "" && (slices.Contains(e.Rebound, result.Is) || slices.Contains(e.Deleted, result.Is)) {
			return "showed " + result.Is + ", which has another value now"
		}
	}
	return ""
}

// shownAgain says how the agent finds what a cell showed; nil if it showed nothing.
func (s *Session) shownAgain(ctx context.Context, result *cellgraph.Result) (*agent.Shown, error) {
	if result == nil {
		return nil, nil
	}
	if result.Group == nil {
		return &agent.Shown{Is: result.Is}, nil
	}
	load, err := s.load(ctx, result.Group)
	if err != nil {
		return nil, err
	}
	return &agent.Shown{Group: &load}, nil
}
