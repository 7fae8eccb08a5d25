package cellgraph

import (
	"maps"
	"slices"
)

// Opaque is what a name is bound to that has no captured form. Its identity is
// its history: the keys of the cells that touched it, in their order.
type Opaque struct {
	Reason  string
	With    []string // the names that share with it, itself included, sorted
	History []Touch
	Open    []string // the files that these hold open; nil if that is not known
}

// Touch is one cell in the history of an opaque thing.
type Touch struct {
	Cell int // how many cells the notebook had passed before it
	Key  Digest
}

// id identifies an opaque thing. Two that were made by one cell differ by name.
func (o Opaque) id(name string) Digest {
	parts := []string{"opaque", name}
	for _, t := range o.History {
		parts = append(parts, t.Key.String())
	}
	return Combine(parts...)
}

// touch counts a cell, and gives the opaque things as it leaves them. What the
// cell read has become part of what it left: their histories go on together.
func (s *State) touch(t *Trace) map[string]Opaque {
	now := Touch{Cell: s.passed, Key: t.Key()}
	s.passed++
	if len(t.Effect.Opaque) == 0 {
		return nil
	}
	var read []Touch
	for _, o := range t.Observed {
		switch {
		case o.Kind == KindName && o.Name == Everything:
			for _, old := range s.opaque {
				read = append(read, old.History...)
			}
		case o.Kind == KindName:
			read = append(read, s.opaque[o.Name].History...)
		}
	}
	left := map[string]Opaque{}
	for _, u := range t.Effect.Opaque {
		with := u.With
		if len(with) == 0 {
			with = []string{u.Name}
		}
		history := slices.Concat(s.opaque[u.Name].History, read, []Touch{now})
		slices.SortFunc(history, func(a, b Touch) int { return a.Cell - b.Cell })
		left[u.Name] = Opaque{Reason: u.Reason, With: with, History: slices.Compact(history), Open: u.Open}
	}
	return left
}

// IsOpaque reports whether name is bound to what cannot be captured, and to what.
func (s *State) IsOpaque(name string) (Opaque, bool) {
	o, ok := s.opaque[name]
	return o, ok
}

// Opaque are the names bound to what cannot be captured, sorted.
func (s *State) Opaque() []Uncaptured {
	var list []Uncaptured
	for _, name := range slices.Sorted(maps.Keys(s.opaque)) {
		list = append(list, Uncaptured{Name: name, Reason: s.opaque[name].Reason})
	}
	return list
}

// opaqueGroup identifies all that shares with an opaque thing.
func (s *State) opaqueGroup(o Opaque) Digest {
	parts := []string{"opaque group"}
	for _, name := range o.With {
		if other, ok := s.opaque[name]; ok {
			parts = append(parts, name, other.id(name).String())
		}
	}
	return Combine(parts...)
}
