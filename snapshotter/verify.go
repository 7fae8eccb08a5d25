package snapshotter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

// Problem is something that Verify found wrong.
type Problem struct {
	Kind   string           `json:"kind"` // "catalog", "segment", "extent", "run", "blob", "snapshot", "trace"
	ID     cellgraph.Digest `json:"id"`   // of that; of the code for a trace; zero for the catalog and a segment
	Detail string           `json:"detail"`
}

// verification is the state of one Verify.
type verification struct {
	store       *Store
	problems    []Problem
	payloads    *payloads
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
	release, err := s.claimWork(unix.LOCK_SH) // gc would take away what is being looked at
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer release()
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
	v := &verification{store: s, progress: progress, payloads: newPayloads(s)}
	for _, fault := range faults {
		v.add("catalog", cellgraph.Digest{}, fault)
	}
	journals, err := s.catalog.journals(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	runs, err := s.catalog.allRuns(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v.total = len(extents) + len(runs) + len(blobs) + len(snapshots) + len(traces) + len(journals)
	for _, check := range []func() error{
		func() error { return v.extents(ctx, extents) },
		func() error { return v.runs(runs) },
		func() error { return v.blobs(ctx, blobs) },
		func() error { return v.snapshots(ctx, snapshots) },
		func() error { return v.traces(ctx, traces) },
		func() error { return v.journals(ctx, journals) },
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
	magic := recordMagic
	if e.codec == codecZstd {
		magic = squeezedMagic
	}
	if !bytes.Equal(header, appendHeader(nil, magic, e.id, e.stored)) {
		return fmt.Errorf("header of extent %s in segment %s at %d: %w", e.id, e.segment, e.offset, ErrCorrupt)
	}
	return nil
}

// runs checks lists that the next blob may take for its own.
func (v *verification) runs(all map[cellgraph.Digest][]cellgraph.Digest) error {
	for id, extents := range all {
		if runID(extents) != id {
			v.add("run", id, "its list is of other extents")
		}
		v.step()
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

// journals checks what a rebuild of the catalog would need.
func (v *verification) journals(ctx context.Context, places []place) error {
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := v.store.readJournal(p); err != nil {
			v.add("segment", cellgraph.Digest{}, fmt.Sprintf("%s at %d: %v", p.segment, p.offset, err))
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
		if err := v.refer(ctx, "snapshot", id, snapshotRefs(&s), row.kept); err != nil {
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
		if err := v.refer(ctx, "trace", t.Code, traceRefs(&t), row.kept); err != nil {
			return err
		}
	}
	return nil
}

// refer checks everything that one snapshot or trace refers to; the state only
// if it is kept.
func (v *verification) refer(ctx context.Context, kind string, id cellgraph.Digest, r refs, kept bool) error {
	need := r.record
	if kept {
		need = append(need, r.state...)
		for _, g := range r.groups {
			inner, err := v.payloads.of(ctx, g.Payload)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && !errors.Is(err, ErrNotFound) { // that is said below
				v.add(kind, id, fmt.Sprintf("group %v: %v", g.Names, err))
			}
			if !g.Payload.IsZero() {
				need = append(append(need, g.Payload), inner...)
			}
		}
	}
	for _, ref := range need {
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
