package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	// forwarded after it, unless it is one that the session has taken from the kernel ([Comms]).
	// When a client asks for an interrupt and the request is not with the kernel, ctx ends with
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
	ours    bool // on a comm of the session's: the kernel does not get it
	aborted bool // an earlier cell failed
}

// Cell is how a session acts on the request that it intercepts. Its methods may be called until Intercept returns,
// by its goroutine.
type Cell struct {
	gate    *gate
	request *ShellRequest
	sent    bool
	replied bool
	failed  bool // with an error
}

// Call sends a private request to the kernel and returns the content and buffers of its reply; clients see nothing
// of it. What a thread of the notebook prints meanwhile belongs to the latest cell.
func (c *Cell) Call(ctx context.Context, channel, msgType string, content any, buffers [][]byte) (json.RawMessage, [][]byte, error) {
	return c.Kernel().Call(ctx, channel, msgType, content, buffers)
}

// Kernel returns the kernel behind the proxy.
func (c *Cell) Kernel() *Kernel { return c.gate.proxy.kernel() }

// Forward lets the kernel run the request and returns what it gave, after clients have got it: reply and idle. A mark
// is set as "kedge" in the metadata of the reply. If the kernel dies the error wraps ErrKernelDied. If a client has
// asked for an interrupt before, nothing is sent and the error is ErrInterrupted.
func (c *Cell) Forward(ctx context.Context, mark json.RawMessage) (Result, error) {
	g, k := c.gate, c.Kernel()
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

// Waiting are the requests that wait directly behind this one, up to the first that is not for the session, in order.
func (c *Cell) Waiting() []*ShellRequest {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	held := c.gate.held
	if i := slices.IndexFunc(held, func(r *ShellRequest) bool { return !r.wanted || r.aborted }); i >= 0 {
		held = held[:i]
	}
	return slices.Clone(held)
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
	} else if ident, ok := c.Kernel().ident(); ok {
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
	c.failed = json.Unmarshal(encode(content), &reply) == nil && reply.Status == "error"
	if c.failed && stops(c.request) {
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
