package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/kernel"
)

const maxBranches = 1000 // folders of one notebook

// branch makes a folder beside the notebook with a copy of it and of the files that its cells read, in which it can
// be restored to just after a cell. It returns the names of the folder and of the notebook in it.
func (n *Notebook) branch(ctx context.Context, cell string, c *kernel.Cell) (folder, name, why string) {
	if !n.prepared(ctx, asked{}, c) {
		return "", "", n.nowhere()
	}
	outline, err := n.file.outline()
	if err != nil {
		return "", "", err.Error()
	}
	n.nb.Know(n.file.doc, outline)
	b, err := n.nb.BackTo(ctx, cell)
	if err != nil {
		return "", "", err.Error()
	}
	if b.Next != "" {
		return "", "", fmt.Sprintf("cell %s has to run first: %s", b.Next, b.Why)
	}
	folder, err = n.newFolder("branch")
	if err != nil {
		return "", "", err.Error()
	}
	base, name := filepath.Split(n.file.path)
	into := filepath.Join(base, folder)
	if err := copyInto(ctx, base, into, append(n.nb.Inputs(ctx), name)); err != nil {
		return "", "", errors.Join(err, os.RemoveAll(into)).Error()
	}
	return folder, name, ""
}

// newFolder makes a folder beside the notebook, NAME-WHAT-N, and returns its name.
func (n *Notebook) newFolder(what string) (folder string, err error) {
	base, name := filepath.Split(n.file.path)
	for i := 1; ; i++ {
		folder = fmt.Sprintf("%s-%s-%d", strings.TrimSuffix(name, ".ipynb"), what, i)
		err = os.Mkdir(filepath.Join(base, folder), 0o755)
		if !errors.Is(err, fs.ErrExist) || i == maxBranches {
			return folder, err
		}
	}
}

// copySnapshot makes a folder beside the notebook with the notebook and the files as they were at a snapshot, and the
// files that the cells read now. It returns the names of the folder and of the notebook in it, which has the folder for
// its own unless files beside the notebook's belong to it.
func (n *Notebook) copySnapshot(ctx context.Context, snapshot string, c *kernel.Cell) (folder, name string, err error) {
	if n.cfg.Archive == nil || !n.prepared(ctx, asked{}, c) {
		return "", "", errors.New(n.nowhere())
	}
	folder, err = n.newFolder("copy")
	if err != nil {
		return "", "", err
	}
	base := filepath.Dir(n.file.path)
	into := filepath.Join(base, folder)
	name, err = n.cfg.Archive.Copy(ctx, n.opening.store, snapshot, into)
	if err == nil {
		err = n.inputs(ctx, base, filepath.Dir(filepath.Join(into, name)))
	}
	if err != nil {
		return "", "", errors.Join(err, os.RemoveAll(into))
	}
	return folder, filepath.ToSlash(name), nil
}

// inputs copies the files that the cells read, but for those that are there.
func (n *Notebook) inputs(ctx context.Context, base, into string) error {
	missing := slices.DeleteFunc(n.nb.Inputs(ctx), func(file string) bool {
		_, err := os.Lstat(filepath.Join(into, file))
		return err == nil
	})
	return copyInto(ctx, base, into, missing)
}

// copyInto copies files, named relative to base, with their folders.
func copyInto(ctx context.Context, base, into string, files []string) error {
	for _, file := range files {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(into, filepath.Dir(file)), 0o755); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(base, file), filepath.Join(into, file)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file, its permissions and its time of change. Where the file system can, the two share what they hold.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Close(), os.Chtimes(to, info.ModTime(), info.ModTime()))
}
