package cellgraph

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// State is the composition of the effects of the cells before a point in the
// notebook: what each name, file and ambient adapter is by then. It says what
// a straight run would have produced, whether or not a kernel holds it.
type State struct {
	parts   Parter
	names   map[string]*Group
	left    map[string]int // the cell that last left each of names, as a number of Passed
	born    map[string]int // when each name came to be, counted by names
	births  int
	opaque  map[string]Opaque
	passed  int // cells so far
	files   map[string]FileChange
	ambient map[string]Ambient
	modules []string
	loaded  map[string]Observation  // versions and sources of the modules imported, by kind and name
	steps   map[string][]cellEffect // what the cells of each step last did, in the order in which they first ran
	history Digest                  // what was entered and shown so far
	hidden  Digest                  // the runs so far that changed what cannot be looked at
	texts   []Entered               // cells so far, without what they showed
	classes map[string]bool         // tokens of the classes that cells have made
}

// Entered is a cell as it was entered.
type Entered struct {
	Code    Digest // key of its normalised code
	Source  string
	Defines bool // whether it may define functions, which lead to its text
}

// Parter tells which of the names of a captured group share mutable objects.
// It answers alike for equal arguments.
type Parter interface {
	// Parts splits names, some of those of g, and identifies what each part
	// reaches. It answers false if that cannot be told: then nothing that
	// observes these names holds.
	Parts(g *Group, names []string) ([]Part, bool)
}

// Part is names that share mutable objects with each other, sorted, and the
// identity of what they reach, taken together.
type Part struct {
	Names []string `json:"names"`
	ID    Digest   `json:"id"`
}

// NewState is the state of a fresh kernel in the folder as it stands.
func NewState(parts Parter) *State {
	return &State{
		parts:   parts,
		names:   map[string]*Group{},
		left:    map[string]int{},
		born:    map[string]int{},
		opaque:  map[string]Opaque{},
		files:   map[string]FileChange{},
		ambient: map[string]Ambient{},
		loaded:  map[string]Observation{},
		steps:   map[string][]cellEffect{},
		classes: map[string]bool{},
	}
}

// Clone returns a copy that shares nothing mutable with s.
func (s *State) Clone() *State {
	return &State{
		parts:   s.parts,
		passed:  s.passed,
		names:   maps.Clone(s.names),
		left:    maps.Clone(s.left),
		born:    maps.Clone(s.born),
		births:  s.births,
		opaque:  maps.Clone(s.opaque),
		files:   maps.Clone(s.files),
		ambient: maps.Clone(s.ambient),
		modules: slices.Clone(s.modules),
		loaded:  maps.Clone(s.loaded),
		steps:   maps.Clone(s.steps),
		history: s.history,
		hidden:  s.hidden,
		texts:   slices.Clip(s.texts),
		classes: maps.Clone(s.classes),
	}
}

// cellEffect is what a cell last did.
type cellEffect struct {
	cell   string
	effect Digest
}

// compose notes the effect of a cell of a step. One that runs again does not
// count twice: a person who runs the notebook again has the same steps again.
func (s *State) compose(t *Trace) {
	effects := slices.Clone(s.steps[t.Step]) // a clone of s may hold the old ones
	i := slices.IndexFunc(effects, func(e cellEffect) bool { return e.cell == t.Cell })
	if i < 0 {
		i, effects = len(effects), append(effects, cellEffect{cell: t.Cell})
	}
	effects[i].effect = t.Effect.ID()
	s.steps[t.Step] = effects
}

// Apply moves s past a cell that had the effect of t.
func (s *State) Apply(t Trace) {
	e := t.Effect
	touched := s.touch(&t)
	s.compose(&t)
	for _, name := range e.Deleted {
		delete(s.names, name)
		delete(s.opaque, name)
		delete(s.born, name)
	}
	s.bear(&e)
	for _, token := range e.Classes {
		s.classes[token] = true
	}
	for i := range e.Groups {
		g := &e.Groups[i]
		for _, name := range g.Names {
			s.names[name], s.left[name] = g, s.passed
			delete(s.opaque, name)
		}
	}
	for name, o := range touched {
		delete(s.names, name)
		s.opaque[name] = o
	}
	for _, f := range e.Files {
		s.files[f.Path] = f
	}
	for _, a := range e.Ambient {
		s.ambient[a.Name] = a
	}
	for _, m := range e.Modules {
		if !slices.Contains(s.modules, m) {
			s.modules = append(s.modules, m)
		}
	}
	if t.Hidden {
		s.hidden = Combine("hidden", s.hidden.String(), t.Key().String())
	}
	for _, o := range t.Observed {
		if o.Kind == KindModule || o.Kind == KindSource || o.Kind == KindDefines {
			s.loaded[string(o.Kind)+" "+o.Name] = o
		}
	}
}

// bear notes the names that an effect brings, in the order in which the namespace has them.
func (s *State) bear(e *Effect) {
	names := slices.Clone(e.Rebound)
	for _, g := range e.Groups {
		names = append(names, g.Names...)
	}
	for _, u := range e.Opaque {
		names = append(names, u.Name)
	}
	for _, name := range names {
		if _, known := s.born[name]; !known {
			s.born[name] = s.births
			s.births++
		}
	}
}

// AsBorn are names in the order in which they came to be, which is that of a namespace.
func (s *State) AsBorn(names []string) []string {
	return slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return cmp.Compare(s.born[a], s.born[b]) })
}

// Enter adds a cell to the history: how it was entered, the key of its run,
// on which its result depends, and what it showed. Only code that reads the
// history, or the text of cells, observes it.
func (s *State) Enter(c Entered, key, outputs Digest) {
	s.history = Combine(s.history.String(), c.Source, key.String(), outputs.String())
	s.texts = append(s.texts, c)
}

// Under is the name of the last result, unless a cell has bound it: then it is
// a name like any other, which IPython leaves alone.
const Under = "_"

// Taken reports whether a cell has bound [Under].
func (s *State) Taken() bool {
	_, opaque := s.opaque[Under]
	return opaque || s.names[Under] != nil
}

// IsHistory reports whether name is one of IPython's names for what was
// entered or shown before: In, Out, _, _i, _3, _i3 and so on.
func IsHistory(name string) bool {
	switch name {
	case "_", "__", "___", "In", "Out", "_i", "_ii", "_iii", "_ih", "_oh", "_dh":
		return true
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(name, "_i"), "_")
	return strings.HasPrefix(name, "_") && rest != "" && strings.Trim(rest, "0123456789") == ""
}

// Names are the captured names, sorted.
func (s *State) Names() []string { return slices.Sorted(maps.Keys(s.names)) }

// InOrder are the captured names in the order in which cells last left them.
func (s *State) InOrder() []string {
	names := s.Names()
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(s.left[a], s.left[b]) })
	return names
}

// Later are those of names that a cell has left after the one that left name.
func (s *State) Later(name string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return s.left[n] <= s.left[name] })
}

// Passed is how many cells the state has been moved past.
func (s *State) Passed() int { return s.passed }

// Group is the group that holds name, or nil.
func (s *State) Group(name string) *Group { return s.names[name] }

// Groups are the groups that hold at least one name, in the order of their first name.
func (s *State) Groups() []Group {
	var groups []Group
	seen := map[*Group]bool{}
	for _, name := range s.Names() {
		if g := s.names[name]; !seen[g] {
			seen[g] = true
			groups = append(groups, *g)
		}
	}
	return groups
}

// Files are the changes that cells made to the volume so far, sorted by path.
func (s *State) Files() []FileChange {
	var list []FileChange
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		list = append(list, s.files[path])
	}
	return list
}

// File is the last change that a cell made to path.
func (s *State) File(path string) (FileChange, bool) {
	f, ok := s.files[path]
	return f, ok
}

// Found notes what lies at a path now, where a person may have changed what a cell wrote.
func (s *State) Found(f FileChange) { s.files[f.Path] = f }

// Ambient is what the adapters were left at, sorted by adapter.
func (s *State) Ambient() []Ambient {
	var list []Ambient
	for _, name := range slices.Sorted(maps.Keys(s.ambient)) {
		list = append(list, s.ambient[name])
	}
	return list
}

// Modules are the modules imported so far, in order.
func (s *State) Modules() []string { return slices.Clone(s.modules) }

// Versions observes again every module that was imported so far, by version or
// source, but for local ones that only define things: code that reaches a
// module through a name depends on them too.
func (s *State) Versions() []Observation {
	var list []Observation
	for _, key := range slices.Sorted(maps.Keys(s.loaded)) {
		if s.loaded[key].Kind != KindDefines {
			list = append(list, s.loaded[key])
		}
	}
	return list
}

// Defined is the source of a local module that only defines things as it was imported.
func (s *State) Defined(file string) (Observation, bool) {
	o, ok := s.loaded[string(KindDefines)+" "+file]
	return o, ok
}
