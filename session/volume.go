package session

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kedge/cellgraph"
	"kedge/notebook"
	"kedge/snapshotter"
)

// entry is what a stat says of one thing in the volume. Equal entries of files
// older than a clock tick have equal content.
type entry struct {
	Mode  fs.FileMode
	Size  int64
	MTime time.Time
	CTime time.Time
	Inode uint64
	Dev   uint64
}

func statEntry(info fs.FileInfo) entry {
	e := entry{Mode: info.Mode(), Size: info.Size(), MTime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.Inode, e.Dev = st.Ino, uint64(st.Dev)
		e.CTime = time.Unix(st.Ctim.Sec, st.Ctim.Nsec)
	}
	return e
}

// file says where the content lies, whatever name it has.
func (e entry) file() [2]uint64 { return [2]uint64{e.Dev, e.Inode} }

// cookie names the content of a file by its stat.
func (e entry) cookie() cellgraph.Digest {
	return cellgraph.Combine("stat", fmt.Sprint(e.Dev, e.Inode, e.Size, e.MTime.UnixNano(), e.CTime.UnixNano(), e.Mode))
}

// settled reports whether the stat is old enough to stand for the content: a
// file written within one tick of the clock can change again unseen.
func (e entry) settled(now time.Time) bool {
	const tick = 2 * time.Second // the coarsest time stamps in use (FAT)
	return now.Sub(e.MTime) > tick && now.Sub(e.CTime) > tick
}

// volume is the working folders whose files belong to a notebook's snapshots:
// the notebook's own, or those named in its metadata under kedge.volumes.
type volume struct {
	base   string   // the notebook's folder; names are relative to it
	home   string   // the user's; names in it begin with ~/
	roots  []string // absolute, no links
	ignore snapshotter.Ignore
}

// alwaysIgnored are left out of every volume.
var alwaysIgnored = snapshotter.Ignore{".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints",
	".pytest_cache", ".mypy_cache", ".ruff_cache", ".cache", ".kedgeignore", "*.ipynb", "*.pyc"}

// openVolume reads kedge.volumes and .kedgeignore: one pattern per line, as
// path.Match, against the path in the volume or any part of it.
func openVolume(base string, doc *notebook.Document) (*volume, error) {
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	home, _ := os.UserHomeDir() // without one, no path lies in it
	v := &volume{base: base, home: home, roots: []string{base}, ignore: slices.Clone(alwaysIgnored)}
	if raw, ok := doc.Metadata("kedge", "volumes"); ok {
		var named []string
		if err := json.Unmarshal(raw, &named); err != nil {
			return nil, fmt.Errorf("the notebook's metadata: kedge.volumes is not a list of folders: %w", err)
		}
		v.roots = nil
		for _, name := range named {
			root := name
			if !filepath.IsAbs(root) {
				root = filepath.Join(base, root)
			}
			if root, err = filepath.EvalSymlinks(root); err != nil {
				return nil, fmt.Errorf("the notebook's metadata: kedge.volumes names %s: %w", name, err)
			}
			v.roots = append(v.roots, root)
		}
	}
	return v, v.readIgnore()
}

func (v *volume) readIgnore() error {
	list, err := snapshotter.ReadIgnore(v.base)
	v.ignore = append(v.ignore, list...)
	return err
}

func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, strings.TrimSuffix(root, "/")+"/")
}

// name is how traces call an absolute path: relative to the notebook's folder
// if it lies there or in a volume, else to the home folder if it lies there, so
// that they hold in another place too.
func (v *volume) name(path string) string {
	if within(path, v.base) || slices.ContainsFunc(v.roots, func(r string) bool { return within(path, r) }) {
		if rel, err := filepath.Rel(v.base, path); err == nil {
			return rel
		}
	}
	if rest, ok := strings.CutPrefix(path, v.home+"/"); ok && v.home != "" {
		return "~/" + rest
	}
	return path
}

// portable is a text with the volume and the home folder taken out of the paths in it.
func (v *volume) portable(text string) string {
	text = strings.ReplaceAll(text, v.base, ".")
	if len(v.home) > 1 {
		text = strings.ReplaceAll(text, v.home, "~")
	}
	return text
}

// path is the inverse of name.
func (v *volume) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		return filepath.Join(v.home, rest)
	}
	return filepath.Join(v.base, name)
}

// holds reports whether a named path is part of the volume, and so of snapshots.
func (v *volume) holds(name string) bool {
	path := v.path(name)
	for _, root := range v.roots {
		if within(path, root) && !v.ignored(root, path) {
			return true
		}
	}
	return false
}

// ignored reports whether path, inside root, is left out.
func (v *volume) ignored(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	if err != nil || rel == "." {
		return false
	}
	return v.ignore.Has(rel)
}

// scan stats everything in the volume but the roots themselves, by name. What
// cannot be read is left out: it cannot be part of a snapshot either.
func (v *volume) scan() (map[string]entry, error) {
	found := map[string]entry{}
	for _, root := range v.roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case path == root:
				return err
			case err != nil:
				return nil
			case v.ignored(root, path):
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if info, err := d.Info(); err == nil {
				found[v.name(path)] = statEntry(info)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("scan %s: %w", root, err)
		}
	}
	return found, nil
}

// changed lists the names that differ between two scans, sorted, so that a
// folder comes before what is in it. A folder counts only if it is new, gone
// or has another mode.
func changed(before, after map[string]entry) []string {
	var names []string
	for name, now := range after {
		was, ok := before[name]
		if now.Mode.IsDir() && ok && was.Mode == now.Mode {
			continue
		}
		if !ok || was.cookie() != now.cookie() {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
