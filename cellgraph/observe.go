package cellgraph

import (
	"fmt"
	"slices"
	"strings"
)

// Everything is the name by which a cell that may read any name observes them all.
const Everything = "*"

// unknown is the ID of what cannot be told; it equals nothing, itself included.
var unknown = Combine("unknown")

// same reports whether two identities are those of one and the same.
func same(a, b Digest) bool { return a == b && a != unknown }

// Observe says what name, or [Everything], is to a cell that reads it now,
// taken by itself. The zero ID stands for an absent name.
func (s *State) Observe(name string) Observation {
	o := Observation{Kind: KindName, Name: name}
	if name == Everything {
		o.ID = s.everything()
		return o
	}
	if thing, ok := s.opaque[name]; ok {
		o.ID, o.Shown = thing.id(name), "("+thing.Reason+")"
		return o
	}
	g := s.names[name]
	switch {
	case g != nil: // a cell has taken it, if it is one of the history's
		o.ID = s.part(g, name)
		o.Shown = g.shown(name)
	case IsHistory(name):
		o.ID = Combine("history", s.history.String())
	}
	return o
}

// ObserveNames says which of names share mutable objects with each other, and
// what they reach, taken together. Names that are not bound are left out.
func (s *State) ObserveNames(names []string) Observation {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	o := Observation{Kind: KindNames, Name: strings.Join(names, "\n")}
	parts, ok := s.together(names)
	if !ok {
		o.ID = unknown
		return o
	}
	digests := []string{"together"}
	var shared []string
	for _, p := range parts {
		digests = append(append(digests, p.Names...), p.ID.String())
		if len(p.Names) > 1 {
			shared = append(shared, strings.Join(p.Names, " "))
		}
	}
	o.ID, o.Shown = Combine(digests...), strings.Join(shared, ", ")
	return o
}

// ObserveGroup says who shares with name, and what all of them reach: what a
// cell depends on that changes name's value in place, for it changes theirs.
func (s *State) ObserveGroup(name string) Observation {
	o := Observation{Kind: KindGroup, Name: name}
	if thing, ok := s.opaque[name]; ok {
		o.ID, o.Shown = s.opaqueGroup(thing), strings.Join(thing.With, " ")
		return o
	}
	g := s.names[name]
	if g == nil {
		return o
	}
	names := s.bound(g)
	all := s.ObserveNames(names)
	o.ID, o.Shown = all.ID, strings.Join(names, " ")
	if all.ID != unknown {
		o.ID = Combine("group", all.Name, all.ID.String())
	}
	return o
}

// ObserveMates says who shares with each of names, and what all of them reach:
// what a cell depends on that left them as they were but bound others to parts
// of what some hold, for its effect holds them all.
func (s *State) ObserveMates(names []string) Observation {
	o := Observation{Kind: KindMates, Name: strings.Join(names, "\n")}
	parts := []string{"mates"}
	for _, name := range names {
		g := s.ObserveGroup(name)
		if g.ID == unknown {
			o.ID = unknown
			return o
		}
		parts = append(parts, name, g.ID.String())
	}
	o.ID = Combine(parts...)
	return o
}

// Names are the names that an observation of [KindNames] or [KindMates] is about.
func (o Observation) Names() []string { return strings.Split(o.Name, "\n") }

// Is reports whether o and other say that something is one and the same.
func (o Observation) Is(other Observation) bool { return same(o.ID, other.ID) }

// Mates are the names that share with name, itself included, sorted; nil if it is not bound.
func (s *State) Mates(name string) []string {
	if thing, ok := s.opaque[name]; ok {
		return thing.With
	}
	if g := s.names[name]; g != nil {
		return s.bound(g)
	}
	return nil
}

// bound are the names of g that are still bound to it.
func (s *State) bound(g *Group) []string {
	var names []string
	for _, name := range g.Names {
		if s.names[name] == g {
			names = append(names, name)
		}
	}
	return names
}

// together splits names into parts across all groups, in the order of their first names.
func (s *State) together(names []string) ([]Part, bool) {
	var all []Part
	var groups []*Group
	of := map[*Group][]string{}
	for _, name := range names {
		if thing, ok := s.opaque[name]; ok {
			all = append(all, Part{Names: []string{name}, ID: thing.id(name)})
			continue
		}
		g := s.names[name]
		if g == nil {
			continue
		}
		if of[g] == nil {
			groups = append(groups, g)
		}
		of[g] = append(of[g], name)
	}
	for _, g := range groups {
		parts, ok := s.split(g, of[g])
		if !ok {
			return nil, false
		}
		all = append(all, parts...)
	}
	slices.SortFunc(all, func(a, b Part) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return all, true
}

// split is Parter.Parts but for a group of one name, which is a part.
func (s *State) split(g *Group, names []string) ([]Part, bool) {
	if len(g.Names) == 1 {
		return []Part{{Names: names, ID: g.ID}}, true
	}
	return s.parts.Parts(g, names)
}

// part is the identity of one name of g.
func (s *State) part(g *Group, name string) Digest {
	parts, ok := s.split(g, []string{name})
	if !ok || len(parts) != 1 {
		return unknown
	}
	return parts[0].ID
}

// everything identifies all that is bound.
func (s *State) everything() Digest {
	parts := []string{"names"}
	for _, n := range s.Names() {
		parts = append(parts, n, s.names[n].ID.String())
	}
	for _, u := range s.Opaque() {
		parts = append(parts, u.Name, s.opaque[u.Name].id(u.Name).String())
	}
	return Combine(parts...)
}

// shown is the short human form of one name of g. Functions and classes have
// their kind instead of a value.
func (g *Group) shown(name string) string {
	for _, v := range g.Vars {
		if v.Name != name {
			continue
		}
		switch v.Type {
		case "function":
			return name + "()"
		case "type":
			return "class " + name
		}
		return v.Shown
	}
	return ""
}

// Variable describes one name of g; the zero Variable if it is not described.
func (g *Group) Variable(name string) Variable {
	for _, v := range g.Vars {
		if v.Name == name {
			return v
		}
	}
	return Variable{}
}

// Made is one of the classes of e that a cell has made before, or "".
func (s *State) Made(e *Effect) string {
	for _, token := range e.Classes {
		if s.classes[token] {
			return token
		}
	}
	return ""
}

// ObserveAmbient says what an adapter is at now; zero if no cell has changed it.
func (s *State) ObserveAmbient(name string) Observation {
	return Observation{Kind: KindAmbient, Name: name, ID: s.ambient[name].ID}
}

// ObserveLoaded says whether a module has been imported; zero if it has not.
func (s *State) ObserveLoaded(module string) Observation {
	o := Observation{Kind: KindLoaded, Name: module}
	if slices.Contains(s.modules, module) {
		o.ID = Combine("loaded", module)
	}
	return o
}

// ObserveHidden says which runs of cells have changed what cannot be looked at; zero if none has.
func (s *State) ObserveHidden() Observation { return Observation{Kind: KindHidden, ID: s.hidden} }

// ObserveStep says what a step's cells have done so far; zero if none has run.
func (s *State) ObserveStep(name string) Observation {
	effects := s.steps[name]
	if len(effects) == 0 {
		return Observation{Kind: KindStep, Name: name}
	}
	var parts []string
	for _, e := range effects {
		parts = append(parts, e.effect.String())
	}
	return Observation{Kind: KindStep, Name: name, ID: Combine(parts...)}
}

// Numbers is the name by which an output that names cells by their numbers observes them.
const Numbers = "#"

// ObserveText says how the last cell with a code reads, or every cell that
// defines something, for [Everything], or which number each has, for [Numbers]. Which cells do is in it: a definition may
// come from another cell and be the same but for its text.
func (s *State) ObserveText(code string) Observation {
	parts, last := []string{"text"}, ""
	if code == Numbers {
		parts = append(parts, fmt.Sprint(len(s.texts)))
	}
	for i, c := range s.texts {
		if c.Code.String() == code {
			last = c.Source
		}
		if c.Defines {
			parts = append(parts, c.Code.String())
			switch code {
			case Everything:
				parts = append(parts, c.Source)
			case Numbers:
				parts = append(parts, fmt.Sprint(i))
			}
		}
	}
	return Observation{Kind: KindText, Name: code, ID: Combine(append(parts, last)...)}
}
