package main

import (
	"context"
	"fmt"
	"time"

	"kedge/live"
	"kedge/session"
	"kedge/share"
	"kedge/snapshotter"
)

// offered is what a page is shown before a snapshot is shared.
type offered struct {
	Snapshot  string         `json:"snapshot"`
	Step      string         `json:"step"`
	Created   time.Time      `json:"created"` // the snapshot
	Notebook  string         `json:"notebook"`
	Bytes     int64          `json:"bytes"`
	State     bool           `json:"state"`
	Variables []string       `json:"variables"`
	Files     []string       `json:"files"`
	Left      []share.Left   `json:"left"`
	Secrets   []share.Secret `json:"secrets"`
}

// linked is what a page is told of a link.
type linked struct {
	Link    string    `json:"link"`
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
	Bytes   int64     `json:"bytes"`
	Local   bool      `json:"local"`   // only this machine can reach it
	Started bool      `json:"started"` // the server, for it
}

// Offer says what kedge share would publish of a notebook's snapshot, or of the newest one of a cell.
func (archive) Offer(ctx context.Context, store session.Store, path string, w live.Wish) (live.Offer, error) {
	snapshot := w.Snapshot
	if snapshot == "" {
		s, ok := store.(*snapshotter.Store)
		if !ok {
			return nil, errClosed
		}
		all, err := s.Snapshots(ctx, path)
		if err != nil {
			return nil, err
		}
		for _, one := range all {
			if one.Cell == w.Cell {
				snapshot = one.ID.String()
				break
			}
		}
		if snapshot == "" {
			return nil, fmt.Errorf("this cell has no snapshot yet; run it first: %w", snapshotter.ErrNotFound)
		}
	}
	s, one, err := recorded(ctx, store, snapshot)
	if err != nil {
		return nil, err
	}
	if one.Notebook != path {
		return nil, fmt.Errorf("snapshot %s is of %s", snapshot[:minDigits], one.Notebook)
	}
	h, err := homeOn(s)
	if err != nil {
		return nil, err
	}
	p, err := consider(ctx, h, one, w.NoState)
	if err != nil {
		return nil, err
	}
	return &offer{p, one}, nil
}

// offer is a publication that a page is asked about. It implements [live.Offer].
type offer struct {
	*publication
	snapshot snapshotter.Snapshot
}

// Shown is what would be published.
func (o *offer) Shown() any {
	shown := offered{Snapshot: o.m.Snapshot.String(), Step: o.snapshot.Step, Created: o.snapshot.Created, Notebook: o.m.Notebook, Bytes: o.m.Bytes(),
		State: o.m.State != nil, Variables: []string{}, Files: []string{}, Left: append([]share.Left{}, o.left...), Secrets: o.secrets}
	for _, v := range o.m.Variables {
		shown.Variables = append(shown.Variables, v.Name)
	}
	for _, f := range o.m.Files {
		shown.Files = append(shown.Files, f.Path)
	}
	return shown
}

// Publish makes the link.
func (o *offer) Publish(ctx context.Context, expires, reader string) (any, error) {
	d, err := parseLifetime(expires)
	if err != nil {
		return nil, err
	}
	if reader != "" {
		k, err := share.ParseKey(reader)
		if err != nil {
			return nil, err
		}
		o.reader = &k
	}
	o.until(time.Now().Add(d))
	link, err := o.link(ctx)
	if err != nil {
		return nil, err
	}
	return linked{link.String(), link.one.ID, o.m.Expires, o.m.Bytes(), link.Local(), link.started}, nil
}
