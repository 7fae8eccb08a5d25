package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
)

// Interactive is a notebook whose cells a person runs in a live kernel, one by
// one and in any order. A cell of a step goes through [Interactive.Begin] and,
// if it has to run, [Interactive.End]; everything else that the kernel is asked
// to run goes through [Interactive.Foreign]. They come from one goroutine; what
// a cell left is recorded beside it.
//
// The reference is the plain kernel: after the same requests in the same
// order, nobody can tell the two apart. So state is applied to the kernel
// before Begin returns, and what restoring cannot do again in place, runs.
type Interactive struct {
	mu     sync.Mutex // guards all
	s      *Session
	open   *seen // the cell that runs
	began  time.Time
	last   asked           // the cell of a step that was asked for last
	asked  int             // requests so far
	dirty  *foreign        // what ran since the last cell of a step and was no cell of one
	doubt  string          // what is not known of code that nobody watched; "" if nothing
	rerun  bool            // the next cell of a step really runs
	counts map[string]int  // the last execution count of each cell
	opened map[string]bool // ids of widgets that the kernel has, or had
	ready  []ready         // cells that the kernel is past already, before they are asked for
	alone  int             // hits that are not composed, for that has failed
}

// asked is a cell and its code.
type asked struct {
	cell string
	code cellgraph.Digest
}

// Answer is what became of a cell that was asked for.
type Answer struct {
	Status       string // Restored or Ran
	Why          string
	SavedSeconds float64
	Snapshot     string // 64 hex digits, or ""
	Uncaptured   []UncapturedName
	// Of a restored cell: its nbformat outputs, by display id where they have one, and its execution count.
	// Widgets are those that the outputs show: the kernel has them, and front ends are to be told before the outputs.
	Outputs    []json.RawMessage
	DisplayIDs map[int]string
	Widgets    []kernel.Model
	Count      int
	// Later gets the answer once more, with what is known when the cell is recorded; nil if this is all.
	Later <-chan Answer
}

// OpenInteractive prepares for a kernel that has run nothing yet, and its
// ring. cfg is as for [Open]; its Outline and Sources may be empty.
func OpenInteractive(ctx context.Context, cfg Config, k Kernel, ring *observe.Ring) (*Interactive, error) {
	cfg.Sources = map[string]Source{}
	s, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.interactive = true
	s.kernel, s.ring, s.agent = k, ring, agent.NewClient(k)
	return &Interactive{s: s, counts: map[string]int{}, opened: map[string]bool{}}, nil
}

// Run makes records durable until Close; it blocks.
func (n *Interactive) Run(ctx context.Context) { n.s.writer.run(ctx) }

// Close ends Run once all that was recorded is durable; for the capture of the last cell it does not wait for long. The
// kernel stays as it is.
func (n *Interactive) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.s.pending; r != nil {
		timer := time.AfterFunc(patience, r.hangUp)
		defer timer.Stop()
	}
	n.join(context.Background())
	n.s.writer.close()
}

// Faults are the faults of the cache that the session went on without.
func (n *Interactive) Faults() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.s.faults)
}

// Blind says why every cell runs from here on; "" if cells may be restored.
func (n *Interactive) Blind() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.s.blind
}

// Know tells what the notebook is now: its document, which Begin and End write
// outputs to, and its steps.
func (n *Interactive) Know(doc *notebook.Document, outline *notebook.Outline) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.s
	s.cfg.Outline = outline
	if doc == nil || doc == s.cfg.Document {
		return
	}
	s.cfg.Document = doc
	for _, cell := range doc.CodeCells() { // what the file does not have yet
		if count := n.counts[cell.ID]; count > 0 {
			tagged, err := s.recorded(context.Background(), s.outputs[cell.ID])
			outputs, _, idErr := untagDisplays(tagged)
			if err == nil && idErr == nil {
				n.write(notebook.CodeCell{Cell: *cell}, outputs, count)
			}
		}
	}
}

// Rerun makes the next cell of a step really run.
func (n *Interactive) Rerun() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rerun = true
}

// Lose tells that something has happened to the kernel that nobody saw: why is
// the reason that is given for everything that runs from here on.
func (n *Interactive) Lose(why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(why)
}

func (n *Interactive) forget(why string) {
	if n.s.blind == "" {
		n.s.blind = why
	}
}

// Enter makes source count as a cell that was run and did nothing, and returns
// the number that it has in the kernel's history.
func (n *Interactive) Enter(ctx context.Context, source string) (count int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.join(ctx)
	count, err = n.s.agent.Apply(ctx, agent.Restore{Entered: []agent.Entry{{Code: source}}})
	if err != nil {
		return 0, fmt.Errorf("enter a cell: %w", err)
	}
	n.s.state.Enter(cellgraph.Entered{Source: source}, cellgraph.Combine("entered"), cellgraph.Digest{})
	return count, nil
}

// Begin restores a cell or says why it has to run. After Ran the caller runs
// the cell's source in the kernel and calls End. Faults are misses: the error
// is ctx's, and nothing has been restored. What is begun in the kernel is
// finished even if ctx ends, so that its state is known.
//
// next, which may be nil, gives the cells that have been asked for behind this
// one, each once, in order; nothing else was asked for between them. Those that
// can be restored are restored with it, and Begin comes for each in its turn.
func (n *Interactive) Begin(ctx context.Context, cell notebook.CodeCell, next func() (notebook.CodeCell, bool)) (Answer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next = n.unlocked(next)
	caller := ctx
	ctx = context.WithoutCancel(ctx)
	began := time.Now()
	s := n.s
	n.asked++
	if answer, ok := n.readied(cell); ok {
		return answer, nil
	}
	now := n.hear(ctx, cell)
	if n.dirty != nil || !s.ahead(ctx, cell) {
		if err := s.ripe(caller); err != nil {
			return Answer{}, err
		}
		n.join(ctx)
		n.settle(ctx)
		n.lookAtFiles()
	}
	why := n.mustRun(cell, now)
	n.last = now
	if why == "" {
		verdict := s.look(ctx, cell)
		if verdict.Near != nil {
			verdict = s.graft(ctx, cell, verdict)
		}
		if why = verdict.Why; n.doubt != "" && why == cellgraph.HiddenChanged {
			why = n.doubt
		}
		if caller.Err() != nil {
			return Answer{}, context.Cause(caller)
		}
		if verdict.Hit != nil {
			answer, err := n.restore(caller, cell, verdict.Hit, next, began)
			if err == nil {
				return answer, nil
			}
			why = err.Error()
		}
	}
	n.open = &seen{cell: cell}
	if s.blind == "" {
		if err := s.announce(ctx, n.open); err != nil {
			n.lose("watch cell "+cell.ID, err)
		} else if err := s.beginWatch(ctx, n.open, n.asked); err != nil {
			n.lose("watch cell "+cell.ID, err)
		}
	}
	n.began = time.Now()
	return Answer{Status: Ran, Why: why}, nil
}

// unlocked is next for those who hold n.mu, which it may need.
func (n *Interactive) unlocked(next func() (notebook.CodeCell, bool)) func() (notebook.CodeCell, bool) {
	if next == nil {
		return nil
	}
	return func() (notebook.CodeCell, bool) {
		n.mu.Unlock()
		defer n.mu.Lock()
		return next()
	}
}

// join waits until the cell that ran last is recorded.
func (n *Interactive) join(ctx context.Context) {
	r := n.s.pending
	if r == nil {
		return
	}
	if err := n.s.join(ctx); err != nil {
		n.lose("record cell "+r.o.cell.ID, err)
	}
}

// hear takes in what a cell that was asked for says.
func (n *Interactive) hear(ctx context.Context, cell notebook.CodeCell) asked {
	source, err := n.s.agent.Normalise(ctx, cell.Source)
	if err != nil {
		n.lose("read cell "+cell.ID, err)
	}
	n.s.cfg.Sources[cell.ID] = source
	return asked{cell.ID, n.s.code(cell)}
}

// mustRun says why a cell runs whatever its traces say, or "".
func (n *Interactive) mustRun(cell notebook.CodeCell, now asked) string {
	rerun := n.rerun
	n.rerun = false
	switch {
	case n.s.blind != "":
		return n.s.blind
	case n.last == now:
		return "asked for again"
	case rerun:
		return "asked to run"
	case n.s.step(cell.Step).Cache == "disabled" || cell.Cache == "disabled":
		return "cache:disabled"
	}
	return ""
}

// recorded are the outputs in a blob, with their display ids.
func (s *Session) recorded(ctx context.Context, blob cellgraph.Digest) (tagged []json.RawMessage, err error) {
	data, err := s.cfg.Store.Blob(ctx, blob)
	if err != nil {
		return nil, fmt.Errorf("its outputs are not in the store: %w", err)
	}
	if err := json.Unmarshal(data, &tagged); err != nil {
		return nil, fmt.Errorf("its outputs cannot be read: %w", err)
	}
	return tagged, nil
}

func showsResult(outputs []json.RawMessage) bool { return shows(outputs, "execute_result") }

// shows reports whether there is an output of a type.
func shows(outputs []json.RawMessage, kind string) bool {
	return slices.ContainsFunc(outputs, func(raw json.RawMessage) bool {
		var head struct {
			Type string `json:"output_type"`
		}
		return json.Unmarshal(raw, &head) == nil && head.Type == kind
	})
}

// End records what the cell did that Begin let run. A cell that the kernel
// never began ("aborted") has done nothing.
func (n *Interactive) End(ctx context.Context, res kernel.Result) Answer {
	ended := time.Now() // before it waits for the capture of the cell before
	n.mu.Lock()
	defer n.mu.Unlock()
	s, o := n.s, n.open
	n.open = nil
	if o == nil {
		return Answer{Status: Ran}
	}
	o.seconds, o.result = ended.Sub(n.began).Seconds(), res
	answer := Answer{Status: Ran, Count: res.ExecutionCount}
	if s.blind != "" || res.Status == "aborted" {
		return answer
	}
	err := s.endWatch(o)
	n.join(ctx)
	if s.blind != "" {
		return answer
	}
	n.write(o.cell, res.Outputs, res.ExecutionCount)
	n.made(res.Models)
	c := CellReport{ID: o.cell.ID}
	s.opaqueReads(o)
	if err == nil {
		s.sees(o)
		err = s.record(ctx, o, res.ExecutionCount, &c)
	}
	if err != nil {
		n.lose("record cell "+o.cell.ID, err)
		return answer
	}
	if r := s.pending; r != nil {
		later := make(chan Answer, 1)
		answer.Later = later
		go n.later(ctx, r, answer, later)
		return answer
	}
	return answer.with(&c)
}

// later waits until a cell is recorded, and tells.
func (n *Interactive) later(ctx context.Context, r *recording, answer Answer, told chan<- Answer) {
	defer close(told)
	<-r.done
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.s.pending == r {
		n.join(context.WithoutCancel(ctx))
	}
	answer.Later = nil
	told <- answer.with(r.report)
}

// with is the answer with what recording the cell has told.
func (a Answer) with(c *CellReport) Answer {
	a.Snapshot, a.Uncaptured = c.snapshot, c.Uncaptured
	return a
}

// write puts what a cell showed into the document, if that has the cell.
func (n *Interactive) write(cell notebook.CodeCell, outputs []json.RawMessage, count int) {
	n.counts[cell.ID] = count
	_ = n.s.cfg.Document.SetOutputs(cell.Index, renumber(slices.Clone(outputs), count), &count) // else it is not in the file yet
}

// lose notes that the state of the kernel is not known any more: from here on everything runs.
func (n *Interactive) lose(doing string, err error) {
	n.s.fault(doing, err)
	n.s.blind = "what the kernel holds is not known since Kedge could not " + doing
}

// lookAtFiles notes what a person has changed of the files that cells wrote.
func (n *Interactive) lookAtFiles() {
	for _, f := range n.s.state.Files() {
		now, err := n.s.world.found(f.Path)
		if err == nil && now != f {
			n.s.state.Found(now)
		}
	}
}
