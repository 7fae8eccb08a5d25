package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// ErrFolder says that a folder cannot be opened into.
var ErrFolder = errors.New("the folder cannot be used")

// unfinished is a file in a folder that is being opened into: it names the
// manifest, and goes when all is there.
const unfinished = reserved + "open"

// CheckFolder says why nothing can be opened into dir: it is not empty, and
// was not left by an opening of the same that was cut off.
func CheckFolder(dir string, sealed Sealed) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	// It is read by its name alone: a link there is not followed.
	if info, err := os.Lstat(path.Join(dir, unfinished)); err == nil && info.Mode().IsRegular() && info.Size() <= 64 {
		if mark, err := os.ReadFile(path.Join(dir, unfinished)); err == nil && string(mark) == cellgraph.Sum(sealed.Packed).String() {
			return nil
		}
	}
	return fmt.Errorf("%s is not empty: %w; name an empty or a new one", dir, ErrFolder)
}

// CheckSpace says why the files of a manifest do not fit beside what is on the disk of dir.
func CheckSpace(dir string, m *Manifest) error {
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil && dir != path.Dir(dir) {
		dir = path.Dir(dir)
	}
	var need, free int64
	for _, f := range m.Files {
		need += f.Size
	}
	if free = int64(st.Bavail) * st.Bsize; need > free {
		return fmt.Errorf("its files have %d bytes, and %d are free: %w: %w", need, free, ErrFolder, ErrFull)
	}
	return nil
}

// Place writes the files of a manifest, whose contents are in the store, into
// a folder, and nothing outside of it. If it is cut off it can be called again.
func Place(ctx context.Context, store *snapshotter.Store, sealed Sealed, m *Manifest, dir string) (err error) {
	if err := checkFiles(m.Files); err != nil { // m may not be as it was when it was read
		return err
	}
	if err := CheckFolder(dir, sealed); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	defer root.Close()
	p := placer{store: store, root: root}
	if err := p.all(ctx, sealed, m); err != nil {
		return fmt.Errorf("write into %s: %w", dir, err)
	}
	return nil
}

// placer writes into one folder; os.Root keeps it there, whatever links somebody
// makes meanwhile.
type placer struct {
	store *snapshotter.Store
	root  *os.Root
}

func (p placer) all(ctx context.Context, sealed Sealed, m *Manifest) error {
	if err := p.root.WriteFile(unfinished, []byte(cellgraph.Sum(sealed.Packed).String()), 0o600); err != nil {
		return err
	}
	files := slices.Clone(m.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, kind := range []string{typeFolder, typeFile, typeLink} { // nothing is written where a link stands
		for _, f := range files {
			if f.Type != kind {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := p.one(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
		}
	}
	for _, f := range slices.Backward(files) { // deepest first: a folder that may not be entered hides those in it
		if f.Type == typeFolder && f.Mode != 0 {
			if err := p.root.Chmod(f.Path, fs.FileMode(f.Mode|0o700)); err != nil {
				return err
			}
		}
	}
	if err := p.sweep(); err != nil {
		return err
	}
	return p.root.Remove(unfinished)
}

// sweep removes what an opening that was killed has left under names of its own.
func (p placer) sweep() error {
	return fs.WalkDir(p.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasPrefix(d.Name(), reserved) && d.Name() != unfinished {
			return p.root.Remove(name)
		}
		return nil // what cannot be looked into has nothing of ours
	})
}

func (p placer) one(ctx context.Context, f File) error {
	if parent := path.Dir(f.Path); parent != "." {
		if err := p.root.MkdirAll(parent, 0o777); err != nil {
			return err
		}
	}
	switch f.Type {
	case typeFolder:
		return p.root.MkdirAll(f.Path, 0o777)
	case typeLink:
		if at, err := p.root.Readlink(f.Path); err == nil && at == f.Target {
			return nil // from before we were cut off
		}
		return p.root.Symlink(f.Target, f.Path)
	}
	return p.file(ctx, f)
}

// file writes a regular file under a name of its own and renames it.
func (p placer) file(ctx context.Context, f File) error {
	if _, err := p.root.Lstat(f.Path); err == nil {
		same, err := p.has(f)
		if err == nil && !same {
			err = fmt.Errorf("there is another file by now: %w", ErrFolder)
		}
		return err
	}
	tmp := path.Join(path.Dir(f.Path), reserved+uuid.NewString())
	file, err := p.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = p.store.CopyBlob(ctx, f.Content, file)
	if err == nil {
		err = errors.Join(file.Chmod(fs.FileMode(f.Mode)), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = p.root.Rename(tmp, f.Path)
	}
	if err != nil {
		return errors.Join(err, p.root.Remove(tmp))
	}
	return nil
}

// has reports whether a file is there already, as it should be.
func (p placer) has(f File) (bool, error) {
	info, err := p.root.Lstat(f.Path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
		return false, err
	}
	file, err := p.root.Open(f.Path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	h := cellgraph.NewHash()
	_, err = io.Copy(h, file)
	return err == nil && h.Digest() == f.Content, err
}
