package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/cellgraph"
)

// captureFiles stores what the paths of the volume hold now and returns it as changes.
func captureFiles(ctx context.Context, store Store, v *volume, paths []string) ([]cellgraph.FileChange, error) {
	var changes []cellgraph.FileChange
	for _, rel := range paths {
		path := v.path(rel)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			changes = append(changes, cellgraph.FileChange{Path: rel, Deleted: true})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("capture %s: %w", rel, err)
		}
		c := cellgraph.FileChange{Path: rel, Mode: uint32(info.Mode().Perm()), Size: info.Size()}
		switch mode := info.Mode(); {
		case mode.IsDir():
			c.Dir, c.Size = true, 0
		case mode&fs.ModeSymlink != 0:
			if c.Link, err = os.Readlink(path); err != nil {
				return nil, fmt.Errorf("capture %s: %w", rel, err)
			}
		case mode.IsRegular():
			f, err := os.Open(path)
			if err != nil {
				return nil, fmt.Errorf("capture %s: %w", rel, err)
			}
			c.Content, err = store.PutBlobFrom(ctx, f)
			f.Close()
			if err != nil {
				return nil, fmt.Errorf("capture %s: %w", rel, err)
			}
		default:
			continue // a pipe or a device: the cell is not cached
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// restoreFiles makes the volume hold what the changes say. What lies there
// and is in no snapshot is saved to the store first; the saved paths are
// returned with the blobs that hold them.
func restoreFiles(ctx context.Context, w *world, changes []cellgraph.FileChange) (map[string]cellgraph.Digest, error) {
	saved := map[string]cellgraph.Digest{}
	for _, c := range inOrder(changes) {
		if filepath.IsAbs(c.Path) || !w.volume.holds(c.Path) {
			return saved, fmt.Errorf("restore %s: the path leaves the volume", c.Path)
		}
		path := w.volume.path(c.Path)
		info, err := os.Lstat(path)
		there := err == nil
		if there && info.Mode().IsRegular() {
			now := w.onDisk(c.Path)
			if !c.Deleted && now == c.Content && uint32(info.Mode().Perm()) == c.Mode && c.Link == "" && !c.Dir {
				continue
			}
			if known, err := w.store.HasBlob(ctx, now); now != c.Content && (err != nil || !known) {
				f, err := os.Open(path)
				if err != nil {
					return saved, fmt.Errorf("save %s before it is restored: %w", c.Path, err)
				}
				d, err := w.store.PutBlobFrom(ctx, f)
				f.Close()
				if err != nil {
					return saved, fmt.Errorf("save %s before it is restored: %w", c.Path, err)
				}
				saved[c.Path] = d
			}
		}
		if err := place(ctx, w.store, path, there && info.IsDir(), c); err != nil {
			return saved, fmt.Errorf("restore %s: %w", c.Path, err)
		}
	}
	return saved, nil
}

// inOrder puts what is deleted first, the content of a folder before the
// folder, and what is made after it, the folder before its content.
func inOrder(changes []cellgraph.FileChange) []cellgraph.FileChange {
	return slices.SortedStableFunc(slices.Values(changes), func(a, b cellgraph.FileChange) int {
		switch {
		case a.Deleted && b.Deleted:
			return strings.Compare(b.Path, a.Path)
		case a.Deleted:
			return -1
		case b.Deleted:
			return 1
		}
		return strings.Compare(a.Path, b.Path)
	})
}

// place puts one change at path; isDir says whether a folder lies there.
func place(ctx context.Context, store Store, path string, isDir bool, c cellgraph.FileChange) error {
	switch {
	case c.Deleted:
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) || isDir {
			return nil // a folder that holds other files stays
		}
		return err
	case c.Dir:
		if err := os.MkdirAll(path, fs.FileMode(c.Mode)); err != nil {
			return err
		}
		return os.Chmod(path, fs.FileMode(c.Mode))
	case c.Link != "":
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Symlink(c.Link, path)
	}
	data, err := store.Blob(ctx, c.Content)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return WriteFile(path, data, fs.FileMode(c.Mode))
}

// WriteFile replaces path by data in one step: a reader sees the old content or the new.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".kedge-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(mode); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
