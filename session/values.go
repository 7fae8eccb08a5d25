package session

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/agent"
)

// values are what a cell left in variables.
type values struct {
	groups []cellgraph.Group
	result *cellgraph.Result
	holds  []string // the folder and home, if a value holds their path
	err    error
}

// groups stores the captured groups and drops those that are as they were. A
// group with a name that the cell binds stays: the trace does not observe what
// that name was before, so it may hit where the name is something else.
func (s *Session) groups(ctx context.Context, captured []agent.Group, binds func(name string) bool, holder func(name string) *cellgraph.Group, spool string) ([]cellgraph.Group, error) {
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
		g, err := s.group(ctx, f, c, slices.ContainsFunc(c.Names, binds), holder)
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
func (s *Session) result(ctx context.Context, r *agent.Result, holder func(name string) *cellgraph.Group, spool string) (*cellgraph.Result, error) {
	if r == nil || r.Group == nil {
		if r == nil {
			return nil, nil
		}
		return &cellgraph.Result{Is: r.Is}, nil
	}
	groups, err := s.groups(ctx, []agent.Group{*r.Group}, func(string) bool { return true }, holder, spool)
	if err != nil || len(groups) == 0 {
		return nil, err
	}
	return &cellgraph.Result{Group: &groups[0], Within: r.Within}, nil
}

// group stores one captured group from the spool file; nil if it is as it was
// and the cell binds none of its names.
func (s *Session) group(ctx context.Context, spool io.ReaderAt, c agent.Group, bound bool, holder func(name string) *cellgraph.Group) (*cellgraph.Group, error) {
	payload := agent.Payload{Previews: c.Previews}
	var hashed []agent.HashedBuffer
	for _, b := range c.Buffers {
		id, err := s.cfg.Store.PutBlobFrom(ctx, b.Reader(spool))
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
	if err != nil || !bound && unchanged(c.Names, id, holder) {
		return nil, err
	}
	if payload.Stream, err = s.cfg.Store.PutStream(ctx, stream); err != nil {
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

// unchanged reports whether these names were held by exactly this group.
func unchanged(names []string, id cellgraph.Digest, holder func(name string) *cellgraph.Group) bool {
	for _, name := range names {
		g := holder(name)
		if g == nil || g.ID != id || !slices.Equal(g.Names, names) {
			return false
		}
	}
	return true
}
