package session

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// record turns what was seen of a cell into a trace and an effect, and stores both.
func (s *Session) record(ctx context.Context, o *seen, count int, c *CellReport) error {
	effect, err := s.capture(ctx, o)
	if err != nil {
		return err
	}
	t := cellgraph.Trace{Code: s.code(o.cell), Cell: o.cell.ID, Step: o.cell.Step, Seconds: o.seconds, Created: time.Now().UTC(),
		Bound: o.reads.Binds, Effect: effect, Observed: s.observations(o, &effect), Uncached: s.uncached(o), Text: text(o),
		Hidden: o.captured.Hidden}
	if s.varies(ctx, &t) {
		c.Why += "; it does not do the same each time"
	}
	c.leaves(&t)
	s.keepPrior(o, &effect)
	s.executed[s.state.Passed()] = true
	s.pass(o.cell, count, t)
	s.past[len(s.past)-1].shows = showsResult(o.result.Outputs)
	s.live = s.state.Clone()
	if err := s.anchor(ctx, o.cell, t, Ran); err != nil {
		return err
	}
	c.snapshot = s.parent.String()
	if why := leftRunning(o); why != "" { // it may change anything from here on
		s.blind = "cell " + o.cell.ID + " " + why
	}
	return s.remember(o.cell, t)
}

// varies reports whether an earlier run of a cell, which observed the same,
// left something else; outputs alone do not count.
func (s *Session) varies(ctx context.Context, t *cellgraph.Trace) bool {
	traces, err := s.cfg.Store.Traces(ctx, t.Code)
	if err != nil {
		return false // it is only shown
	}
	key, id := t.Key(), t.Effect.ID()
	return slices.ContainsFunc(traces, func(old cellgraph.Trace) bool { return old.Key() == key && old.Effect.ID() != id })
}

// capture takes from the kernel and the folder what a cell left.
func (s *Session) capture(ctx context.Context, o *seen) (e cellgraph.Effect, err error) {
	spool := filepath.Join(s.cfg.Runtime, "spool")
	defer os.Remove(spool)
	if o.captured, err = s.agent.After(ctx, spool, s.mates(o), true); err != nil {
		return e, err
	}
	for _, name := range o.captured.Unused {
		delete(o.reads.Ambient, name)
		delete(o.reads.Reads, name)
	}
	if o.after, err = s.volume.scan(); err != nil {
		return e, err
	}
	if o.holds, err = s.paths(o, spool); err != nil {
		return e, err
	}
	o.changed = s.touched(o)
	return s.effect(ctx, o, spool)
}

// mates are the names that shared with what the cell may have touched before
// it ran: it may have changed them in place and then have bound the name by
// which it reached them to something else.
func (s *Session) mates(o *seen) []string {
	names := slices.Concat(slices.Collect(maps.Keys(o.reads.Reads)), o.reads.Binds)
	return s.matesOf(slices.DeleteFunc(names, func(n string) bool { return s.state.Group(n) == nil }))
}

// matesOf are the names that share with any of names, sorted.
func (s *Session) matesOf(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, s.state.Mates(name)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pass moves the state past a cell.
func (s *Session) pass(cell notebook.CodeCell, count int, t cellgraph.Trace) {
	p := passed{cell: cell, count: count, trace: t}
	if !s.interactive { // cells are replayed only where nobody can look
		p.pre = s.state.Clone()
	}
	s.past = append(s.past, p)
	s.state.Apply(t)
	s.state.Enter(s.entered(cell), t.Key(), t.Effect.Outputs)
}

// effect stores what the cell left and returns it as a delta to the state before.
func (s *Session) effect(ctx context.Context, o *seen, spool string) (e cellgraph.Effect, err error) {
	e = cellgraph.Effect{Deleted: o.captured.Deleted, Opaque: o.captured.Uncaptured, Modules: o.captured.Modules}
	if e.Groups, err = s.groups(ctx, o.captured.Groups, o.binds, spool); err != nil {
		return e, err
	}
	for _, u := range e.Opaque {
		for i, path := range u.Open {
			u.Open[i] = s.volume.name(path)
		}
	}
	e.Rebound, e.Classes, e.Tied = o.captured.Bound, o.captured.Made, o.captured.Tied
	if e.Result, err = s.result(ctx, o.captured.Result, spool); err != nil {
		return e, err
	}
	for _, a := range o.captured.Ambient {
		payload, err := s.cfg.Store.PutBlob(ctx, a.State)
		if err != nil {
			return e, fmt.Errorf("store %s: %w", a.Name, err)
		}
		e.Ambient = append(e.Ambient, cellgraph.Ambient{Name: a.Name, ID: cellgraph.Combine("ambient", payload.String()), Payload: payload})
	}
	if e.Files, err = captureFiles(ctx, s.cfg.Store, s.volume, o.changed); err != nil {
		return e, err
	}
	if e.Widgets, err = s.storeWidgets(ctx, o.result.Models); err != nil {
		return e, err
	}
	tagged, err := tagDisplays(o.result.Outputs, o.result.DisplayIDs)
	if err != nil {
		return e, err
	}
	outputs, err := json.Marshal(tagged)
	if err != nil {
		return e, fmt.Errorf("store outputs: %w", err)
	}
	if e.Outputs, err = s.cfg.Store.PutBlob(ctx, outputs); err != nil {
		return e, fmt.Errorf("store outputs: %w", err)
	}
	return e, nil
}

// groups stores the captured groups and drops those that are as they were. A
// group with a name that the cell binds stays: the trace does not observe what
// that name was before, so it may hit where the name is something else.
func (s *Session) groups(ctx context.Context, captured []agent.Group, binds func(name string) bool, spool string) ([]cellgraph.Group, error) {
	if len(captured) == 0 {
		return nil, nil
	}
	f, err := os.Open(spool)
	if err != nil {
		return nil, fmt.Errorf("read the capture: %w", err)
	}
	defer f.Close()
	var groups []cellgraph.Group
	for _, c := range captured {
		g, err := s.group(ctx, f, c, slices.ContainsFunc(c.Names, binds))
		if err != nil {
			return nil, fmt.Errorf("capture %s: %w", strings.Join(c.Names, ", "), err)
		}
		if g != nil {
			groups = append(groups, *g)
		}
	}
	return groups, nil
}

// result stores what a cell showed.
func (s *Session) result(ctx context.Context, r *agent.Result, spool string) (*cellgraph.Result, error) {
	if r == nil || r.Group == nil {
		if r == nil {
			return nil, nil
		}
		return &cellgraph.Result{Is: r.Is}, nil
	}
	groups, err := s.groups(ctx, []agent.Group{*r.Group}, func(string) bool { return true }, spool)
	if err != nil || len(groups) == 0 {
		return nil, err
	}
	return &cellgraph.Result{Group: &groups[0], Within: r.Within}, nil
}

// group stores one captured group from the spool file; nil if it is as it was
// and the cell binds none of its names.
func (s *Session) group(ctx context.Context, spool io.ReaderAt, c agent.Group, bound bool) (*cellgraph.Group, error) {
	payload := agent.Payload{Previews: c.Previews}
	var hashed []agent.HashedBuffer
	for _, b := range c.Buffers {
		id, err := s.cfg.Store.PutBlobFrom(ctx, io.NewSectionReader(spool, b.Offset, b.Length))
		if err != nil {
			return nil, err
		}
		payload.Buffers = append(payload.Buffers, agent.PayloadBuffer{Blob: id, Length: b.Length, ReadOnly: b.ReadOnly})
		hashed = append(hashed, agent.HashedBuffer{Digest: id, Length: b.Length, ReadOnly: b.ReadOnly})
	}
	stream := make([]byte, c.Stream[1])
	if _, err := spool.ReadAt(stream, c.Stream[0]); err != nil {
		return nil, err
	}
	id, err := agent.Identity(stream, hashed)
	if err != nil || !bound && s.unchanged(c.Names, id) {
		return nil, err
	}
	if payload.Stream, err = s.cfg.Store.PutBlob(ctx, stream); err != nil {
		return nil, err
	}
	manifest, err := payload.Encode()
	if err != nil {
		return nil, err
	}
	blob, err := s.cfg.Store.PutBlob(ctx, manifest)
	if err != nil {
		return nil, err
	}
	return &cellgraph.Group{Names: c.Names, ID: id, Payload: blob, Bytes: c.Bytes, Vars: c.Vars}, nil
}

// unchanged reports whether the state already holds exactly this group.
func (s *Session) unchanged(names []string, id cellgraph.Digest) bool {
	for _, name := range names {
		g := s.state.Group(name)
		if g == nil || g.ID != id || !slices.Equal(g.Names, names) {
			return false
		}
	}
	return true
}
