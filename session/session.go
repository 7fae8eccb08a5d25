// Package session runs one notebook: it looks each cell up, restores it if a
// trace holds, runs it in a kernel if none does, and records what it did.
package session

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
	"kedge/snapshotter"
)

// Store is what a session needs of the store. Every error of it but those of
// restoring a file is a miss, never the end of the user's run.
type Store interface {
	Memo(ctx context.Context, kind string, key cellgraph.Digest) ([]byte, bool, error)
	PutMemo(ctx context.Context, kind string, key cellgraph.Digest, value []byte) error
	PutBlob(ctx context.Context, data []byte) (cellgraph.Digest, error)
	PutBlobFrom(ctx context.Context, r io.Reader) (cellgraph.Digest, error)
	PutStream(ctx context.Context, data []byte) (cellgraph.Digest, error)
	PutFile(ctx context.Context, r io.Reader) (cellgraph.Digest, error)
	CopyBlob(ctx context.Context, id cellgraph.Digest, to *os.File) error
	Blob(ctx context.Context, id cellgraph.Digest) ([]byte, error)
	SoundRanges(ctx context.Context, id cellgraph.Digest) ([]snapshotter.Range, error)
	HasBlob(ctx context.Context, id cellgraph.Digest) (bool, error)
	PutSaved(ctx context.Context, f snapshotter.SavedFile) error
	Traces(ctx context.Context, code cellgraph.Digest) ([]cellgraph.Trace, error)
	PutTrace(ctx context.Context, t cellgraph.Trace, s snapshotter.Snapshot) error
}

// Source is the code of one cell as the kernel's own Python understands it.
type Source = agent.Normal

// Config says what to run and how. All fields up to KernelID are required.
type Config struct {
	Store    Store
	Path     string // absolute path of the notebook, the name under which it is remembered
	Out      string // absolute path of the file that the run writes; "" if it writes none
	Document *notebook.Document
	Outline  *notebook.Outline
	Sources  map[string]Source // by cell id
	Modules  map[string]string // import name → version in the kernel's environment; "python" is the interpreter
	Library  []string          // folders that the interpreter and its packages are installed in
	Launch   func(ctx context.Context, ring *observe.Ring) (Kernel, error)
	Runtime  string // a private folder for spool files and the ring
	Sockets  string // the folder of the kernel's sockets, if that is not in Runtime
	Secret   []byte // key of the digests of environment values
	// Stateless are packages that the user declares to hold no state of their own.
	Stateless []string
	KernelID  string // shown in reports
	// Normaliser is the command of [agent.NormaliserPath] in the kernel's environment; nil if there is none.
	Normaliser []string

	From, To string                                     // steps; see `kedge run`
	Straight string                                     // why every cell runs, e.g. "--no-cache"; "" if cells may be restored
	Blind    string                                     // why nothing can be looked up or recorded; "" if it can
	Env      map[string]string                          // variables that the kernel has beside ours or in place of them
	Progress func(done, total int, cell, status string) // may be nil
}

// Session is one run. It belongs to one goroutine.
type Session struct {
	cfg         Config
	volume      *volume
	world       *world
	parts       *parter
	state       *cellgraph.State                // what the cells so far have done
	leftover    leftovers                       // of all runs under this path
	outputs     map[string]cellgraph.Digest     // cell id → blob of its outputs
	displays    map[string][]shownAt            // the outputs so far, by display id
	widgets     map[string]json.RawMessage      // the widgets so far as the document has them, by the id of their comm
	closed      []agent.Widget                  // those of restored cells that the kernel does not have yet
	reopened    bool                            // it has some of restored cells
	parent      cellgraph.Digest                // the snapshot before the next cell
	restored    bool                            // a cell was restored, so the kernel has not seen all cells
	prior       map[string]cellgraph.FileChange // what the files that this run has changed were before it
	changed     changes                         // by restored cells, and not yet in the kernel
	writer      *writer
	watch       *watch
	interactive bool   // a person may look at the kernel at any time
	blind       string // why nothing may be looked up or recorded from here on; "" if it may
	faults      []string

	kernel     Kernel // nil until a cell really runs
	agent      *agent.Client
	ring       *observe.Ring
	live       *cellgraph.State // what the kernel holds
	counted    int              // the execution count that the kernel gave last; 0 before the first cell, or if it is not known
	past       []passed
	tried      int              // the process id of the kernel for which unreadable holds
	unreadable bool             // nobody lets us read the memory of the kernel's copies
	pending    *recording       // of the cell that ran last, if that is not recorded yet
	told       map[int]bool     // which restored cells of the past the kernel's history has
	retell     bool             // cells were run again since, which the history has at its end
	spoken     int              // cells of the past whose text the agent knows
	executed   map[int]bool     // which cells of the past have run in the kernel
	present    *cellgraph.State // while cells are replayed: what they are replayed for; else nil
}

// Open prepares a run; nothing has run or changed when it returns.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	v, err := openVolume(filepath.Dir(cfg.Path), cfg.Document)
	if err != nil {
		return nil, err
	}
	declared, err := stateless(cfg.Document, cfg.Stateless)
	if err != nil {
		return nil, err
	}
	cfg.Stateless = declared
	parts := &parter{ctx: ctx, store: cfg.Store, found: map[cellgraph.Digest][]cellgraph.Part{}}
	s := &Session{cfg: cfg, volume: v, parts: parts, state: cellgraph.NewState(parts), live: cellgraph.NewState(parts), executed: map[int]bool{}, told: map[int]bool{},
		prior: map[string]cellgraph.FileChange{}, changed: newChanges(),
		outputs: map[string]cellgraph.Digest{}, displays: map[string][]shownAt{}, widgets: map[string]json.RawMessage{}, writer: newWriter(), watch: newWatch(), blind: cfg.Blind}
	s.world = &world{ctx: ctx, store: cfg.Store, volume: v, known: digests{}, state: s.state, modules: cfg.Modules,
		env: cfg.lookupEnv, environ: cfg.environ, secret: cfg.Secret, now: time.Now, outs: s.outs(ctx), leftover: map[string]map[cellgraph.Digest]bool{}, absent: map[string]bool{},
		umask: umask()}
	s.findLeftovers(ctx)
	return s, nil
}

// lookupEnv is a variable as the kernel starts with it.
func (c Config) lookupEnv(name string) (string, bool) {
	if value, ok := c.Env[name]; ok {
		return value, true
	}
	return os.LookupEnv(name)
}

// environ are the variables that the kernel starts with.
func (c Config) environ() []string {
	var pairs []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if _, ours := c.Env[name]; !ours {
			pairs = append(pairs, pair)
		}
	}
	for name, value := range c.Env {
		pairs = append(pairs, name+"="+value)
	}
	return pairs
}

// outs are the files that this and earlier runs of the notebook were told to write.
func (s *Session) outs(ctx context.Context) map[string]bool {
	var known []string
	data, ok, err := s.cfg.Store.Memo(ctx, "out", s.key(""))
	if err != nil || !ok || json.Unmarshal(data, &known) != nil {
		known = nil
	}
	if s.cfg.Out != "" && !slices.Contains(known, s.cfg.Out) {
		known = append(known, s.cfg.Out)
		if data, err := json.Marshal(known); err == nil {
			_ = s.cfg.Store.PutMemo(ctx, "out", s.key(""), data) // a lost memo is a miss
		}
	}
	outs := map[string]bool{}
	for _, path := range known {
		outs[path] = true
	}
	return outs
}

// Faults are the faults of the cache that the run went on without.
func (s *Session) Faults() []string { return s.faults }

// key is the memo key of something about a cell of this notebook.
func (s *Session) key(cell string) cellgraph.Digest {
	return cellgraph.Combine("notebook", s.cfg.Path, cell)
}

// code is the key of a cell's code: what it says, and to which interpreter.
func (s *Session) code(cell notebook.CodeCell) cellgraph.Digest {
	return cellgraph.Combine("code", s.cfg.Modules["python"], s.cfg.Sources[cell.ID].Normal, fmt.Sprint(cell.RaisesException))
}

// Run executes the notebook top to bottom as if straight. The document holds
// the outputs when it returns, also after a failure, and what was recorded is
// durable. The error is nil if a cell failed: the report says so.
func (s *Session) Run(ctx context.Context) (report *Report, err error) {
	var g errgroup.Group
	g.Go(func() error {
		s.writer.run(ctx)
		return nil
	})
	report, err = s.cells(ctx)
	if errors.Is(err, ErrRestore) {
		err = errors.Join(err, s.takeAllBack(ctx))
	}
	s.close()
	s.writer.close()
	_ = g.Wait() // the writer's errors are faults
	s.faults = append(s.faults, s.writer.faults...)
	return report, err
}

// cells is Run without what goes on beside it.
func (s *Session) cells(ctx context.Context) (*Report, error) {
	began := time.Now()
	r := &Report{Notebook: s.cfg.Path, Kernel: s.cfg.KernelID, OK: true, Steps: []StepReport{}, Cells: make([]CellReport, 0, len(s.cfg.Outline.Cells))}
	var runErr error
	count, stop := 0, false
	fromReached, toSeen := s.cfg.From == "", false
	last := s.lastOf(s.cfg.To)
	total := len(s.cfg.Outline.Cells)
	for i, cell := range s.cfg.Outline.Cells {
		r.Cells = append(r.Cells, CellReport{ID: cell.ID, Status: NotRun, Uncaptured: []UncapturedName{}})
		c := &r.Cells[i] // also what is known only later is written there
		if cell.Step != "" {
			step := cell.Step
			c.Step = &step
		}
		fromReached = fromReached || cell.Step == s.cfg.From
		switch {
		case cell.Skip:
			c.Why = "skip"
		case stop:
			c.Why = "an earlier cell failed"
		case toSeen:
			c.Why = "after --to " + s.cfg.To
		default:
			count++
			forced := ""
			if s.cfg.Straight != "" {
				forced = s.cfg.Straight
			} else if s.blind != "" {
				forced = s.blind
			} else if s.cfg.From != "" && fromReached {
				forced = "--from " + s.cfg.From
			}
			s.progress(i, total, cell.ID, "running")
			failure, err := s.cell(ctx, cell, count, forced, c)
			if err != nil || failure != nil {
				stop, r.OK, runErr, r.Error = true, false, err, failure
			}
			s.progress(i+1, total, cell.ID, c.Status)
		}
		toSeen = toSeen || (last >= 0 && i == last)
	}
	if err := s.lastly(ctx); err != nil {
		r.OK, runErr = false, errors.Join(runErr, err)
	}
	if info, ok, err := s.cfg.Store.Memo(ctx, "language", s.language()); s.kernel == nil && err == nil && ok {
		runErr = errors.Join(runErr, s.cfg.Document.SetLanguageInfo(info))
	}
	names := []string{}
	for _, step := range s.cfg.Outline.Steps {
		names = append(names, step.Name)
	}
	r.sumUp(names)
	r.Seconds = time.Since(began).Seconds()
	return r, runErr
}

// lastly waits until the last cell that ran is recorded; if the run was interrupted, not for long.
func (s *Session) lastly(ctx context.Context) error {
	r := s.pending
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		timer := time.AfterFunc(patience, r.hangUp)
		defer timer.Stop()
	}
	return s.catchUp(context.WithoutCancel(ctx))
}

func (s *Session) lastOf(step string) int {
	last := -1
	for i, cell := range s.cfg.Outline.Cells {
		if step != "" && cell.Step == step {
			last = i
		}
	}
	return last
}

func (s *Session) progress(done, total int, cell, status string) {
	if s.cfg.Progress != nil {
		s.cfg.Progress(done, total, cell, status)
	}
}

// cell restores or runs one cell. It returns a RunError if the cell's own code
// failed, an error if the run cannot go on for another reason.
func (s *Session) cell(ctx context.Context, cell notebook.CodeCell, count int, forced string, c *CellReport) (*RunError, error) {
	began := time.Now()
	why := forced
	if cell.Step == "" {
		why = "no step tags"
	}
	if s.pending != nil && (cell.Step == "" || s.restored || !s.ahead(ctx, cell)) {
		if err := s.catchUp(ctx); err != nil {
			return nil, err
		}
		why = cmp.Or(why, s.blind)
		s.stands(cell.ID, "running")
		began = time.Now() // what it has waited for is no part of it
	}
	if why == "" {
		verdict := cellgraph.Verdict{Why: "cache:disabled"}
		if s.step(cell.Step).Cache != "disabled" {
			verdict = s.look(ctx, cell)
		}
		if verdict.Near != nil && s.ready(ctx) == nil && s.bring(ctx, count) == nil {
			verdict = s.graft(ctx, cell, verdict)
		}
		if verdict.Hit != nil {
			err := s.restore(ctx, cell, count, *verdict.Hit)
			if err == nil {
				c.Status, c.Why, c.Seconds = Restored, "nothing changed", time.Since(began).Seconds()
				c.saved = max(0, verdict.Hit.Seconds-c.Seconds)
				c.snapshot = s.parent.String()
				c.leaves(verdict.Hit)
				return nil, nil
			}
			s.fault("restore cell "+cell.ID, err)
			verdict.Why = "the store could not give it back: " + err.Error()
		}
		why = verdict.Why
	}
	c.Why, c.Status = why, Ran
	failure, err := s.execute(ctx, cell, count, c)
	c.Seconds = time.Since(began).Seconds()
	if err != nil || failure != nil {
		c.Status = Failed
	}
	if errors.Is(err, kernel.ErrKernelStart) {
		c.Status, c.Why = NotRun, "the kernel did not start"
	}
	if s.pending == nil {
		s.noteLost(ctx, cell, c)
	}
	return failure, err
}

// step is the step of that name; the zero Step if there is none.
func (s *Session) step(name string) notebook.Step {
	for _, step := range s.cfg.Outline.Steps {
		if step.Name == name {
			return step
		}
	}
	return notebook.Step{}
}

// look asks for a trace that holds, and says why there is none.
func (s *Session) look(ctx context.Context, cell notebook.CodeCell) cellgraph.Verdict {
	traces, err := s.cfg.Store.Traces(ctx, s.code(cell))
	if err != nil {
		s.fault("look up cell "+cell.ID, err)
		return cellgraph.Verdict{Why: "the store could not be read"}
	}
	traces = fitting(traces, cell)
	v := cellgraph.Look(traces, s.state, s.world)
	if v.Hit != nil {
		v.Hit = v.Hit.In(cell.ID, cell.Step)
		if why := s.unusable(ctx, cell, v.Hit); why != "" {
			v = cellgraph.Verdict{Why: why}
		}
	}
	if v.Hit == nil && len(traces) == 0 {
		if v.Why = s.lostWhy(ctx, cell); v.Why != "" {
			return v
		}
		v.Why = "never run"
		if _, ok, _ := s.cfg.Store.Memo(ctx, "last", s.key(cell.ID)); ok {
			v.Why = "code edited"
		}
	}
	return v
}

// unusable says why a trace that holds cannot be used, or "".
func (s *Session) unusable(ctx context.Context, cell notebook.CodeCell, t *cellgraph.Trace) string {
	return cmp.Or(s.tainted(ctx, t), s.definesAgain(t), s.repeatable(ctx, t), s.coincides(t), expired(cell, t.Created, s.world.now()))
}

// definesAgain says why a hit cannot be used: it would make a class that is
// there, made by the same words. The two are not one, and what was made by
// the first stays its own; a stream knows classes by their words.
func (s *Session) definesAgain(t *cellgraph.Trace) string {
	token := s.state.Made(&t.Effect)
	if token == "" {
		return ""
	}
	name, _, _ := strings.Cut(token, ":")
	return "class " + name + " is there already"
}

// restore lays a trace's outputs and files over the document and the folder.
// The kernel, if there is one, follows when a cell really runs.
func (s *Session) restore(ctx context.Context, cell notebook.CodeCell, count int, t cellgraph.Trace) error {
	data, err := s.cfg.Store.Blob(ctx, t.Effect.Outputs)
	if err != nil {
		return fmt.Errorf("read outputs: %w", err)
	}
	var outputs []json.RawMessage
	if err := json.Unmarshal(data, &outputs); err != nil {
		return fmt.Errorf("read outputs: %w", err)
	}
	outputs, displays, err := untagDisplays(outputs)
	if err != nil {
		return err
	}
	for _, g := range t.Effect.Groups {
		if ok, err := s.cfg.Store.HasBlob(ctx, g.Payload); err != nil || !ok {
			return fmt.Errorf("value of %v: %w", g.Names, errors.Join(err, snapshotter.ErrNotFound))
		}
	}
	models, err := s.storedWidgets(ctx, t.Effect.Widgets)
	if err != nil {
		return err
	}
	cellgraph.Settle(&t, s.world)
	if err := s.putFiles(ctx, t.Effect.Files); err != nil {
		return err
	}
	if err := s.cfg.Document.SetOutputs(cell.Index, renumber(outputs, count), &count); err != nil {
		return fmt.Errorf("write outputs: %w", err)
	}
	if err := s.showWidgets(kernel.WidgetState(models)); err != nil {
		return fmt.Errorf("write widgets: %w", err)
	}
	s.closed = append(s.closed, again(models)...)
	if err := s.showAgain(outputs, displays); err != nil {
		return err
	}
	s.show(cell.Index, displays)
	s.pass(cell, s.entered(cell), count, t)
	s.restored = true
	s.past[len(s.past)-1].shows = bytes.Contains(data, []byte(`"execute_result"`))
	s.changed.add(&t.Effect)
	document, err := s.document(ctx)
	if err == nil {
		err = s.anchor(cell, t, Restored, document)
	}
	if err != nil {
		s.fault("record cell "+cell.ID, err)
	}
	return nil
}

// noteSaved keeps on record which files of the user's were saved before they were replaced.
func (s *Session) noteSaved(ctx context.Context, saved map[string]cellgraph.Digest, now time.Time) error {
	for path, blob := range saved {
		f := snapshotter.SavedFile{Notebook: s.cfg.Path, Path: s.volume.path(path), Content: blob, Saved: now}
		if err := s.cfg.Store.PutSaved(ctx, f); err != nil {
			return fmt.Errorf("note that %s was saved: %w", path, err)
		}
	}
	return nil
}

// renumber gives execute_result outputs the present execution count.
func renumber(outputs []json.RawMessage, count int) []json.RawMessage {
	for i, raw := range outputs {
		var head struct {
			Type string `json:"output_type"`
		}
		if json.Unmarshal(raw, &head) != nil || head.Type != "execute_result" {
			continue
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil {
			continue
		}
		fields["execution_count"] = json.RawMessage(fmt.Sprint(count))
		if b, err := json.Marshal(fields); err == nil {
			outputs[i] = b
		}
	}
	return outputs
}

// fault notes a fault of the cache; the run goes on without it.
func (s *Session) fault(doing string, err error) {
	s.faults = append(s.faults, fmt.Sprintf("%s: %v", doing, err))
}

// close ends the kernel and removes the ring.
func (s *Session) close() {
	if s.kernel != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.kernel.Shutdown(ctx); err != nil && !errors.Is(err, kernel.ErrKernelDied) {
			s.fault("stop the kernel", err)
		}
	}
	if s.ring != nil {
		s.ring.Close()
	}
}
