package session

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kedge/cellgraph"
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

// volume is the notebook's working folder, whose files belong to its snapshots.
type volume struct {
	root   string
	ignore []string
}

// alwaysIgnored are left out of every volume.
var alwaysIgnored = []string{".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints",
	".pytest_cache", ".mypy_cache", ".ruff_cache", ".cache", ".kedgeignore", "*.ipynb", "*.pyc"}

// openVolume reads .kedgeignore: one pattern per line, as path.Match, against
// the path in the volume or any part of it.
func openVolume(root string) (*volume, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	v := &volume{root: root, ignore: slices.Clone(alwaysIgnored)}
	f, err := os.Open(filepath.Join(root, ".kedgeignore"))
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSuffix(strings.TrimSpace(lines.Text()), "/")
		if line != "" && !strings.HasPrefix(line, "#") {
			v.ignore = append(v.ignore, line)
		}
	}
	return v, lines.Err()
}

// rel gives the path inside the volume, or false if path lies outside.
func (v *volume) rel(path string) (string, bool) {
	r, err := filepath.Rel(v.root, path)
	if err != nil || r == ".." || strings.HasPrefix(r, "../") {
		return "", false
	}
	return r, true
}

// ignored reports whether the path inside the volume is left out.
func (v *volume) ignored(rel string) bool {
	for _, pattern := range v.ignore {
		if ok, _ := filepath.Match(pattern, rel); ok {
			return true
		}
		for part := range strings.SplitSeq(rel, "/") {
			if ok, _ := filepath.Match(pattern, part); ok {
				return true
			}
		}
	}
	return false
}

// scan stats everything in the volume but the root itself. What cannot be
// read is left out: it cannot be part of a snapshot either.
func (v *volume) scan() (map[string]entry, error) {
	found := map[string]entry{}
	err := filepath.WalkDir(v.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == v.root {
				return err
			}
			return nil
		}
		rel, _ := v.rel(path)
		if rel == "." {
			return nil
		}
		if v.ignored(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err == nil {
			found[rel] = statEntry(info)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", v.root, err)
	}
	return found, nil
}

// changed lists the paths that differ between two scans, sorted, so that a
// folder comes before what is in it. A folder counts only if it is new, gone
// or has another mode.
func changed(before, after map[string]entry) []string {
	var paths []string
	for path, now := range after {
		was, ok := before[path]
		if now.Mode.IsDir() && ok && was.Mode == now.Mode {
			continue
		}
		if !ok || was.cookie() != now.cookie() {
			paths = append(paths, path)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}
