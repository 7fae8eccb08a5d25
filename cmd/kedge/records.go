package main

import (
	"context"
	"errors"
	"path/filepath"

	"kedge/cellgraph"
	"kedge/session"
	"kedge/snapshotter"
)

// maxRecords is how many snapshots a page is shown; kedge log has all.
const maxRecords = 200

var errClosed = errors.New("the store is not open")

// records is what kedge log --json and kedge show --json print, for pages.
func records(ctx context.Context, store session.Store, path, snapshot string) (any, error) {
	if snapshot != "" {
		_, one, err := recorded(ctx, store, snapshot)
		if err != nil {
			return nil, err
		}
		return detailsOf(one), nil
	}
	s, ok := store.(*snapshotter.Store)
	if !ok {
		return nil, errClosed
	}
	all, err := s.Snapshots(ctx, path)
	return logEntries(all[:min(len(all), maxRecords)]), err
}

// copyOf is what kedge restore does, for pages.
func copyOf(ctx context.Context, store session.Store, snapshot, into string) (notebook string, err error) {
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
