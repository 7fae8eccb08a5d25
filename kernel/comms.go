package kernel

import "strings"

// Comms is what a [Session] also implements that has comms of its own with front ends, of which the kernel hears nothing.
type Comms interface {
	// Hear is given each comm_open, comm_msg and comm_close of a client's as it comes, whatever the kernel is doing, and
	// says what becomes of it. It is called by one goroutine at a time and must not block.
	Hear(r *ShellRequest, say Say) Fate
}

// Say sends a message that answers nothing to all clients, on iopub. It may be called from any goroutine.
type Say func(msgType string, content any)

// Fate is what becomes of a message that a [Comms] has heard.
type Fate int

// The kernel never gets what is Taken or what Waits. What Waits is given to Intercept in its turn.
const (
	Passes Fate = iota
	Taken
	Waits
)

// hear lets the session have what is said on comms of its own. g.mu is held.
func (g *gate) hear(r *ShellRequest) Fate {
	own, ok := g.session.(Comms)
	if !ok || !strings.HasPrefix(r.Header.MsgType, "comm_") {
		return Passes
	}
	return own.Hear(r, func(msgType string, content any) { g.proxy.tell(msgType, []byte("{}"), content, nil, nil) })
}
