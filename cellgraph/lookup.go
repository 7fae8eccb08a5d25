package cellgraph

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// World answers for everything outside of the notebook's own state: the
// folder with the effects so far laid over it, the environment, the modules
// that are installed. Observe is called once per observation of a candidate
// trace and may be called again for the same one; it has no side effects.
type World interface {
	Observe(kind Kind, name string) Observation
	// Standing is Observe with what earlier runs of the notebook left in the
	// folder: a cell that really runs sees that too.
	Standing(kind Kind, name string) Observation
	// Stand notes that the run stands on an observation: whatever of earlier
	// runs it is of is there for all cells from here on, or for none. Those
	// that a State answers for are of nothing there.
	Stand(o Observation)
}

// Verdict is the answer of a look-up: the trace that holds, or why none does.
// Near is then the newest that holds but for observations of [KindMates].
type Verdict struct {
	Hit  *Trace
	Near *Trace
	Why  string
}

// Look finds, among the traces of a cell's code (newest first), the newest
// that still holds in state and world. It never returns a trace that is marked
// uncached.
func Look(traces []Trace, state *State, world World) Verdict {
	verdict := Verdict{Why: "never run"}
	for i := range traces {
		t := &traces[i]
		why, near := differs(t, state, world)
		if why == "" {
			return Verdict{Hit: t}
		}
		if near && verdict.Near == nil {
			verdict.Near = t
		}
		if i == 0 {
			verdict.Why = why
		}
	}
	return verdict
}

// Settle tells the world what a restored trace stands on.
func Settle(t *Trace, world World) {
	for _, o := range t.Observed {
		world.Stand(o)
	}
}

// differs names the first observation of t that no longer holds, or "". near
// says that all that do not are of [KindMates].
func differs(t *Trace, state *State, world World) (why string, near bool) {
	if t.Uncached != "" {
		return t.Uncached, false
	}
	for _, o := range t.Observed {
		var now Observation
		switch o.Kind {
		case KindName:
			now = state.Observe(o.Name)
		case KindNames:
			now = state.ObserveNames(o.Names())
		case KindGroup:
			now = state.ObserveGroup(o.Name)
		case KindMates:
			if now = state.ObserveMates(o.Names()); !same(now.ID, o.ID) {
				why, near = cmp.Or(why, change(o, now)), true
				continue
			}
		case KindAmbient:
			now = state.ObserveAmbient(o.Name)
		case KindStep:
			now = state.ObserveStep(o.Name)
		case KindText:
			now = state.ObserveText(o.Name)
		case KindLoaded:
			now = state.ObserveLoaded(o.Name)
		case KindHidden:
			now = state.ObserveHidden()
		default:
			now = world.Observe(o.Kind, o.Name)
			if !same(now.ID, o.ID) && same(world.Standing(o.Kind, o.Name).ID, o.ID) {
				now = o
			}
		}
		if !same(now.ID, o.ID) {
			return change(o, now), false
		}
	}
	return why, near
}

// HiddenChanged is why a trace does not hold where an observation of [KindHidden] differs.
const HiddenChanged = "an earlier cell changed something else that cannot be looked at"

// change says in one line what an observation was and is.
func change(was, now Observation) string {
	switch {
	case was.ID.IsZero() && was.Kind == KindFile || was.ID.IsZero() && was.Kind == KindStat:
		return was.Name + " appeared"
	case now.ID.IsZero() && (was.Kind == KindFile || was.Kind == KindStat || was.Kind == KindSource || was.Kind == KindDefines):
		return was.Name + " is gone"
	case was.Kind == KindMode:
		return "the permissions of " + was.Name + " changed"
	case was.Kind == KindList:
		return "the entries of " + was.Name + " changed"
	case was.Kind == KindImport:
		return "import " + filepath.Base(was.Name) + " would find something else in the notebook's folder"
	case was.Kind == KindName && IsHistory(was.Name):
		return "the history changed"
	case was.Kind == KindText:
		return "the text of a definition changed, or where it stands"
	case was.Kind == KindLoaded:
		return was.Name + " is imported now"
	case was.Kind == KindProgram:
		return "program " + was.Name + " changed"
	case was.Kind == KindPlace:
		return "the notebook's folder has another place, which an output shows"
	case was.Kind == KindEnv:
		return "environment variable " + was.Name + " changed"
	case was.Kind == KindMachine:
		return "another machine: the cell asks for " + strings.TrimPrefix(was.Name, "kept ")
	case was.Kind == KindHidden:
		return HiddenChanged
	case was.Kind == KindAmbient:
		return was.Name + " state changed"
	case was.ID == unknown || now.ID == unknown:
		return was.Name + " could not be compared: its value is not in the store"
	case was.Kind == KindNames || was.Kind == KindGroup || was.Kind == KindMates:
		return sharing(was, now)
	case was.Kind == KindStep:
		return "step " + was.Name + ", named in prev:, had another effect"
	case was.ID.IsZero():
		return was.Name + " is defined now"
	case now.ID.IsZero():
		return was.Name + " is no longer defined"
	case was.Shown == was.Name+"()" || was.Shown == "class "+was.Name:
		return was.Shown + " edited"
	case was.Kind == KindName && strings.HasPrefix(now.Shown, "("):
		return was.Name + " has another history " + now.Shown
	case was.Shown != "" && now.Shown != "" && was.Shown != now.Shown:
		return fmt.Sprintf("%s %s → %s", was.Name, oneLine(was.Shown), oneLine(now.Shown))
	}
	return was.Name + " changed"
}

// sharing says how names share memory or objects now.
func sharing(was, now Observation) string {
	for _, names := range []struct{ shown, other, verb string }{
		{now.Shown, was.Shown, " now shares memory with "},
		{was.Shown, now.Shown, " no longer shares memory with "},
	} {
		for set := range strings.SplitSeq(names.shown, ", ") {
			list := strings.Fields(set)
			if len(list) > 1 && !slices.Contains(strings.Split(names.other, ", "), set) {
				return list[len(list)-1] + names.verb + strings.Join(list[:len(list)-1], ", ")
			}
		}
	}
	return strings.ReplaceAll(was.Name, "\n", ", ") + " changed together with what they share"
}

func oneLine(s string) string {
	const most = 40 // runes
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(r)
}
