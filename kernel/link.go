package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"kedge/kernel/wire"
	"kedge/kernel/zmtp"
)

// seenSignatures is how many messages back a repeated signature is recognised, as ipykernel does.
const seenSignatures = 1 << 16

// drainTime is for what a dead kernel has sent: a process that it left behind may hold its sockets open.
const drainTime = 500 * time.Millisecond

var errReplay = errors.New("the signature was used before")

// link joins one connection of a client with one of its own to the kernel, under the client's identity: the kernel
// sees the clients that it would see without us, routes to them, and holds them back, as it would.
type link struct {
	*Proxy
	channel string
	front   *peer
	kernel  *channel
	warned  bool // a message of this client was refused
}

// link serves a connection to shell, control, stdin or hb until one of its two sides ends.
func (p *Proxy) link(ctx context.Context, name string, front *peer) {
	taken, leave := p.arrive(name, front)
	defer leave()
	select {
	case <-p.ready:
	case <-ctx.Done():
		return
	}
	l := &link{Proxy: p, channel: name, front: front}
	var err error
	if l.kernel, err = p.child.dial(ctx, name, front.conn.Identity); err != nil {
		return
	}
	p.hold(l)
	defer l.kernel.raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = l.kernel.raw.Close() })
	defer stop()
	over := make(chan struct{})
	var pump sync.WaitGroup
	pump.Go(func() { l.fromKernel(ctx); close(over) })
	pump.Go(func() {
		select {
		case <-p.child.proc.died:
			_ = l.kernel.raw.SetReadDeadline(time.Now().Add(drainTime))
		case <-over:
		}
	})
	l.fromClient(ctx)
	if l.gate != nil && name == "shell" {
		l.gate.outlive(ctx, l, taken)
	}
	_ = l.kernel.raw.Close()
	pump.Wait()
}

// arrive makes front the holder of its identity on the channel. A former holder is ended: it is the same client,
// whose old connection is dead or forgotten. taken is closed when that happens to front.
func (p *Proxy) arrive(name string, front *peer) (taken <-chan struct{}, leave func()) {
	if len(front.conn.Identity) == 0 {
		return nil, func() {}
	}
	key := name + " " + string(front.conn.Identity)
	gone, over := make(chan struct{}), make(chan struct{})
	p.mu.Lock()
	former := p.holders[key]
	p.holders[key] = holder{peer: front, gone: gone, taken: over}
	p.mu.Unlock()
	if former.peer != nil {
		close(former.taken)
		_ = former.peer.raw.Close()
		<-former.gone
	}
	return over, func() {
		p.mu.Lock()
		if p.holders[key].peer == front {
			delete(p.holders, key)
		}
		p.mu.Unlock()
		close(gone)
	}
}

// holder is the connection that has an identity; taken is closed when another gets it, gone once the kernel's side of
// it is.
type holder struct {
	peer  *peer
	gone  chan struct{}
	taken chan struct{}
	link  *link // nil until the kernel's side is there
}

// hold notes that the kernel's side of a connection is there.
func (p *Proxy) hold(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := l.channel + " " + string(l.front.conn.Identity)
	if h := p.holders[key]; h.peer == l.front {
		h.link = l
		p.holders[key] = h
	}
}

// successor is the connection that has the identity of l now, to which the kernel replies; nil if there is none.
func (p *Proxy) successor(l *link) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holders[l.channel+" "+string(l.front.conn.Identity)].link
}

// fromClient hands the client's messages on until its connection ends. Once the kernel's side has ended they go
// nowhere.
func (l *link) fromClient(ctx context.Context) {
	for {
		frames, err := l.front.conn.Read()
		if err != nil {
			return
		}
		if l.channel == "hb" {
			_ = l.kernel.send(frames)
			continue
		}
		f, err := l.inspect(frames)
		if err == nil {
			err = l.request(ctx, f, frames)
		}
		if err != nil && !l.warned {
			l.warned = true
			l.log.Warn("messages refused", "channel", l.channel, "error", err)
		}
	}
}

// inspect refuses what the kernel would refuse.
func (l *link) inspect(frames [][]byte) (wire.Frames, error) {
	f, err := wire.Split(frames)
	if err != nil {
		return f, err
	}
	if err := l.signer.Check(f); err != nil {
		return f, err
	}
	if len(l.cfg.Connection.key) > 0 && !l.seen.add(f.Signature) {
		return f, errReplay
	}
	return f, nil
}

// request acts on the few messages that are for us too, and sends the rest to the kernel as it came.
func (l *link) request(ctx context.Context, f wire.Frames, frames [][]byte) error {
	if l.channel == "stdin" {
		return ignoreClosed(l.kernel.send(frames))
	}
	var h wire.Header
	if err := json.Unmarshal(f.Header, &h); err != nil {
		return ignoreClosed(l.kernel.send(frames)) // the kernel has its own way to refuse it
	}
	switch {
	case h.MsgType == "interrupt_request":
		ours := l.gate != nil && l.gate.interrupt()
		if ours || l.cfg.Signals {
			return l.interrupt(f, ours)
		}
	case h.MsgType == "shutdown_request":
		l.asked.Store(true)
		if l.gate != nil {
			l.gate.drain(ctx)
		}
	case h.MsgType == "debug_request" && l.gate != nil:
		l.gate.session.Aside(l.channel, h.MsgType, f.Content)
	case l.gate != nil && l.channel == "shell":
		return l.gate.send(ctx, &ShellRequest{Header: h, Metadata: f.Metadata, Content: f.Content, Buffers: f.Buffers,
			frames: f, raw: frames, link: l})
	}
	return ignoreClosed(l.kernel.send(frames))
}

// ignoreClosed drops the error of a send: the connection's reader sees its end.
func ignoreClosed(error) error { return nil }

// fromKernel hands the kernel's messages on until its connection ends, then lets the client read them. Of a client
// that has gone the gate still hears the replies.
func (l *link) fromKernel(ctx context.Context) {
	defer l.front.finish()
	for gone := false; ; {
		frames, err := l.kernel.conn.Read()
		if err != nil {
			return
		}
		if l.channel != "hb" {
			frames = l.reply(frames)
		}
		if gone {
			continue
		}
		if err := l.front.out.wait(ctx, zmtp.Encode(frames)); err != nil {
			if gone = l.gate != nil; !gone {
				return
			}
		}
	}
}

// reply changes what must differ in a message of the kernel: nothing in almost all of them.
func (l *link) reply(frames [][]byte) [][]byte {
	f, err := wire.Split(frames)
	if err != nil {
		return frames
	}
	changed := false
	if contains(f.Header, "connect_reply") {
		f.Content, changed = l.ports(f.Content), true
	}
	if l.gate != nil {
		if metadata := l.gate.replied(l.channel, f); metadata != nil {
			f.Metadata, changed = metadata, true
		}
	}
	if !changed {
		return frames
	}
	return l.signer.Join(f)
}

// ports puts our ports in place of the kernel's in the content of a connect_reply.
func (l *link) ports(content []byte) []byte {
	var named map[string]json.RawMessage
	if json.Unmarshal(content, &named) != nil {
		return content
	}
	for _, s := range sockets {
		for _, key := range []string{s.name, s.port} {
			if _, ok := named[key]; !ok {
				continue
			}
			if edited, err := wire.Set(content, key, encode(l.cfg.Connection.ports[s.name])); err == nil {
				content = edited
			}
		}
	}
	return content
}
