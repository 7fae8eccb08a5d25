package session

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"kedge/cellgraph"
)

// leave notes that an earlier run may have left content at name.
func (w *world) leave(name string, content cellgraph.Digest) {
	if w.leftover[name] == nil {
		w.leftover[name] = map[cellgraph.Digest]bool{}
	}
	w.leftover[name][content] = true
}

// isLeftover reports whether what lies at name was left by an earlier run of
// this notebook and has not been changed since.
func (w *world) isLeftover(name string) bool {
	contents := w.leftover[name]
	if contents == nil {
		return false
	}
	info, err := os.Lstat(w.volume.path(name))
	return err == nil && (!info.Mode().IsRegular() || contents[w.onDisk(name)])
}

// Standing is Observe with leftovers in their place, but for those that
// restored cells have taken for absent.
func (w *world) Standing(kind cellgraph.Kind, name string) cellgraph.Observation {
	as := *w
	as.leftover = map[string]map[cellgraph.Digest]bool{}
	for path := range w.absent {
		as.leftover[path] = w.leftover[path]
	}
	return as.Observe(kind, name)
}

// Stand settles the leftovers that an observation is of: absent from here on
// if that is what it says, else there.
func (w *world) Stand(o cellgraph.Observation) {
	covered := w.covered(o.Kind, o.Name)
	if len(covered) == 0 {
		return
	}
	without := !reads(o.Kind) && w.Observe(o.Kind, o.Name).ID == o.ID
	for _, path := range covered {
		if without {
			w.absent[path] = true
		} else {
			w.keep(path)
		}
	}
}

// standing is how the leftovers are settled so far.
type standing struct {
	leftover map[string]map[cellgraph.Digest]bool
	absent   map[string]bool
}

// stands remembers how they are, for stand.
func (w *world) stands() standing { return standing{maps.Clone(w.leftover), maps.Clone(w.absent)} }

// stand settles them as they were.
func (w *world) stand(s standing) { w.leftover, w.absent = s.leftover, s.absent }

// keep makes a leftover a file like any other.
func (w *world) keep(path string) {
	delete(w.leftover, path)
	delete(w.absent, path)
}

// keepAll makes every leftover a file like any other.
func (w *world) keepAll() {
	clear(w.leftover)
	clear(w.absent)
}

// reads reports whether observations of a kind are of what a file holds.
func reads(kind cellgraph.Kind) bool {
	return kind == cellgraph.KindFile || kind == cellgraph.KindSource || kind == cellgraph.KindDefines
}

// covered are the leftovers, not overlaid by a cell of this run, that an observation is of.
func (w *world) covered(kind cellgraph.Kind, name string) []string {
	return slices.DeleteFunc(w.candidates(kind, name), func(path string) bool {
		_, overlaid := w.state.File(path)
		return overlaid || !w.isLeftover(path)
	})
}

// candidates are the paths that an observation is of and that some run has written.
func (w *world) candidates(kind cellgraph.Kind, name string) []string {
	var paths []string
	switch kind {
	case cellgraph.KindStat, cellgraph.KindMode, cellgraph.KindFile, cellgraph.KindSource, cellgraph.KindDefines:
		paths = []string{name}
	case cellgraph.KindImport:
		paths = []string{name + ".py", filepath.Join(name, "__init__.py")}
	case cellgraph.KindList:
		for path := range w.leftover {
			if filepath.Dir(path) == filepath.Clean(name) {
				paths = append(paths, path)
			}
		}
	}
	return slices.DeleteFunc(paths, func(path string) bool { return w.leftover[path] == nil })
}

// sees settles what a cell that really ran saw of earlier runs: that is there.
// It returns one that a restored cell has taken for absent, or "".
func (s *Session) sees(o *seen) (conflict string) {
	note := func(kind cellgraph.Kind, path string) {
		for _, name := range s.world.candidates(kind, s.volume.name(path)) {
			if _, overlaid := s.state.File(name); overlaid || !s.wasLeftover(o, name) {
				continue
			}
			if s.world.absent[name] {
				conflict = name
			}
			s.world.keep(name)
		}
	}
	for _, path := range o.access.Read {
		note(cellgraph.KindFile, path)
	}
	for _, path := range o.access.Stat {
		note(cellgraph.KindStat, path)
	}
	for _, path := range o.access.Listed {
		note(cellgraph.KindList, path)
	}
	return conflict
}
