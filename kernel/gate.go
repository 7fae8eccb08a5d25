package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"kedge/kernel/wire"
)

// inflight is a request that the kernel has and has not finished.
type inflight struct {
	request *ShellRequest
	stops   bool // an error aborts the cells behind it
	replied bool
	idle    bool
	done    chan struct{}
	run     *execution      // collects for Forward; nil if nobody asked
	mark    json.RawMessage // set as "kedge" in the reply's metadata
}

const (
	maxHeld    = 1 << 14         // requests that wait; clients with more wait in their sockets
	idleWait   = 2 * time.Second // for an idle status after the reply: iopub may lose messages
	endWait    = 2 * time.Second // of a shutdown, for what a session still takes from the kernel: jupyter_client waits 2.5 s
	kedgeField = "kedge"
)

// answered are the requests that a kernel reports busy and idle for; true if it replies too.
var answered = map[string]bool{
	"execute_request": true, "complete_request": true, "inspect_request": true, "history_request": true,
	"is_complete_request": true, "kernel_info_request": true, "comm_info_request": true, "connect_request": true,
	"comm_open": false, "comm_msg": false, "comm_close": false,
}

// gate holds the requests that wait for the session or behind it.
type gate struct {
	proxy   *Proxy
	session Session
	wake    chan struct{} // held or running changed
	room    chan struct{} // held became shorter

	mu      sync.Mutex
	running map[string]*inflight // by msg_id
	held    []*ShellRequest
	working bool // the head of held was taken and is not finished
	engine  any  // the kernel's name for itself in the metadata of replies
	now     *intercepted
	strike  bool   // the next Intercept begins interrupted
	parent  []byte // of the latest message on iopub, with the id in it: the next is mostly about the same request
	about   string
	leaving map[*link]chan struct{} // clients that have gone and have something that waits or runs
	widgets *widgets                // as recorded cells have left them; front ends do what they ask for
}

// intercepted is the Intercept that goes on.
type intercepted struct {
	cell        *Cell
	cancel      context.CancelCauseFunc
	interrupted bool
	done        chan struct{}
}

func newGate(p *Proxy, s Session) *gate {
	return &gate{proxy: p, session: s, wake: make(chan struct{}, 1), room: make(chan struct{}, 1), running: map[string]*inflight{}, leaving: map[*link]chan struct{}{},
		widgets: newWidgets(func(string, any, wire.Message) error { return nil })}
}

// send forwards r or lets it wait; it blocks while too many wait.
func (g *gate) send(ctx context.Context, r *ShellRequest) error {
	var h struct {
		Subshell *string `json:"subshell_id"`
	}
	beside := json.Unmarshal(r.frames.Header, &h) == nil && h.Subshell != nil
	for {
		g.mu.Lock()
		if len(g.held) < maxHeld {
			break
		}
		g.mu.Unlock()
		select {
		case <-g.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	switch g.hear(r) {
	case Taken:
		g.mu.Unlock()
		return nil
	case Waits:
		r.wanted, r.ours, beside = true, true, false
	default:
		r.wanted = g.session.Wants(r)
	}
	if beside && !(r.wanted && g.onlyComms(r)) {
		g.mu.Unlock()
		g.session.Aside("shell", r.Header.MsgType, r.Content)
		return ignoreClosed(r.link.send(r.raw))
	}
	if r.wanted || g.working || len(g.held) > 0 {
		g.held = append(g.held, r)
		g.mu.Unlock()
		signal(g.wake)
		return nil
	}
	g.note(r, nil, nil)
	g.mu.Unlock()
	return ignoreClosed(r.link.send(r.raw))
}

// onlyComms reports whether r and all that the kernel has and that waits are messages to comms. To a subshell these can
// wait for each other; cells they would run beside. g.mu is held.
func (g *gate) onlyComms(r *ShellRequest) bool {
	comm := func(r *ShellRequest) bool { return strings.HasPrefix(r.Header.MsgType, "comm_") }
	for _, in := range g.running {
		if !comm(in.request) {
			return false
		}
	}
	return comm(r) && !slices.ContainsFunc(g.held, func(r *ShellRequest) bool { return !comm(r) }) &&
		(g.now == nil || comm(g.now.cell.request))
}

// pass sends a request that has waited to the kernel. Where its client's connection is closed the client's next one
// takes its place, or ours: the kernel does what it was asked, and nobody gets the reply.
func (g *gate) pass(r *ShellRequest, in *inflight) error {
	if r.link.send(r.raw) == nil {
		return nil
	}
	if l := g.proxy.successor(r.link); l != nil && l != r.link && l.send(r.raw) == nil {
		return nil
	}
	g.mu.Lock()
	if in != nil {
		in.replied = true
	}
	g.mu.Unlock()
	return g.proxy.kernel().channels["shell"].send(r.raw)
}

// note remembers a request that is about to be sent to the kernel. g.mu is held.
func (g *gate) note(r *ShellRequest, run *execution, mark json.RawMessage) *inflight {
	replies, known := answered[r.Header.MsgType]
	if !known {
		return nil
	}
	f := &inflight{request: r, replied: !replies, stops: stops(r), done: make(chan struct{}), run: run, mark: mark}
	g.running[r.Header.MsgID] = f
	return f
}

// stops says whether an error of r aborts the cells that wait behind it.
func stops(r *ShellRequest) bool {
	if r.Header.MsgType != "execute_request" {
		return false
	}
	content := struct {
		Silent bool `json:"silent"`
		Stop   bool `json:"stop_on_error"`
	}{Stop: true}
	return json.Unmarshal(r.Content, &content) == nil && content.Stop && !content.Silent
}

// run handles what waits, one after the other, until ctx ends.
func (g *gate) run(ctx context.Context) error {
	for {
		r := g.next(ctx)
		if r == nil {
			return nil
		}
		switch {
		case r.aborted:
			g.abort(r)
		case r.wanted:
			g.intercept(ctx, r)
		default:
			g.mu.Lock()
			in := g.note(r, nil, nil)
			g.mu.Unlock()
			_ = g.pass(r, in)
		}
		g.mu.Lock()
		g.working = false
		g.part(r.link)
		g.mu.Unlock()
	}
}

// next takes the first request that waits, once the kernel has nothing before it if that matters; nil when ctx ends.
func (g *gate) next(ctx context.Context) *ShellRequest {
	for {
		g.mu.Lock()
		if len(g.held) > 0 && (len(g.running) == 0 || !g.held[0].wanted && !g.held[0].aborted) {
			r := g.held[0]
			g.held, g.working = g.held[1:], true
			g.mu.Unlock()
			signal(g.room)
			return r
		}
		g.mu.Unlock()
		select {
		case <-g.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *gate) intercept(ctx context.Context, r *ShellRequest) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &Cell{gate: g, request: r}
	now := &intercepted{cell: c, cancel: cancel, done: make(chan struct{})}
	g.mu.Lock()
	g.now = now
	if g.strike {
		g.strike, now.interrupted = false, true
		cancel(ErrInterrupted)
	}
	g.mu.Unlock()
	err := g.session.Intercept(inner, r, c)
	if !c.sent && !c.replied && !r.ours {
		g.mu.Lock()
		now.interrupted = false // nobody has answered for it: the cell runs
		g.mu.Unlock()
		_, forwardErr := c.Forward(ctx, nil)
		err = errors.Join(err, forwardErr)
	}
	g.mu.Lock()
	if now.interrupted && c.replied && !c.failed { // the session was past the cell: what waits next is interrupted
		g.strike = len(g.held) > 0 && g.held[0].wanted
	}
	g.now = nil
	close(now.done)
	g.mu.Unlock()
	if err != nil {
		g.proxy.log.Warn("session", "error", err)
	}
}

// interrupt ends the context of an Intercept whose request is not with the kernel, or of the next one. It reports
// whether the kernel shall hear nothing of the interrupt.
func (g *gate) interrupt() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil || !g.answeredAll() || g.now.interrupted {
		return false
	}
	g.now.interrupted = true
	switch {
	case !g.now.cell.sent:
		g.now.cancel(ErrInterrupted)
	case len(g.held) > 0:
		g.strike = g.held[0].wanted
	}
	return true
}

// answeredAll reports whether the kernel has replied to all that it got from clients. g.mu is held.
func (g *gate) answeredAll() bool {
	for _, in := range g.running {
		if !in.replied {
			return false
		}
	}
	return true
}

// drain waits a moment for the end of an Intercept that takes from the kernel what its request has left.
func (g *gate) drain(ctx context.Context) {
	g.mu.Lock()
	now, finishing := g.now, g.answeredAll()
	g.mu.Unlock()
	if now == nil || !finishing {
		return
	}
	select {
	case <-now.done:
	case <-time.After(endWait):
	case <-ctx.Done():
	}
}

// abortWaiting marks the cells that wait now. g.mu is held.
func (g *gate) abortWaiting() {
	for _, r := range g.held {
		r.aborted = r.aborted || r.Header.MsgType == "execute_request"
	}
}

// abort answers a cell as the kernel answers one that waited behind an error.
func (g *gate) abort(r *ShellRequest) {
	c := &Cell{gate: g, request: r}
	c.Status("busy")
	c.Reply(map[string]string{"status": "aborted"}, c.Metadata("aborted"))
	c.Status("idle")
}
