package snapshotter

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"

	"kedge/cellgraph"
)

// How the list of a large blob's extents is cut, in extents: where the digests
// say so, and not at fixed places, so that what follows an insertion is known
// again. Blobs share runs, so that a large one of which little has changed does
// not cost its whole list again.
const (
	runsFrom = 64 // a list of so many is not cut
	runLeast = 32
	runMost  = 256
	runMask  = 64 - 1
)

// run is a piece of the list of a blob's extents. Its id is the digest of
// theirs, one after another.
type run struct {
	id      cellgraph.Digest
	extents []extent
}

// runs cuts the list of l; nil if it stays whole.
func (l layout) runs() []run {
	if l.whole || l.cut != nil || len(l.extents) <= runsFrom {
		return l.cut
	}
	var all []run
	for left := l.extents; len(left) > 0; {
		n := cutRun(left)
		all = append(all, run{runID(digests(left[:n])), left[:n]})
		left = left[n:]
	}
	return all
}

func cutRun(left []extent) int {
	left = left[:min(len(left), runMost)]
	for n := runLeast; n < len(left); n++ {
		if binary.LittleEndian.Uint64(left[n-1].id[:])&runMask == 0 {
			return n
		}
	}
	return len(left)
}

func digests(extents []extent) []cellgraph.Digest {
	ids := make([]cellgraph.Digest, len(extents))
	for i, e := range extents {
		ids[i] = e.id
	}
	return ids
}

func runID(extents []cellgraph.Digest) cellgraph.Digest { return cellgraph.Sum(joined(extents)) }

// noteBlobs adds what is pending of blobs to an entry of the journal. Runs that
// the catalog has are in the journal, and stay for as long as s is open.
func (s *Store) noteBlobs(ctx context.Context, j *journal) error {
	said := map[cellgraph.Digest]bool{}
	for id, l := range s.pending.blobs {
		cut := l.runs()
		if cut == nil {
			j.blob(id, l)
			continue
		}
		b := journalBlob{ID: id, Size: l.size}
		var holds []hold
		for _, r := range cut {
			b.Runs = append(b.Runs, r.id)
			holds = append(holds, hold{holdBlob, r.id})
		}
		err := s.lease.during(func() error {
			for _, r := range cut {
				known, err := s.catalog.hasRun(ctx, r.id)
				if err != nil {
					return err
				}
				if !known && !said[r.id] {
					j.run(r)
				}
				said[r.id] = true
			}
			return nil
		}, holds...)
		if err != nil {
			return err
		}
		j.Blobs = append(j.Blobs, b)
	}
	return nil
}

// insertRuns writes the list of a blob as runs.
func insertRuns(ctx context.Context, tx *sql.Tx, blob cellgraph.Digest, cut []run) error {
	ids := make([]cellgraph.Digest, len(cut))
	for i, r := range cut {
		ids[i] = r.id
		if _, err := tx.ExecContext(ctx, "INSERT INTO run VALUES (?, ?) ON CONFLICT DO NOTHING", r.id[:], joined(digests(r.extents))); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO blob_run VALUES (?, ?)", blob[:], joined(ids))
	return err
}

// joined is a list as the catalog has it, and apart the inverse.
func joined(ids []cellgraph.Digest) []byte {
	list := make([]byte, 0, len(ids)*len(cellgraph.Digest{}))
	for _, id := range ids {
		list = append(list, id[:]...)
	}
	return list
}

func apart(list []byte) (ids []cellgraph.Digest) {
	for ; len(list) >= len(cellgraph.Digest{}); list = list[len(cellgraph.Digest{}):] {
		ids = append(ids, cellgraph.Digest(list))
	}
	return ids
}

// runExtents lists the extents of a blob whose list is cut.
func (c *catalog) runExtents(ctx context.Context, blob cellgraph.Digest) (all []extent, err error) {
	var list []byte
	err = c.db.QueryRowContext(ctx, "SELECT runs FROM blob_run WHERE blob = ?", blob[:]).Scan(&list)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // the empty blob, or one that is damaged
	}
	for _, id := range apart(list) {
		var part []extent
		if part, err = c.extents(ctx, `WITH RECURSIVE place(at) AS
			(SELECT 1 UNION ALL SELECT at + 32 FROM place, run WHERE run.id = ?1 AND at + 32 <= length(run.extents))
			SELECT e.id, s.name, e.offset, e.length, e.stored, e.codec FROM run, place
			JOIN extent e ON e.id = substr(run.extents, place.at, 32) JOIN segment s ON s.id = e.segment
			WHERE run.id = ?1 ORDER BY place.at`, id[:]); err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, err
}

// allRuns lists the extents of the runs.
func (c *catalog) allRuns(ctx context.Context) (map[cellgraph.Digest][]cellgraph.Digest, error) {
	return c.lists(ctx, "SELECT id, extents FROM run")
}

// blobRuns lists the runs of the blobs whose lists are cut, in order.
func (c *catalog) blobRuns(ctx context.Context) (map[cellgraph.Digest][]cellgraph.Digest, error) {
	return c.lists(ctx, "SELECT blob, runs FROM blob_run")
}

func (c *catalog) lists(ctx context.Context, query string) (map[cellgraph.Digest][]cellgraph.Digest, error) {
	rows, err := collect(ctx, c.db, func(rows *sql.Rows) (row [2][]byte, err error) {
		err = rows.Scan(&row[0], &row[1])
		return row, err
	}, query)
	all := map[cellgraph.Digest][]cellgraph.Digest{}
	for _, row := range rows {
		var id cellgraph.Digest
		copy(id[:], row[0])
		all[id] = apart(row[1])
	}
	return all, err
}
