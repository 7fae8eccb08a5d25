package session

import (
	"context"
	"time"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// Recording is a store that tells when something was recorded. Told is called by the goroutine that records.
type Recording struct {
	Store
	Told func()
}

// PutTrace implements [Store].
func (r Recording) PutTrace(ctx context.Context, t cellgraph.Trace, s snapshotter.Snapshot) error {
	err := r.Store.PutTrace(ctx, t, s)
	r.Told()
	return err
}

// PutMemo implements [Store].
func (r Recording) PutMemo(ctx context.Context, kind string, key cellgraph.Digest, value []byte) error {
	err := r.Store.PutMemo(ctx, kind, key, value)
	if kind == "last" {
		r.Told()
	}
	return err
}

// glanceFor is how long what was read of the store is taken for what is in it: another program may write there.
const glanceFor = 5 * time.Second

// Glance is a store of which is remembered for some seconds what was read: while a person types, one cell of hundreds
// changes. It belongs to one goroutine.
type Glance struct {
	Store
	since  time.Time
	traces map[cellgraph.Digest][]cellgraph.Trace
	memos  map[memoKey]memo
}

type memoKey struct {
	kind string
	key  cellgraph.Digest
}

type memo struct {
	data []byte
	ok   bool
}

// Forget makes the next look one at the store.
func (g *Glance) Forget() {
	g.since, g.traces, g.memos = time.Now(), map[cellgraph.Digest][]cellgraph.Trace{}, map[memoKey]memo{}
}

// age forgets what was read too long ago.
func (g *Glance) age() {
	if time.Since(g.since) > glanceFor {
		g.Forget()
	}
}

// Traces implements [Store].
func (g *Glance) Traces(ctx context.Context, code cellgraph.Digest) ([]cellgraph.Trace, error) {
	g.age()
	if known, ok := g.traces[code]; ok {
		return known, nil
	}
	traces, err := g.Store.Traces(ctx, code)
	if err == nil {
		g.traces[code] = traces
	}
	return traces, err
}

// Memo implements [Store].
func (g *Glance) Memo(ctx context.Context, kind string, key cellgraph.Digest) ([]byte, bool, error) {
	g.age()
	if m, ok := g.memos[memoKey{kind, key}]; ok {
		return m.data, m.ok, nil
	}
	data, ok, err := g.Store.Memo(ctx, kind, key)
	if err == nil {
		g.memos[memoKey{kind, key}] = memo{data, ok}
	}
	return data, ok, err
}

// PutMemo implements [Store].
func (g *Glance) PutMemo(ctx context.Context, kind string, key cellgraph.Digest, value []byte) error {
	delete(g.memos, memoKey{kind, key})
	return g.Store.PutMemo(ctx, kind, key, value)
}
