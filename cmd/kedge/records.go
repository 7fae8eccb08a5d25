package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"kedge/cellgraph"
	"kedge/session"
	"kedge/snapshotter"
)

// maxRecords is how many snapshots a page is shown; kedge log has all.
const maxRecords = 200

var errClosed = errors.New("the store is not open")

// archive is what pages are shown of a store. It implements [live.Archive].
type archive struct{}

// Log is what kedge log --json prints.
func (archive) Log(ctx context.Context, store session.Store, path string) (any, error) {
	s, ok := store.(*snapshotter.Store)
	if !ok {
		return nil, errClosed
	}
	all, err := s.Snapshots(ctx, path)
	return logEntries(all[:min(len(all), maxRecords)]), err
}

// Show is what kedge show --json prints.
func (archive) Show(ctx context.Context, store session.Store, snapshot string) (any, error) {
	s, one, err := recorded(ctx, store, snapshot)
	if err != nil {
		return nil, err
	}
	return detailsOf(ctx, s, one), nil
}

// Sizes are the sums of what kedge log prints.
func (archive) Sizes(ctx context.Context, store session.Store, path string) (logical, unique int64, err error) {
	s, ok := store.(*snapshotter.Store)
	if !ok {
		return 0, 0, errClosed
	}
	return s.Sizes(ctx, path)
}

// Copy is what kedge restore does.
func (archive) Copy(ctx context.Context, store session.Store, snapshot, into string) (notebook string, err error) {
	s, one, err := recorded(ctx, store, snapshot)
	if err != nil {
		return "", err
	}
	if one.StateGone {
		return "", errors.New("the files of this snapshot were removed to keep the store's quota")
	}
	home, err := homeIn(one)
	if err != nil {
		return "", err
	}
	if _, err := restoreInto(ctx, s, one, into, func(done, total int) {}); err != nil {
		return "", err
	}
	return filepath.Join(home, filepath.Base(one.Notebook)), nil
}

// Delete is what kedge store delete does, but only to snapshots of the notebook that a page shows.
func (archive) Delete(ctx context.Context, store session.Store, path, snapshot string) error {
	s, one, err := recorded(ctx, store, snapshot)
	if err != nil {
		return err
	}
	if one.Notebook != path {
		return fmt.Errorf("snapshot %s is of %s", snapshot[:minDigits], one.Notebook)
	}
	return s.Delete(ctx, one.ID)
}

// recorded is the snapshot with this id.
func recorded(ctx context.Context, store session.Store, snapshot string) (*snapshotter.Store, snapshotter.Snapshot, error) {
	s, ok := store.(*snapshotter.Store)
	if !ok {
		return nil, snapshotter.Snapshot{}, errClosed
	}
	id, err := cellgraph.ParseDigest(snapshot)
	if err != nil {
		return nil, snapshotter.Snapshot{}, err
	}
	one, err := s.Snapshot(ctx, id)
	return s, one, err
}
