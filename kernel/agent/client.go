// Package agent speaks with the part of Kedge that runs inside the kernel, and
// gives identities to what it captured. PROTOCOL.md describes the messages.
package agent

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"kedge/cellgraph"
)

//go:embed python/kedge_launch.py python/kedge_agent/*.py python/kedge_agent/ambient/*.py
var files embed.FS

// ErrAgent is returned when the agent answered that it could not do what was asked.
var ErrAgent = errors.New("kernel agent")

// Caller sends one request to the kernel and waits for its reply. It returns
// an error if the kernel dies.
type Caller interface {
	Call(ctx context.Context, channel, msgType string, content any, buffers [][]byte) (json.RawMessage, [][]byte, error)
}

// Client asks the agent behind a Caller. It belongs to one goroutine.
type Client struct{ kernel Caller }

// NewClient returns a client for the agent in kernel.
func NewClient(kernel Caller) *Client { return &Client{kernel: kernel} }

// Reads is what a cell will read, as far as its code tells.
type Reads struct {
	Reads     map[string]bool   `json:"reads"`     // name → bound now
	Weak      []string          `json:"weak"`      // those of Reads that only words in strings lead to: read if Captured.Frames
	All       bool              `json:"all"`       // every name may be read
	Unpickles bool              `json:"unpickles"` // definitions may be looked up by their names in a pickle: Captured.Classes
	Failure   bool              `json:"failure"`   // the exception of an earlier cell may be asked for
	Beyond    string            `json:"beyond"`    // asks for what a restored cell does not leave, in words; "" if for nothing
	Times     bool              `json:"times"`     // it may be asked when files were changed
	Exports   bool              `json:"exports"`   // something is read that cannot grow while others show its memory
	Binds     []string          `json:"binds"`
	Ambient   map[string]string `json:"ambient"` // adapter → hex digest of its state
}

// Span is a piece of the spool file: offset and length in bytes.
type Span [2]int64

// Buffer is an out-of-band buffer: in the spool file, or in the memory of the process that lends it.
type Buffer struct {
	Offset, Length int64 // bytes; in memory the offset is the address
	ReadOnly       bool
	Lender         int // its process id; 0 if the buffer is in the spool file
}

// UnmarshalJSON reads [offset, length, readonly], and the lender if there is one.
func (b *Buffer) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&b.Offset, &b.Length, &b.ReadOnly, &b.Lender})
}

// Reader reads the buffer. What was lent holds only if [Late.Ended] says so afterwards.
func (b *Buffer) Reader(spool io.ReaderAt) io.Reader {
	if b.Lender != 0 {
		spool = memory(b.Lender)
	}
	return io.NewSectionReader(spool, b.Offset, b.Length)
}

// Group is one group as the agent wrote it to the spool file.
type Group struct {
	Names   []string             `json:"names"`
	Stream  Span                 `json:"stream"`
	Buffers []Buffer             `json:"buffers"`
	Bytes   int64                `json:"bytes"`
	Vars    []cellgraph.Variable `json:"vars"`
	// Previews are by name; those of which there is something to show.
	Previews map[string]Preview `json:"previews"`
}

// Missing are modules that were looked for and are not loaded.
type Missing struct {
	Modules []string `json:"modules"`
	Names   []string `json:"names"` // those that are in no package
	Paths   []string `json:"paths"` // absolute, without suffix: where they would lie in a folder
}

// AmbientState is what an adapter saved.
type AmbientState struct {
	Name  string `json:"name"`
	State []byte `json:"state"`
}

// EnvRead is an environment variable that the cell read; Value is nil if it was absent.
type EnvRead struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
}

// Captured is what a cell left behind.
type Captured struct {
	Groups         []Group                `json:"groups"`
	Deleted        []string               `json:"deleted"`
	Bound          []string               `json:"bound"`
	Uncaptured     []cellgraph.Uncaptured `json:"uncaptured"`
	Modules        []string               `json:"modules"`
	ModuleVersions map[string]string      `json:"module_versions"`
	Ambient        []AmbientState         `json:"ambient"`
	AmbientAfter   map[string]string      `json:"ambient_after"`
	Env            []EnvRead              `json:"env"`
	Facts          []string               `json:"facts"`  // of the machine that it asked for, beyond those on record; "kept …" if a module may keep them
	Search         []string               `json:"search"` // sys.path, as absolute folders
	Missing        Missing                `json:"missing"`
	Distributions  []string               `json:"distributions"` // folders in which installed distributions were looked for
	Refused        []string               `json:"refused"`       // why the cell may not be cached, beyond what follows from the rest
	Hidden         bool                   `json:"hidden"`        // it has changed what no later cell is seen to depend on; why is in Refused
	Frames         bool                   `json:"frames"`        // something looked names up by way of a frame
	Classes        []string               `json:"classes"`       // names that were looked up by unpickling, and what those reach
	Made           []string               `json:"made"`          // tokens of the classes that the cell made
	Definitions    []string               `json:"definitions"`   // files of local modules that only define things and that the cell reached or imported
	Reached        []string               `json:"reached"`       // adapters that the cell observed, beyond those of Reads: nothing had come of them before
	Unused         []string               `json:"unused"`        // adapters and names of Reads that the cell turned out not to observe
	Running        []string               `json:"running"`       // threads and tasks of the notebook's own that go on
	Texts          []string               `json:"texts"`         // of cells, the own one among them: something looked at their lines
	Placed         bool                   `json:"placed"`        // something asked where in its file code stands
	Folder         bool                   `json:"folder"`        // the code asks where the working folder lies
	Tied           bool                   `json:"tied"`          // what it left shares with what earlier cells showed
	Result         *Result                `json:"result"`        // what the cell showed, if that was asked for; else nil
	Late           bool                   `json:"late"`          // what is in Left comes later
}

// Left is what of a capture may be found out beside the next cell.
type Left struct {
	Groups     []Group                `json:"groups"`
	Uncaptured []cellgraph.Uncaptured `json:"uncaptured"`
	Made       []string               `json:"made"`
	Result     *Result                `json:"result"`
}

// Lent reports whether part of it is in the memory of who tells it.
func (l *Left) Lent() bool {
	groups := l.Groups
	if l.Result != nil && l.Result.Group != nil {
		groups = append(slices.Clone(groups), *l.Result.Group)
	}
	return slices.ContainsFunc(groups, func(g Group) bool {
		return slices.ContainsFunc(g.Buffers, func(b Buffer) bool { return b.Lender != 0 })
	})
}

// Take adds what has been found out.
func (c *Captured) Take(l Left) {
	c.Groups, c.Uncaptured, c.Made, c.Result, c.Late = l.Groups, l.Uncaptured, l.Made, l.Result, false
}

// Result is what a cell showed as its result: the value of a name, or a group
// of one name of its own, which refers to the names in Within. Neither means
// that it has no captured form.
type Result struct {
	Is     string   `json:"is,omitempty"`
	Group  *Group   `json:"group,omitempty"`
	Within []string `json:"within,omitempty"`
}

// Source is where the kernel reads bytes from: pieces of files, in order.
type Source struct {
	Ranges   []Range `json:"ranges"`
	ReadOnly bool    `json:"readonly,omitempty"`
	Map      bool    `json:"map,omitempty"` // nobody can tell whether it is mapped from them
}

// Length is that of the source in bytes.
func (s Source) Length() (n int64) {
	for _, r := range s.Ranges {
		n += r.Length
	}
	return n
}

// Range is [path, offset, length] in JSON.
type Range struct {
	Path           string
	Offset, Length int64 // bytes
}

// MarshalJSON implements [json.Marshaler].
func (r Range) MarshalJSON() ([]byte, error) { return json.Marshal([3]any{r.Path, r.Offset, r.Length}) }

// Load is one group to be restored. Only the names in Bind are bound.
type Load struct {
	Names   []string `json:"names"` // as captured
	Bind    []string `json:"bind"`
	Stream  Source   `json:"stream"`
	Buffers []Source `json:"buffers"`
	// Later are names that have been bound or changed since the group was left, but are not loaded.
	Later []string `json:"later,omitempty"`
}

// Shown is the result of a restored cell: the value of a name, or a group.
type Shown struct {
	Is    string `json:"is,omitempty"`
	Group *Load  `json:"group,omitempty"`
}

// Entry is a restored cell as IPython's history has it.
type Entry struct {
	Count  int    `json:"count,omitempty"` // not of Restore.Entered: those have the next numbers
	Code   string `json:"code"`
	Result *Shown `json:"result,omitempty"`
}

// Text is the source of a cell that counts as run, to which its definitions lead.
type Text struct {
	Count  int    `json:"count"`
	Code   string `json:"code"`
	Normal string `json:"normal"` // sha256 of its normal form, in hex
}

// Restore is a request to lay captured state over the kernel. It is applied whole or not at all.
type Restore struct {
	Groups         []Load         `json:"groups"`
	Order          []string       `json:"order"` // in which names are bound
	Delete         []string       `json:"delete"`
	Modules        []string       `json:"modules"`
	Ambient        []AmbientState `json:"ambient"`
	ExecutionCount *int           `json:"execution_count"` // of the last cell; nil leaves it
	// Entered are cells that count as run, one after the other. What they bound and showed is what is in the other
	// fields, so none may touch what one before it has shown. Changed are names that they changed in place.
	Entered []Entry  `json:"entered,omitempty"`
	History []Entry  `json:"history,omitempty"` // cells that were restored before, in order
	Taken   int      `json:"taken,omitempty"`   // with History: the number of the first cell that bound _, 0 if none did
	Texts   []Text   `json:"texts,omitempty"`   // of cells that the agent has not heard of, in order
	Changed []string `json:"changed"`
	// Lost are names whose object changed in place before they were bound to something else.
	Lost []string `json:"lost,omitempty"`
	// Rebound are names that were bound anew: what shared with the former value does not share with what comes.
	Rebound []string `json:"rebound,omitempty"`
	Widgets []Widget `json:"widgets,omitempty"` // to be made again, each after those that it refers to
}

// Widget is a Jupyter widget: the id of its comm, its state, and binary parts of that by their paths in it.
type Widget struct {
	ID      string                     `json:"id"`
	State   map[string]json.RawMessage `json:"state"`
	Buffers []WidgetBuffer             `json:"buffers"`
}

// WidgetBuffer is a binary part of a widget's state.
type WidgetBuffer struct {
	Path json.RawMessage `json:"path"`
	Data []byte          `json:"data"` // in base64
}

// Empty reports whether r lays nothing but an execution count.
func (r *Restore) Empty() bool {
	return len(r.Groups)+len(r.Delete)+len(r.Modules)+len(r.Ambient)+len(r.History)+len(r.Changed)+len(r.Texts)+len(r.Widgets)+len(r.Entered) == 0
}

// Normalise reads a cell's code, as normalise.py does.
func (c *Client) Normalise(ctx context.Context, code string) (n Normal, err error) {
	err = c.call(ctx, "kedge_normalise", map[string]any{"code": code}, &n)
	return n, err
}

// Before tells the agent that a cell with this code comes next, and which
// packages are declared to hold no state of their own. The notebook also has
// the names in absent, though the kernel may not hold them yet.
func (c *Client) Before(ctx context.Context, code string, stateless, absent []string) (Reads, error) {
	var r Reads
	return r, c.call(ctx, "kedge_before", map[string]any{"code": code, "stateless": stateless, "absent": absent}, &r)
}

// More tells the agent that this code comes next too: the next After captures
// what it and all that was announced since the last After read or bound.
func (c *Client) More(ctx context.Context, code string) (Reads, error) {
	var r Reads
	return r, c.call(ctx, "kedge_before", map[string]any{"code": code, "more": true}, &r)
}

// Past tells the agent what code ran before anybody announced any, in order: the next After captures all that it left.
// Open are the paths and sockets that the kernel had open before it, as /proc has them.
func (c *Client) Past(ctx context.Context, codes []string) (reads Reads, open []string, err error) {
	var r struct {
		Reads
		Open []string `json:"open"`
	}
	err = c.call(ctx, "kedge_past", map[string]any{"codes": codes}, &r)
	return r.Reads, r.Open, err
}

// After captures what the cell announced by Before read or bound, and mates,
// which shared with some of that before, into the file at spool, and the cell's
// result if that is asked for. If late is not nil, and the capture takes a fork,
// Captured.Late is set and a copy of the kernel's process goes on with it, and
// tells late; it lends large buffers, instead of writing them, if lend is set.
func (c *Client) After(ctx context.Context, spool string, mates []string, result bool, late *Late, lend bool) (Captured, error) {
	pipe := ""
	if late != nil {
		pipe = late.Path()
	}
	var r Captured
	return r, c.call(ctx, "kedge_after", map[string]any{"spool": spool, "mates": mates, "result": result, "later": pipe, "lend": lend}, &r)
}

// Graft is a request to capture what groups would be after a cell of which it
// is on record what it left in other company.
type Graft struct {
	Groups []Load   `json:"groups"` // as on record
	Known  []string `json:"known"`  // names that the cell looked at and left as they were, and are in the kernel
	Bound  []string `json:"bound"`  // names that it bound anew
	Gone   []string `json:"gone"`   // other names that it bound or unbound
}

// Graft captures into the file at spool the groups that hold known or bound
// names. The kernel stays as it is.
func (c *Client) Graft(ctx context.Context, g Graft, spool string) ([]Group, error) {
	var r struct {
		Groups []Group `json:"groups"`
	}
	content := struct {
		Graft
		Spool string `json:"spool"`
	}{g, spool}
	return r.Groups, c.call(ctx, "kedge_graft", content, &r)
}

// Apply lays captured state over the kernel. It returns the execution count of
// the cell in r.Entered.
func (c *Client) Apply(ctx context.Context, r Restore) (count int, err error) {
	var reply struct {
		Count int `json:"execution_count"`
	}
	err = c.call(ctx, "kedge_apply", r, &reply)
	return reply.Count, err
}

func (c *Client) call(ctx context.Context, msgType string, content, reply any) error {
	raw, _, err := c.kernel.Call(ctx, "shell", msgType, content, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", msgType, err)
	}
	var status struct{ Status, Reason string }
	if err := json.Unmarshal(raw, &status); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrAgent, msgType, err)
	}
	if status.Status != "ok" {
		return fmt.Errorf("%w: %s: %s", ErrAgent, msgType, status.Reason)
	}
	if err := json.Unmarshal(raw, reply); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrAgent, msgType, err)
	}
	return nil
}

// Install writes the agent under dir, in a folder named by its content, and
// returns the path of the launcher. A second call finds it there.
func Install(dir string) (launcher string, err error) {
	sources, err := fs.Sub(files, "python")
	if err != nil {
		return "", fmt.Errorf("install agent: %w", err)
	}
	var parts []string
	content := map[string][]byte{}
	err = fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".py" {
			return err
		}
		data, err := fs.ReadFile(sources, path)
		content[path] = data
		parts = append(parts, path, string(data))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("install agent: %w", err)
	}
	home := filepath.Join(dir, cellgraph.Combine(parts...).String()[:16])
	launcher = filepath.Join(home, "kedge_launch.py")
	if _, err := os.Stat(launcher); err == nil {
		return launcher, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("install agent: %w", err)
	}
	temp, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return "", fmt.Errorf("install agent: %w", err)
	}
	defer os.RemoveAll(temp)
	for path, data := range content {
		target := filepath.Join(temp, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return "", fmt.Errorf("install agent: %w", err)
		}
		if err := os.WriteFile(target, data, 0o600); err != nil {
			return "", fmt.Errorf("install agent: %w", err)
		}
	}
	if err := os.Rename(temp, home); err != nil {
		if _, statErr := os.Stat(launcher); statErr != nil {
			return "", fmt.Errorf("install agent: %w", err)
		}
	}
	return launcher, nil
}

// NormaliserPath is the script beside the launcher that normalises sources.
func NormaliserPath(launcher string) string {
	return filepath.Join(filepath.Dir(launcher), "kedge_agent", "normalise.py")
}
