package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// target is the file that an executed notebook is written to.
type target struct {
	path string // no symbolic link, so that a rename replaces the file and not the link
	mode fs.FileMode
}

// openTarget checks, before anything runs, that path can be replaced. Errors are errUnusable.
func openTarget(path string) (target, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	t := target{path, 0o644}
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return target{}, fmt.Errorf("%s %w: it is no regular file; name another with -o", path, errUnusable)
	case err == nil:
		t.mode = info.Mode().Perm()
	}
	if err := writable(filepath.Dir(path)); err != nil {
		return target{}, fmt.Errorf("%s %w: %w; name a file in another folder with -o", path, errUnusable, err)
	}
	return t, nil
}

// writable says why no file can be made in a folder. One without any permission
// to write is read-only for the superuser too: somebody meant it.
func writable(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	case info.Mode().Perm()&0o222 == 0:
		return fmt.Errorf("the folder %s is read-only", dir)
	}
	probe, err := os.CreateTemp(dir, ".kedge-*")
	if err != nil {
		var cause *fs.PathError // whose path is one that nobody asked for
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return fmt.Errorf("the folder %s cannot be written: %w", dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// write replaces the file at once: readers see the old content or the new.
func (t target) write(data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(t.path), ".kedge-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(t.mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), t.path)
}
