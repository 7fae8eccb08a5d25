package session

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
)

// seen is all that was seen of one run of a cell.
type seen struct {
	place    int               // of the cell in Session.past
	cache    string            // of its step
	alive    []observe.Process // below the kernel when the cell began
	cell     notebook.CodeCell
	before   map[string]entry            // the volume when the cell began
	was      map[string]cellgraph.Digest // contents then, where they were read
	held     []held                      // open then
	began    time.Time
	after    map[string]entry // the volume when the cell ended
	changed  []string         // names in the volume that the cell changed
	left     []string         // processes that it left running
	strange  string           // what else it did that keeps it from being cached
	reads    agent.Reads
	captured agent.Captured
	holds    []string // the folder and home, if a captured value holds their path
	result   kernel.Result
	access   observe.Access
	seconds  float64
}

// binds reports whether the cell binds a name, be it to the value it had.
func (o *seen) binds(name string) bool {
	return slices.Contains(o.reads.Binds, name) || slices.Contains(o.captured.Bound, name)
}

// wrote reports whether the cell changed what lies at a name.
func (o *seen) wrote(name string) bool {
	_, found := slices.BinarySearch(o.changed, name)
	return found
}

// made reports whether the cell wrote or removed path, which is absolute.
func (o *seen) made(path string) bool {
	return slices.Contains(o.access.Written, path) || slices.Contains(o.access.Deleted, path)
}

// read are the names that the cell read, sorted.
func (o *seen) read() []string {
	names := maps.Clone(o.reads.Reads)
	if !o.captured.Frames {
		for _, name := range o.reads.Weak {
			delete(names, name)
		}
	}
	for _, name := range o.captured.Classes {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// mayKeep are the names whose values the cell read or may have left as they
// were, sorted: its code binds them, but each is bound to what it was before,
// perhaps because the cell failed or took another branch.
func (s *Session) mayKeep(o *seen) []string {
	names := o.read()
	for _, name := range o.reads.Binds {
		if s.state.Mates(name) != nil && !slices.Contains(o.captured.Bound, name) && !slices.Contains(o.captured.Deleted, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// outside lists what the cell observed beyond names, paths and variables of the
// environment, as it was when the cell began: s.state is still the one before
// the cell.
func (s *Session) outside(o *seen) []cellgraph.Observation {
	var list []cellgraph.Observation
	for _, prev := range s.step(o.cell.Step).Prev {
		list = append(list, s.state.ObserveStep(prev))
	}
	list = append(list, s.state.ObserveHidden())
	return slices.Concat(list, s.ambient(o), s.modules(o), s.texts(o), s.machine(o))
}

// touchedPaths lists what the cell observed of the paths that its process tree touched.
func (s *Session) touchedPaths(o *seen) []cellgraph.Observation {
	return slices.Concat(s.files(o), s.modes(o), s.programs(o))
}

// names observes what the cell read of the namespace: each name by itself, all
// together, and who shares with what it changed in place.
func (s *Session) names(o *seen, e *cellgraph.Effect) []cellgraph.Observation {
	var list []cellgraph.Observation
	var bound []string
	for _, name := range s.mayKeep(o) {
		now := s.state.Observe(name)
		list = append(list, now)
		if !now.ID.IsZero() && (!cellgraph.IsHistory(name) || s.state.Mates(name) != nil) {
			bound = append(bound, name)
		}
	}
	if o.reads.All {
		return append(list, s.state.Observe(cellgraph.Everything), s.state.Observe("Out"))
	}
	if len(bound) > 1 {
		list = append(list, s.state.ObserveNames(bound))
	}
	var beside []string                               // names that the cell did not look at, whose values the effect holds
	after := sync.OnceValue(func() *cellgraph.State { // which most cells do not need
		next := s.state.Clone()
		next.Apply(cellgraph.Trace{Effect: *e})
		return next
	})
	for _, name := range slices.Sorted(maps.Keys(e.InPlace())) {
		now := s.state.Observe(name)
		switch {
		case now.ID.IsZero() || slices.Contains(bound, name):
		case s.left(o, after, s.state.Mates(name)):
			beside = append(beside, name)
		default:
			list, bound = append(list, now), append(bound, name) // what the effect holds of it is more than the cell made
		}
	}
	touched := e.Names()
	for _, name := range o.captured.Bound {
		touched[name] = true
	}
	seen := map[string]bool{}
	for _, name := range slices.Concat(bound, beside) {
		mates := s.state.Mates(name)
		if seen[mates[0]] || !o.reads.Exports && !slices.ContainsFunc(mates, func(n string) bool { return touched[n] }) {
			continue
		}
		seen[mates[0]] = true
		if s.left(o, after, mates) {
			list = append(list, s.state.ObserveMates(mates))
		} else {
			list = append(list, s.state.ObserveGroup(name))
		}
	}
	return list
}

// left reports whether the cell left names that share as they were, but for
// those that it bound anew or unbound and whose values it did not look at.
func (s *Session) left(o *seen, after func() *cellgraph.State, mates []string) bool {
	if o.reads.Exports {
		return false
	}
	var same []string
	read := o.read()
	for _, name := range mates {
		_, opaque := s.state.IsOpaque(name)
		switch {
		case opaque:
			return false
		case !slices.Contains(o.captured.Bound, name) && !slices.Contains(o.captured.Deleted, name):
			same = append(same, name)
		case slices.Contains(read, name):
			return false
		}
	}
	return s.state.ObserveNames(same).Is(after().ObserveNames(same))
}

// ambient observes every adapter; a stream only if the cell moved it, or if the
// agent says that its code may ask for its state.
func (s *Session) ambient(o *seen) []cellgraph.Observation {
	moved := map[string]bool{}
	for _, a := range o.captured.Ambient {
		moved[a.Name] = true
	}
	var list []cellgraph.Observation
	for _, name := range slices.Sorted(maps.Keys(o.reads.Ambient)) {
		if !stream(name) || moved[name] || s.seeds(o) || s.asksForFlags(name) {
			list = append(list, s.state.ObserveAmbient(name))
		}
	}
	for _, name := range o.captured.Reached {
		list = append(list, s.state.ObserveAmbient(name))
	}
	return list
}

// stream reports whether an adapter counts only if it moved: a random stream,
// the numbers of what was shown, or flags that any arithmetic sets.
func stream(adapter string) bool {
	return slices.Contains([]string{"random", "numpy.random", "torch.random", "sklearn.shown", "decimal.flags"}, adapter)
}

// asksForFlags reports whether an adapter is that of decimal's flags, and these
// count though the cell did not move them: some code of the notebook may ask for
// them, or some are set, and any arithmetic may have set them once more.
func (s *Session) asksForFlags(adapter string) bool {
	if adapter != "decimal.flags" {
		return false
	}
	if !s.state.ObserveAmbient(adapter).ID.IsZero() {
		return true
	}
	words := []string{"getcontext", "localcontext", "flags"}
	for _, src := range s.cfg.Sources {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(src.Normal, word) }) {
			return true
		}
	}
	return false
}

// seeding is what the normal form of code holds that seeds a stream: an
// attribute, a name that is imported or called, or a text; not an argument.
var seeding = regexp.MustCompile(`(attr|alias\(name|func=Name\(id|value)='[^']*seed`)

// seeds reports whether the cell may have seeded a stream. If that changed
// nothing the stream was there already, which is an observation.
func (s *Session) seeds(o *seen) bool {
	says := func(src Source) bool { return seeding.MatchString(src.Normal) }
	for _, src := range s.cfg.Sources {
		if says(src) && (strings.Contains(src.Normal, "FunctionDef") || strings.Contains(src.Normal, "Lambda")) {
			return true // in a function that any cell may call
		}
	}
	return says(s.cfg.Sources[o.cell.ID])
}

// modules observes the versions of all modules imported so far, the source of
// local ones so far as it matters here, and that nothing local would be
// imported in place of another.
func (s *Session) modules(o *seen) []cellgraph.Observation {
	list := append(s.state.Versions(), s.world.Observe(cellgraph.KindModule, "python"))
	executed := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(o.captured.ModuleVersions)) {
		file, local := strings.CutPrefix(o.captured.ModuleVersions[name], "file:")
		executed[file] = true
		switch {
		case !local:
			list = append(list, s.world.Observe(cellgraph.KindModule, name))
		case !slices.Contains(o.captured.Definitions, file):
			list = append(list, s.world.Observe(cellgraph.KindSource, s.volume.name(file)))
		}
	}
	for _, file := range o.captured.Definitions {
		source, known := s.state.Defined(s.volume.name(file))
		if !known || executed[file] {
			source = s.world.Observe(cellgraph.KindDefines, s.volume.name(file))
		}
		list = append(list, source)
	}
	for _, folder := range o.captured.Distributions {
		if within(folder, s.volume.base) {
			list = append(list, s.world.Observe(cellgraph.KindImport, filepath.Join(s.volume.name(folder), distributions)))
		}
	}
	for _, name := range o.captured.Missing.Names {
		list = append(list, s.world.Observe(cellgraph.KindModule, name))
	}
	for _, name := range o.captured.Missing.Modules {
		list = append(list, s.state.ObserveLoaded(name))
	}
	for _, path := range o.captured.Missing.Paths {
		if within(path, s.volume.base) {
			list = append(list, s.world.Observe(cellgraph.KindImport, s.volume.name(path)))
		}
	}
	for _, folder := range o.captured.Search {
		if !within(folder, s.volume.base) {
			continue
		}
		for _, name := range o.captured.Modules {
			list = append(list, s.world.Observe(cellgraph.KindImport, filepath.Join(s.volume.name(folder), name)))
		}
	}
	return list
}

// files observes the paths that the cell's process tree touched.
func (s *Session) files(o *seen) []cellgraph.Observation {
	var list []cellgraph.Observation
	s.eachFile(o, func(obs cellgraph.Observation, _ bool) { list = append(list, obs) })
	return list
}

// eachFile calls f with the observation of each path that was touched, as it
// was before the cell; known says whether that can still be told.
func (s *Session) eachFile(o *seen, f func(obs cellgraph.Observation, known bool)) {
	for _, touched := range []struct {
		kind  cellgraph.Kind
		paths []string
	}{
		{cellgraph.KindFile, slices.Concat(o.access.Read, s.movedAlong(o))},
		{cellgraph.KindStat, o.access.Missing},
		{cellgraph.KindStat, o.access.Stat},
		{cellgraph.KindList, o.access.Listed},
	} {
		for _, path := range touched.paths {
			if path != s.cfg.Path && s.world.outs[path] {
				continue // ours
			}
			if touched.kind == cellgraph.KindStat && s.temporary(path) && o.made(path) {
				continue // the free name of a temporary file
			}
			if touched.kind == cellgraph.KindStat && s.looksForProgram(path) {
				continue // see programs
			}
			f(s.before(touched.kind, s.volume.name(path), o))
		}
	}
}

// movedAlong are the files in folders that were renamed: their content counts
// as read under the name that it had.
func (s *Session) movedAlong(o *seen) []string {
	var paths []string
	for name, e := range o.before {
		path := s.volume.path(name)
		if e.Mode.IsRegular() && o.wrote(name) && slices.ContainsFunc(o.access.Moved, func(m string) bool { return m != path && within(path, m) }) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}
