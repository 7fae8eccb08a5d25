package snapshotter

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

// Author is the ed25519 public key of a home that has signed what it shared.
type Author [32]byte

// kindForeign is the kind of the memos that say from whom a run of a cell, or a
// payload, came: the key is its mark or digest, the value the public keys of the
// authors, one after another.
const kindForeign = "foreign"

// Body is s in the form whose digest is its id.
func (s Snapshot) Body() ([]byte, error) {
	_, body, err := sealed(s)
	return body, err
}

// Extent is a piece of a blob.
type Extent struct {
	ID     cellgraph.Digest
	Length int64 // bytes
}

// Extents are the pieces of a blob, in order, and its size: [ErrNotFound]. They stay until s is closed.
func (s *Store) Extents(ctx context.Context, id cellgraph.Digest) (size int64, pieces []Extent, err error) {
	var l layout
	err = s.lease.during(func() error {
		l, err = s.layout(ctx, id)
		return err
	}, hold{holdBlob, id})
	for _, e := range l.extents {
		pieces = append(pieces, Extent{e.id, e.length})
	}
	return l.size, pieces, err
}

// HasExtent reports whether a piece is there. One that is stays until s is closed.
func (s *Store) HasExtent(ctx context.Context, id cellgraph.Digest) (bool, error) {
	_, err := s.findExtent(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) findExtent(ctx context.Context, id cellgraph.Digest) (at location, err error) {
	s.mu.Lock()
	at, ok := s.pending.extents[id]
	s.mu.Unlock()
	if ok {
		return at, nil
	}
	err = s.lease.during(func() error {
		at, err = s.catalog.extent(ctx, id)
		return err
	}, hold{holdBlob, id})
	return at, err
}

// Extent reads a piece, into buffer if it is long enough, and checks it: [ErrNotFound], [ErrCorrupt].
func (s *Store) Extent(ctx context.Context, id cellgraph.Digest, buffer []byte) ([]byte, error) {
	return s.readPiece(ctx, id, buffer, readExtent)
}

func (s *Store) readPiece(ctx context.Context, id cellgraph.Digest, buffer []byte, read func(*os.File, extent, []byte) ([]byte, error)) ([]byte, error) {
	at, err := s.findExtent(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("extent %s: %w", id, err)
	}
	f, e, err := s.openExtent(ctx, extent{id, at})
	if err != nil {
		return nil, fmt.Errorf("extent %s: %w", id, err)
	}
	defer f.Close()
	return read(f, e, buffer)
}

// PutExtent stores a piece of what came from elsewhere. Data that has another
// digest is refused with [ErrCorrupt]. packed is for pieces of files and of
// small blobs, which nobody maps.
func (s *Store) PutExtent(ctx context.Context, id cellgraph.Digest, data []byte, packed bool) error {
	if len(data) == 0 || len(data) > extentBytes || cellgraph.Sum(data) != id {
		return fmt.Errorf("extent %s: %w", id, ErrCorrupt)
	}
	_, err := s.putExtent(ctx, id, data, packed)
	s.push()
	return err
}

// Free is how many bytes the disk of the store has left for this user.
func (s *Store) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, fmt.Errorf("store %s: %w", s.dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// push has the disk write what was appended while more is fetched, so that the
// fsync that follows has little to wait for. Nothing depends on it.
func (s *Store) push() {
	const enough = 8 << 20
	s.mu.Lock()
	f, from, to := s.segment.file, s.segment.pushed, s.segment.end
	if f == nil || to-from < enough {
		s.mu.Unlock()
		return
	}
	s.segment.pushed = to
	s.mu.Unlock()
	if raw, err := f.SyscallConn(); err == nil { // not f.Fd: it may be closed meanwhile
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SyncFileRange(int(fd), from, to-from, unix.SYNC_FILE_RANGE_WRITE)
		})
	}
}

// PutAssembled makes a blob of pieces, each of which is there once ready has
// returned nil for its place among them. What the pieces together are has to
// have the blob's digest and size, else [ErrCorrupt].
func (s *Store) PutAssembled(ctx context.Context, id cellgraph.Digest, size int64, pieces []Extent, ready func(i int) error) error {
	if has, err := s.HasBlob(ctx, id); has || err != nil {
		return err
	}
	l, whole := layout{}, cellgraph.NewHash()
	var buffer []byte
	for i, p := range pieces {
		if err := ready(i); err != nil {
			return err
		}
		at, err := s.findExtent(ctx, p.ID)
		if err != nil {
			return fmt.Errorf("blob %s: extent %s: %w", id, p.ID, err)
		}
		if at.length != p.Length {
			return fmt.Errorf("blob %s: extent %s has %d bytes, not %d: %w", id, p.ID, at.length, p.Length, ErrCorrupt)
		}
		l.extents, l.size = append(l.extents, extent{p.ID, at}), l.size+at.length
		if len(pieces) == 1 && p.ID == id {
			continue // it was checked when it came
		}
		if buffer, err = s.readPiece(ctx, p.ID, buffer, readUnchecked); err != nil {
			return err
		}
		whole.Write(buffer)
	}
	if l.size != size || (len(pieces) != 1 || pieces[0].ID != id) && whole.Digest() != id {
		return fmt.Errorf("blob %s: its pieces are of something else: %w", id, ErrCorrupt)
	}
	return s.addBlob(id, l)
}

// Passed is a cell on the way to a snapshot.
type Passed struct {
	Snapshot Snapshot
	Trace    []byte // JSON of the cell's trace, as it is stored
	Needs    []cellgraph.Digest
	Kept     bool // gc has not taken its state
	Barred   bool // it may not be restored: it changed things behind the cell's back, or is no longer trusted
}

// Lineage is a snapshot and those that lead to it, the newest first, at most so
// many. What they refer to stays until s is closed.
func (s *Store) Lineage(ctx context.Context, id cellgraph.Digest, most int) (line []Passed, err error) {
	for !id.IsZero() && len(line) < most {
		found, err := s.heldSnapshots(ctx, "id = ?", 1, id.String())
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", id, err)
		}
		if len(found) == 0 {
			break // gc has taken it
		}
		rows, err := collect(ctx, s.catalog.db, scanTrace,
			"SELECT "+traceColumns+" FROM trace WHERE id = (SELECT trace FROM snapshot WHERE id = ?)", id.String())
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", id, err)
		}
		one := Passed{Snapshot: found[0]}
		if len(rows) == 1 && rows[0].sound() {
			if err := s.describe(ctx, rows[0], &one); err != nil {
				return nil, fmt.Errorf("snapshot %s: %w", id, err)
			}
		}
		line = append(line, one)
		id = one.Snapshot.Parent
	}
	return line, nil
}

// describe fills in what p says of its trace.
func (s *Store) describe(ctx context.Context, row traceRow, p *Passed) error {
	var t cellgraph.Trace
	if err := json.Unmarshal(row.body, &t); err != nil {
		return fmt.Errorf("decode trace: %w: %w", ErrCorrupt, err)
	}
	p.Trace, p.Kept = row.body, row.kept
	for _, kind := range barring() {
		_, barred, err := s.catalog.memo(ctx, kind, t.Key())
		if err != nil {
			return err
		}
		p.Barred = p.Barred || barred
	}
	trusted, err := s.catalog.trusted(ctx, &t)
	if p.Barred = p.Barred || !trusted; err != nil || !p.Kept {
		return err
	}
	return s.lease.during(func() error {
		p.Needs, err = s.needs(ctx, traceRefs(&t))
		return err
	}, hold{holdCode, t.Code})
}

// SnapshotNeeds are the blobs that a snapshot shows: the document, outputs and
// files, without the values.
func (s *Store) SnapshotNeeds(snap Snapshot) []cellgraph.Digest {
	r := snapshotRefs(&snap)
	ids := slices.Clone(r.record)
	for _, f := range snap.Files {
		if !f.Content.IsZero() {
			ids = append(ids, f.Content)
		}
	}
	return ids
}

// needs are the blobs of refs, payloads and what these name among them.
func (s *Store) needs(ctx context.Context, r refs) ([]cellgraph.Digest, error) {
	inv := newInventory(s)
	record, state, err := inv.needs(ctx, r, true)
	return slices.Concat(record, state), err
}

// Adopted is what somebody else has shared and the user of this store trusts.
type Adopted struct {
	Author   Author
	Own      bool                      // it is what this home has shared itself
	Traces   []cellgraph.Trace         // what they need has been put
	Snapshot []byte                    // JSON of the body, whose digest is the id
	Of       int                       // which of Traces is that of the snapshot's cell
	Before   map[cellgraph.Digest]bool // the payloads that were in this store before: they are nobody else's
}

// Adopt makes traces of another home those of this one: they may be restored
// from now on, for as long as their author is trusted.
func (s *Store) Adopt(ctx context.Context, a Adopted) error {
	var snap Snapshot
	if err := json.Unmarshal(a.Snapshot, &snap); err != nil {
		return fmt.Errorf("adopt: %w: %w", ErrCorrupt, err)
	}
	if err := s.Flush(ctx); err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	for i := range a.Traces {
		if err := s.complete(ctx, &a.Traces[i]); err != nil {
			return fmt.Errorf("adopt trace of cell %s: %w", a.Traces[i].Cell, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.Own { // before they can be found
		if err := s.markForeign(ctx, a); err != nil {
			return fmt.Errorf("adopt: %w", err)
		}
	}
	for i := range a.Traces {
		rec := record{trace: a.Traces[i], snapshot: snap, snapshotBody: a.Snapshot, snapshotID: cellgraph.Sum(a.Snapshot)}
		var err error
		if rec.traceBody, err = json.Marshal(a.Traces[i]); err != nil {
			return fmt.Errorf("adopt: %w", err)
		}
		rec.traceID = cellgraph.Sum(rec.traceBody)
		rec.adopted, rec.bare = true, i != a.Of
		if err := s.commit(ctx, &rec); err != nil {
			return fmt.Errorf("adopt trace of cell %s: %w", a.Traces[i].Cell, err)
		}
	}
	return nil
}

// complete makes sure that all is there that restoring t needs, and stays.
func (s *Store) complete(ctx context.Context, t *cellgraph.Trace) error {
	if t.Uncached != "" {
		return nil // it is never restored
	}
	ids, err := s.needs(ctx, traceRefs(t))
	if err != nil {
		return err
	}
	for _, id := range ids {
		if has, err := s.HasBlob(ctx, id); err != nil {
			return err
		} else if !has {
			return fmt.Errorf("blob %s: %w", id, ErrNotFound)
		}
	}
	return nil
}

// markForeign notes from whom traces and their payloads came. The caller holds s.mu.
func (s *Store) markForeign(ctx context.Context, a Adopted) error {
	j, noted := &journal{}, map[cellgraph.Digest]bool{}
	for i := range a.Traces {
		body, err := json.Marshal(a.Traces[i])
		if err != nil {
			return err
		}
		here, err := s.catalog.hasTrace(ctx, cellgraph.Sum(body))
		if err != nil {
			return err
		}
		for n, id := range marks(&a.Traces[i]) {
			known, marked, err := s.catalog.memo(ctx, kindForeign, id)
			if err != nil {
				return err
			}
			if n == 0 && here && !marked {
				break // it was made here
			}
			if n > 0 && a.Before[id] && !marked || noted[id] || slices.Contains(authors(known), a.Author) {
				continue
			}
			noted[id] = true
			j.Memos = append(j.Memos, journalMemo{kindForeign, id, append(slices.Clone(known), a.Author[:]...)})
		}
	}
	if len(j.Memos) == 0 {
		return nil
	}
	at, err := s.journal(j)
	if err != nil {
		return err
	}
	return s.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
		for _, m := range j.Memos {
			_, err := tx.ExecContext(ctx, "INSERT INTO memo VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", m.Kind, m.Key[:], m.Value)
			if err != nil {
				return err
			}
		}
		return insertPlace(ctx, tx, at)
	})
}

func authors(value []byte) (list []Author) {
	for ; len(value) >= len(Author{}); value = value[len(Author{}):] {
		list = append(list, Author(value))
	}
	return list
}

// Payloads are the blobs of a trace from which a kernel would make objects.
func Payloads(t *cellgraph.Trace) (ids []cellgraph.Digest) {
	for _, g := range t.Effect.Captured() {
		ids = append(ids, g.Payload)
	}
	for _, a := range t.Effect.Ambient {
		ids = append(ids, a.Payload)
	}
	return slices.DeleteFunc(ids, cellgraph.Digest.IsZero)
}

// marks are what tells a run of a cell, whichever cell it is restored in, and
// then its payloads.
func marks(t *cellgraph.Trace) []cellgraph.Digest {
	run := cellgraph.Combine("foreign", t.Key().String(), fmt.Sprint(t.Created.UnixNano()), t.Effect.Outputs.String())
	return append([]cellgraph.Digest{run}, Payloads(t)...)
}

// offered are those of traces that came from nobody, or from somebody whom the
// user trusts now. It stands between the catalog and every look-up; traces were
// read before, so that what has come since is not among them.
func (c *catalog) offered(ctx context.Context, traces []cellgraph.Trace) ([]cellgraph.Trace, error) {
	foreign, err := c.hasMemos(ctx, kindForeign)
	if err != nil || !foreign {
		return traces, err
	}
	traces = slices.DeleteFunc(traces, func(t cellgraph.Trace) bool {
		trusted, failed := c.trusted(ctx, &t)
		err = errors.Join(err, failed)
		return !trusted
	})
	return traces, err
}

// trusted reports whether all that restoring t would read was made here, or
// came from somebody whom the user trusts now.
func (c *catalog) trusted(ctx context.Context, t *cellgraph.Trace) (bool, error) {
	for _, id := range marks(t) {
		value, marked, err := c.memo(ctx, kindForeign, id)
		if err != nil {
			return false, err
		}
		if marked && !slices.ContainsFunc(authors(value), c.trusts) {
			return false, nil
		}
	}
	return true, nil
}

func (c *catalog) hasMemos(ctx context.Context, kind string) (has bool, err error) {
	err = c.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM memo WHERE kind = ?)", kind).Scan(&has)
	return has, err
}

// Pack is data as it travels, and whether zstd has made it smaller.
func Pack(data []byte) ([]byte, bool, error) {
	small, err := squeeze(data)
	if err != nil || small == nil {
		return data, false, err
	}
	return small, true, nil
}

// Unpack is the inverse of [Pack] for data of length bytes: [ErrCorrupt]. It
// takes no more memory than that, whatever the data says of itself.
func Unpack(stored []byte, packed bool, length int64) ([]byte, error) {
	if length < 0 || length > extentBytes {
		return nil, fmt.Errorf("%d bytes: %w", length, ErrCorrupt)
	}
	e := extent{location: location{length: length, stored: int64(len(stored))}}
	if packed {
		e.codec = codecZstd
	}
	data, err := unpack(e, stored, make([]byte, 0, length))
	if err != nil || int64(len(data)) != length {
		return nil, errors.Join(ErrCorrupt, err)
	}
	return data, nil
}

// kindShared begins the kinds of the memos by which blobs are kept for links:
// the id of the share follows, and the value is the blob's digest.
const kindShared = "shared"

// KeepShared keeps blobs from gc until [Store.ReleaseShared].
func (s *Store) KeepShared(ctx context.Context, share string, blobs []cellgraph.Digest) error {
	err := s.lease.during(func() error { // gc does not decide meanwhile
		return s.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
			for _, id := range blobs {
				key := cellgraph.Combine(kindShared, share, id.String())
				if _, err := tx.ExecContext(ctx, "INSERT INTO memo VALUES (?, ?, ?) ON CONFLICT DO NOTHING", kindShared+" "+share, key[:], id[:]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("keep what is shared: %w", err)
	}
	return nil
}

// ReleaseShared is the end of [Store.KeepShared].
func (s *Store) ReleaseShared(ctx context.Context, share string) error {
	if _, err := s.catalog.db.ExecContext(ctx, "DELETE FROM memo WHERE kind = ?", kindShared+" "+share); err != nil {
		return fmt.Errorf("release what was shared: %w", err)
	}
	return nil
}
