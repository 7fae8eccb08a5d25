package share

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/snapshotter"
)

const (
	manifestFormat = 2 // 1 has no graph, sizes, previews and changes
	manifestType   = "application/vnd.kedge.snapshot+json"
	maxManifest    = 64 << 20 // bytes, unpacked
	maxPiece       = 1 << 20
	maxTraces      = 10_000
)

// Manifest says what a shared snapshot is and what it is made of. Whoever has
// it can show all of it: nothing has to be unpickled for that.
type Manifest struct {
	Format   int              `json:"format"`
	Snapshot cellgraph.Digest `json:"snapshot"`
	Notebook string           `json:"notebook"`         // which of Files
	Author   string           `json:"author,omitempty"` // how she calls herself; the key is what counts
	Created  time.Time        `json:"created"`          // when it was shared
	Expires  time.Time        `json:"expires,omitzero"` // when it may no longer be opened

	Cells       []Cell            `json:"cells"` // what ran and what was restored, in order
	Graph       *cellgraph.Graph  `json:"graph,omitempty"`
	Sizes       *Sizes            `json:"sizes,omitempty"`
	Variables   []Variable        `json:"variables"`
	Environment map[string]string `json:"environment"`
	Packages    map[string]string `json:"packages,omitempty"` // of names in Environment: what is installed for them, if it has another name
	Files       []File            `json:"files"`

	State *State `json:"state,omitempty"` // nil: notebook, outputs and files alone

	Blobs  []Blob  `json:"blobs"`
	Pieces []Piece `json:"pieces"` // in the order in which they travel
}

// State is what restoring needs beside the files.
type State struct {
	Body    string   `json:"body"` // of the snapshot, whose digest is its id
	Traces  []string `json:"traces"`
	Of      int      `json:"of"`      // which of Traces is that of the snapshot's cell
	Imports []string `json:"imports"` // what the values name, as module.name
	// Variables of the environment that cells read, digested with Salt: see environment.go.
	Salt []byte                      `json:"salt"`
	Read map[string]cellgraph.Digest `json:"read"`
}

// Cell is one that led to the snapshot.
type Cell struct {
	ID      string    `json:"id"`
	Step    string    `json:"step"`
	Status  string    `json:"status"` // ran or restored
	Created time.Time `json:"created"`
	Seconds float64   `json:"seconds"` // that it took when it ran
	Changed *Changed  `json:"changed,omitempty"`
}

// Changed is what is otherwise after a cell than before it. The first of the
// cells has all that there is.
type Changed struct {
	Variables []Variable `json:"variables,omitempty"` // with an outline of their previews
	Deleted   []string   `json:"deleted,omitempty"`
	Files     []File     `json:"files,omitempty"` // that cells wrote
	Removed   []string   `json:"removed,omitempty"`
}

// Sizes are bytes of the values and files of a snapshot, and its notebook.
type Sizes struct {
	Logical int64 `json:"logical"`
	// Own are those of the pieces that the snapshot before it does not need.
	Own int64 `json:"own"`
}

// Variable is one name, as it was described when it was captured.
type Variable struct {
	cellgraph.Variable
	Digest  cellgraph.Digest `json:"digest,omitzero"` // of its group
	Bytes   int64            `json:"bytes,omitempty"` // of its group
	Own     int64            `json:"own,omitempty"`   // of its group, that the snapshot before does not need
	Reason  string           `json:"reason,omitempty"`
	Preview *agent.Preview   `json:"preview,omitempty"`
}

// Types of a [File].
const (
	typeFile   = "file"
	typeFolder = "folder"
	typeLink   = "link"
)

// File is what opening writes, by its path in the folder opened into.
type File struct {
	Path    string           `json:"path"`
	Type    string           `json:"type"`
	Content cellgraph.Digest `json:"content,omitzero"` // a blob
	Size    int64            `json:"size,omitempty"`   // bytes
	Mode    uint32           `json:"mode,omitempty"`   // permission bits
	Target  string           `json:"target,omitempty"` // of a link
	Read    bool             `json:"read,omitempty"`   // cells read it and none wrote it
}

// Blob is made of pieces, named by their number.
type Blob struct {
	ID     cellgraph.Digest `json:"id"`
	Size   int64            `json:"size"`
	Pieces []int            `json:"pieces"`
}

// Piece is an extent.
type Piece struct {
	ID     cellgraph.Digest `json:"id"`
	Length int64            `json:"length"` // bytes
}

// Bytes is the length of all pieces.
func (m *Manifest) Bytes() (n int64) {
	for _, p := range m.Pieces {
		n += p.Length
	}
	return n
}

// Parent is the snapshot before it; zero if there is none, or without state.
func (m *Manifest) Parent() cellgraph.Digest {
	var body struct {
		Parent cellgraph.Digest `json:"parent"`
	}
	if m.State != nil {
		_ = json.Unmarshal([]byte(m.State.Body), &body) // it was checked
	}
	return body.Parent
}

// Expired reports whether it may no longer be opened.
func (m *Manifest) Expired(now time.Time) bool { return !m.Expires.IsZero() && now.After(m.Expires) }

// Contents are the blobs of the files.
func (m *Manifest) Contents() []cellgraph.Digest {
	ids := []cellgraph.Digest{}
	for _, f := range m.Files {
		if f.Type == typeFile {
			ids = append(ids, f.Content)
		}
	}
	return ids
}

// Sealed is a manifest as it travels, with who has signed it.
type Sealed struct {
	Author    Key
	Signature []byte // of Packed
	Packed    []byte // zlib (RFC 1950) of JSON
}

// Seal signs a manifest.
func (s Signer) Seal(m *Manifest) (Sealed, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal: %w", err)
	}
	if len(text) > maxManifest {
		return Sealed{}, fmt.Errorf("seal: the manifest has %d bytes, more than %d: share fewer files or an earlier step", len(text), maxManifest)
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, err = z.Write(text)
	if err = errors.Join(err, z.Close()); err != nil {
		return Sealed{}, fmt.Errorf("seal: %w", err)
	}
	return Sealed{s.Public(), s.sign(manifestType, packed.Bytes()), packed.Bytes()}, nil
}

// Open checks who has signed a manifest, and then all that it says of itself.
// Whether the author is trusted is for the caller to ask. The errors are
// [ErrDamaged], [ErrHostile] and [ErrNewer].
func (s Sealed) Open() (*Manifest, error) {
	if !verify(s.Author, manifestType, s.Packed, s.Signature) {
		return nil, fmt.Errorf("the signature of the manifest: %w", ErrDamaged)
	}
	z, err := zlib.NewReader(bytes.NewReader(s.Packed))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w: %w", ErrDamaged, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxManifest+1))
	if err != nil || len(text) > maxManifest {
		return nil, fmt.Errorf("read the manifest: %w: %w", ErrDamaged, errors.Join(err, errors.New("it is cut short or too long")))
	}
	var head struct{ Format int }
	if json.Unmarshal(text, &head) == nil && head.Format > manifestFormat {
		return nil, fmt.Errorf("format %d, this kedge knows %d: %w", head.Format, manifestFormat, ErrNewer)
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w: %w", ErrDamaged, err)
	}
	return m, m.check()
}

// check refuses a manifest that contradicts itself: its author may be anybody.
func (m *Manifest) check() error {
	damaged := func(format string, args ...any) error {
		return fmt.Errorf("the manifest: %w: %w", fmt.Errorf(format, args...), ErrDamaged)
	}
	if m.Format < 1 || m.Format > manifestFormat || m.Snapshot.IsZero() {
		return damaged("format %d", m.Format)
	}
	if err := m.checkShown(); err != nil {
		return damaged("%w", err)
	}
	known := map[cellgraph.Digest]int64{}
	for _, p := range m.Pieces {
		if _, twice := known[p.ID]; twice || p.Length <= 0 || p.Length > maxPiece || p.ID.IsZero() {
			return damaged("piece %s of %d bytes", p.ID, p.Length)
		}
		known[p.ID] = p.Length
	}
	blobs := map[cellgraph.Digest]int64{}
	named := 0
	for _, b := range m.Blobs {
		if _, twice := blobs[b.ID]; twice || b.ID.IsZero() {
			return damaged("blob %s", b.ID)
		}
		var sum int64
		for _, n := range b.Pieces {
			if n < 0 || n >= len(m.Pieces) {
				return damaged("blob %s has no piece %d", b.ID, n)
			}
			sum += m.Pieces[n].Length
		}
		// One piece may stand in many blobs, and often in one: what blobs say together is bounded.
		if named += len(b.Pieces); sum != b.Size || named > maxManifest/8 {
			return damaged("blob %s has %d bytes and pieces of %d", b.ID, b.Size, sum)
		}
		blobs[b.ID] = b.Size
	}
	if err := checkFiles(m.Files); err != nil {
		return err
	}
	found := false
	for _, f := range m.Files {
		size, ok := blobs[f.Content]
		if f.Type == typeFile && (!ok || size != f.Size) {
			return damaged("file %s has %d bytes and its content %d", f.Path, f.Size, size)
		}
		found = found || f.Type == typeFile && f.Path == m.Notebook && path.Ext(f.Path) == ".ipynb"
	}
	if !found {
		return damaged("there is no notebook %q", m.Notebook)
	}
	if m.State == nil {
		return nil
	}
	_, _, err := m.State.read(m)
	return err
}

// read is the snapshot and the traces of a state, checked.
func (s *State) read(m *Manifest) (snapshotter.Snapshot, []cellgraph.Trace, error) {
	damaged := func(what string, err error) error {
		return fmt.Errorf("the manifest: %s: %w: %w", what, ErrDamaged, errors.Join(err))
	}
	var snap snapshotter.Snapshot
	if err := json.Unmarshal([]byte(s.Body), &snap); err != nil || cellgraph.Sum([]byte(s.Body)) != m.Snapshot {
		return snap, nil, damaged("the snapshot has another digest", err)
	}
	if s.Of < 0 || s.Of >= len(s.Traces) || len(s.Traces) > maxTraces {
		return snap, nil, damaged("the snapshot's cell has no trace", nil)
	}
	home := path.Dir(m.Notebook)
	if err := checkChanges(home, snap.Files); err != nil {
		return snap, nil, err
	}
	traces := make([]cellgraph.Trace, len(s.Traces))
	for i, text := range s.Traces {
		if err := json.Unmarshal([]byte(text), &traces[i]); err != nil {
			return snap, nil, damaged("a trace", err)
		}
		if err := checkChanges(home, traces[i].Effect.Files); err != nil {
			return snap, nil, fmt.Errorf("cell %q: %w", traces[i].Cell, err)
		}
	}
	return snap, traces, nil
}
