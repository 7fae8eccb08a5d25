package session

import (
	"maps"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/observe"
)

// kept begins the name of a fact that a module asked for while it was
// imported, and may hold: every later cell can find it there.
const kept = "kept "

// machine observes what the cell asked of the machine, and what modules may
// hold of it that this cell or one before imported.
func (s *Session) machine(o *seen) []cellgraph.Observation {
	names := map[string]bool{}
	for _, name := range slices.Concat(o.access.Facts, o.captured.Facts) {
		names[name] = true
	}
	for _, p := range s.past {
		for _, was := range p.trace.Observed {
			if was.Kind == cellgraph.KindMachine && strings.HasPrefix(was.Name, kept) {
				names[was.Name] = true
			}
		}
	}
	var list []cellgraph.Observation
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, s.world.Observe(cellgraph.KindMachine, name))
	}
	return list
}

// machine is what the machine answers to who asks for a fact. What tells who
// or where somebody is has a keyed digest, so that no trace says it.
func (w *world) machine(name string) cellgraph.Digest {
	zone, _ := w.env("TZ")
	answer := observe.Fact(name, zone)
	switch name {
	case observe.FactZone, observe.FactProcessors, "/etc/os-release":
		return cellgraph.Combine("machine", name, answer)
	}
	return KeyedVariable(w.secret, "machine "+name, answer)
}
