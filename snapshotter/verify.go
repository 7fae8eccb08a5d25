package snapshotter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"kedge/cellgraph"
)

// Problem is something that Verify found wrong.
type Problem struct {
	Kind   string           `json:"kind"` // "catalog", "extent", "blob", "snapshot", "trace"
	ID     cellgraph.Digest `json:"id"`   // of that; of the code for a trace; zero for the catalog
	Detail string           `json:"detail"`
}

// payload is a group's manifest.
type payload struct {
	Stream  cellgraph.Digest `json:"stream"`
	Buffers []struct {
		Blob cellgraph.Digest `json:"blob"`
	} `json:"buffers"`
}

// verification is the state of one Verify.
type verification struct {
	store       *Store
	problems    []Problem
	payloads    map[cellgraph.Digest][]cellgraph.Digest
	done, total int
	progress    func(done, total int)
}

func (v *verification) add(kind string, id cellgraph.Digest, detail string) {
	v.problems = append(v.problems, Problem{kind, id, detail})
}

func (v *verification) step() {
	v.done++
	if v.progress != nil {
		v.progress(v.done, v.total)
	}
}

// Verify reads every committed extent and blob again, and checks that each blob
// that a snapshot or trace needs exists. It returns what is wrong; the error is
// for what kept it from looking. progress may be nil; it is called in order.
func (s *Store) Verify(ctx context.Context, progress func(done, total int)) ([]Problem, error) {
	faults, err := s.catalog.faults(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	// Referrers first: what they need is committed before them, so that a writer
	// beside us cannot make a reference look broken.
	snapshots, err := s.catalog.snapshots(ctx, "TRUE", -1)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	traces, err := s.catalog.allTraces(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	extents, err := s.catalog.allExtents(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	blobs, err := s.catalog.allBlobs(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v := &verification{store: s, progress: progress, payloads: map[cellgraph.Digest][]cellgraph.Digest{}}
	for _, fault := range faults {
		v.add("catalog", cellgraph.Digest{}, fault)
	}
	v.total = len(extents) + len(blobs) + len(snapshots) + len(traces)
	for _, check := range []func() error{
		func() error { return v.extents(ctx, extents) },
		func() error { return v.blobs(ctx, blobs) },
		func() error { return v.snapshots(ctx, snapshots) },
		func() error { return v.traces(ctx, traces) },
	} {
		if err := check(); err != nil {
			return v.problems, fmt.Errorf("verify: %w", err)
		}
	}
	return v.problems, nil
}

func (v *verification) extents(ctx context.Context, extents []extent) error {
	var file *os.File
	var name string
	defer func() { file.Close() }() // a nil *os.File may be closed
	buffer := make([]byte, extentBytes)
	for _, e := range extents {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.segment != name {
			file.Close()
			var err error
			if file, err = os.Open(v.store.segmentPath(e.segment)); err != nil {
				file = nil
			}
			name = e.segment
		}
		if file == nil {
			v.add("extent", e.id, "segment "+name+" cannot be opened")
		} else if err := checkExtent(file, e, buffer); err != nil {
			v.add("extent", e.id, err.Error())
		}
		v.step()
	}
	return nil
}

// checkExtent reads an extent and, where it has one, its header again.
func checkExtent(f *os.File, e extent, buffer []byte) error {
	if _, err := readExtent(f, e, buffer); err != nil || e.offset%pageBytes == 0 { // only packed ones lie elsewhere
		return err
	}
	header := make([]byte, recordHeader)
	if _, err := f.ReadAt(header, e.offset-int64(recordHeader)); err != nil {
		return fmt.Errorf("read header of extent %s: %w", e.id, err)
	}
	if !bytes.Equal(header, appendHeader(nil, e.id, e.length)) {
		return fmt.Errorf("header of extent %s in segment %s at %d: %w", e.id, e.segment, e.offset, ErrCorrupt)
	}
	return nil
}

func (v *verification) blobs(ctx context.Context, ids []cellgraph.Digest) error {
	for _, id := range ids {
		l, err := v.store.layout(ctx, id)
		if err == nil && (len(l.extents) != 1 || l.extents[0].id != id) { // else checked as an extent
			r := v.store.reader(ctx, id, l)
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.add("blob", id, err.Error())
		}
		v.step()
	}
	return nil
}

func (v *verification) snapshots(ctx context.Context, rows []snapshotRow) error {
	for _, row := range rows {
		var s Snapshot
		id := cellgraph.Sum(row.body)
		if id.String() != row.id {
			v.add("snapshot", id, "its body does not have the digest "+row.id)
		}
		if err := json.Unmarshal(row.body, &s); err != nil {
			v.add("snapshot", id, err.Error())
			v.step()
			continue
		}
		refs := []cellgraph.Digest{s.Document}
		for _, id := range s.Outputs {
			refs = append(refs, id)
		}
		if err := v.refer(ctx, "snapshot", id, refs, s.Groups, s.Files, s.Ambient); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) traces(ctx context.Context, rows []traceRow) error {
	for _, row := range rows {
		var t cellgraph.Trace
		err := json.Unmarshal(row.body, &t)
		if err == nil && !row.sound() {
			err = ErrCorrupt
		}
		if err != nil {
			v.add("trace", cellgraph.Sum(row.body), err.Error())
			v.step()
			continue
		}
		e := &t.Effect
		refs := []cellgraph.Digest{e.Outputs}
		if !e.Widgets.IsZero() {
			refs = append(refs, e.Widgets)
		}
		if err := v.refer(ctx, "trace", t.Code, refs, e.Groups, e.Files, e.Ambient); err != nil {
			return err
		}
	}
	return nil
}

// refer checks everything that one snapshot or trace refers to.
func (v *verification) refer(ctx context.Context, kind string, id cellgraph.Digest, refs []cellgraph.Digest,
	groups []cellgraph.Group, files []cellgraph.FileChange, ambient []cellgraph.Ambient) error {
	for _, g := range groups {
		refs = append(refs, g.Payload)
		inner, err := v.payload(ctx, g.Payload)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, ErrNotFound) { // that is said below
			v.add(kind, id, fmt.Sprintf("group %v: %v", g.Names, err))
		}
		refs = append(refs, inner...)
	}
	for _, f := range files {
		refs = append(refs, f.Content)
	}
	for _, a := range ambient {
		refs = append(refs, a.Payload)
	}
	for _, ref := range refs {
		if ref.IsZero() {
			continue
		}
		has, err := v.store.catalog.hasBlob(ctx, ref)
		if err != nil {
			return err
		}
		if !has {
			v.add(kind, id, "blob "+ref.String()+" is missing")
		}
	}
	v.step()
	return nil
}

// payload lists what a group's manifest refers to.
func (v *verification) payload(ctx context.Context, id cellgraph.Digest) ([]cellgraph.Digest, error) {
	if refs, ok := v.payloads[id]; ok || id.IsZero() {
		return refs, nil
	}
	data, err := v.store.Blob(ctx, id)
	if err != nil {
		return nil, err
	}
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("payload %s: %w", id, err)
	}
	refs := []cellgraph.Digest{p.Stream}
	for _, b := range p.Buffers {
		refs = append(refs, b.Blob)
	}
	v.payloads[id] = refs
	return refs, nil
}
