package cellgraph_test

import (
	"testing"

	"kedge/cellgraph"
)

// world answers from a map; what is not in it is absent.
type world map[string]string

func (w world) Observe(kind cellgraph.Kind, name string) cellgraph.Observation {
	o := cellgraph.Observation{Kind: kind, Name: name}
	if v, ok := w[string(kind)+" "+name]; ok {
		o.ID, o.Shown = cellgraph.Sum([]byte(v)), v
	}
	return o
}

func (w world) Stand(cellgraph.Observation) {}

func (w world) Standing(kind cellgraph.Kind, name string) cellgraph.Observation {
	if o := w.Observe(kind, "left "+name); !o.ID.IsZero() {
		o.Name = name
		return o
	}
	return w.Observe(kind, name)
}

func group(value string, names ...string) cellgraph.Group {
	g := cellgraph.Group{Names: names, ID: cellgraph.Combine(append([]string{value}, names...)...)}
	for _, n := range names {
		g.Vars = append(g.Vars, cellgraph.Variable{Name: n, Shown: value})
	}
	return g
}

// whole takes all names of a group to share with each other.
type whole struct{}

func (whole) Parts(g *cellgraph.Group, names []string) ([]cellgraph.Part, bool) {
	return []cellgraph.Part{{Names: names, ID: group(g.Vars[0].Shown, names...).ID}}, true
}

func trace(code string, observed []cellgraph.Observation, effect cellgraph.Effect) cellgraph.Trace {
	return cellgraph.Trace{Code: cellgraph.Sum([]byte(code)), Cell: code, Step: code, Observed: observed, Effect: effect}
}

func stateWith(groups ...cellgraph.Group) *cellgraph.State {
	s := cellgraph.NewState(whole{})
	s.Apply(trace("setup", nil, cellgraph.Effect{Groups: groups}))
	return s
}

// TestLookFindsWhatIsNear: a trace is near if nothing but names that its cell left as they were differs.
func TestLookFindsWhatIsNear(t *testing.T) {
	recorded, now := stateWith(group("3", "b", "rows"), group("1", "k")), stateWith(group("4", "b", "rows"), group("1", "k"))
	mates := recorded.ObserveMates([]string{"b", "rows"})
	near := trace("c", []cellgraph.Observation{mates, recorded.Observe("k")}, cellgraph.Effect{})
	far := trace("c", []cellgraph.Observation{mates, recorded.Observe("rows")}, cellgraph.Effect{})
	if v := cellgraph.Look([]cellgraph.Trace{near}, recorded, nil); v.Hit == nil || v.Near != nil {
		t.Errorf("Look = %+v, want a hit", v)
	}
	if v := cellgraph.Look([]cellgraph.Trace{far, near}, now, nil); v.Hit != nil || v.Near == nil || len(v.Near.Observed) != 2 || v.Near.Observed[1].Name != "k" {
		t.Errorf("Look = %+v, want no hit and the second to be near", v)
	}
	if v := cellgraph.Look([]cellgraph.Trace{far}, now, nil); v.Hit != nil || v.Near != nil {
		t.Errorf("Look = %+v, want nothing", v)
	}
}

func TestLook(t *testing.T) {
	base := stateWith(group("3", "threshold"))
	reads := []cellgraph.Observation{base.Observe("threshold")}
	file := world{"file trips.csv": "v1"}
	readsFile := []cellgraph.Observation{file.Observe(cellgraph.KindFile, "trips.csv")}
	absent := []cellgraph.Observation{base.Observe("nowhere")}
	opaque, other := stateWith(group("3", "threshold")), stateWith(group("3", "threshold"))
	generator := cellgraph.Effect{Opaque: []cellgraph.Uncaptured{{Name: "g", Reason: "generator"}}}
	opaque.Apply(trace("gen", nil, generator))
	other.Apply(trace("gen another way", nil, generator))
	readsOpaque := []cellgraph.Trace{trace("c", []cellgraph.Observation{opaque.Observe("g")}, cellgraph.Effect{})}
	inPlace := []cellgraph.Trace{trace("c", append(reads, base.ObserveGroup("threshold")), cellgraph.Effect{Groups: []cellgraph.Group{group("4", "threshold")}})}
	two := stateWith(group("3", "a"), group("3", "b"))
	apart := []cellgraph.Trace{trace("c", []cellgraph.Observation{two.Observe("a"), two.Observe("b"), two.ObserveNames([]string{"a", "b"})}, cellgraph.Effect{})}

	uncached := trace("c", nil, cellgraph.Effect{})
	uncached.Uncached = "connected to a host: not cached"

	for _, test := range []struct {
		name   string
		traces []cellgraph.Trace
		state  *cellgraph.State
		world  world
		hit    bool
		why    string
	}{
		{"Hit", []cellgraph.Trace{trace("c", reads, cellgraph.Effect{})}, base, nil, true, ""},
		{"NeverRun", nil, base, nil, false, "never run"},
		{"ValueChanged", []cellgraph.Trace{trace("c", reads, cellgraph.Effect{})}, stateWith(group("4", "threshold")), nil, false, "threshold 3 → 4"},
		{"NameGone", []cellgraph.Trace{trace("c", reads, cellgraph.Effect{})}, cellgraph.NewState(whole{}), nil, false, "threshold is no longer defined"},
		{"AliasOfWhatIsOnlyRead", []cellgraph.Trace{trace("c", reads, cellgraph.Effect{})}, stateWith(group("3", "other", "threshold")), nil, true, ""},
		{"AbsentNameAppeared", []cellgraph.Trace{trace("c", absent, cellgraph.Effect{})}, stateWith(group("1", "nowhere")), nil, false, "nowhere is defined now"},
		{"FileChanged", []cellgraph.Trace{trace("c", readsFile, cellgraph.Effect{})}, base, world{"file trips.csv": "v2"}, false, "trips.csv v1 → v2"},
		{"LeftoverIsStillThere", []cellgraph.Trace{trace("c", readsFile, cellgraph.Effect{})}, base, world{"file left trips.csv": "v1"}, true, ""},
		{"FileGone", []cellgraph.Trace{trace("c", readsFile, cellgraph.Effect{})}, base, world{}, false, "trips.csv is gone"},
		{"Uncached", []cellgraph.Trace{uncached}, base, nil, false, "connected to a host: not cached"},
		{"OlderTraceHolds", []cellgraph.Trace{trace("c", readsFile, cellgraph.Effect{}), trace("c", reads, cellgraph.Effect{})}, base, world{}, true, ""},
		{"AliasOfWhatChangesInPlace", inPlace, stateWith(group("3", "other", "threshold")), nil, false, "threshold now shares memory with other"},
		{"ChangesInPlaceAlone", inPlace, base, nil, true, ""},
		{"NamesReadShareNow", apart, stateWith(group("3", "a", "b")), nil, false, "b now shares memory with a"},
		{"NamesReadAreApart", apart, two, nil, true, ""},
		{"OpaqueOfTheSameHistory", readsOpaque, opaque, nil, true, ""},
		{"OpaqueOfAnotherHistory", readsOpaque, other, nil, false, "g has another history (generator)"},
		{"OpaqueGone", readsOpaque, base, nil, false, "g is no longer defined"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := cellgraph.Look(test.traces, test.state, test.world)
			if (v.Hit != nil) != test.hit || (!test.hit && v.Why != test.why) {
				t.Fatalf("got hit %v, why %q; want hit %v, why %q", v.Hit != nil, v.Why, test.hit, test.why)
			}
		})
	}
}

func TestEarlyCutoff(t *testing.T) {
	// An upstream cell that reruns to the same value keeps its reader fresh.
	before := stateWith(group("3", "x"))
	reader := trace("reader", []cellgraph.Observation{before.Observe("x")}, cellgraph.Effect{})
	after := cellgraph.NewState(whole{})
	after.Apply(trace("edited upstream", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("3", "x")}}))
	if v := cellgraph.Look([]cellgraph.Trace{reader}, after, world{}); v.Hit == nil {
		t.Fatalf("reader missed: %s", v.Why)
	}
}

func TestDeclaredEdge(t *testing.T) {
	// prev: without data: another effect upstream makes the step stale.
	up := cellgraph.NewState(whole{})
	up.Apply(trace("load", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("1", "a")}}))
	down := trace("train", []cellgraph.Observation{up.ObserveStep("load")}, cellgraph.Effect{})
	if v := cellgraph.Look([]cellgraph.Trace{down}, up, world{}); v.Hit == nil {
		t.Fatalf("missed: %s", v.Why)
	}
	other := cellgraph.NewState(whole{})
	other.Apply(trace("load", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("2", "a")}}))
	if v := cellgraph.Look([]cellgraph.Trace{down}, other, world{}); v.Hit != nil {
		t.Fatal("hit although the upstream step had another effect")
	}
}

func TestDeclaredEdgeInALiveKernel(t *testing.T) {
	load := trace("load", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("1", "a")}})
	more := trace("more", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("2", "b")}})
	more.Step = load.Step
	s := cellgraph.NewState(whole{})
	s.Apply(load)
	s.Apply(more)
	once, early := s.ObserveStep(load.Step), s.Clone()
	s.Apply(load)
	if s.ObserveStep(load.Step) != once {
		t.Error("a cell that does the same again is another effect of its step")
	}
	load.Effect.Groups[0] = group("3", "a")
	s.Apply(load)
	if s.ObserveStep(load.Step) == once {
		t.Error("a cell that does something else is no other effect of its step")
	}
	if early.ObserveStep(load.Step) != once {
		t.Error("a clone follows the state that it was made of")
	}
	renamed := *load.In(load.Cell, "fetch")
	s.Apply(renamed)
	if s.ObserveStep("fetch").ID.IsZero() || load.Step == "fetch" {
		t.Error("a hit in a renamed step is no effect of that step")
	}
}

func TestPlan(t *testing.T) {
	load := trace("load", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("1", "a")}})
	s := stateWith(group("1", "a"))
	use := trace("use", []cellgraph.Observation{s.Observe("a")}, cellgraph.Effect{Groups: []cellgraph.Group{group("2", "b")}})
	free := trace("free", nil, cellgraph.Effect{})
	cells := func(loadTraces []cellgraph.Trace) []cellgraph.PlanCell {
		return []cellgraph.PlanCell{
			{ID: "load", Traces: loadTraces, Last: &load, Binds: []string{"a"}},
			{ID: "use", Traces: []cellgraph.Trace{use}, Last: &use, Binds: []string{"b"}},
			{ID: "free", Traces: []cellgraph.Trace{free}, Last: &free},
			{ID: "new", Binds: []string{"c"}},
		}
	}
	for _, test := range []struct {
		name string
		load []cellgraph.Trace
		want []cellgraph.Freshness
	}{
		{"AllFresh", []cellgraph.Trace{load}, []cellgraph.Freshness{"fresh", "fresh", "fresh", "unknown"}},
		{"EditTaintsReaders", nil, []cellgraph.Freshness{"stale", "stale", "fresh", "unknown"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i, f := range cellgraph.Plan(cells(test.load), cellgraph.NewState(whole{}), func(*cellgraph.State) cellgraph.World { return world{} }) {
				if f.Status != test.want[i] {
					t.Errorf("cell %s: got %s (%s), want %s", f.ID, f.Status, f.Why, test.want[i])
				}
			}
		})
	}
}

func TestGraphJoinsDeclaredAndObserved(t *testing.T) {
	s := stateWith(group("1", "a"))
	load := trace("load", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("1", "a")}})
	use := trace("use", []cellgraph.Observation{s.Observe("a")}, cellgraph.Effect{})
	g := cellgraph.NewGraph([]cellgraph.StepRun{{Step: "load", Trace: &load}, {Step: "use", Trace: &use}, {Step: "end", Prev: []string{"load"}}})
	want := "load\nuse\n  ← load (a)\nend\n  ← load (declared)\n"
	if got := g.Text(); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestGraphIsOfNamesAndFiles(t *testing.T) {
	first := trace("first", nil, cellgraph.Effect{Ambient: []cellgraph.Ambient{{Name: "pandas.options", ID: cellgraph.Sum(nil)}},
		Files: []cellgraph.FileChange{{Path: "a.csv"}}})
	use := trace("use", []cellgraph.Observation{{Kind: cellgraph.KindAmbient, Name: "pandas.options"}, {Kind: cellgraph.KindFile, Name: "a.csv"}},
		cellgraph.Effect{})
	g := cellgraph.NewGraph([]cellgraph.StepRun{{Step: "first", Trace: &first}, {Step: "use", Trace: &use}})
	if got, want := g.Text(), "first\nuse\n  ← first (a.csv)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGraphIsOfWhatChanged(t *testing.T) {
	load := trace("load", nil, cellgraph.Effect{Groups: []cellgraph.Group{group("1", "a")}, Rebound: []string{"a"}})
	shares := trace("shares", []cellgraph.Observation{{Kind: cellgraph.KindMates, Name: "a"}},
		cellgraph.Effect{Groups: []cellgraph.Group{group("2", "a", "b")}, Rebound: []string{"b"}})
	use := trace("use", []cellgraph.Observation{{Kind: cellgraph.KindName, Name: "a"}}, cellgraph.Effect{})
	g := cellgraph.NewGraph([]cellgraph.StepRun{{Step: "load", Trace: &load}, {Step: "shares", Trace: &shares}, {Step: "use", Trace: &use}})
	if got, want := g.Text(), "load\nshares\nuse\n  ← load (a)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
