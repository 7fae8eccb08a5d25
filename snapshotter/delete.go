package snapshotter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"kedge/cellgraph"
)

// ErrPinned says that a snapshot is pinned.
var ErrPinned = errors.New("the snapshot is pinned; kedge store unpin gives it free")

// Delete forgets a snapshot, and the run of its cell unless another snapshot is
// of the same run: the cell runs again where nothing else that is stored fits.
// What nobody else needs of it goes at the next gc; what a process reads of it
// meanwhile it may find missing, which is a miss. [ErrNotFound], [ErrPinned].
func (s *Store) Delete(ctx context.Context, id cellgraph.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.delete(ctx, id); err != nil {
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	return nil
}

func (s *Store) delete(ctx context.Context, id cellgraph.Digest) error {
	if err := s.writable(); err != nil {
		return err
	}
	pinned, err := s.catalog.pins(ctx)
	if err != nil {
		return err
	}
	if pinned[id] {
		return ErrPinned
	}
	trace, others, err := s.catalog.traceOf(ctx, id)
	if err != nil {
		return err
	}
	gone := &journal{Deleted: []cellgraph.Digest{id}}
	if others == 0 {
		gone.Deleted = append(gone.Deleted, trace)
	}
	at, err := s.journal(gone)
	if err != nil {
		return err
	}
	s.unsaid = slices.DeleteFunc(s.unsaid, func(r journalRow) bool { return cellgraph.Sum([]byte(r.Body)) == id })
	if err := s.segment.faults.before("commit", nil); err != nil {
		return err
	}
	return s.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
		if err := insertPlace(ctx, tx, at); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM snapshot WHERE id = ?", id.String()); err != nil {
			return err
		}
		// Another process may have recorded one more of the same run.
		_, err := tx.ExecContext(ctx, "DELETE FROM trace WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM snapshot WHERE trace = ?1)", trace[:])
		return err
	})
}

// traceOf is the trace of a snapshot, and how many others are of that.
func (c *catalog) traceOf(ctx context.Context, snapshot cellgraph.Digest) (trace cellgraph.Digest, others int, err error) {
	var id []byte
	err = c.db.QueryRowContext(ctx, `SELECT trace, (SELECT count(*) FROM snapshot o WHERE o.trace = s.trace) - 1
		FROM snapshot s WHERE id = ?`, snapshot.String()).Scan(&id, &others)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	copy(trace[:], id)
	return trace, others, err
}
