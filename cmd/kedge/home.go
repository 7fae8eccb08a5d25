package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	"kedge/cellgraph"
	"kedge/session"
	"kedge/share"
	"kedge/snapshotter"
)

// home is what sharing needs of this home: the store, and who is who.
type home struct {
	cache  *cache
	signer share.Signer
	trust  share.Trust
}

func openHome(ctx context.Context) (*home, error) {
	dir := snapshotter.DefaultDir()
	signer, err := share.LoadSigner(keyPath(dir))
	if err != nil {
		return nil, err
	}
	c, err := openCacheIn(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, storeRemedy(err))
	}
	return &home{c, signer, trustOf(dir)}, nil
}

// homeOn is the home of a store that is open, and stays so: it is not to be closed.
func homeOn(store *snapshotter.Store) (*home, error) {
	dir := snapshotter.DefaultDir()
	signer, err := share.LoadSigner(keyPath(dir))
	if err != nil {
		return nil, err
	}
	key, err := secret(filepath.Join(dir, "secret"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return &home{&cache{store: store, dir: dir, secret: key}, signer, trustOf(dir)}, nil
}

func (h *home) close() error { return h.cache.close() }

// vouched reports whether state of an author may be restored here.
func (h *home) vouched(k share.Key) bool { return k == h.signer.Public() || h.trust.Has(k) }

func keyPath(dir string) string { return filepath.Join(dir, "key") }

func trustOf(dir string) share.Trust { return share.Trust{Path: filepath.Join(dir, "trusted")} }

// Keyed and Value make h a [share.Environment].
func (h *home) Keyed(name string) cellgraph.Digest {
	value, ok := os.LookupEnv(name)
	if !ok {
		return cellgraph.Digest{}
	}
	return session.KeyedVariable(h.cache.secret, name, value)
}

func (h *home) Value(name string) string { return os.Getenv(name) }

// authorName is how this user is called, "" if nobody says.
func authorName() string {
	if name := os.Getenv("KEDGE_AUTHOR"); name != "" {
		return name
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	if u.Name != "" {
		return u.Name
	}
	return u.Username
}
