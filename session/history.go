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
	for _, p := range s.past {
		if name := p.trace.Takes(); name != "" || slices.Contains(p.trace.Effect.Deleted, cellgraph.Under) {
			return fmt.Errorf("cell %s takes a name of the history", p.cell.ID)
		}
		if r.Taken == 0 && slices.Contains(p.trace.Effect.Rebound, cellgraph.Under) {
			r.Taken = p.count
		}
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

// coincides says why IPython may take what a cell bound _ to for its own once a
// trace is restored: it is as what was shown. "" if that cannot be.
func (s *Session) coincides(t *cellgraph.Trace) string {
	binds := slices.Contains(t.Effect.Rebound, cellgraph.Under)
	if !binds && !s.state.Taken() {
		return ""
	}
	after := s.state.Clone()
	after.Apply(*t)
	under := after.Group(cellgraph.Under)
	if under == nil {
		return ""
	}
	if binds && !s.interactive && s.likeLast(under, len(s.past)) {
		return "it binds _ to what may have been shown last"
	}
	if t.Effect.Result != nil && like(under, t.Effect.Result) {
		return "it may show what _ is bound to"
	}
	return ""
}

// lastShown is the last cell of the past before number i that showed a result, -1 if there is none.
func (s *Session) lastShown(i int) int {
	for i--; i >= 0 && !s.past[i].shows; i-- {
	}
	return i
}

// likeLast reports whether what _ is bound to may be what was shown last before
// cell number i of the past; if nothing was, that is "".
func (s *Session) likeLast(under *cellgraph.Group, i int) bool {
	if i = s.lastShown(i); i >= 0 {
		return like(under, s.past[i].trace.Effect.Result)
	}
	v := under.Variable(cellgraph.Under)
	return v.Type == "str" && v.Length != nil && *v.Length == 0
}

// mistaken reports whether the cell that has just run has bound _ to what, not
// that the kernel knows, a restored cell may have shown last.
func (s *Session) mistaken(o *seen) bool {
	under := s.state.Group(cellgraph.Under)
	if !slices.Contains(o.captured.Bound, cellgraph.Under) || under == nil {
		return false
	}
	own := len(s.past) - 1
	last := s.lastShown(own)
	return last >= 0 && !s.executed[last] && !s.told[last] && s.likeLast(under, own)
}

// like reports whether what a cell showed may be the very object that _ is bound to.
func like(under *cellgraph.Group, result *cellgraph.Result) bool {
	a := under.Variable(cellgraph.Under)
	switch {
	case !result.Captured():
		return true
	case result.Group == nil: // it is never for a number or a string that a name is noted
		return !slices.Contains([]string{"int", "float", "str", "bool", "bytes", "NoneType"}, a.Type)
	}
	b := result.Group.Variable("Out")
	return a.Type == b.Type && a.Shown == b.Shown && (a.Length == nil || b.Length == nil || *a.Length == *b.Length)
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
	result := p.trace.Effect.Result
	if !p.shows {
		return ""
	}
	if !result.Captured() {
		return "showed something that was not captured"
	}
	for _, later := range s.past[i+1:] {
		e := later.trace.Effect
		if result.Is != "" && (slices.Contains(e.Rebound, result.Is) || slices.Contains(e.Deleted, result.Is)) {
			return "showed " + result.Is + ", which has another value now"
		}
		touched := e.Names()
		for _, name := range result.Within {
			if touched[name] {
				return "showed a part of " + name + ", which has another value now"
			}
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
