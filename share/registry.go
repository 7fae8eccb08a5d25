package share

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// Shared is a snapshot for which there is a link.
type Shared struct {
	ID       string           `json:"id"`
	Snapshot cellgraph.Digest `json:"snapshot"`
	Notebook string           `json:"notebook"`
	Created  time.Time        `json:"created"`
	Expires  time.Time        `json:"expires"`
	Revoked  time.Time        `json:"revoked,omitzero"`
	State    bool             `json:"state"` // values are in it
	Bytes    int64            `json:"bytes"`
	For      string           `json:"for,omitempty"` // the key of who may read it; "": whoever has the link
}

// Open says why a share may not be read now: [ErrRefused], [ErrExpired].
func (s Shared) Open(now time.Time) error {
	if !s.Revoked.IsZero() {
		return fmt.Errorf("it was revoked on %s: %w", s.Revoked.Format(time.RFC3339), ErrRefused)
	}
	if !now.Before(s.Expires) {
		return fmt.Errorf("on %s: %w", s.Expires.Format(time.RFC3339), ErrExpired)
	}
	return nil
}

// Capability is what a link to s holds.
func (s Shared) Capability() Capability {
	return Capability{Share: s.ID, Snapshot: s.Snapshot, Expires: s.Expires, For: s.For}
}

// Registry is the folder that says what is shared by links: for each share its
// description (JSON) and its signed manifest, as at the beginning of a bundle.
type Registry struct{ Dir string }

func (r Registry) path(id, ext string) string { return filepath.Join(r.Dir, id+ext) }

// Add registers a manifest under a new id; store keeps what it names from gc.
// With an audience only who has that key reads it.
func (r Registry) Add(ctx context.Context, store *snapshotter.Store, sealed Sealed, m *Manifest, audience *Key) (Shared, error) {
	id := make([]byte, 8)
	rand.Read(id)
	s := Shared{ID: hex.EncodeToString(id), Snapshot: m.Snapshot, Notebook: m.Notebook, Created: m.Created, Expires: m.Expires, State: m.State != nil, Bytes: m.Bytes()}
	if audience != nil {
		s.For = KeyText(*audience)
	}
	blobs := make([]cellgraph.Digest, len(m.Blobs))
	for i, b := range m.Blobs {
		blobs[i] = b.ID
	}
	err := store.Flush(ctx)
	if err == nil {
		err = store.KeepShared(ctx, s.ID, blobs)
	}
	if err == nil {
		err = os.MkdirAll(r.Dir, 0o700)
	}
	if err == nil {
		err = writeWhole(r.path(s.ID, ".head"), sealed.head())
	}
	if err == nil {
		err = r.write(s)
	}
	if err != nil {
		return s, fmt.Errorf("register the share: %w", err)
	}
	return s, nil
}

func (r Registry) write(s Shared) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeWhole(r.path(s.ID, ".json"), data)
}

// writeWhole replaces a file at once; it is readable by its owner alone.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Get is the share with that id: [ErrRefused] if there is none.
func (r Registry) Get(id string) (s Shared, err error) {
	if !IsShareID(id) {
		return s, fmt.Errorf("there is no share %q: %w", id, ErrRefused)
	}
	data, err := os.ReadFile(r.path(id, ".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("there is no share %s: %w", id, ErrRefused)
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read share %s: %w", id, err)
	}
	return s, nil
}

// Head is the signed manifest of a share, as at the beginning of a bundle.
func (r Registry) Head(id string) ([]byte, error) {
	if !IsShareID(id) {
		return nil, fmt.Errorf("there is no share %q: %w", id, ErrRefused)
	}
	return os.ReadFile(r.path(id, ".head"))
}

// List are all shares, the newest first.
func (r Registry) List() ([]Shared, error) {
	entries, err := os.ReadDir(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list shares: %w", err)
	}
	all := []Shared{}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && IsShareID(id) {
			s, err := r.Get(id)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Shared) int { return b.Created.Compare(a.Created) })
	return all, nil
}

// Revoke ends a share: nobody can read it from now on. What it kept from gc is free.
func (r Registry) Revoke(ctx context.Context, store *snapshotter.Store, id string, now time.Time) (Shared, error) {
	s, err := r.Get(id)
	if err != nil {
		return s, err
	}
	if s.Revoked.IsZero() {
		s.Revoked = now.UTC()
		if err := r.write(s); err != nil {
			return s, fmt.Errorf("revoke %s: %w", id, err)
		}
	}
	return s, store.ReleaseShared(ctx, id)
}

// Tidy frees what shares that have expired kept from gc.
func (r Registry) Tidy(ctx context.Context, store *snapshotter.Store, now time.Time) error {
	all, err := r.List()
	if err != nil {
		return err
	}
	for _, s := range all {
		if errors.Is(s.Open(now), ErrExpired) {
			if err := store.ReleaseShared(ctx, s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
