package main

import (
	"context"
	"errors"

	"kedge/cellgraph"
	"kedge/session"
	"kedge/snapshotter"
)

// maxRecords is how many snapshots a page is shown; kedge log has all.
const maxRecords = 200

// records is what kedge log --json and kedge show --json print, for pages.
func records(ctx context.Context, store session.Store, path, snapshot string) (any, error) {
	s, ok := store.(*snapshotter.Store)
	if !ok {
		return nil, errors.New("the store is not open")
	}
	if snapshot == "" {
		all, err := s.Snapshots(ctx, path)
		return logEntries(all[:min(len(all), maxRecords)]), err
	}
	id, err := cellgraph.ParseDigest(snapshot)
	if err != nil {
		return nil, err
	}
	one, err := s.Snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	return detailsOf(one), nil
}
