package cellgraph

import (
	"fmt"
	"slices"
	"time"
)

// Kind says what sort of thing an [Observation] is about.
type Kind string

// The kinds of observation. An Observation's ID is zero where the thing was absent.
const (
	KindName    Kind = "name"    // a name of the user's namespace, by itself
	KindNames   Kind = "names"   // several names taken together: which of them share, and what
	KindGroup   Kind = "group"   // all names that share with a name that the cell changes in place
	KindMates   Kind = "mates"   // names that share and that the cell left as they were, though its effect holds them
	KindFile    Kind = "file"    // content of a regular file; path relative to the volume, or absolute outside it
	KindStat    Kind = "stat"    // existence and type of a path
	KindMode    Kind = "mode"    // the permissions that a file has before it is written again
	KindList    Kind = "list"    // the sorted entries of a folder
	KindEnv     Kind = "env"     // an environment variable, as a keyed digest
	KindMachine Kind = "machine" // what the machine says of itself: its kernel, user, zone; "kept …" if a module may hold it
	KindSource  Kind = "source"  // the source of a local module that was imported
	KindDefines Kind = "defines" // the same of a module that only defines things, which matters to those only that reach it
	KindImport  Kind = "import"  // what in a local folder would be imported under a name
	KindLoaded  Kind = "loaded"  // whether a module that was not found is imported by now
	KindModule  Kind = "module"  // a distribution's version or a local module's source
	KindStep    Kind = "step"    // the composed effect of a step named in prev:
	KindProgram Kind = "program" // content of a program; found through PATH if the name has no folder
	KindPlace   Kind = "place"   // where on this machine a folder lies
	KindText    Kind = "text"    // the text of the last cell whose code has this key, of all cells, or their numbers
	KindHidden  Kind = "hidden"  // which cells have changed what cannot be looked at
	KindAmbient Kind = "ambient" // process state outside the namespace, by adapter
)

// Observation is one thing that a cell observed when it ran, as an identity.
type Observation struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	ID   Digest `json:"id"`
	// Shown is a short human form of the value ("3", "2.3.3"), empty if there is none or it is secret.
	Shown string `json:"shown,omitempty"`
}

// Group is names joined by shared mutable memory or objects, saved and restored together.
type Group struct {
	Names []string `json:"names"` // sorted
	ID    Digest   `json:"id"`    // identity: digest of the normalised pickle stream
	// Payload is the blob that holds the group's manifest (see agent.Payload).
	Payload Digest     `json:"payload"`
	Bytes   int64      `json:"bytes"` // logical size, in-band and out of band
	Vars    []Variable `json:"vars"`
}

// Variable describes one name of a group for people; it is never unpickled.
type Variable struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	Shape  []int  `json:"shape,omitempty"`
	Length *int   `json:"length,omitempty"`
	Shown  string `json:"shown,omitempty"`
}

// Uncaptured is a name that a cell left bound to something that has no captured form.
type Uncaptured struct {
	Name   string   `json:"name"`
	Reason string   `json:"reason"`
	With   []string `json:"with,omitempty"` // the names of its group, itself included; empty if it is alone
	// Open are the files that its group holds open, named as in an Observation; nil if that is not known.
	Open []string `json:"open"`
}

// FileChange is a file that a cell wrote or deleted, relative to the volume.
type FileChange struct {
	Path    string `json:"path"`
	Deleted bool   `json:"deleted,omitempty"`
	Dir     bool   `json:"dir,omitempty"`
	Link    string `json:"link,omitempty"`    // target of a symbolic link
	Content Digest `json:"content,omitempty"` // blob of the content of a regular file
	Size    int64  `json:"size,omitempty"`    // bytes
	Mode    uint32 `json:"mode,omitempty"`    // permission bits
}

// Ambient is process state outside the namespace as one adapter left it.
type Ambient struct {
	Name    string `json:"name"`
	ID      Digest `json:"id"`
	Payload Digest `json:"payload"` // blob that the adapter restores from
}

// Effect is what running a cell did, as a delta.
type Effect struct {
	Groups  []Group      `json:"groups,omitempty"`  // bound or changed
	Deleted []string     `json:"deleted,omitempty"` // names unbound
	Opaque  []Uncaptured `json:"opaque,omitempty"`  // names bound to what cannot be captured
	Modules []string     `json:"modules,omitempty"` // newly imported, in order
	Files   []FileChange `json:"files,omitempty"`
	Ambient []Ambient    `json:"ambient,omitempty"`
	Outputs Digest       `json:"outputs"`          // blob: JSON array of nbformat outputs
	Widgets Digest       `json:"widgets,omitzero"` // blob: JSON array of the Jupyter widgets that it made, see kernel.Model; zero: none
	// Rebound are names that the cell bound anew, in the order of the namespace; of the others in Groups the value changed in place.
	Rebound []string `json:"rebound,omitempty"`
	// Classes are the tokens of the classes that the cell made. They are no part of ID.
	Classes []string `json:"classes,omitempty"`
	// Result is what the cell showed as its result, if that was captured. It is no part of ID.
	Result *Result `json:"result,omitempty"`
	// Tied says that what the cell left shares with what earlier cells showed. It is no part of ID.
	Tied bool `json:"tied,omitempty"`
}

// Result is what a cell showed as its result: the value of a name, or a group
// of its own. Neither means that it has no captured form.
type Result struct {
	Is    string `json:"is,omitempty"`
	Group *Group `json:"group,omitempty"`
	// Within are the names that the group refers to: it shares parts of their values as the cell left them.
	Within []string `json:"within,omitempty"`
}

// Captured reports whether r has a captured form; a nil one has none.
func (r *Result) Captured() bool { return r != nil && (r.Is != "" || r.Group != nil) }

// Trace is what a cell observed and did when it ran. A trace all of whose
// observations still hold is a hit.
type Trace struct {
	Code Digest `json:"code"` // normalised code
	// Text is the digest of the source as it stood, if something looked at it or
	// an output names the cell's own compiled file, whose name follows from it; else zero.
	Text     Digest        `json:"text"`
	Cell     string        `json:"cell"`
	Step     string        `json:"step"`
	Observed []Observation `json:"observed"`
	Effect   Effect        `json:"effect"`
	Seconds  float64       `json:"seconds"`
	Created  time.Time     `json:"created"`
	// Uncached says why this trace may never hit; empty for one that may.
	Uncached string `json:"uncached,omitempty"`
	// Hidden says that the cell changed what no later cell is seen to depend on: all do.
	Hidden bool `json:"hidden,omitempty"`
	// Bound are names that the cell's code binds, for the forecast of a plan.
	Bound []string `json:"bound,omitempty"`
}

// Names are the names that the effect binds to something else, changes or unbinds.
func (e *Effect) Names() map[string]bool {
	names := map[string]bool{}
	for _, g := range e.Groups {
		for _, n := range g.Names {
			names[n] = true
		}
	}
	for _, n := range e.Deleted {
		names[n] = true
	}
	for _, u := range e.Opaque {
		names[u.Name] = true
	}
	return names
}

// Captured are all groups that the cell left: of names, and of what it showed.
func (e *Effect) Captured() []Group {
	if e.Result == nil || e.Result.Group == nil {
		return e.Groups
	}
	return append(slices.Clone(e.Groups), *e.Result.Group)
}

// InPlace are the names whose value the cell changed and that it did not bind anew.
func (e *Effect) InPlace() map[string]bool {
	names := map[string]bool{}
	for _, g := range e.Groups {
		for _, n := range g.Names {
			if !slices.Contains(e.Rebound, n) {
				names[n] = true
			}
		}
	}
	return names
}

// left are the names that the cell left as they were, though its effect holds them.
func (t *Trace) left() map[string]bool {
	names := map[string]bool{}
	for _, o := range t.Observed {
		if o.Kind != KindMates {
			continue
		}
		for _, name := range o.Names() {
			names[name] = !slices.Contains(t.Effect.Rebound, name)
		}
	}
	return names
}

// Takes is a name of the history that the cell binds, and what it left there
// is not in the effect; "" if there is none.
func (t *Trace) Takes() string {
	left := t.Effect.Names()
	for _, name := range t.Bound {
		if IsHistory(name) && (name != Under || !left[name]) {
			return name
		}
	}
	return ""
}

// Key identifies the run of a cell by its code and what it observed: equal
// keys mean runs that could not be told apart before they began.
func (t *Trace) Key() Digest {
	parts := []string{"run", t.Code.String()}
	for _, o := range t.Observed {
		parts = append(parts, string(o.Kind), o.Name, o.ID.String())
	}
	return Combine(parts...)
}

// In is t as the trace of another cell with the same code, which may stand in another step.
func (t *Trace) In(cell, step string) *Trace {
	if t.Cell == cell && t.Step == step {
		return t
	}
	own := *t
	own.Cell, own.Step = cell, step
	return &own
}

// ID identifies what the effect changed: values, files and ambient state, not outputs.
func (e *Effect) ID() Digest {
	var parts []string
	for _, g := range e.Groups {
		parts = append(parts, "group", g.ID.String())
		parts = append(parts, g.Names...)
	}
	for _, name := range e.Deleted {
		parts = append(parts, "deleted", name)
	}
	for _, u := range e.Opaque {
		parts = append(parts, "opaque", u.Name)
	}
	for _, f := range e.Files {
		parts = append(parts, "file", f.Path, f.Content.String(), f.Link, fmt.Sprint(f.Deleted, f.Dir, f.Mode))
	}
	for _, a := range e.Ambient {
		parts = append(parts, "ambient", a.Name, a.ID.String())
	}
	return Combine(parts...)
}
