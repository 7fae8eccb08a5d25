package snapshotter

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

// ErrInUse says that a store is open in other processes.
var ErrInUse = errors.New("the store is in use")

const (
	rebuiltFile = catalogFile + ".rebuilt" // while it is being made
	damagedFile = catalogFile + ".damaged" // what a rebuild has replaced
)

// RebuildReport is what a rebuild has found.
type RebuildReport struct {
	Segments  int      `json:"segments"`
	Entries   int      `json:"entries"` // of the journal
	Extents   int      `json:"extents"`
	Blobs     int      `json:"blobs"`
	Traces    int      `json:"traces"`
	Snapshots int      `json:"snapshots"`
	Saved     int      `json:"saved"`
	Lost      []string `json:"lost"`          // what the segments name and no longer hold
	Old       string   `json:"old,omitempty"` // where the catalog is that was replaced
}

// Rebuild makes the catalog of a store again from its segments, all of which it
// reads and checks. Nobody else may have the store open: [ErrInUse]. What the
// old catalog, if it can be read, remembers beside is taken over.
func Rebuild(ctx context.Context, cfg Config, progress func(done, total int)) (RebuildReport, error) {
	dir, err := filepath.Abs(cmp.Or(cfg.Dir, DefaultDir()))
	if err != nil {
		return RebuildReport{}, fmt.Errorf("rebuild store %s: %w", cfg.Dir, err)
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	r := &rebuilder{dir: dir, progress: progress, report: RebuildReport{Lost: []string{}}, faults: cfg.faults,
		places: map[cellgraph.Digest][]location{}, runs: map[cellgraph.Digest][]cellgraph.Digest{}, blobs: map[cellgraph.Digest][]journalBlob{},
		traces:    map[cellgraph.Digest][]byte{},
		snapshots: map[cellgraph.Digest]journalRow{}, pins: map[cellgraph.Digest]bool{}}
	if err := r.run(ctx, cfg.AnyFileSystem); err != nil {
		return r.report, fmt.Errorf("rebuild store %s: %w", dir, err)
	}
	return r.report, nil
}

// rebuilder is the state of one rebuild.
type rebuilder struct {
	dir      string
	progress func(done, total int)
	report   RebuildReport
	faults   faults

	places    map[cellgraph.Digest][]location         // of extents
	runs      map[cellgraph.Digest][]cellgraph.Digest // extents
	blobs     map[cellgraph.Digest][]journalBlob
	traces    map[cellgraph.Digest][]byte
	snapshots map[cellgraph.Digest]journalRow
	saved     []SavedFile
	memos     []journalMemo
	pins      map[cellgraph.Digest]bool
	deleted   []cellgraph.Digest
	entries   []place
	extents   map[cellgraph.Digest]location // those that are sound
}

func (r *rebuilder) run(ctx context.Context, anyFileSystem bool) error {
	if err := checkFileSystem(r.dir, anyFileSystem); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(r.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return writeError(err)
	}
	defer lock.Close()
	if err := lockFileExclusive(ctx, lock); err != nil { // nobody opens the store meanwhile
		return err
	}
	if version, err := checkVersion(r.dir); err != nil {
		return err
	} else if version < journalVersion {
		return fmt.Errorf("format %d has no journal to rebuild the catalog from", version)
	}
	held, release, err := aloneWith(ctx, r.dir)
	if err != nil {
		return err
	}
	defer release()
	if len(held.holders) > 0 {
		h := held.holders[0]
		return fmt.Errorf("by process %d (%s) and %d more; end them first: %w", h.PID, h.Command, len(held.holders)-1, ErrInUse)
	}
	if err := r.readSegments(ctx); err != nil {
		return err
	}
	for _, id := range r.deleted {
		delete(r.snapshots, id)
		delete(r.traces, id)
	}
	if err := r.write(ctx); err != nil {
		return errors.Join(err, removeCatalog(filepath.Join(r.dir, rebuiltFile)))
	}
	return r.swap()
}

// readSegments collects what the journals of all segments say.
func (r *rebuilder) readSegments(ctx context.Context) error {
	entries, err := os.ReadDir(filepath.Join(r.dir, segmentFolder))
	if err != nil {
		return err
	}
	for i, e := range entries { // the oldest first: their names begin with the time
		name, ok := strings.CutSuffix(e.Name(), segmentExt)
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.readSegment(name, filepath.Join(r.dir, segmentFolder, e.Name())); err != nil {
			return err
		}
		r.report.Segments++
		r.progress(i+1, 2*len(entries))
	}
	return nil
}

// readSegment looks for entries of the journal everywhere in a segment, so that
// damage of one does not hide the next.
func (r *rebuilder) readSegment(name, path string) error {
	if _, err := segmentID(name); err != nil {
		return nil // no file of ours
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map segment %s: %w", name, err)
	}
	defer unix.Munmap(data)
	for at := 0; ; {
		next := bytes.Index(data[at:], []byte(journalMagic))
		if next < 0 {
			return nil
		}
		at += next
		j, n, err := unpackJournal(name, int64(at), data[at:])
		if err != nil {
			at++ // the letters stand in somebody's data, or it is damaged
			continue
		}
		r.entries = append(r.entries, place{name, int64(at), n})
		r.add(name, j)
		at += int(n)
	}
}

func (r *rebuilder) add(segment string, j *journal) {
	r.report.Entries++
	for _, e := range j.Extents {
		at := location{segment: cmp.Or(e.Segment, segment), offset: e.Offset, length: e.Length, stored: e.Stored, codec: e.Codec}
		r.places[e.ID] = append(r.places[e.ID], at)
	}
	for _, one := range j.Runs {
		if runID(one.Extents) == one.ID {
			r.runs[one.ID] = one.Extents
		}
	}
	for _, b := range j.Blobs {
		r.blobs[b.ID] = append(r.blobs[b.ID], b)
	}
	for _, row := range j.Traces {
		r.traces[cellgraph.Sum([]byte(row.Body))] = []byte(row.Body)
	}
	for _, row := range j.Snapshots {
		r.snapshots[cellgraph.Sum([]byte(row.Body))] = row
	}
	for _, f := range j.Saved {
		if !slices.Contains(r.saved, f) {
			r.saved = append(r.saved, f)
		}
	}
	r.memos = append(r.memos, j.Memos...)
	for _, p := range j.Pins {
		r.pins[p.Snapshot] = p.Pinned
	}
	r.deleted = append(r.deleted, j.Deleted...)
}

// check reads every extent, and keeps a place of each where it is sound.
func (r *rebuilder) check(ctx context.Context, s *Store) error {
	r.extents = map[cellgraph.Digest]location{}
	var all []extent
	for id, places := range r.places {
		for _, at := range places {
			all = append(all, extent{id, at})
		}
	}
	slices.SortFunc(all, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.offset, b.offset))
	})
	var file *os.File
	defer func() { file.Close() }() // a nil *os.File may be closed
	name, buffer := "", make([]byte, extentBytes)
	for i, e := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.progress(len(all)+i, 2*len(all))
		if _, found := r.extents[e.id]; found {
			continue
		}
		if e.segment != name {
			file.Close()
			file, _ = os.Open(s.segmentPath(e.segment)) // a nil file cannot be read: it is lost
			name = e.segment
		}
		if _, err := readExtent(file, e, buffer); err == nil {
			r.extents[e.id] = e.location
		}
	}
	return nil
}

// write makes the new catalog beside the old one.
func (r *rebuilder) write(ctx context.Context) error {
	path := filepath.Join(r.dir, rebuiltFile)
	if err := removeCatalog(path); err != nil {
		return err
	}
	c, err := openCatalog(ctx, path)
	if err != nil {
		return err
	}
	s := &Store{dir: r.dir, catalog: c}
	err = r.check(ctx, s)
	if err == nil {
		err = r.fill(ctx, s)
	}
	return errors.Join(err, c.close())
}

func (r *rebuilder) fill(ctx context.Context, s *Store) error {
	err := s.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
		if _, err := insertExtents(ctx, tx, r.extents); err != nil {
			return err
		}
		if err := insertBlobs(ctx, tx, r.layouts()); err != nil {
			return err
		}
		for _, p := range r.entries {
			if err := insertPlace(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.fillRecords(ctx, s); err != nil {
		return err
	}
	r.takeOver(ctx, s.catalog)
	for _, m := range r.memos {
		if err := s.catalog.putMemo(ctx, m.Kind, m.Key, m.Value); err != nil {
			return err
		}
	}
	return nil
}

// layouts are the blobs of which every extent is sound.
func (r *rebuilder) layouts() map[cellgraph.Digest]layout {
	all := map[cellgraph.Digest]layout{}
	for id, versions := range r.blobs {
		for _, b := range versions {
			if l, ok := r.layout(b); ok {
				all[id] = l
				break
			}
		}
		if _, ok := all[id]; !ok {
			r.lose("blob", id)
		}
	}
	r.report.Extents, r.report.Blobs = len(r.extents), len(all)
	return all
}

// layout is that of a blob, if every extent is sound. It has the runs that the
// journal has: others a later blob would not say, and the next rebuild not find.
func (r *rebuilder) layout(b journalBlob) (l layout, ok bool) {
	l = layout{size: b.Size, whole: len(b.Runs) == 0}
	if !r.list(&l, b.Extents) {
		return l, false
	}
	for _, id := range b.Runs {
		from := len(l.extents)
		if !r.list(&l, r.runs[id]) {
			return l, false
		}
		l.cut = append(l.cut, run{id, l.extents[from:]})
	}
	var sum int64
	for _, e := range l.extents {
		sum += e.length
	}
	return l, sum == b.Size
}

// list adds extents to a layout; false if one is not sound.
func (r *rebuilder) list(l *layout, ids []cellgraph.Digest) bool {
	for _, id := range ids {
		at, ok := r.extents[id]
		if !ok {
			return false
		}
		l.extents = append(l.extents, extent{id, at})
	}
	return true
}

func (r *rebuilder) lose(kind string, id cellgraph.Digest) {
	r.report.Lost = append(r.report.Lost, kind+" "+id.String())
}

// fillRecords inserts the traces and snapshots of which at least the record is there.
func (r *rebuilder) fillRecords(ctx context.Context, s *Store) error {
	inv := newInventory(s)
	if err := inv.readLayouts(ctx, s.catalog); err != nil {
		return err
	}
	for _, b := range inv.blobs {
		b.users = 1 // complete asks for it
	}
	return s.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
		for id, body := range r.traces {
			if err := r.fillTrace(ctx, tx, inv, id, body); err != nil {
				return fmt.Errorf("trace %s: %w", id, err)
			}
		}
		for id, row := range r.snapshots {
			if err := r.fillSnapshot(ctx, tx, inv, id, row); err != nil {
				return fmt.Errorf("snapshot %s: %w", id, err)
			}
		}
		for _, f := range r.saved {
			if inv.blobs[f.Content] == nil {
				r.lose("saved file "+f.Path+", blob", f.Content)
				continue
			}
			r.report.Saved++
			if err := insertSaved(ctx, tx, f); err != nil {
				return err
			}
		}
		for id, pinned := range r.pins {
			if !pinned {
				continue
			}
			if _, err := tx.ExecContext(ctx, insertPin, id.String(), time.Now().UnixNano()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *rebuilder) fillTrace(ctx context.Context, tx *sql.Tx, inv *inventory, id cellgraph.Digest, body []byte) error {
	var t cellgraph.Trace
	if json.Unmarshal(body, &t) != nil {
		r.lose("trace", id)
		return nil
	}
	record, state, err := inv.needs(ctx, traceRefs(&t), true)
	if err != nil {
		return err
	}
	if !inv.complete(record) {
		r.lose("trace", id)
		return nil
	}
	r.report.Traces++
	_, err = tx.ExecContext(ctx, `INSERT INTO trace (id, code, created, seconds, uncached, body, used, kept) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		id[:], t.Code[:], t.Created.UnixNano(), t.Seconds, t.Uncached != "", body, t.Created.UnixNano(), inv.complete(state))
	return err
}

func (r *rebuilder) fillSnapshot(ctx context.Context, tx *sql.Tx, inv *inventory, id cellgraph.Digest, row journalRow) error {
	var s Snapshot
	if json.Unmarshal([]byte(row.Body), &s) != nil {
		r.lose("snapshot", id)
		return nil
	}
	record, state, err := inv.needs(ctx, snapshotRefs(&s), true)
	if err != nil {
		return err
	}
	if !inv.complete(record) {
		r.lose("snapshot", id)
		return nil
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO snapshot
		(id, trace, notebook, step, created, logical_bytes, unique_bytes, body, kept) SELECT ?, id, ?, ?, ?, ?, ?, ?, ? FROM trace WHERE id = ?`,
		id.String(), s.Notebook, s.Step, s.Created.UnixNano(), s.LogicalBytes, row.Unique, []byte(row.Body), inv.complete(state), row.Trace[:])
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		r.lose("snapshot", id) // gc has taken its trace
		return err
	}
	r.report.Snapshots++
	_, err = tx.ExecContext(ctx, "UPDATE trace SET used = max(used, ?) WHERE id = ?", s.Created.UnixNano(), row.Trace[:])
	return err
}

// takeOver copies memos of the old catalog, as far as they can be read: they
// save time, or bar traces from being restored.
func (r *rebuilder) takeOver(ctx context.Context, c *catalog) {
	path := filepath.Join(r.dir, catalogFile)
	if _, err := os.Stat(path); err != nil {
		return
	}
	old, err := connect(path, false)
	if err != nil {
		return
	}
	defer old.close()
	rows, err := old.db.QueryContext(ctx, "SELECT kind, key, value FROM memo")
	if err != nil {
		return
	}
	defer rows.Close()
	_ = c.inTransaction(ctx, func(tx *sql.Tx) error {
		for rows.Next() {
			var kind string
			var key, value []byte
			if rows.Scan(&kind, &key, &value) != nil {
				break // what was read so far is as good
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO memo VALUES (?, ?, ?) ON CONFLICT DO NOTHING", kind, key, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// swap puts the new catalog in the place of the old one. A crash between two
// steps leaves a store without a catalog, which Open refuses.
func (r *rebuilder) swap() error {
	at := func(name string) string { return filepath.Join(r.dir, name) }
	if err := removeCatalog(at(damagedFile)); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} { // in this order: a log without its database is of no use
		if err := r.faults.before("replace catalog", nil); err != nil {
			return err
		}
		err := os.Rename(at(catalogFile+suffix), at(damagedFile+suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && suffix == "" {
			r.report.Old = at(damagedFile)
		}
	}
	if err := r.faults.before("replace catalog", nil); err != nil {
		return err
	}
	if err := os.Rename(at(rebuiltFile), at(catalogFile)); err != nil {
		return err
	}
	return syncFolder(r.dir)
}

// removeCatalog removes a database with its log.
func removeCatalog(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
