package share

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/snapshotter"
)

// followed is a snapshot of a second cell, which reads x and binds y, deletes
// latest, and writes what there is already once more.
func (h homeOf) followed(t *testing.T, folder string) snapshotter.Snapshot {
	t.Helper()
	ctx, first := context.Background(), h.recorded(t, folder)
	put := func(data string) cellgraph.Digest {
		id, err := h.store.PutBlob(ctx, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	payload, err := agent.Payload{Stream: put("cposix\nsystem\n(S'false'\ntR."), Previews: map[string]agent.Preview{
		"y": {Columns: []string{"", "n"}, Rows: [][]string{{"0", "7"}}, Sketches: []agent.Sketch{{Name: "n", Type: "int64", Of: 1, Seen: 1, Bins: []int64{1}, Sum: "aa"}}},
		"z": {Rows: make([][]string, 1<<10)}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	group := cellgraph.Group{Names: []string{"y", "z"}, ID: cellgraph.Sum([]byte("y")), Payload: put(string(payload)), Bytes: 30, Vars: []cellgraph.Variable{{Name: "y", Type: "DataFrame"}, {Name: "z", Type: "odd"}}}
	trace := cellgraph.Trace{Code: cellgraph.Sum([]byte("more")), Cell: "b", Step: "two", Created: time.Now().UTC(),
		Observed: []cellgraph.Observation{{Kind: cellgraph.KindName, Name: "x", ID: cellgraph.Sum([]byte("x"))}, {Kind: cellgraph.KindEnv, Name: "HOME", ID: cellgraph.Sum([]byte("h"))}},
		Effect:   cellgraph.Effect{Groups: []cellgraph.Group{group}, Outputs: put("[]")}}
	snap := first
	snap.Parent, snap.Cell, snap.Step, snap.Created = first.ID, "b", "two", time.Now().UTC()
	snap.Groups = append(snap.Groups[:1:1], group)
	snap.Files = append(snap.Files[:2:2], cellgraph.FileChange{Path: "latest", Deleted: true})
	snap.Document = put(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
		{"cell_type": "code", "id": "a", "metadata": {"tags": ["step:one"]}, "outputs": [], "execution_count": null, "source": "x = 3"},
		{"cell_type": "code", "id": "b", "metadata": {"tags": ["step:two", "prev:one"]}, "outputs": [], "execution_count": null, "source": "y = x"}]}`)
	if err := h.store.PutTrace(ctx, trace, snap); err != nil {
		t.Fatal(err)
	}
	id, err := snapshotter.SnapshotID(snap)
	if err != nil {
		t.Fatal(err)
	}
	if snap, err = h.store.Snapshot(ctx, id); err != nil {
		t.Fatal(err)
	}
	return snap
}

func (h homeOf) collected(t *testing.T, noState bool) *Manifest {
	t.Helper()
	m, _, err := Collect(context.Background(), Offer{Store: h.store, Snapshot: h.followed(t, t.TempDir()), NoState: noState, Created: time.Now(), Env: bare{}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAManifestSaysWhatIsInTheValues(t *testing.T) {
	m := newHome(t).collected(t, false)
	if g := m.Graph; len(g.Steps) != 2 || len(g.Edges) != 1 || !g.Edges[0].Declared || g.Edges[0].Observed[0] != "x" || len(g.Edges[0].Observed) != 1 {
		t.Error(g)
	}
	y := m.Variables[1]
	if y.Name != "y" || y.Preview == nil || y.Preview.Rows[0][1] != "7" || m.Variables[2].Preview != nil || m.Variables[0].Bytes != 4 {
		t.Error(m.Variables)
	}
	if y.Own <= 0 || m.Variables[0].Own != 0 || m.Sizes.Own <= y.Own || m.Sizes.Logical < 2*(3<<19) || m.Sizes.Own > 4<<10 {
		t.Error(m.Sizes, y.Own)
	}
	first, second := m.Cells[0].Changed, m.Cells[1].Changed
	if len(first.Variables) != 1 || len(first.Files) != 3 || len(second.Variables) != 2 || len(second.Files) != 0 || len(second.Removed) != 1 || second.Removed[0] != "latest" {
		t.Errorf("%+v, %+v", first, second)
	}
	if p := second.Variables[0].Preview; p == nil || p.Rows != nil || len(p.Sketches[0].Sum) != 16 || p.Sketches[0].Bins != nil {
		t.Errorf("%+v", p)
	}
}

// What a cell left that ran once more later does not travel: it is told that it was otherwise, not what it was.
func TestWhatWasSupersededIsNotTold(t *testing.T) {
	h := newHome(t)
	ctx, now := context.Background(), h.followed(t, t.TempDir())
	put := func(data string) cellgraph.Digest {
		id, err := h.store.PutBlob(ctx, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for i, text := range []string{"'hunter2'", "'hunter2'", "''"} {
		payload, err := agent.Payload{Stream: put("S" + text), Previews: map[string]agent.Preview{"word": {Sketches: []agent.Sketch{{Type: "str", Sum: "~beef"}}}}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		group := cellgraph.Group{Names: []string{"word"}, ID: cellgraph.Sum([]byte(text)), Payload: put(string(payload)), Vars: []cellgraph.Variable{{Name: "word", Type: "str", Shown: text}}}
		file := cellgraph.FileChange{Path: "word.txt", Content: put(text), Size: int64(len(text)), Mode: 0o600}
		snap := now
		snap.Parent, snap.Cell, snap.Created = now.ID, "w", time.Now().UTC().Add(time.Duration(i)*time.Second)
		snap.Groups = append(snap.Groups[:2:2], group)
		snap.Files = append(snap.Files[:3:3], file)
		snap.Opaque = []cellgraph.Uncaptured{{Name: "link", Reason: "connected to " + text}}
		trace := cellgraph.Trace{Code: cellgraph.Sum([]byte(text)), Cell: "w", Step: "two", Created: snap.Created,
			Effect: cellgraph.Effect{Groups: []cellgraph.Group{group}, Files: []cellgraph.FileChange{file}, Opaque: snap.Opaque, Outputs: put("[]")}}
		if err := h.store.PutTrace(ctx, trace, snap); err != nil {
			t.Fatal(err)
		}
		id, err := snapshotter.SnapshotID(snap)
		if err != nil {
			t.Fatal(err)
		}
		if now, err = h.store.Snapshot(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	m, _, err := Collect(ctx, Offer{Store: h.store, Snapshot: now, Created: time.Now(), Env: bare{}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m.Cells)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", cellgraph.Sum([]byte("'hunter2'")).String(), "beef"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	changed := m.Cells[len(m.Cells)-2].Changed // the second run left what the first had
	if len(changed.Variables) != 0 || len(changed.Files) != 0 {
		t.Errorf("%+v", changed)
	}
	is, _ := m.After(len(m.Cells) - 1)
	was, _ := m.After(len(m.Cells) - 2)
	same, _ := m.After(len(m.Cells) - 3)
	if d := Compare(was, is, nil); len(d.Variables) != 1 || d.Variables[0].Was.Shown != "" || d.Variables[0].Is.Shown != "''" || len(d.Files) != 1 || len(d.Unknown) != 1 {
		t.Errorf("%+v", d)
	}
	if d := Compare(same, was, nil); len(d.Variables)+len(d.Files) > 0 {
		t.Errorf("%+v", d)
	}
}

func TestWithoutStateAManifestSaysNothingOfValues(t *testing.T) {
	m := newHome(t).collected(t, true)
	if m.Graph == nil || m.Cells[1].Changed != nil || len(m.Variables) > 0 {
		t.Error(m.Graph, m.Cells, m.Variables)
	}
	if text, _ := json.Marshal(m); strings.Contains(string(text), cellgraph.Sum([]byte("y")).String()) || strings.Contains(string(text), "DataFrame") {
		t.Error(string(text))
	}
}

func TestAHostilePreviewIsRefused(t *testing.T) {
	long := strings.Repeat("a", maxWord+1)
	for name, change := range map[string]func(m *Manifest, p *agent.Preview){
		"long text":        func(_ *Manifest, p *agent.Preview) { p.Text = long },
		"long cell":        func(_ *Manifest, p *agent.Preview) { p.Rows[0][1] = long },
		"long name":        func(_ *Manifest, p *agent.Preview) { p.Sketches[0].Name = long },
		"many rows":        func(_ *Manifest, p *agent.Preview) { p.Rows = make([][]string, 1000) },
		"wide row":         func(_ *Manifest, p *agent.Preview) { p.Rows[0] = make([]string, 1000) },
		"many sketches":    func(_ *Manifest, p *agent.Preview) { p.Sketches = make([]agent.Sketch, 1000) },
		"many bins":        func(_ *Manifest, p *agent.Preview) { p.Sketches[0].Bins = make([]int64, 1000) },
		"negative bin":     func(_ *Manifest, p *agent.Preview) { p.Sketches[0].Bins[0] = -1 },
		"level":            func(_ *Manifest, p *agent.Preview) { p.Sketches[0].Line = []int{1 << 40} },
		"grid":             func(_ *Manifest, p *agent.Preview) { p.Grid = [][]int{make([]int, 1000)} },
		"dark grid":        func(_ *Manifest, p *agent.Preview) { p.Grid = [][]int{{-2}} },
		"seen more":        func(_ *Manifest, p *agent.Preview) { p.Sketches[0].Missing = 1 << 60 },
		"negative size":    func(m *Manifest, _ *agent.Preview) { m.Variables[1].Size = -1 },
		"negative bytes":   func(m *Manifest, _ *agent.Preview) { m.Variables[1].Bytes = -1 },
		"more of its own":  func(m *Manifest, _ *agent.Preview) { m.Variables[1].Own = m.Variables[1].Bytes + 1 },
		"negative shape":   func(m *Manifest, _ *agent.Preview) { m.Variables[1].Shape = []int{-3} },
		"many axes":        func(m *Manifest, _ *agent.Preview) { m.Variables[1].Shape = make([]int, 1000) },
		"more own than is": func(m *Manifest, _ *agent.Preview) { m.Sizes.Own = m.Sizes.Logical + 1 },
		"step twice":       func(m *Manifest, _ *agent.Preview) { m.Graph.Steps[1] = m.Graph.Steps[0] },
		"edge to nothing":  func(m *Manifest, _ *agent.Preview) { m.Graph.Edges[0].To = "none" },
		"many steps":       func(m *Manifest, _ *agent.Preview) { m.Graph.Steps = make([]string, 1<<20) },
		"many names":       func(m *Manifest, _ *agent.Preview) { m.Graph.Edges[0].Observed = make([]string, 1<<20) },
		"change climbs":    func(m *Manifest, _ *agent.Preview) { m.Cells[0].Changed.Files[0].Path = "../x" },
		"change of nothing": func(m *Manifest, _ *agent.Preview) {
			m.Cells[1].Changed.Variables[0].Preview.Sketches[0].Of = -1
		},
		"of an older format": func(m *Manifest, _ *agent.Preview) { m.Format = 1 },
		"format 0":           func(m *Manifest, _ *agent.Preview) { m.Format = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			mallory := newHome(t)
			m := mallory.collected(t, false)
			change(m, m.Variables[1].Preview)
			sealed, err := mallory.signer.Seal(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sealed.Open(); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrHostile) {
				t.Errorf("it opens: %v", err)
			}
		})
	}
	m := newHome(t).collected(t, false)
	m.Format++
	sealed, _ := newHome(t).signer.Seal(m)
	if _, err := sealed.Open(); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}

// A bundle that was written in format 1 opens as ever.
func TestABundleOfFormat1Opens(t *testing.T) {
	h := newHome(t)
	into := filepath.Join(t.TempDir(), "into")
	if moved, err := h.receive(filepath.Join("testdata", "format1.kedge"), into); err != nil || moved == 0 {
		t.Fatal(moved, err)
	}
	b, err := OpenBundle(filepath.Join("testdata", "format1.kedge"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if m := b.Manifest; m.Format != 1 || len(m.Variables) != 2 || m.Graph != nil {
		t.Error(m)
	}
}
