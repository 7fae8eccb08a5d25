package session

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kedge/cellgraph"
)

// world answers for the folder, the environment and the installed modules as
// a cell at the present point of the run would find them: the effects so far
// laid over the folder, leftovers of earlier runs taken back.
type world struct {
	ctx      context.Context
	store    Store
	volume   *volume
	state    *cellgraph.State
	leftover map[string]map[cellgraph.Digest]bool // path → contents that earlier runs of this notebook wrote
	absent   map[string]bool                      // leftovers that restored cells of this run have taken for absent
	modules  map[string]string                    // distribution → version
	env      func(string) (string, bool)
	environ  func() []string // all of them, as NAME=value
	umask    fs.FileMode
	secret   []byte // key of the digests of environment values
	now      func() time.Time
	outs     map[string]bool // executed notebooks that we wrote, in no listing
	mapped   map[string]bool // files that are mapped writably: their stat does not stand for the content
	known    digests
}

// memoBytes is the size of a file from which on asking the store for a memo is quicker than reading the file.
const memoBytes = 256 << 10

// digests are those of files, by stats that are older than a tick of the clock. They are a cache.
type digests map[entry]cellgraph.Digest

// knownFiles bounds the digests, to some 200 MB.
const knownFiles = 1 << 20

func (d digests) put(e entry, id cellgraph.Digest) {
	if len(d) >= knownFiles {
		clear(d)
	}
	d[e] = id
}

// over is w with another state laid over the folder, for a run that does not take place.
func (w *world) over(state *cellgraph.State) cellgraph.World {
	other := *w
	other.state, other.leftover, other.absent = state, maps.Clone(w.leftover), maps.Clone(w.absent)
	return &other
}

func (w *world) Observe(kind cellgraph.Kind, name string) cellgraph.Observation {
	o := cellgraph.Observation{Kind: kind, Name: name}
	switch kind {
	case cellgraph.KindFile, cellgraph.KindSource, cellgraph.KindDefines:
		o.ID = w.content(name)
	case cellgraph.KindStat:
		o.ID = w.stat(name)
	case cellgraph.KindMode:
		o.ID = w.mode(name)
	case cellgraph.KindList:
		o.ID = w.listing(name, nil)
	case cellgraph.KindProgram:
		o.ID = w.program(name)
	case cellgraph.KindPlace:
		o.ID = cellgraph.Combine("place", w.volume.path(name))
	case cellgraph.KindImport:
		if o.ID = w.importable(name); filepath.Base(name) == distributions {
			o.ID = w.installed(filepath.Dir(name))
		}
	case cellgraph.KindEnv:
		o.ID = w.variable(name)
	case cellgraph.KindMachine:
		o.ID = w.machine(strings.TrimPrefix(name, kept))
	case cellgraph.KindModule:
		if v, ok := w.modules[name]; ok {
			o.ID, o.Shown = cellgraph.Combine("module", name, v), v
		}
	}
	return o
}

// content is the digest of a regular file's bytes, zero if there is none. A
// leftover is there to be read, unless a restored cell took it for absent.
func (w *world) content(name string) cellgraph.Digest {
	if f, ok := w.state.File(name); ok {
		return f.Content
	}
	if w.absent[name] && w.isLeftover(name) {
		return cellgraph.Digest{}
	}
	return w.onDisk(name)
}

// onDisk digests the file as it lies there now. A digest is remembered by the
// file's stat, for good if the file is large.
func (w *world) onDisk(name string) cellgraph.Digest {
	path := w.volume.path(name)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return cellgraph.Digest{}
	}
	return w.holds(path, statEntry(info), w.mapped[name])
}

// holds is the digest of the file at path, which has that stat. live says that the stat does not stand for the content.
func (w *world) holds(path string, e entry, live bool) cellgraph.Digest {
	if !live {
		if d, ok := w.recall(e); ok {
			return d
		}
	}
	now := w.now()
	d, err := digestFile(path)
	if err != nil {
		return cellgraph.Digest{}
	}
	if after, err := os.Stat(path); err == nil && statEntry(after) == e && e.settled(now) && !live {
		w.known.put(e, d)
		if e.Size >= memoBytes {
			_ = w.store.PutMemo(w.ctx, "file", e.cookie(), []byte(d.String())) // a lost memo costs one more hash
		}
	}
	return d
}

// recall is the content of a file with that stat, if it was read before.
func (w *world) recall(e entry) (cellgraph.Digest, bool) {
	if d, ok := w.known[e]; ok {
		return d, true
	}
	if e.Size < memoBytes {
		return cellgraph.Digest{}, false
	}
	memo, ok, err := w.store.Memo(w.ctx, "file", e.cookie())
	if err != nil || !ok {
		return cellgraph.Digest{}, false
	}
	d, err := cellgraph.ParseDigest(string(memo))
	return d, err == nil
}

// program is the content of a file that is run, and whether it may be: of that
// which PATH finds if name has no folder. Zero if there is none.
func (w *world) program(name string) cellgraph.Digest {
	if !strings.Contains(name, "/") {
		if name = w.which(name); name == "" {
			return cellgraph.Digest{}
		}
		name = w.volume.name(name)
	}
	name = filepath.Clean(name)
	d := w.content(name)
	if !d.IsZero() && w.permissionsOf(name)&0o111 == 0 {
		return cellgraph.Combine("not to be run", d.String())
	}
	return d
}

// which finds a program through PATH; "" if there is none.
func (w *world) which(name string) string {
	path, _ := w.env("PATH")
	for dir := range strings.SplitSeq(path, ":") {
		if !filepath.IsAbs(dir) {
			continue // relative to a folder that changes
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// inPath reports whether PATH names a folder.
func (w *world) inPath(dir string) bool {
	path, _ := w.env("PATH")
	return slices.Contains(strings.Split(path, ":"), dir)
}

func digestFile(path string) (cellgraph.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return cellgraph.Digest{}, err
	}
	defer f.Close()
	h := cellgraph.NewHash()
	if _, err := io.Copy(h, f); err != nil {
		return cellgraph.Digest{}, err
	}
	return h.Digest(), nil
}

// stat is the type of what lies at name, with content and permissions for a
// file: its size and time follow from those or are of no account.
func (w *world) stat(name string) cellgraph.Digest {
	if f, ok := w.state.File(name); ok {
		switch {
		case f.Deleted:
			return cellgraph.Digest{}
		case f.Dir:
			return w.folder(fs.FileMode(f.Mode))
		case f.Link != "":
			return cellgraph.Combine("link", f.Link, w.behind(name))
		}
		return cellgraph.Combine("file", f.Content.String(), fmt.Sprint(f.Mode))
	}
	info, err := os.Lstat(w.volume.path(name))
	if err != nil || w.isLeftover(name) {
		return cellgraph.Digest{}
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return w.folder(mode.Perm())
	case mode&os.ModeSymlink != 0:
		target, _ := os.Readlink(w.volume.path(name))
		return cellgraph.Combine("link", target, w.behind(name))
	case mode.IsRegular():
		return statOfFile(w.onDisk(name), mode)
	}
	return cellgraph.Combine("other", info.Mode().Type().String())
}

// folder is what a look at a folder shows: its permissions, where they are not
// those that folders are made with here.
func (w *world) folder(mode fs.FileMode) cellgraph.Digest {
	if mode == 0o777&^w.umask {
		return cellgraph.Combine("dir")
	}
	return cellgraph.Combine("dir", fmt.Sprint(uint32(mode)))
}

// found is what lies at name now, as a change.
func (w *world) found(name string) (cellgraph.FileChange, error) {
	c := cellgraph.FileChange{Path: name}
	info, err := os.Lstat(w.volume.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		c.Deleted = true
		return c, nil
	}
	if err != nil {
		return c, err
	}
	c.Mode = uint32(info.Mode().Perm())
	switch mode := info.Mode(); {
	case mode.IsDir():
		c.Dir = true
	case mode&os.ModeSymlink != 0:
		c.Link, err = os.Readlink(w.volume.path(name))
	case mode.IsRegular():
		c.Size, c.Content = info.Size(), w.holds(w.volume.path(name), statEntry(info), w.mapped[name])
	default:
		c.Size = info.Size()
	}
	return c, err
}

// behind is the type of what a link leads to, with the content of a file: a
// look at a link is mostly one through it.
func (w *world) behind(name string) string {
	info, err := os.Stat(w.volume.path(name))
	switch {
	case err != nil:
		return "nothing"
	case info.Mode().IsRegular():
		return statOfFile(w.onDisk(name), info.Mode()).String()
	}
	return info.Mode().Type().String()
}

// listing is the sorted names in a folder, zero if there is none; amend, if
// set, changes which are there on the disk, and says whether the folder is.
func (w *world) listing(name string, amend func(entries map[string]bool) bool) cellgraph.Digest {
	entries, err := os.ReadDir(w.volume.path(name))
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	made := amend != nil && amend(names)
	for n, there := range names {
		if !there {
			continue
		}
		child := filepath.Join(name, n)
		if w.outs[w.volume.path(child)] || ours(n) || w.isLeftover(child) {
			delete(names, n)
		}
	}
	for _, f := range w.state.Files() {
		if filepath.Dir(f.Path) == filepath.Clean(name) {
			names[filepath.Base(f.Path)] = !f.Deleted
			made = true
		}
	}
	if _, ours := w.state.File(name); !ours && !made && w.isLeftover(name) {
		return cellgraph.Digest{}
	}
	if err != nil && !made {
		if f, ok := w.state.File(name); !ok || !f.Dir {
			return cellgraph.Digest{}
		}
	}
	parts := []string{"list"}
	for n, present := range names {
		if present {
			parts = append(parts, n)
		}
	}
	slices.Sort(parts[1:])
	return cellgraph.Combine(parts...)
}

// ours reports whether an entry of a folder comes and goes with the tools
// around the notebook: caches of compiled code, checkpoints, the copy of a notebook that Jupyter keeps while it saves it, our
// own temporary files.
func ours(name string) bool {
	return name == "__pycache__" || name == ".ipynb_checkpoints" || strings.HasPrefix(name, ".kedge-") ||
		strings.HasPrefix(name, ".~") && strings.HasSuffix(name, ".ipynb")
}

// distributions in place of a module's name stands for all distributions that
// are installed in a folder.
const distributions = "*.dist-info"

// installed names the distributions in a folder, zero if there are none.
func (w *world) installed(folder string) cellgraph.Digest {
	parts := []string{"installed"}
	for _, pattern := range []string{distributions, "*.egg-info", "*.egg-link", "*.egg"} {
		found, _ := filepath.Glob(filepath.Join(w.volume.path(folder), pattern)) // its one error is a bad pattern
		for _, path := range found {
			parts = append(parts, filepath.Base(path))
		}
	}
	if len(parts) == 1 {
		return cellgraph.Digest{}
	}
	return cellgraph.Combine(parts...)
}

// importable says what a local folder would offer for an import: name is the
// folder and the module. Zero if it has nothing of that name.
func (w *world) importable(name string) cellgraph.Digest {
	parts := []string{"import"}
	for _, candidate := range []string{name + ".py", filepath.Join(name, "__init__.py")} {
		if !w.stat(candidate).IsZero() {
			parts = append(parts, candidate)
		}
	}
	if built, err := filepath.Glob(w.volume.path(name) + ".*so"); err == nil {
		parts = append(parts, built...)
	}
	if len(parts) == 1 {
		return cellgraph.Digest{}
	}
	return cellgraph.Combine(parts...)
}

// variable is a keyed digest, so that no value can be guessed from a trace.
func (w *world) variable(name string) cellgraph.Digest {
	value, ok := "", true
	if name == "*" {
		value = w.everyVariable()
	} else if value, ok = w.env(name); !ok {
		return cellgraph.Digest{}
	}
	return KeyedVariable(w.secret, name, value)
}

// KeyedVariable is what a trace has of a variable of the environment.
func KeyedVariable(secret []byte, name, value string) cellgraph.Digest {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(name + "\x00" + value))
	return cellgraph.Digest(mac.Sum(nil))
}

// everyVariable joins the environment but for what differs between front ends
// and terminals.
func (w *world) everyVariable() string {
	var kept []string
	for _, pair := range w.environ() {
		name, value, _ := strings.Cut(pair, "=")
		if noise(name) || name == "PATH" { // which counts as the programs that are found through it
			continue
		}
		kept = append(kept, name+"="+w.volume.portable(value))
	}
	slices.Sort(kept)
	return strings.Join(kept, "\x00")
}

// noise names variables that differ between terminals, sessions and front
// ends and that no notebook depends on.
func noise(name string) bool {
	for _, prefix := range []string{"JPY_", "JUPYTER", "KEDGE_", "VSCODE_", "XDG_SESSION", "SSH_", "TMUX", "IPYKERNEL_", "LC_TERMINAL"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "COLUMNS", "LINES", "PAGER", "GIT_PAGER", "LESS",
		"DISPLAY", "WAYLAND_DISPLAY", "SHLVL", "_", "OLDPWD", "PWD", "WINDOWID", "CLICOLOR", "FORCE_COLOR", "MPLBACKEND",
		"CLICOLOR_FORCE", "ELECTRON_RUN_AS_NODE", "PYDEVD_USE_FRAME_EVAL", "LD_PRELOAD", "PYTHONHASHSEED", "MAKEFLAGS", "MAKELEVEL", "MFLAGS":
		return true
	}
	return false
}
