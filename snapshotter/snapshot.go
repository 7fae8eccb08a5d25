package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"kedge/cellgraph"
)

const (
	maxTraces = 64 // that Traces returns
	minPrefix = 8  // hex digits
)

// Snapshot is the state of a notebook after a cell.
type Snapshot struct {
	ID           cellgraph.Digest            `json:"id,omitzero"` // see [SnapshotID]
	Notebook     string                      `json:"notebook"`
	Step         string                      `json:"step"`
	Cell         string                      `json:"cell"`
	Created      time.Time                   `json:"created"`
	Seconds      float64                     `json:"seconds"`
	Parent       cellgraph.Digest            `json:"parent"`
	Status       string                      `json:"status"`
	Groups       []cellgraph.Group           `json:"groups,omitempty"`
	Opaque       []cellgraph.Uncaptured      `json:"opaque,omitempty"`
	Files        []cellgraph.FileChange      `json:"files,omitempty"` // the whole volume
	Ambient      []cellgraph.Ambient         `json:"ambient,omitempty"`
	Modules      []string                    `json:"modules,omitempty"`
	Outputs      map[string]cellgraph.Digest `json:"outputs,omitempty"` // cell id → blob
	Document     cellgraph.Digest            `json:"document"`          // blob: the notebook as it was
	Environment  map[string]string           `json:"environment,omitempty"`
	LogicalBytes int64                       `json:"logical_bytes"`
	// StateGone says that gc has taken the values and files: only the document
	// and the outputs are left. The store sets it; it is no part of the identity.
	StateGone bool `json:"state_gone,omitempty"`
	// UniqueBytes are those of the extents that this snapshot was first to
	// store. The store sets it; it is no part of the identity.
	UniqueBytes int64 `json:"unique_bytes,omitzero"`
}

// Values are what the names hold: digests, or why that is not kept.
func (s Snapshot) Values() map[string]string {
	all := map[string]string{}
	for _, g := range s.Groups {
		for _, name := range g.Names {
			all[name] = g.ID.String()
		}
	}
	for _, u := range s.Opaque {
		all[u.Name] = u.Reason
	}
	return all
}

// SnapshotID is the digest of s's JSON form without ID and UniqueBytes, the ID
// under which PutTrace stores s.
func SnapshotID(s Snapshot) (cellgraph.Digest, error) {
	id, _, err := sealed(s)
	return id, err
}

func sealed(s Snapshot) (cellgraph.Digest, []byte, error) {
	s.ID, s.UniqueBytes, s.StateGone, s.Created = cellgraph.Digest{}, 0, false, s.Created.UTC()
	body, err := json.Marshal(s)
	if err != nil {
		return cellgraph.Digest{}, nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return cellgraph.Sum(body), body, nil
}

// PutTrace makes all blobs written so far durable and stores t and s, in one
// transaction. A zero Created is set to now. What is there already, to the last
// byte, is left as it is. s.ID is ignored; see [SnapshotID].
func (s *Store) PutTrace(ctx context.Context, t cellgraph.Trace, snap Snapshot) error {
	now := s.now().UTC()
	if t.Created.IsZero() {
		t.Created = now
	}
	if snap.Created.IsZero() {
		snap.Created = now
	}
	rec := record{trace: t, snapshot: snap}
	var err error
	if rec.traceBody, err = json.Marshal(t); err != nil {
		return fmt.Errorf("encode trace: %w", err)
	}
	rec.traceID = cellgraph.Sum(rec.traceBody)
	if rec.snapshotID, rec.snapshotBody, err = sealed(snap); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.commit(ctx, &rec); err != nil {
		return fmt.Errorf("put trace of cell %s: %w", t.Cell, err)
	}
	return nil
}

// Traces are the newest 64 traces of a cell's code, newest first. One that is
// not as it was written, whose state gc has taken, or that came from somebody
// who is not trusted, is left out: it must not hit. What they refer to stays until s is closed.
func (s *Store) Traces(ctx context.Context, code cellgraph.Digest) ([]cellgraph.Trace, error) {
	var rows []traceRow
	err := s.lease.during(func() (err error) {
		rows, err = s.catalog.traces(ctx, code, maxTraces)
		return err
	}, hold{holdCode, code})
	if err != nil {
		return nil, fmt.Errorf("list traces: %w", err)
	}
	traces := make([]cellgraph.Trace, 0, len(rows))
	for _, row := range rows {
		if !row.sound() {
			s.log.Warn("damaged trace left out", "code", code)
			continue
		}
		var t cellgraph.Trace
		if err := json.Unmarshal(row.body, &t); err != nil {
			return nil, fmt.Errorf("decode trace: %w: %w", ErrCorrupt, err)
		}
		traces = append(traces, t)
	}
	if traces, err = s.catalog.offered(ctx, traces); err != nil {
		return nil, fmt.Errorf("list traces: %w", err)
	}
	return traces, nil
}

// Snapshot is the snapshot with that id, or [ErrNotFound].
func (s *Store) Snapshot(ctx context.Context, id cellgraph.Digest) (Snapshot, error) {
	return s.oneSnapshot(ctx, "snapshot "+id.String(), "id = ?", id.String())
}

// Snapshots are those of a notebook, or of all if it is empty, newest first.
func (s *Store) Snapshots(ctx context.Context, notebook string) ([]Snapshot, error) {
	all, err := s.selectSnapshots(ctx, "(?1 = '' OR notebook = ?1)", -1, notebook)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return all, nil
}

// Sizes are the bytes of a notebook's snapshots, each counted whole, and those that they were the first to store.
func (s *Store) Sizes(ctx context.Context, notebook string) (logical, unique int64, err error) {
	err = s.catalog.db.QueryRowContext(ctx, `SELECT ifnull(sum(logical_bytes), 0), ifnull(sum(unique_bytes), 0)
		FROM snapshot WHERE notebook = ?`, notebook).Scan(&logical, &unique)
	if err != nil {
		err = fmt.Errorf("sizes of the snapshots of %s: %w", notebook, err)
	}
	return logical, unique, err
}

// FindSnapshot is the only snapshot whose ID begins with prefix, at least 8 hex
// digits: [ErrNotFound], [ErrAmbiguous].
func (s *Store) FindSnapshot(ctx context.Context, prefix string) (Snapshot, error) {
	prefix = strings.ToLower(prefix)
	if strings.Trim(prefix, "0123456789abcdef") != "" {
		return Snapshot{}, fmt.Errorf("snapshot %q is not hexadecimal: %w", prefix, ErrNotFound)
	}
	if len(prefix) < minPrefix {
		return Snapshot{}, fmt.Errorf("snapshot %q: give at least %d digits: %w", prefix, minPrefix, ErrAmbiguous)
	}
	found, err := s.heldSnapshots(ctx, "id >= ? AND id < ?", 2, prefix, prefix+"g")
	switch {
	case err != nil:
		return Snapshot{}, fmt.Errorf("find snapshot %s: %w", prefix, err)
	case len(found) == 0:
		return Snapshot{}, fmt.Errorf("snapshot %s: %w", prefix, ErrNotFound)
	case len(found) > 1:
		return Snapshot{}, fmt.Errorf("snapshot %s: %w", prefix, ErrAmbiguous)
	}
	return found[0], nil
}

// LatestSnapshot is the newest snapshot of a step of a notebook, or [ErrNotFound].
func (s *Store) LatestSnapshot(ctx context.Context, notebook, step string) (Snapshot, error) {
	return s.oneSnapshot(ctx, fmt.Sprintf("snapshot of step %q of %s", step, notebook), "notebook = ? AND step = ?", notebook, step)
}

func (s *Store) oneSnapshot(ctx context.Context, what, where string, args ...any) (Snapshot, error) {
	found, err := s.heldSnapshots(ctx, where, 1, args...)
	if err != nil {
		return Snapshot{}, fmt.Errorf("%s: %w", what, err)
	}
	if len(found) == 0 {
		return Snapshot{}, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return found[0], nil
}

// heldSnapshots is selectSnapshots; what they refer to stays until s is closed.
func (s *Store) heldSnapshots(ctx context.Context, where string, limit int, args ...any) (all []Snapshot, err error) {
	err = s.lease.during(func() error {
		if all, err = s.selectSnapshots(ctx, where, limit, args...); err != nil {
			return err
		}
		for _, one := range all {
			if err := s.lease.add(hold{holdSnapshot, one.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

func (s *Store) selectSnapshots(ctx context.Context, where string, limit int, args ...any) ([]Snapshot, error) {
	rows, err := s.catalog.snapshots(ctx, where, limit, args...)
	if err != nil {
		return nil, err
	}
	all := make([]Snapshot, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.body, &all[i]); err != nil {
			return nil, fmt.Errorf("decode snapshot %s: %w: %w", row.id, ErrCorrupt, err)
		}
		if all[i].ID, err = cellgraph.ParseDigest(row.id); err != nil {
			return nil, fmt.Errorf("decode snapshot id: %w: %w", ErrCorrupt, err)
		}
		all[i].UniqueBytes, all[i].StateGone = row.unique, !row.kept
	}
	return all, nil
}
