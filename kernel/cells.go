package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kedge/kernel/wire"
)

// ErrInterrupted is the cause of the end of the context of an Intercept during which a client asked for an interrupt.
var ErrInterrupted = errors.New("interrupted")

// Session looks at the requests that clients send on the shell channel. One that it wants waits, and every later
// request to the main shell behind it, until the kernel has finished all before it; then the session handles it,
// alone: until Intercept returns, the kernel gets nothing from clients on the main shell. What it does not want
// passes as it came. The proxy aborts waiting cells after an error, as the kernel does with those it holds.
type Session interface {
	// Wants says whether Intercept is to be called for a request. It is called for each, in the order of their
	// arrival, by one goroutine at a time, and must not block.
	Wants(r *ShellRequest) bool
	// Intercept handles a request, of one goroutine of the proxy's. It may talk to the kernel by Cell.Call, and
	// either lets the kernel run the request (Cell.Forward, once) or answers it: Status("busy"), Publish of
	// execute_input and of outputs, Reply, Status("idle"), in this order. If it does neither, the request is
	// forwarded after it. When a client asks for an interrupt and the request is not with the kernel, ctx ends with
	// the cause ErrInterrupted, and the kernel hears nothing of it unless the client asks again; after Forward, what
	// waits next is what is interrupted. A shutdown waits a moment for the end of an Intercept. An error is logged;
	// it is never seen by clients.
	Intercept(ctx context.Context, r *ShellRequest, c *Cell) error
	// Aside is told of a request that goes to the debugger, or to a subshell while something else than messages to
	// comms runs, before the kernel gets it. It is called from any goroutine and must not block.
	Aside(channel, msgType string, content json.RawMessage)
}

// ShellRequest is a client's message on the shell channel. Its parts are as they came and must not be modified.
type ShellRequest struct {
	Header   wire.Header
	Metadata json.RawMessage // of a front end's cell: tags, cellId
	Content  json.RawMessage
	Buffers  [][]byte

	frames  wire.Frames
	raw     [][]byte
	link    *link
	wanted  bool
	aborted bool // an earlier cell failed
}

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
	strike  bool                    // the next Intercept begins interrupted
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
	r.wanted = g.session.Wants(r)
	if beside && !(r.wanted && g.onlyComms(r)) {
		g.mu.Unlock()
		g.session.Aside("shell", r.Header.MsgType, r.Content)
		return ignoreClosed(r.link.kernel.send(r.raw))
	}
	if r.wanted || g.working || len(g.held) > 0 {
		g.held = append(g.held, r)
		g.mu.Unlock()
		signal(g.wake)
		return nil
	}
	g.note(r, nil, nil)
	g.mu.Unlock()
	return ignoreClosed(r.link.kernel.send(r.raw))
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
	if r.link.kernel.send(r.raw) == nil {
		return nil
	}
	if l := g.proxy.successor(r.link); l != nil && l != r.link && l.kernel.send(r.raw) == nil {
		return nil
	}
	g.mu.Lock()
	if in != nil {
		in.replied = true
	}
	g.mu.Unlock()
	return g.proxy.child.channels["shell"].send(r.raw)
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
	if !c.sent && !c.replied {
		g.mu.Lock()
		now.interrupted = false // nobody has answered for it: the cell runs
		g.mu.Unlock()
		_, forwardErr := c.Forward(ctx, nil)
		err = errors.Join(err, forwardErr)
	}
	g.mu.Lock()
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

// replied is told of each message of the kernel on shell or stdin; it returns other metadata for the reply, or nil.
func (g *gate) replied(channel string, f wire.Frames) []byte {
	var parent wire.Header
	if json.Unmarshal(f.Parent, &parent) != nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.running[parent.MsgID]
	if in == nil {
		return nil
	}
	if in.run != nil {
		in.run.accept(incoming{channel, message(f)})
	}
	if channel != "shell" {
		return nil
	}
	var reply struct{ Status string }
	if in.stops && json.Unmarshal(f.Content, &reply) == nil && reply.Status == "error" {
		g.abortWaiting()
	}
	var metadata struct{ Engine any }
	if json.Unmarshal(f.Metadata, &metadata) == nil && metadata.Engine != nil {
		g.engine = metadata.Engine
	}
	in.replied = true
	g.settle(parent.MsgID, in)
	if !in.idle {
		time.AfterFunc(idleWait, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			in.idle = true
			g.settle(parent.MsgID, in)
		})
	}
	if in.mark == nil {
		return nil
	}
	edited, err := wire.Set(f.Metadata, kedgeField, in.mark)
	if err != nil {
		return nil
	}
	return edited
}

// published is told of each message of the kernel on iopub.
func (g *gate) published(f wire.Frames) {
	g.mu.Lock()
	waits := len(g.running) > 0
	g.mu.Unlock()
	var parent wire.Header
	if !waits || json.Unmarshal(f.Parent, &parent) != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.running[parent.MsgID]
	if in == nil {
		return
	}
	if in.run != nil {
		in.run.accept(incoming{"iopub", message(f)})
	}
	var status struct {
		State string `json:"execution_state"`
	}
	if contains(f.Header, "status") && json.Unmarshal(f.Content, &status) == nil && status.State == "idle" {
		in.idle = true
		g.settle(parent.MsgID, in)
		if !in.replied { // its reply is on the way, or nobody is there to get it
			time.AfterFunc(idleWait, func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				in.replied = true
				g.settle(parent.MsgID, in)
			})
		}
	}
}

// message is f decoded, without parts that are not JSON.
func message(f wire.Frames) wire.Message {
	m := wire.Message{RawHeader: f.Header, RawParent: f.Parent, Metadata: f.Metadata, Content: f.Content, Buffers: f.Buffers}
	_ = json.Unmarshal(f.Header, &m.Header)
	_ = json.Unmarshal(f.Parent, &m.Parent)
	return m
}

// settle forgets a request once the kernel has finished it. g.mu is held.
func (g *gate) settle(id string, in *inflight) {
	if !in.replied || !in.idle || g.running[id] != in {
		return
	}
	delete(g.running, id)
	close(in.done)
	signal(g.wake)
	g.part(in.request.link)
}

// outlive waits until nothing that a client has asked for waits or runs any more: its connection to the kernel is kept
// for that long, as the kernel does what it was asked even if the client has gone. It ends with ctx, or when taken is closed.
func (g *gate) outlive(ctx context.Context, l *link, taken <-chan struct{}) {
	g.mu.Lock()
	parted := make(chan struct{})
	g.leaving[l] = parted
	g.part(l)
	g.mu.Unlock()
	select {
	case <-parted:
	case <-taken:
	case <-g.proxy.child.proc.died:
	case <-ctx.Done():
	}
	g.mu.Lock()
	delete(g.leaving, l)
	g.mu.Unlock()
}

// part lets a client go that has left and has nothing that waits or runs. g.mu is held.
func (g *gate) part(l *link) {
	parted, leaving := g.leaving[l]
	if !leaving || g.now != nil && g.now.cell.request.link == l ||
		slices.ContainsFunc(g.held, func(r *ShellRequest) bool { return r.link == l }) {
		return
	}
	for _, in := range g.running {
		if in.request.link == l {
			return
		}
	}
	delete(g.leaving, l)
	close(parted)
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

// Cell is how a session acts on the request that it intercepts. Its methods may be called until Intercept returns,
// by its goroutine.
type Cell struct {
	gate    *gate
	request *ShellRequest
	sent    bool
	replied bool
}

// Call sends a private request to the kernel and returns the content and buffers of its reply; clients see nothing
// of it. What a thread of the notebook prints meanwhile belongs to the latest cell.
func (c *Cell) Call(ctx context.Context, channel, msgType string, content any, buffers [][]byte) (json.RawMessage, [][]byte, error) {
	return c.gate.proxy.child.Call(ctx, channel, msgType, content, buffers)
}

// Kernel returns the kernel behind the proxy.
func (c *Cell) Kernel() *Kernel { return c.gate.proxy.child }

// Forward lets the kernel run the request and returns what it gave, after clients have got it: reply and idle. A mark
// is set as "kedge" in the metadata of the reply. If the kernel dies the error wraps ErrKernelDied. If a client has
// asked for an interrupt before, nothing is sent and the error is ErrInterrupted.
func (c *Cell) Forward(ctx context.Context, mark json.RawMessage) (Result, error) {
	g, k := c.gate, c.gate.proxy.child
	run := &execution{res: Result{Times: map[string]string{}}, widgets: g.widgets}
	k.mu.Lock()
	run.earlier = maps.Clone(k.displays)
	k.mu.Unlock()
	g.mu.Lock()
	if g.now != nil && g.now.interrupted {
		g.mu.Unlock()
		return Result{}, ErrInterrupted
	}
	in := g.note(c.request, run, mark)
	c.sent = true
	g.mu.Unlock()
	if err := g.pass(c.request, in); err != nil || in == nil {
		return Result{}, k.deathOr(fmt.Errorf("forward: %w", err))
	}
	var err error
	select {
	case <-in.done:
	case <-k.drained:
		err = k.died()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	return run.finish(k.displays), err
}

// Status publishes a status: busy before anything else, idle last.
func (c *Cell) Status(state string) { c.gate.proxy.status(state, c.request.frames.Header) }

// Metadata is what the kernel puts into the metadata of a reply with this status.
func (c *Cell) Metadata(status string) map[string]any {
	metadata := map[string]any{"started": now(), "dependencies_met": true, "status": status}
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if c.gate.engine != nil {
		metadata["engine"] = c.gate.engine
	} else if ident, ok := strings.CutPrefix(strings.TrimSuffix(c.gate.proxy.child.topic, ".status"), "kernel."); ok {
		metadata["engine"] = ident
	}
	return metadata
}

// Shows tells that the outputs that are published have these display ids, so that an update of one counts as an
// update of an earlier cell's output.
func (c *Cell) Shows(displayIDs map[int]string) {
	k := c.Kernel()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range displayIDs {
		k.displays[id] = true
	}
}

// Publish sends a message about the request to all clients.
func (c *Cell) Publish(msgType string, content, metadata any, buffers [][]byte) {
	c.gate.proxy.tell(msgType, c.request.frames.Header, content, metadata, buffers)
}

// Reply answers the request. A failure aborts the cells that wait, unless the request says otherwise.
func (c *Cell) Reply(content, metadata any) {
	c.replied = true
	var reply struct{ Status string }
	if stops(c.request) && json.Unmarshal(encode(content), &reply) == nil && reply.Status == "error" {
		c.gate.mu.Lock()
		c.gate.abortWaiting()
		c.gate.mu.Unlock()
	}
	kind := c.request.Header.MsgType
	if n := len(kind) - len("request"); n > 0 && kind[n:] == "request" {
		kind = kind[:n] + "reply"
	}
	c.request.link.answer(c.request.frames, kind, content, metadata)
}
