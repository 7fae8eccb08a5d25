package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kedge/kernel/agent"
	"kedge/snapshotter"
)

// cache is what kedge keeps between runs: the store, the agent's files and the
// key of the digests of environment values.
type cache struct {
	store    *snapshotter.Store
	dir      string
	launcher string
	secret   []byte
	private  bool // dir is ours to remove
}

// openCache opens the user's cache. If that cannot be used, a private one in the
// temporary folder takes its place and errOut gets one line about it: a fault
// of the store costs time, never the run.
func openCache(ctx context.Context, errOut io.Writer) (*cache, error) {
	dir := snapshotter.DefaultDir()
	c, err := openCacheIn(ctx, dir)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return nil, context.Canceled
	}
	fmt.Fprintf(errOut, "kedge: nothing is restored or kept: the store %s cannot be used (%s); %s\n", dir, oneLine(err.Error()), storeRemedy(err))
	private, err := os.MkdirTemp("", "kedge-store-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w; set TMPDIR to a folder that you may write", errUnusable, err)
	}
	if c, err = openCacheIn(ctx, private); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errUnusable, err), os.RemoveAll(private))
	}
	c.private = true
	return c, nil
}

func storeRemedy(err error) string {
	if errors.Is(err, snapshotter.ErrNetworkFS) {
		place := cmp.Or(snapshotter.LocalPlace(), "a folder on a local disk")
		return fmt.Sprintf("set KEDGE_HOME to %s, or KEDGE_NETWORK to 1 if only one machine at a time uses the store", place)
	}
	if errors.Is(err, snapshotter.ErrReadOnly) || errors.Is(err, snapshotter.ErrNewerFormat) {
		return "set KEDGE_HOME to a folder that you may write on a local disk"
	}
	return "run `kedge store rebuild`, or set KEDGE_HOME to another folder"
}

func openCacheIn(ctx context.Context, dir string) (*cache, error) {
	cfg, err := storeConfig(dir)
	if err != nil {
		return nil, err
	}
	cfg.Background = true
	store, err := snapshotter.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c := &cache{store: store, dir: dir}
	if c.launcher, err = agent.Install(filepath.Join(dir, "agent")); err == nil {
		c.secret, err = secret(filepath.Join(dir, "secret"))
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return c, nil
}

// close may be called once.
func (c *cache) close() error {
	err := c.store.Close()
	if c.private {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// tidy keeps the store within its quota; errOut gets a line about what could
// not be done. Nothing is lost but time if it fails.
func (c *cache) tidy(ctx context.Context, errOut io.Writer) {
	bar := newBar(errOut, "cleaning the store")
	_, beyond, err := c.store.Tidy(ctx, bar.update)
	bar.close()
	if beyond && err != nil && !errors.Is(err, snapshotter.ErrBusy) && ctx.Err() == nil {
		fmt.Fprintf(errOut, "kedge: the store is beyond its quota: %s\n", oneLine(err.Error()))
	}
}

// secret is the key of the digests of environment values, made at first use.
func secret(path string) ([]byte, error) {
	const length = 32
	if key, err := os.ReadFile(path); err == nil && len(key) == length {
		return key, nil
	}
	key := make([]byte, length)
	rand.Read(key)
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(key)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	err = os.Link(f.Name(), path) // fails where another process was first
	if err == nil {
		return key, nil
	}
	if key, err = os.ReadFile(path); err == nil && len(key) != length {
		err = fmt.Errorf("%s is not a key; remove it", path)
	}
	return key, err
}
