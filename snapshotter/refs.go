package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"

	"kedge/cellgraph"
)

// refs are the blobs that a trace or a snapshot needs. The record is what
// people look at; the state is what restoring the cell needs beside it, and gc
// may take that away and leave the record.
type refs struct {
	record []cellgraph.Digest
	state  []cellgraph.Digest
	groups []cellgraph.Group // whose payloads are state and name further blobs
}

func (r *refs) add(groups []cellgraph.Group, files []cellgraph.FileChange, ambient []cellgraph.Ambient) {
	r.groups = append(r.groups, groups...)
	for _, f := range files {
		r.addState(f.Content)
	}
	for _, a := range ambient {
		r.addState(a.Payload)
	}
}

func (r *refs) addRecord(id cellgraph.Digest) {
	if !id.IsZero() {
		r.record = append(r.record, id)
	}
}

func (r *refs) addState(id cellgraph.Digest) {
	if !id.IsZero() {
		r.state = append(r.state, id)
	}
}

func traceRefs(t *cellgraph.Trace) refs {
	var r refs
	e := &t.Effect
	r.addRecord(e.Outputs)
	r.addRecord(e.Widgets)
	r.add(e.Captured(), e.Files, e.Ambient)
	return r
}

func snapshotRefs(s *Snapshot) refs {
	var r refs
	r.addRecord(s.Document)
	for _, id := range s.Outputs {
		r.addRecord(id)
	}
	r.add(s.Groups, s.Files, s.Ambient)
	return r
}

// payloads remembers what the manifests of groups name.
type payloads struct {
	store *Store
	known map[cellgraph.Digest][]cellgraph.Digest
}

func newPayloads(s *Store) *payloads {
	return &payloads{store: s, known: map[cellgraph.Digest][]cellgraph.Digest{}}
}

// payload is a group's manifest.
type payload struct {
	Stream  cellgraph.Digest `json:"stream"`
	Buffers []struct {
		Blob cellgraph.Digest `json:"blob"`
	} `json:"buffers"`
}

// of lists the blobs that a manifest names, without itself.
func (p *payloads) of(ctx context.Context, id cellgraph.Digest) ([]cellgraph.Digest, error) {
	if named, ok := p.known[id]; ok || id.IsZero() {
		return named, nil
	}
	data, err := p.store.committed(ctx, id)
	if err != nil {
		return nil, err
	}
	var m payload
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("payload %s: %w", id, err)
	}
	var named []cellgraph.Digest
	if !m.Stream.IsZero() {
		named = append(named, m.Stream)
	}
	for _, b := range m.Buffers {
		if !b.Blob.IsZero() {
			named = append(named, b.Blob)
		}
	}
	p.known[id] = named
	return named, nil
}
