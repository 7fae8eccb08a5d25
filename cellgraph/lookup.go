package cellgraph

import (
	"fmt"
	"path/filepath"
	"strings"
)

// World answers for everything outside of the notebook's own state: the
// folder with the effects so far laid over it, the environment, the modules
// that are installed. Observe is called once per observation of a candidate
// trace and may be called again for the same one; it has no side effects.
type World interface {
	Observe(kind Kind, name string) Observation
}

// Verdict is the answer of a look-up: the trace that holds, or why none does.
type Verdict struct {
	Hit *Trace
	Why string
}

// Look finds, among the traces of a cell's code (newest first), the newest
// that still holds in state and world. It never returns a trace that is marked
// uncached, or whose effect cannot be laid over opaque things that are alive.
func Look(traces []Trace, state *State, world World) Verdict {
	verdict := Verdict{Why: "never run"}
	for i := range traces {
		t := &traces[i]
		why := differs(t, state, world)
		if why == "" {
			return Verdict{Hit: t}
		}
		if i == 0 {
			verdict.Why = why
		}
	}
	return verdict
}

// differs names the first observation of t that no longer holds, or "".
func differs(t *Trace, state *State, world World) string {
	if t.Uncached != "" {
		return t.Uncached
	}
	for _, o := range t.Observed {
		var now Observation
		switch o.Kind {
		case KindName:
			if reason, opaque := state.opaque[o.Name]; opaque {
				return fmt.Sprintf("reads %s, which cannot be captured (%s)", o.Name, reason)
			}
			now = state.Observe(o.Name)
		case KindAmbient:
			now = state.ObserveAmbient(o.Name)
		case KindStep:
			now = state.ObserveStep(o.Name)
		default:
			now = world.Observe(o.Kind, o.Name)
		}
		if now.ID != o.ID {
			return change(o, now)
		}
	}
	if len(state.opaque) > 0 {
		for _, g := range t.Effect.Groups {
			for _, name := range g.Names {
				if old := state.names[name]; old != nil && old.ID != g.ID {
					return fmt.Sprintf("changes %s while %s is alive, which cannot be captured and may share it",
						name, state.Opaque()[0].Name)
				}
			}
		}
	}
	return ""
}

// change says in one line what an observation was and is.
func change(was, now Observation) string {
	switch {
	case was.ID.IsZero() && was.Kind == KindFile || was.ID.IsZero() && was.Kind == KindStat:
		return was.Name + " appeared"
	case now.ID.IsZero() && (was.Kind == KindFile || was.Kind == KindStat || was.Kind == KindSource):
		return was.Name + " is gone"
	case was.Kind == KindList:
		return "the entries of " + was.Name + " changed"
	case was.Kind == KindImport:
		return "import " + filepath.Base(was.Name) + " would find something else in the notebook's folder"
	case was.Kind == KindName && IsHistory(was.Name):
		return "the history changed"
	case was.Kind == KindEnv:
		return "environment variable " + was.Name + " changed"
	case was.Kind == KindAmbient:
		return was.Name + " state changed"
	case was.Kind == KindStep:
		return "step " + was.Name + ", named in prev:, had another effect"
	case was.ID.IsZero():
		return was.Name + " is defined now"
	case now.ID.IsZero():
		return was.Name + " is no longer defined"
	case was.Shown != "" && now.Shown != "" && was.Shown != now.Shown:
		return fmt.Sprintf("%s %s → %s", was.Name, oneLine(was.Shown), oneLine(now.Shown))
	}
	return was.Name + " changed"
}

func oneLine(s string) string {
	const most = 40 // runes
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(r)
}
