package session

import (
	"maps"
	"slices"

	"kedge/cellgraph"
)

// changes are what restored cells have done to the objects that the kernel
// holds under names: results that are such an object change with it.
type changes struct {
	inPlace map[string]bool // names whose object in the kernel is to become what the name holds
	lost    map[string]bool // the same, but the name was then bound to something else, or deleted
	rebound map[string]bool // names that the kernel holds another object under
}

func newChanges() changes {
	return changes{inPlace: map[string]bool{}, lost: map[string]bool{}, rebound: map[string]bool{}}
}

// add adds what a restored cell did.
func (c changes) add(e *cellgraph.Effect) {
	for name := range e.InPlace() {
		if !c.rebound[name] {
			c.inPlace[name] = true
		}
	}
	for _, name := range slices.Concat(e.Rebound, e.Deleted) {
		if c.inPlace[name] {
			delete(c.inPlace, name)
			c.lost[name] = true
		}
		c.rebound[name] = true
	}
}

func (c changes) clear() {
	clear(c.inPlace)
	clear(c.lost)
	clear(c.rebound)
}

func sorted(names map[string]bool) []string { return slices.Sorted(maps.Keys(names)) }
