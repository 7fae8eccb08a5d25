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
func captureFiles(ctx context.Context, w *world, paths []string) ([]cellgraph.FileChange, error) {
	var changes []cellgraph.FileChange
	for _, rel := range paths {
		path, now := w.volume.path(rel), w.now()
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
			c.Content, err = w.store.PutFile(ctx, f)
			f.Close()
			if err != nil {
				return nil, fmt.Errorf("capture %s: %w", rel, err)
			}
			if e := statEntry(info); e.settled(now) && !w.mapped[rel] {
				w.known.put(e, c.Content)
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
	s, err := stageFiles(ctx, w, changes)
	if err != nil {
		return nil, err
	}
	return s.saved, s.place()
}

// staged are changes that only have to take their places: contents are written
// beside where they belong, so that a disk that is full is known before.
type staged struct {
	volume  *volume
	changes []cellgraph.FileChange // without what is there already, in order
	parts   map[string]string      // the paths of contents, by name
	saved   map[string]cellgraph.Digest
}

// stageFiles prepares what restoreFiles does. The volume is as it was until
// place is called; drop ends it if it is not to be.
func stageFiles(ctx context.Context, w *world, changes []cellgraph.FileChange) (*staged, error) {
	s := &staged{volume: w.volume, parts: map[string]string{}, saved: map[string]cellgraph.Digest{}}
	if err := s.stage(ctx, w, changes); err != nil {
		s.drop()
		return nil, err
	}
	return s, nil
}

func (s *staged) stage(ctx context.Context, w *world, changes []cellgraph.FileChange) (err error) {
	for _, c := range inOrder(changes) {
		if filepath.IsAbs(c.Path) || !w.volume.holds(c.Path) {
			return fmt.Errorf("restore %s: the path leaves the volume", c.Path)
		}
		path := w.volume.path(c.Path)
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			now := w.onDisk(c.Path)
			if !c.Deleted && now == c.Content && uint32(info.Mode().Perm()) == c.Mode && c.Link == "" && !c.Dir {
				continue
			}
			if err := s.save(ctx, w.store, c, path, now); err != nil {
				return fmt.Errorf("save %s before it is restored: %w", c.Path, err)
			}
		}
		if !c.Deleted && !c.Dir && c.Link == "" {
			if s.parts[c.Path], err = s.write(ctx, w.store, c); err != nil {
				return fmt.Errorf("restore %s: %w", c.Path, err)
			}
		}
		s.changes = append(s.changes, c)
	}
	return nil
}

// save keeps what lies at path if it is in no snapshot.
func (s *staged) save(ctx context.Context, store Store, c cellgraph.FileChange, path string, now cellgraph.Digest) error {
	if now == c.Content {
		return nil
	}
	if known, err := store.HasBlob(ctx, now); err == nil && known {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s.saved[c.Path], err = store.PutFile(ctx, f)
	return err
}

// write writes a content into the nearest folder that is there.
func (s *staged) write(ctx context.Context, store Store, c cellgraph.FileChange) (string, error) {
	folder := filepath.Dir(s.volume.path(c.Path))
	for info, err := os.Stat(folder); err != nil || !info.IsDir(); info, err = os.Stat(folder) {
		folder = filepath.Dir(folder)
	}
	return writePart(folder, fs.FileMode(c.Mode), func(f *os.File) error { return store.CopyBlob(ctx, c.Content, f) })
}

// place puts all in its place.
func (s *staged) place() error {
	defer s.drop()
	for _, c := range s.changes {
		if err := s.placeOne(c); err != nil {
			return fmt.Errorf("restore %s: %w", c.Path, err)
		}
	}
	return nil
}

// drop removes what has not been put in its place.
func (s *staged) drop() {
	for _, part := range s.parts {
		_ = os.Remove(part)
	}
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

func (s *staged) placeOne(c cellgraph.FileChange) error {
	path := s.volume.path(c.Path)
	switch {
	case c.Deleted:
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err = os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) || info != nil && info.IsDir() {
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
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.Rename(s.parts[c.Path], path)
}

// WriteFile replaces path by data in one step: a reader sees the old content or the new.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	part, err := writePart(filepath.Dir(path), mode, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return nil
}

// writePart has write fill a file of its own in a folder, and returns its path.
func writePart(folder string, mode fs.FileMode, write func(f *os.File) error) (path string, err error) {
	f, err := os.CreateTemp(folder, ".kedge-*")
	if err != nil {
		return "", err
	}
	if err = write(f); err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
