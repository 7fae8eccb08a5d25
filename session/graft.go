package session

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// graft makes a hit of a verdict that has none but a trace that is near: what
// the cell looked at is the same, and only what others hold of it is not. The
// kernel, which holds the present state, binds what the cell bound to the same
// parts of what is there now. If that cannot be done, or cannot be shown to be
// what the cell would have left, the verdict stays as it is.
func (s *Session) graft(ctx context.Context, cell notebook.CodeCell, v cellgraph.Verdict) cellgraph.Verdict {
	t, err := s.grafted(ctx, v.Near.In(cell.ID, cell.Step))
	if err != nil || s.unusable(ctx, cell, t) != "" {
		return v
	}
	return cellgraph.Verdict{Hit: t}
}

// grafted is a near trace with what it would have observed and left here.
func (s *Session) grafted(ctx context.Context, near *cellgraph.Trace) (*cellgraph.Trace, error) {
	t := *near
	var bound, known []string
	var record, made []cellgraph.Group // groups that hold what the cell left as it was: on record, and as they would be now
	t.Effect.Groups = nil
	read, left := looksAt(near)
	for _, g := range near.Effect.Groups {
		own := both(g.Names, near.Effect.Rebound)
		switch others := without(g.Names, own); {
		case len(both(others, left)) == 0:
			t.Effect.Groups = append(t.Effect.Groups, g)
		case len(both(others, left)) < len(others):
			return nil, fmt.Errorf("%v hold what the cell changed in place", both(others, left))
		case len(both(others, read)) > 0:
			record, bound, known = append(record, g), append(bound, own...), append(known, both(others, read)...)
		case len(own) > 0:
			return nil, fmt.Errorf("%v share with nothing that the cell looked at", own)
		}
	}
	if len(record) > 0 {
		groups, err := s.regroup(ctx, record, known, bound, near.Effect.Deleted)
		if err != nil {
			return nil, err
		}
		made = groups
		t.Effect.Groups = append(t.Effect.Groups, groups...)
		slices.SortFunc(t.Effect.Groups, func(a, b cellgraph.Group) int { return strings.Compare(a.Names[0], b.Names[0]) })
	}
	t.Observed = slices.DeleteFunc(slices.Clone(near.Observed), func(o cellgraph.Observation) bool { return o.Kind == cellgraph.KindMates })
	var others []string
	for _, g := range made {
		more := without(g.Names, bound)
		others = append(others, more...)
		for _, name := range more {
			t.Observed = append(t.Observed, s.state.ObserveMates(s.state.Mates(name)))
		}
	}
	return &t, s.proveGraft(near, &t, slices.Concat(known, bound), others)
}

// regroup captures record anew, with what the kernel holds now in place of what the cell left as it was.
func (s *Session) regroup(ctx context.Context, record []cellgraph.Group, known, bound, gone []string) ([]cellgraph.Group, error) {
	var loads []agent.Load
	for _, g := range record {
		if slices.ContainsFunc(g.Vars, func(v cellgraph.Variable) bool { return v.Type == "type" }) {
			return nil, fmt.Errorf("%v holds a class", g.Names)
		}
		load, err := s.load(ctx, &g)
		if err != nil {
			return nil, err
		}
		loads = append(loads, load)
	}
	spool := filepath.Join(s.cfg.Runtime, "spool")
	defer os.Remove(spool)
	captured, err := s.agent.Graft(ctx, loads, list(known), list(bound), list(gone), spool)
	if err != nil {
		return nil, err
	}
	return s.groups(ctx, captured, func(string) bool { return true }, spool)
}

// proveGraft compares a grafted trace with the one that it was made of: names
// have the values and share as on record, and others are as they were.
func (s *Session) proveGraft(near, t *cellgraph.Trace, names, others []string) error {
	after, recorded := s.state.Clone(), cellgraph.NewState(s.parts)
	after.Apply(*t)
	recorded.Apply(*near)
	if now := after.ObserveNames(names); !now.Is(recorded.ObserveNames(names)) {
		return fmt.Errorf("%v would not be what is on record", names)
	}
	if !after.ObserveNames(others).Is(s.state.ObserveNames(others)) {
		return fmt.Errorf("%v would not stay what they are", others)
	}
	return nil
}

// looksAt are the names that a trace observed one by one, and those whose
// values its cell left as they were, though its effect holds them.
func looksAt(t *cellgraph.Trace) (read, left []string) {
	for _, o := range t.Observed {
		switch {
		case o.Kind == cellgraph.KindName && !o.ID.IsZero():
			read = append(read, o.Name)
		case o.Kind == cellgraph.KindMates:
			left = append(left, strings.Split(o.Name, "\n")...)
		}
	}
	return read, left
}

// both are the names of a that are in b.
func both(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(n string) bool { return !slices.Contains(b, n) })
}

// without are the names of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(n string) bool { return slices.Contains(b, n) })
}

// list is names as a JSON array, which nil is not.
func list(names []string) []string { return append([]string{}, names...) }
