package share

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/snapshotter"
)

const (
	maxLine    = 10_000   // cells that lead to a snapshot and are looked at
	maxImports = 10_000   // that are listed
	maxStream  = 64 << 20 // bytes of a stream that is looked into
)

// Offer is what a person wants to share.
type Offer struct {
	Store    *snapshotter.Store
	Snapshot snapshotter.Snapshot
	NoState  bool // notebook, outputs and files only
	Author   string
	Created  time.Time
	Expires  time.Time // zero: never
	Env      Environment
}

// Left is what is not shared though a cell used it, and why.
type Left struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// Collect says what a snapshot is made of: the manifest, and what is left out.
// What it names stays in the store until that is closed.
func Collect(ctx context.Context, o Offer) (*Manifest, []Left, error) {
	if o.Snapshot.StateGone {
		return nil, nil, fmt.Errorf("snapshot %s: its values and files were removed to keep the store's quota: %w", o.Snapshot.ID, snapshotter.ErrNotFound)
	}
	c := &collection{Offer: o, blobs: map[cellgraph.Digest]bool{}, pieces: map[cellgraph.Digest]int{},
		m: &Manifest{Format: manifestFormat, Snapshot: o.Snapshot.ID, Author: o.Author, Created: o.Created.UTC(), Expires: o.Expires,
			Cells: []Cell{}, Variables: []Variable{}, Environment: maps.Clone(o.Snapshot.Environment), Files: []File{}, Blobs: []Blob{}, Pieces: []Piece{}}}
	if !o.Expires.IsZero() {
		c.m.Expires = o.Expires.UTC()
	}
	if err := c.all(ctx); err != nil {
		return nil, nil, fmt.Errorf("share %s: %w", o.Snapshot.ID, err)
	}
	return c.m, c.left, nil
}

// collection is the state of one Collect.
type collection struct {
	Offer
	m      *Manifest
	left   []Left
	blobs  map[cellgraph.Digest]bool
	pieces map[cellgraph.Digest]int // number in the manifest
	home   string                   // the folder of the notebook
	looked int                      // bytes of previews so far
}

func (c *collection) all(ctx context.Context) error {
	line, err := c.Store.Lineage(ctx, c.Snapshot.ID, maxLine)
	if err != nil {
		return err
	}
	slices.Reverse(line)
	for _, p := range line {
		s := p.Snapshot
		c.m.Cells = append(c.m.Cells, Cell{ID: s.Cell, Step: s.Step, Status: s.Status, Created: s.Created.UTC(), Seconds: s.Seconds})
	}
	traces, needs, err := c.traces(line)
	if err != nil {
		return err
	}
	if err := c.files(ctx, traces); err != nil {
		return err
	}
	if !c.NoState {
		if err := c.state(ctx, traces, needs); err != nil {
			return err
		}
		c.variables(ctx)
		c.changes(ctx, line, traces)
	}
	c.graph(ctx, line)
	c.sizes(ctx, line)
	return c.m.check()
}

// traces are those of the last run of each cell that led to the snapshot, and
// may be restored; that of the snapshot's own cell is the last. needs are the
// blobs that they need.
func (c *collection) traces(line []snapshotter.Passed) (traces []cellgraph.Trace, needs []cellgraph.Digest, err error) {
	last := map[string]int{}
	for i, p := range line {
		last[p.Snapshot.Cell] = i
	}
	for i, p := range line {
		own := i == len(line)-1
		if last[p.Snapshot.Cell] != i || p.Trace == nil || (p.Barred || !p.Kept) && !own {
			continue
		}
		var t cellgraph.Trace
		if err := json.Unmarshal(p.Trace, &t); err != nil {
			return nil, nil, fmt.Errorf("trace of cell %s: %w", p.Snapshot.Cell, err)
		}
		if (p.Barred || !p.Kept) && t.Uncached == "" {
			t.Uncached = "it may not be restored where it was made either"
		}
		traces, needs = append(traces, t), append(needs, p.Needs...)
	}
	if len(traces) == 0 {
		return nil, nil, fmt.Errorf("its trace is damaged: %w", snapshotter.ErrCorrupt)
	}
	return traces, needs, nil
}

// files lists what opening writes: the notebook, what cells wrote, and what
// they read and is still as it was then.
func (c *collection) files(ctx context.Context, traces []cellgraph.Trace) error {
	inputs, err := c.inputs(ctx, traces)
	if err != nil {
		return err
	}
	home, err := c.folder(inputs)
	if err != nil {
		return err
	}
	c.home = home
	c.m.Notebook = path.Join(home, filepath.Base(c.Snapshot.Notebook))
	size, err := c.blob(ctx, c.Snapshot.Document)
	if err != nil {
		return err
	}
	c.m.Files = append(c.m.Files, File{Path: c.m.Notebook, Type: typeFile, Content: c.Snapshot.Document, Size: size, Mode: 0o644})
	for _, f := range c.Snapshot.Files {
		if f.Deleted {
			continue
		}
		if err := c.file(ctx, home, f, false); err != nil {
			return err
		}
	}
	for _, f := range inputs {
		if err := c.file(ctx, home, f, true); err != nil {
			return err
		}
	}
	slices.SortFunc(c.m.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

// file adds a file to the manifest, or says why not.
func (c *collection) file(ctx context.Context, home string, f cellgraph.FileChange, read bool) error {
	one := DescribeFile(home, f, read)
	if one.Path == "." || one.Path == c.m.Notebook {
		return nil
	}
	if err := checkFiles([]File{one}); err != nil {
		c.left = append(c.left, Left{f.Path, strings.TrimSuffix(err.Error(), ": "+ErrHostile.Error())})
		return nil
	}
	if one.Type == typeFile {
		var err error
		if one.Size, err = c.blob(ctx, f.Content); err != nil {
			return err
		}
	}
	c.m.Files = append(c.m.Files, one)
	return nil
}

// DescribeFile is a file as a manifest has it; home is the folder of its notebook.
func DescribeFile(home string, f cellgraph.FileChange, read bool) File {
	one := File{Path: path.Join(home, f.Path), Mode: f.Mode & 0o777, Read: read}
	switch {
	case f.Dir:
		one.Type = typeFolder
	case f.Link != "":
		one.Type, one.Target, one.Mode = typeLink, f.Link, 0
	default:
		one.Type, one.Content, one.Size = typeFile, f.Content, f.Size
	}
	return one
}

// folder is where the notebook's folder goes in the folder opened into: it keeps
// as many of its parents as the paths of files go up.
func (c *collection) folder(inputs []cellgraph.FileChange) (string, error) {
	up := 0
	for _, f := range slices.Concat(c.Snapshot.Files, inputs) {
		n := 0
		for rest := f.Path; strings.HasPrefix(rest, "../"); rest = rest[len("../"):] {
			n++
		}
		up = max(up, n)
	}
	parents := strings.FieldsFunc(filepath.Dir(c.Snapshot.Notebook), func(r rune) bool { return r == '/' })
	if up > len(parents) {
		return "", fmt.Errorf("its files lie above %s: %w", c.Snapshot.Notebook, ErrHostile)
	}
	return path.Join(parents[len(parents)-up:]...), nil
}

// inputs are the files of the volume that cells read and that no cell wrote,
// put into the store.
func (c *collection) inputs(ctx context.Context, traces []cellgraph.Trace) ([]cellgraph.FileChange, error) {
	written := map[string]bool{}
	for _, f := range c.Snapshot.Files {
		written[f.Path] = true
	}
	read := map[string]cellgraph.Digest{} // zero: only looked at
	for _, t := range traces {
		for _, o := range t.Observed {
			outside := path.IsAbs(o.Name) || strings.HasPrefix(o.Name, "~")
			if o.ID.IsZero() || outside || written[o.Name] {
				continue
			}
			switch o.Kind {
			case cellgraph.KindFile, cellgraph.KindSource, cellgraph.KindDefines:
				read[o.Name] = o.ID
			case cellgraph.KindStat, cellgraph.KindList:
				if _, ok := read[o.Name]; !ok {
					read[o.Name] = cellgraph.Digest{}
				}
			}
		}
		for _, f := range t.Effect.Files { // what is written later is there only if it was written
			written[f.Path] = true
		}
	}
	ignored, err := snapshotter.ReadIgnore(filepath.Dir(c.Snapshot.Notebook))
	if err != nil {
		return nil, err
	}
	var inputs []cellgraph.FileChange
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if isIgnored(ignored, name) {
			c.left = append(c.left, Left{name, snapshotter.IgnoreFile + " names it"})
			continue
		}
		f, why, err := c.input(ctx, name, read[name])
		if err != nil {
			return nil, err
		}
		if why != "" {
			c.left = append(c.left, Left{name, why})
		} else if f.Path != "" {
			inputs = append(inputs, f)
		}
	}
	return inputs, nil
}

// isIgnored reports whether a file that cells read is left out. Of one beside
// the notebook's folder it is not known below which folder it is meant.
func isIgnored(list snapshotter.Ignore, name string) bool {
	if !strings.HasPrefix(name, "../") {
		return list.Has(name)
	}
	for rest, ok := name, true; ok; _, rest, ok = strings.Cut(rest, "/") {
		if list.Has(rest) {
			return true
		}
	}
	return false
}

// input is a file or folder as it lies there now, or why it is left out.
func (c *collection) input(ctx context.Context, name string, want cellgraph.Digest) (f cellgraph.FileChange, why string, err error) {
	if name == "." {
		return f, "", nil
	}
	at := filepath.Join(filepath.Dir(c.Snapshot.Notebook), name)
	info, err := os.Stat(at)
	if err != nil {
		return f, "it is gone", nil
	}
	if info.IsDir() {
		return cellgraph.FileChange{Path: name, Dir: true, Mode: uint32(info.Mode().Perm())}, "", nil
	}
	if !info.Mode().IsRegular() {
		return f, "it is no regular file", nil
	}
	file, err := os.Open(at)
	if err != nil {
		return f, err.Error(), nil
	}
	defer file.Close()
	id, err := c.Store.PutFile(ctx, file)
	if err != nil {
		return f, "", err
	}
	if !want.IsZero() && id != want {
		return f, "it has changed since it was read", nil
	}
	return cellgraph.FileChange{Path: name, Content: id, Mode: uint32(info.Mode().Perm())}, "", nil
}

// state adds what restoring needs.
func (c *collection) state(ctx context.Context, traces []cellgraph.Trace, needs []cellgraph.Digest) error {
	body, err := c.Snapshot.Body()
	if err != nil {
		return err
	}
	s := &State{Body: string(body), Of: len(traces) - 1, Imports: []string{}, Salt: make([]byte, 16)}
	rand.Read(s.Salt)
	s.Read = publish(traces, c.Env, s.Salt)
	for i := range traces {
		text, err := json.Marshal(traces[i])
		if err != nil {
			return err
		}
		s.Traces = append(s.Traces, string(text))
	}
	for _, id := range slices.Concat(needs, c.Store.SnapshotNeeds(c.Snapshot)) {
		if _, err := c.blob(ctx, id); err != nil {
			return err
		}
	}
	s.Imports, err = Imports(traces, func(id cellgraph.Digest) ([]byte, error) { return c.Store.Blob(ctx, id) })
	c.m.State = s
	return err
}

// blob adds a blob, which has to be there, and returns its size.
func (c *collection) blob(ctx context.Context, id cellgraph.Digest) (int64, error) {
	size, pieces, err := c.Store.Extents(ctx, id)
	if err != nil || c.blobs[id] {
		return size, err
	}
	c.blobs[id] = true
	b := Blob{ID: id, Size: size, Pieces: []int{}}
	for _, p := range pieces {
		n, ok := c.pieces[p.ID]
		if !ok {
			n = len(c.m.Pieces)
			c.pieces[p.ID] = n
			c.m.Pieces = append(c.m.Pieces, Piece{p.ID, p.Length})
		}
		b.Pieces = append(b.Pieces, n)
	}
	c.m.Blobs = append(c.m.Blobs, b)
	return size, nil
}

// Imports lists what the values of traces name, as module.name, sorted. It
// reads streams and unpickles nothing. What cannot be read is named too.
func Imports(traces []cellgraph.Trace, blob func(cellgraph.Digest) ([]byte, error)) ([]string, error) {
	found, seen := map[string]bool{}, map[cellgraph.Digest]bool{}
	for i := range traces {
		for _, g := range traces[i].Effect.Captured() {
			if seen[g.Payload] {
				continue
			}
			seen[g.Payload] = true
			names, err := globalsOf(g.Payload, blob)
			if errors.Is(err, agent.ErrStream) || errors.Is(err, agent.ErrPayload) {
				names = []string{"(what cannot be told of " + strings.Join(g.Names, ", ") + ")"}
			} else if err != nil {
				return nil, err
			}
			for _, name := range names {
				if len(found) < maxImports {
					found[name] = true
				}
			}
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(found))...), nil
}

func globalsOf(id cellgraph.Digest, blob func(cellgraph.Digest) ([]byte, error)) ([]string, error) {
	data, err := blob(id)
	if err != nil {
		return nil, err
	}
	p, err := agent.DecodePayload(data)
	if err != nil {
		return nil, err
	}
	stream, err := blob(p.Stream)
	if err != nil {
		return nil, err
	}
	if len(stream) > maxStream {
		return nil, fmt.Errorf("a stream of %d bytes: %w", len(stream), agent.ErrStream)
	}
	return agent.Globals(stream)
}
