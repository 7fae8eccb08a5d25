// Package live joins a kernel that people talk to through the proxy with the
// rule: it finds which cell of which notebook a request asks for, and lets the
// session restore it or the kernel run it.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/session"
)

const (
	pingTimeout = 10 * time.Second // of the agent in an idle kernel
	maxEarly    = 16 << 20         // bytes of code that ran before the notebook had steps
	tooEarly    = "more code ran in this kernel before the notebook had step tags than is kept; restart the kernel"
)

// Config says which kernel the notebook is in. Open is called once, when the
// notebook has steps: it opens the store and describes the environment of a
// kernel for the notebook at path. What it returns is closed by Close.
type Config struct {
	Path     string // of the notebook, absolute; "" if only requests can tell
	Agent    bool   // the kernel has the agent
	Ring     *observe.Ring
	Language string // of a kernel that has no agent yet; else ""
	// StreamRate is how many bytes per second of streams are shown again; 0: as fast as they come.
	StreamRate int
	Open       func(ctx context.Context, path string) (session.Config, func() error, error)
	// Spawn is needed to go back in the notebook; nil if that is not possible.
	Spawn   Spawn
	Version string  // of this kedge, for people
	Archive Archive // nil: pages are not shown what is recorded
	// Continue is where an opened notebook goes on.
	Continue Continue
	// Publisher is nil if pages cannot share.
	Publisher Publisher
	Logger    *slog.Logger
}

// Archive is what pages see, and do, of what is recorded of the notebook at path in a store that Open has opened.
type Archive interface {
	// Log lists the snapshots, newest first, as far as a page shows them.
	Log(ctx context.Context, store session.Store, path string) (any, error)
	// Show is what one of them holds.
	Show(ctx context.Context, store session.Store, snapshot string) (any, error)
	// Sizes are the bytes of all snapshots, and those of them that are stored.
	Sizes(ctx context.Context, store session.Store, path string) (logical, unique int64, err error)
	// Copy writes the notebook and the files as they were at a snapshot into a folder that is empty, and returns the path of
	// the notebook in it.
	Copy(ctx context.Context, store session.Store, snapshot, into string) (notebook string, err error)
	// Delete forgets a snapshot of the notebook.
	Delete(ctx context.Context, store session.Store, path, snapshot string) error
}

// Notebook is the notebook of a live kernel. It implements [kernel.Session]:
// Intercept belongs to one goroutine of the proxy's.
type Notebook struct {
	cfg Config

	mu     sync.Mutex      // guards what Wants and Aside share with Intercept
	file   *file           // nil if the notebook is not known
	active bool            // the notebook has steps: every request that runs code comes to us
	ran    bool            // code has run before that
	early  []string        // that code
	length int             // of it, in bytes; past maxEarly it is not kept
	opaque string          // why it is not known what ran before that; "" if it is
	ahead  int             // requests of a front end before it has named the notebook
	beside string          // what has run beside the cells
	debug  bool            // a debugger is attached
	shows  map[string]bool // comms by which front ends ask for the state of widgets, which changes nothing

	ring    *observe.Ring        // of the present kernel
	nb      *session.Interactive // nil until the first cell of a notebook with steps, or if that could not be opened
	opened  bool
	before  *session.Prologue // what ran before the notebook was known; nil if nothing did
	why     string            // why nothing is restored or kept; "" if the session says
	off     bool              // %kedge off
	again   string            // id of a cell that really runs when it is asked for next
	opening *opening
	desk    *desk
	greet   sync.Once       // starts the desk
	quiet   context.Context // the desk's
	hush    context.CancelFunc
	writing errgroup.Group
	spare   *spare
	unready context.CancelFunc // ends the spare kernel
	pastMu  sync.Mutex
	past    []outcome // guarded by pastMu
	found   []found   // requests that were looked at and have not come up yet
}

// maxPast is how many cells %kedge status remembers.
const maxPast = 1000

// outcome is what became of a cell.
type outcome struct {
	id, step string
	source   string
	answer   session.Answer
	saving   bool // what it left is not recorded yet
}

// New returns the notebook of a kernel that has not started yet. With a nil
// Ring, or a nil Open, no cell of it is restored or kept.
func New(cfg Config) *Notebook {
	n := &Notebook{cfg: cfg, ring: cfg.Ring, shows: map[string]bool{}, spare: newSpare(cfg.Spawn)}
	if cfg.Path != "" {
		n.file = newFile(cfg.Path)
	}
	n.opening = &opening{open: cfg.Open}
	n.desk = newDesk(n.opening, n.path, cfg.Version)
	n.desk.archive, n.desk.publisher = cfg.Archive, cfg.Publisher
	n.opening.told = n.desk.recorded
	n.desk.notice, n.desk.goOn = n.notice(), cfg.Continue
	n.quiet, n.hush = context.WithCancel(context.Background())
	return n
}

// Close makes what was recorded durable. The kernel is gone by then.
func (n *Notebook) Close() error {
	n.hush()
	if n.nb != nil {
		n.unready()
		n.nb.Close()
	}
	_ = n.writing.Wait() // its errors are faults of the session
	err := n.opening.close()
	if n.ring != nil {
		err = errors.Join(err, n.ring.Close())
	}
	return err
}

// Wants implements [kernel.Session]: all that runs code, from the moment on
// that the notebook has steps.
func (n *Notebook) Wants(r *kernel.ShellRequest) bool {
	switch r.Header.MsgType {
	case "execute_request":
		a, ok := ask(r)
		if !ok {
			return false
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if isMagic(a) {
			return true
		}
		n.active = n.active || n.hasSteps(a)
		if !n.active {
			n.remember(a)
		}
		return n.active || n.ahead > 0 && !n.ran
	case "comm_open", "comm_msg", "comm_close":
		n.mu.Lock()
		defer n.mu.Unlock()
		shows := n.onlyShows(r.Header.MsgType, r.Content)
		n.ran = n.ran || !n.active && n.ahead > 0 && !shows
		return n.active && !shows
	}
	return false
}

// remember keeps what runs before the notebook has steps. n.mu is held.
func (n *Notebook) remember(a asked) {
	for _, code := range append(slices.Sorted(maps.Values(a.expressions())), a.Code) {
		if strings.TrimSpace(code) == "" || n.cfg.Open == nil || n.cfg.Ring == nil {
			continue
		}
		if n.length += len(code); n.length > maxEarly {
			n.early, n.opaque = nil, tooEarly
			continue
		}
		n.early = append(n.early, code)
	}
	if strings.TrimSpace(a.Code) != "" {
		n.ran = n.ran || !n.introduces(a)
	}
}

// onlyShows says whether a comm message only asks for the state of widgets. n.mu is held.
func (n *Notebook) onlyShows(msgType string, content json.RawMessage) bool {
	var comm struct {
		ID     string `json:"comm_id"`
		Target string `json:"target_name"`
	}
	if json.Unmarshal(content, &comm) != nil {
		return false
	}
	if msgType == "comm_open" && comm.Target == "jupyter.widget.control" {
		n.shows[comm.ID] = true
	}
	known := n.shows[comm.ID]
	if msgType == "comm_close" {
		delete(n.shows, comm.ID)
	}
	return known
}

// introduces says whether a request is of those that a front end sends before it names the notebook. VS Code sends one
// or two. n.mu is held.
func (n *Notebook) introduces(a asked) bool {
	const most = 3
	if !a.Silent || n.file != nil || n.cfg.Path != "" || n.cfg.Open == nil || n.cfg.Ring == nil || n.ahead == most {
		return false
	}
	n.ahead++
	return true
}

// hasSteps says whether the notebook that a request belongs to has steps. n.mu is held.
func (n *Notebook) hasSteps(a asked) bool {
	if n.cfg.Open == nil || n.cfg.Ring == nil {
		return false
	}
	if n.file == nil {
		if path := inRequest(a); path != "" {
			n.file = newFile(path)
		}
	}
	return n.file != nil && n.file.tagged(a)
}

// Aside implements [kernel.Session]: what a subshell or the debugger runs may
// change anything while a cell runs or is looked at.
func (n *Notebook) Aside(channel, msgType string, content json.RawMessage) {
	what := "a subshell ran code"
	if channel == "control" {
		var debug struct{ Command string }
		_ = json.Unmarshal(content, &debug)
		n.mu.Lock()
		n.debug = n.debug && debug.Command != "disconnect" || debug.Command == "initialize" || debug.Command == "attach"
		n.mu.Unlock()
		if debug.Command != "" && !reaches[debug.Command] {
			return
		}
		what = "a debugger reached into the kernel"
	} else if msgType != "execute_request" && !strings.HasPrefix(msgType, "comm_") {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.onlyShows(msgType, content) {
		return
	}
	if n.active || n.ran || n.ahead > 0 { // before that there is nothing to be changed
		n.beside = what
	}
}

// reaches are the requests to a debugger by which code is run or values are set.
var reaches = map[string]bool{"attach": true, "evaluate": true, "setVariable": true, "setExpression": true}

// Intercept implements [kernel.Session].
func (n *Notebook) Intercept(ctx context.Context, r *kernel.ShellRequest, c *kernel.Cell) error {
	n.spare.tell(rest{})
	err := n.handle(ctx, r, c)
	n.desk.says(n.notice())
	if n.nb != nil && n.cfg.Spawn != nil {
		n.spare.tell(rest{c.Starter(), n.nb.Ahead()})
	}
	return err
}

func (n *Notebook) handle(ctx context.Context, r *kernel.ShellRequest, c *kernel.Cell) error {
	if comm, s, ok := errand(r); ok {
		n.do(ctx, comm, s, c)
		return nil
	}
	if r.Header.MsgType != "execute_request" {
		if n.open(ctx, c) {
			return interrupted(n.foreign(ctx, session.Everything, c))
		}
		_, err := c.Forward(ctx, nil)
		return interrupted(err)
	}
	a, _ := ask(r)
	if isMagic(a) {
		return n.magic(ctx, a, c)
	}
	if strings.TrimSpace(a.Code) == "" {
		_, err := c.Forward(ctx, nil)
		return interrupted(err)
	}
	if n.unnamed() {
		return n.introduce(ctx, a, c)
	}
	if !n.open(ctx, c) {
		_, err := c.Forward(ctx, nil)
		return interrupted(err)
	}
	err := n.run(ctx, r, a, c)
	if errors.Is(err, kernel.ErrInterrupted) && a.visible() {
		return n.answerInterrupted(ctx, a, c)
	}
	return err
}

// interrupted drops the error of a request that was interrupted before the
// kernel had it and that nobody answers for: the proxy forwards it.
func interrupted(err error) error {
	if errors.Is(err, kernel.ErrInterrupted) {
		return nil
	}
	return err
}

// run restores a cell or lets the kernel run it. The error is
// kernel.ErrInterrupted if the kernel has not got it.
func (n *Notebook) run(ctx context.Context, r *kernel.ShellRequest, a asked, c *kernel.Cell) error {
	ours := context.WithoutCancel(ctx) // what is begun in the kernel is finished, so that its state is known
	n.mu.Lock()
	beside := n.beside
	n.mu.Unlock()
	if beside != "" {
		n.nb.Lose(beside + "; restart the kernel")
	}
	cell, ok := n.cell(r, a)
	if !ok {
		return n.foreign(ctx, a.Code, c)
	}
	if n.again == cell.ID {
		n.again = ""
		n.nb.Rerun()
	}
	answer, err := n.nb.Begin(ctx, cell, n.queue(c))
	if err != nil {
		return err
	}
	if answer.Status == session.Restored {
		n.note(outcome{cell.ID, cell.Step, cell.Source, answer, false})
		return n.replay(ctx, a, answer, c)
	}
	n.desk.begins(cell.ID, answer.Why)
	res, err := c.Forward(ctx, mark(answer))
	if errors.Is(err, kernel.ErrInterrupted) {
		res.Status = "aborted"
	} else if err != nil || res.Status == "" {
		n.nb.Lose("it is not known how a cell ended; restart the kernel")
	}
	ended := n.nb.End(ours, res)
	answer.Snapshot, answer.Uncaptured, answer.Count = ended.Snapshot, ended.Uncaptured, ended.Count
	n.desk.rests()
	if !errors.Is(err, kernel.ErrInterrupted) {
		o := outcome{cell.ID, cell.Step, cell.Source, answer, ended.Later != nil}
		n.note(o)
		n.amend(o, ended.Later)
	}
	return err
}

// amend waits, beside the session, for what is known of a cell when it is recorded.
func (n *Notebook) amend(o outcome, later <-chan session.Answer) {
	if later == nil {
		return
	}
	n.writing.Go(func() error {
		ended := <-later
		o.answer.Snapshot, o.answer.Uncaptured, o.saving = ended.Snapshot, ended.Uncaptured, false
		n.pastMu.Lock()
		defer n.pastMu.Unlock()
		for i := len(n.past) - 1; i >= 0; i-- {
			if n.past[i].id == o.id { // unless it has run once more since
				if n.past[i].answer.Count == o.answer.Count {
					n.past[i] = o
					n.desk.ends(o)
				}
				break
			}
		}
		return nil
	})
}

// foreign lets the kernel run what is no cell of a step.
func (n *Notebook) foreign(ctx context.Context, code string, c *kernel.Cell) error {
	ours := context.WithoutCancel(ctx)
	n.nb.Foreign(ours, code)
	_, err := c.Forward(ctx, nil)
	if !errors.Is(err, kernel.ErrInterrupted) { // else the kernel may get it yet
		n.nb.EndForeign()
	}
	return err
}

// unnamed says whether the notebook, or that it has steps, is not known yet.
func (n *Notebook) unnamed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.active
}

// introduce lets the kernel run what a front end asks for before it names the notebook, and watches it.
func (n *Notebook) introduce(ctx context.Context, a asked, c *kernel.Cell) error {
	ours := context.WithoutCancel(ctx)
	var err error
	if n.before == nil {
		n.before, err = session.BeginPrologue(ours, c.Kernel(), n.cfg.Ring, a.Code)
	} else {
		err = n.before.More(ours, a.Code)
	}
	if err == nil {
		_, err = c.Forward(ctx, nil)
		err = errors.Join(err, n.before.End())
	}
	if err != nil { // it is not known what it did
		n.mu.Lock()
		n.opaque = "what the front end ran first is not known; restart the kernel"
		n.mu.Unlock()
	}
	return interrupted(err)
}

// note remembers what became of a cell, without what it showed.
func (n *Notebook) note(o outcome) {
	o.answer.Outputs = nil
	n.pastMu.Lock()
	defer n.pastMu.Unlock()
	n.past = append(n.past[max(0, len(n.past)+1-maxPast):], o)
	n.desk.ends(o)
}

// outcomes is what became of the cells so far.
func (n *Notebook) outcomes() []outcome {
	n.pastMu.Lock()
	defer n.pastMu.Unlock()
	return slices.Clone(n.past)
}

// path is that of the notebook's file, "" while it is not known.
func (n *Notebook) path() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		return ""
	}
	return n.file.path
}

// open opens the session at the first request of a notebook with steps. It
// answers false if there is none: then the kernel is as it would be without us.
func (n *Notebook) open(ctx context.Context, c *kernel.Cell) bool {
	if n.opened {
		return n.nb != nil
	}
	n.opened = true
	err := n.start(context.WithoutCancel(ctx), c)
	if err != nil {
		n.why = "nothing is restored or kept: " + err.Error()
		n.cfg.Logger.Warn("nothing is restored or kept", "error", err)
	}
	return n.nb != nil
}

func (n *Notebook) start(ctx context.Context, c *kernel.Cell) error {
	ping, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if _, _, err := c.Call(ping, "control", "kedge_ping", struct{}{}, nil); err != nil {
		return fmt.Errorf("the agent does not answer: %w", err)
	}
	n.mu.Lock()
	path, ran, early, opaque := n.file.path, n.ran, n.early, n.opaque
	n.early = nil
	n.mu.Unlock()
	cfg, err := n.opening.get(ctx, path)
	if err != nil {
		return err
	}
	cfg.Sockets = c.Kernel().Dir()
	nb, err := session.OpenInteractive(ctx, cfg, c.Kernel(), n.cfg.Ring)
	if err != nil {
		return err
	}
	switch n.nb = nb; {
	case opaque != "":
		nb.Lose(opaque)
	case ran:
		nb.Past(ctx, early, n.before)
	case n.before != nil:
		nb.Follow(n.before)
	}
	quiet, cancel := context.WithCancel(ctx)
	n.unready = cancel
	n.writing.Go(func() error { return n.spare.run(quiet) })
	n.writing.Go(func() error {
		nb.Run(ctx)
		return nil
	})
	return nil
}

// enter makes code count as a cell that was run, and returns its number; 0 in
// a kernel without the agent, which does not know of it.
func (n *Notebook) enter(ctx context.Context, code string, c *kernel.Cell) (int, error) {
	if !n.cfg.Agent {
		return 0, nil
	}
	ctx = context.WithoutCancel(ctx)
	if n.nb != nil {
		return n.nb.Enter(ctx, code)
	}
	return agent.NewClient(c).Apply(ctx, agent.Restore{Entered: []agent.Entry{{Code: code}}})
}
