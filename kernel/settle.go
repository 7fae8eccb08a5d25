package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"kedge/kernel/wire"
)

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
		g.presume(parent.MsgID, in, &in.idle)
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
	defer g.mu.Unlock()
	if len(g.running) == 0 {
		return
	}
	if !bytes.Equal(f.Parent, g.parent) {
		var parent wire.Header
		if json.Unmarshal(f.Parent, &parent) != nil {
			return
		}
		g.parent, g.about = f.Parent, parent.MsgID
	}
	in := g.running[g.about]
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
		g.settle(g.about, in)
		if !in.replied { // its reply is on the way, or nobody is there to get it
			g.presume(g.about, in, &in.replied)
		}
	}
}

// presume sets half, what a request still lacks to be finished, if it has not come within idleWait.
func (g *gate) presume(id string, in *inflight, half *bool) {
	time.AfterFunc(idleWait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		*half = true
		g.settle(id, in)
	})
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
	case <-g.proxy.over:
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
