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
	var g agent.Graft
	var record []cellgraph.Group // groups that hold what the cell did not look at
	var held, left []string      // names in groups of the effect that the cell did not bind; those of groups that are made anew
	t.Effect.Groups = nil
	recorded := cellgraph.NewState(s.parts)
	recorded.Apply(*near)
	read, mates := looksAt(near)
	if len(near.Effect.Opaque) > 0 {
		return nil, fmt.Errorf("%s cannot be captured", near.Effect.Opaque[0].Name)
	}
	moved := slices.Concat(near.Effect.Rebound, near.Effect.Deleted) // what holds something else after the cell, or nothing
	for _, group := range near.Effect.Groups {
		own := both(group.Names, near.Effect.Rebound)
		others := without(group.Names, own)
		known := both(others, read)
		switch {
		case len(both(others, mates)) == 0:
			t.Effect.Groups = append(t.Effect.Groups, group)
			continue
		case len(without(slices.Concat(others, s.matesOf(others)), slices.Concat(known, moved))) == 0: // it looked at all
			t.Effect.Groups, held = append(t.Effect.Groups, group), append(held, others...)
			continue
		case len(both(others, mates)) < len(others):
			return nil, fmt.Errorf("%v hold what is not known to be as it was", others)
		case len(known) == 0 && len(own) > 0:
			return nil, fmt.Errorf("%v share with nothing that the cell looked at", own)
		case len(own) == 0:
			continue // it left them as they were
		}
		record, g.Bound, g.Known = append(record, group), append(g.Bound, own...), append(g.Known, known...)
	}
	if len(record) > 0 {
		g.Gone = without(moved, g.Bound)
		groups, err := s.regroup(ctx, record, g)
		if err != nil {
			return nil, err
		}
		for _, group := range groups {
			left = append(left, without(group.Names, g.Bound)...)
		}
		held = append(held, left...)
		t.Effect.Groups = append(t.Effect.Groups, groups...)
		slices.SortFunc(t.Effect.Groups, func(a, b cellgraph.Group) int { return strings.Compare(a.Names[0], b.Names[0]) })
	}
	t.Observed = slices.DeleteFunc(slices.Clone(near.Observed), func(o cellgraph.Observation) bool { return o.Kind == cellgraph.KindMates })
	for _, name := range held {
		if o := s.state.ObserveMates(s.state.Mates(name)); !slices.Contains(t.Observed, o) {
			t.Observed = append(t.Observed, o)
		}
	}
	return &t, s.proveGraft(recorded, &t, slices.Concat(g.Known, g.Bound), left)
}

// regroup captures record anew, with what the kernel holds now in place of what the cell left as it was.
func (s *Session) regroup(ctx context.Context, record []cellgraph.Group, graft agent.Graft) ([]cellgraph.Group, error) {
	for _, g := range record {
		if slices.ContainsFunc(g.Vars, func(v cellgraph.Variable) bool { return v.Type == "type" }) {
			return nil, fmt.Errorf("%v holds a class", g.Names)
		}
		load, err := s.load(ctx, &g)
		if err != nil {
			return nil, err
		}
		graft.Groups = append(graft.Groups, load)
	}
	spool := filepath.Join(s.cfg.Runtime, "spool")
	defer os.Remove(spool)
	captured, err := s.agent.Graft(ctx, graft, spool)
	if err != nil {
		return nil, err
	}
	return s.groups(ctx, captured, func(string) bool { return true }, s.state.Group, spool)
}

// proveGraft compares a grafted trace with the one that it was made of: names
// have the values and share as on record, and others are as they were.
func (s *Session) proveGraft(recorded *cellgraph.State, t *cellgraph.Trace, names, others []string) error {
	after := s.state.Clone()
	after.Apply(*t)
	if now := after.ObserveNames(names); !now.Is(recorded.ObserveNames(names)) {
		return fmt.Errorf("%v would not be what is on record", names)
	}
	if !after.ObserveNames(others).Is(s.state.ObserveNames(others)) {
		return fmt.Errorf("%v would not stay what they are", others)
	}
	return nil
}

// looksAt are the names that a trace observed one by one, and all that share
// with some and that it observed apart from all else.
func looksAt(t *cellgraph.Trace) (read, mates []string) {
	for _, o := range t.Observed {
		switch {
		case o.Kind == cellgraph.KindName && !o.ID.IsZero():
			read = append(read, o.Name)
		case o.Kind == cellgraph.KindMates:
			mates = append(mates, o.Names()...)
		}
	}
	return read, mates
}

// both are the names of a that are in b.
func both(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(n string) bool { return !slices.Contains(b, n) })
}

// without are the names of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(n string) bool { return slices.Contains(b, n) })
}
