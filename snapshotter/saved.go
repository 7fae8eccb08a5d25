package snapshotter

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"kedge/cellgraph"
)

// SavedFile is a file of the user's that was in no snapshot when a restore
// replaced or removed it. Its content stays in the store.
type SavedFile struct {
	Notebook string           `json:"notebook"`
	Path     string           `json:"path"` // absolute, where it lay
	Content  cellgraph.Digest `json:"content"`
	Saved    time.Time        `json:"saved"`
}

// PutSaved records f; its content must have been put before. What is pending
// is durable when it returns.
func (s *Store) PutSaved(ctx context.Context, f SavedFile) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.putSaved(ctx, f); err != nil {
		return fmt.Errorf("record saved file %s: %w", f.Path, err)
	}
	return nil
}

func (s *Store) putSaved(ctx context.Context, f SavedFile) error {
	if err := s.commit(ctx, nil); err != nil {
		return err
	}
	at, err := s.journal(&journal{Saved: []SavedFile{f}})
	if err != nil {
		return err
	}
	return s.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
		if err := insertPlace(ctx, tx, at); err != nil {
			return err
		}
		return insertSaved(ctx, tx, f)
	})
}

func insertSaved(ctx context.Context, tx *sql.Tx, f SavedFile) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO saved (notebook, path, content, saved) VALUES (?, ?, ?, ?)",
		f.Notebook, f.Path, f.Content[:], f.Saved.UnixNano())
	return err
}

// Saved lists the saved files of a notebook, or of all if it is "", newest first.
func (s *Store) Saved(ctx context.Context, notebook string) ([]SavedFile, error) {
	rows, err := s.catalog.db.QueryContext(ctx, `SELECT notebook, path, content, saved FROM saved
		WHERE ? IN ('', notebook) ORDER BY saved DESC, seq DESC`, notebook)
	if err != nil {
		return nil, fmt.Errorf("list saved files: %w", err)
	}
	defer rows.Close()
	files := []SavedFile{}
	for rows.Next() {
		var f SavedFile
		var content []byte
		var saved int64
		if err := rows.Scan(&f.Notebook, &f.Path, &content, &saved); err != nil {
			return nil, fmt.Errorf("list saved files: %w", err)
		}
		copy(f.Content[:], content)
		f.Saved = time.Unix(0, saved).UTC()
		files = append(files, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list saved files: %w", err)
	}
	return files, nil
}
