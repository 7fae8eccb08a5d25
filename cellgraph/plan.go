package cellgraph

import "fmt"

// Freshness is what a plan says of a cell before anything runs.
type Freshness string

// The states of a planned cell.
const (
	Fresh   Freshness = "fresh"   // would be restored
	Stale   Freshness = "stale"   // would run
	Unknown Freshness = "unknown" // has never run
)

// PlanCell is a cell as the plan sees it.
type PlanCell struct {
	ID, Step string
	// Traces are those of the cell's present code, newest first.
	Traces []Trace
	// Last is the newest trace that a cell of this id left, whatever its code; nil if it never ran.
	Last *Trace
	// Ran, if not empty, says what came of a run that left no trace.
	Ran string
	// Entered is the cell as it stands now.
	Entered Entered
	// Binds are the names that the present code binds.
	Binds []string
	// Forced, if not empty, says why the cell runs whatever its traces say.
	Forced string
	// Never says that no run of the cell is kept.
	Never bool
}

// Forecast is the plan's word on one cell.
type Forecast struct {
	ID      string
	Status  Freshness
	Why     string
	Hit     *Trace
	Seconds float64 // of the last run; 0 if never run
	// Uncached says that the cell would run even if nothing had changed: its last run could not be kept.
	Uncached bool
}

// Plan folds over the cells in order without running anything. A cell that
// would run is assumed to write what its last run wrote plus the names that it
// binds; what reads them is stale too. The world is asked for with the state
// that is to be laid over the folder; state is that of a fresh kernel.
func Plan(cells []PlanCell, state *State, over func(*State) World) []Forecast {
	world := over(state)
	tainted := map[string]string{} // "kind name" → id of the cell that will write it
	forecasts := make([]Forecast, 0, len(cells))
	for _, c := range cells {
		f := forecast(c, state, world, tainted)
		f.Uncached = f.Hit == nil && (c.Never || len(c.Traces) == 0 && c.Ran != "" || len(c.Traces) > 0 && c.Traces[0].Uncached != "")
		forecasts = append(forecasts, f)
		if f.Hit != nil {
			Settle(f.Hit, world)
			state.Apply(*f.Hit)
			state.Enter(c.Entered, f.Hit.Key(), f.Hit.Effect.Outputs)
			for _, key := range writes(f.Hit) {
				delete(tainted, key)
			}
			continue
		}
		state.Enter(c.Entered, unknown, unknown)
		for _, name := range c.Binds {
			tainted[string(KindName)+" "+name] = c.ID
		}
		if c.Last != nil {
			state.Apply(*c.Last)
			for _, key := range writes(c.Last) {
				tainted[key] = c.ID
			}
		}
	}
	return forecasts
}

func forecast(c PlanCell, state *State, world World, tainted map[string]string) Forecast {
	f := Forecast{ID: c.ID}
	if c.Last != nil {
		f.Seconds = c.Last.Seconds
	}
	switch {
	case c.Forced != "":
		f.Status, f.Why = Stale, c.Forced
	case len(c.Traces) == 0 && c.Ran != "":
		f.Status, f.Why = Stale, c.Ran
	case len(c.Traces) == 0 && c.Last == nil:
		f.Status, f.Why = Unknown, "never run"
	case len(c.Traces) == 0:
		f.Status, f.Why = Stale, "code edited"
	default:
		for _, o := range c.Traces[0].Observed {
			if by, ok := tainted[string(o.Kind)+" "+o.Name]; ok {
				f.Status, f.Why = Stale, fmt.Sprintf("%s may change (cell %s runs)", o.Name, by)
				return f
			}
		}
		v := Look(c.Traces, state, world)
		f.Hit, f.Why, f.Status = v.Hit, v.Why, Stale
		if v.Hit != nil {
			f.Hit = v.Hit.In(c.ID, c.Step)
			f.Status, f.Seconds = Fresh, v.Hit.Seconds
		}
	}
	return f
}

// writes lists what a cell changed, as "kind name". Names that its effect holds
// only because they share with what it bound are not among them.
func writes(t *Trace) []string {
	var keys []string
	e, left := &t.Effect, t.left()
	for _, g := range e.Groups {
		for _, name := range g.Names {
			if !left[name] {
				keys = append(keys, string(KindName)+" "+name)
			}
		}
	}
	for _, name := range e.Deleted {
		keys = append(keys, string(KindName)+" "+name)
	}
	for _, u := range e.Opaque {
		keys = append(keys, string(KindName)+" "+u.Name)
	}
	for _, file := range e.Files {
		for _, kind := range []Kind{KindFile, KindStat, KindMode} {
			keys = append(keys, string(kind)+" "+file.Path)
		}
	}
	for _, a := range e.Ambient {
		keys = append(keys, string(KindAmbient)+" "+a.Name)
	}
	return keys
}
