package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

const restoreUsage = `usage: kedge restore SNAPSHOT --into DIR

Writes the notebook and the files that its cells had written, as they were at a
snapshot, into DIR, which is made if there is none and must be empty. SNAPSHOT
is a unique prefix of its id, at least 8 digits, or NB.ipynb@STEP.

examples:
  kedge restore 3f2a9c01 --into /tmp/monday
  kedge restore analysis.ipynb@train --into trained
`

// errOutside is a path in a snapshot that leaves the folder restored into.
var errOutside = errors.New("the path leaves the folder")

func restoreCommand() command {
	return command{name: "restore", short: "write a snapshot's notebook and files into a folder", usage: restoreUsage, run: runRestore}
}

func runRestore(ctx context.Context, out, errOut io.Writer, args []string) error {
	fs := flag.NewFlagSet("restore", flag.ContinueOnError)
	into := fs.String("into", "", "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) != 1 || *into == "" {
		return fmt.Errorf("%w: restore takes one snapshot and --into DIR", errUsage)
	}
	store, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	snapshot, err := findSnapshot(ctx, store, args[0])
	if err != nil {
		return err
	}
	if snapshot.StateGone {
		return fmt.Errorf("snapshot %s: its files were removed to keep the store's quota; kedge run %s makes them again: %w",
			snapshot.ID.String()[:shownDigits], snapshot.Notebook, snapshotter.ErrNotFound)
	}
	bar := newBar(errOut, "restoring")
	n, err := restoreInto(ctx, store, snapshot, *into, bar.update)
	bar.close()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s and %d files, folders and links\n", *into, filepath.Base(snapshot.Notebook), n)
	return err
}

// restoreInto writes a snapshot's document and files into dir and returns how
// many files, folders and links there were. If it fails it removes what it
// wrote. A dir that is not empty or cannot be written is errUnusable. progress
// counts files.
func restoreInto(ctx context.Context, store *snapshotter.Store, s snapshotter.Snapshot, dir string, progress func(done, total int)) (n int, err error) {
	changes, err := restorable(s)
	if err != nil {
		return 0, err
	}
	root, err := openEmpty(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	r := restorer{store: store, root: root, progress: progress}
	if err := r.all(ctx, changes); err != nil {
		return 0, errors.Join(fmt.Errorf("restore into %s: %w", dir, err), r.undo(changes))
	}
	return len(changes) - 1, nil
}

// homeIn is where the notebook's folder goes in the folder restored into: it is
// that folder, unless volumes beside or above it have files. Then it keeps as
// many of its parents as the paths that lead there go up.
func homeIn(s snapshotter.Snapshot) (string, error) {
	up := 0
	for _, f := range s.Files {
		n := 0
		for rest := f.Path; strings.HasPrefix(rest, "../"); rest = rest[len("../"):] {
			n++
		}
		up = max(up, n)
	}
	parents := strings.FieldsFunc(filepath.Dir(s.Notebook), func(r rune) bool { return r == filepath.Separator })
	if up > len(parents) {
		return "", fmt.Errorf("restore %s: %w", s.Notebook, errOutside)
	}
	return filepath.Join(parents[len(parents)-up:]...), nil
}

// restorable lists what of a snapshot is to be written: folders, then links,
// then files, each by path, and the document last.
func restorable(s snapshotter.Snapshot) ([]cellgraph.FileChange, error) {
	home, err := homeIn(s)
	if err != nil {
		return nil, err
	}
	var changes []cellgraph.FileChange
	for _, f := range s.Files {
		if f.Deleted {
			continue
		}
		if filepath.IsAbs(f.Path) {
			return nil, fmt.Errorf("restore %s: %w", f.Path, errOutside)
		}
		f.Path = filepath.Join(home, filepath.FromSlash(f.Path))
		if !filepath.IsLocal(f.Path) {
			return nil, fmt.Errorf("restore %s: %w", f.Path, errOutside)
		}
		if f.Path != "." {
			changes = append(changes, f)
		}
	}
	rank := func(f cellgraph.FileChange) int {
		switch {
		case f.Dir:
			return 0
		case f.Link != "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(changes, func(a, b cellgraph.FileChange) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Path, b.Path)
	})
	name := filepath.Base(s.Notebook)
	if !filepath.IsLocal(name) || name == "." {
		return nil, fmt.Errorf("restore notebook %q: %w", s.Notebook, errOutside)
	}
	name = filepath.Join(home, name)
	changes = slices.DeleteFunc(changes, func(f cellgraph.FileChange) bool { return f.Path == name })
	return append(changes, cellgraph.FileChange{Path: name, Content: s.Document, Mode: 0o644}), nil
}

// openEmpty opens dir, which it makes if there is none.
func openEmpty(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%w: %s is not empty; name an empty or a new folder", errUnusable, dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return root, nil
}

// restorer writes into one folder; os.Root keeps it there, links or not.
type restorer struct {
	store    *snapshotter.Store
	root     *os.Root
	progress func(done, total int)
}

func (r restorer) all(ctx context.Context, changes []cellgraph.FileChange) error {
	for i, f := range changes {
		if err := r.one(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		r.progress(i+1, len(changes))
	}
	// Deepest first: a folder that may not be entered would hide those in it.
	for _, f := range slices.Backward(changes) {
		if !f.Dir || f.Mode == 0 {
			continue
		}
		if err := r.root.Chmod(f.Path, fs.FileMode(f.Mode).Perm()); err != nil {
			return err
		}
	}
	return nil
}

func (r restorer) one(ctx context.Context, f cellgraph.FileChange) error {
	if f.Dir {
		return r.root.MkdirAll(f.Path, 0o777)
	}
	if err := r.root.MkdirAll(filepath.Dir(f.Path), 0o777); err != nil {
		return err
	}
	if f.Link != "" {
		return r.root.Symlink(f.Link, f.Path)
	}
	return r.file(ctx, f)
}

// file writes a regular file under a name of its own and renames it.
func (r restorer) file(ctx context.Context, f cellgraph.FileChange) error {
	tmp := filepath.Join(filepath.Dir(f.Path), ".kedge-"+uuid.NewString())
	file, err := r.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = r.store.CopyBlob(ctx, f.Content, file)
	if err == nil {
		err = errors.Join(file.Chmod(fs.FileMode(f.Mode).Perm()), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = r.root.Rename(tmp, f.Path)
	}
	if err != nil {
		return errors.Join(err, r.root.Remove(tmp))
	}
	return nil
}

// undo removes what changes may have made; the folder was empty before.
func (r restorer) undo(changes []cellgraph.FileChange) error {
	var errs []error
	for _, f := range changes {
		top, _, _ := strings.Cut(f.Path, string(filepath.Separator))
		errs = append(errs, r.root.RemoveAll(top))
	}
	return errors.Join(errs...)
}
