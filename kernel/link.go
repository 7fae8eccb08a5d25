package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
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
	ctx     context.Context // of the connection
	channel string
	front   *peer
	pumps   sync.WaitGroup // one for each side so far
	warned  bool           // a message of this client was refused

	mu   sync.Mutex
	side *side // the present one
}

// side is the kernel's end of a link.
type side struct {
	*channel
	kernel *Kernel

	mu      sync.Mutex
	waiting [][][]byte // what was asked on control and hb and the kernel has not answered
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
	l := &link{Proxy: p, ctx: ctx, channel: name, front: front}
	if l.connect() != nil {
		return
	}
	p.hold(l)
	defer l.detach()
	stop := context.AfterFunc(ctx, l.detach)
	defer stop()
	l.fromClient(ctx)
	if l.gate != nil && name == "shell" {
		l.gate.outlive(ctx, l, taken)
	}
	l.detach()
	l.pumps.Wait()
}

// connect makes the link's side to the kernel.
func (l *link) connect() error {
	for {
		s, err := l.reach(l.ctx, l.kernel())
		if err != nil {
			return err
		}
		l.Proxy.mu.Lock()
		if l.kernel() == s.kernel {
			l.links[l] = true
			l.face(s)
			l.Proxy.mu.Unlock()
			return nil
		}
		l.Proxy.mu.Unlock()
		_ = s.raw.Close()
	}
}

// reach makes a connection to k under the client's identity.
func (l *link) reach(ctx context.Context, k *Kernel) (*side, error) {
	c, err := k.dial(ctx, l.channel, l.front.conn.Identity)
	return &side{channel: c, kernel: k}, err
}

// face makes s the link's side, and hands on what comes from it. It returns the requests that the former one has not
// answered.
func (l *link) face(s *side) (unanswered [][][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.side != nil {
		l.side.mu.Lock()
		unanswered = l.side.waiting
		l.side.mu.Unlock()
	}
	l.side = s
	over := make(chan struct{})
	l.pumps.Go(func() { l.fromKernel(s); close(over) })
	l.pumps.Go(func() {
		select {
		case <-s.kernel.proc.died:
			_ = s.raw.SetReadDeadline(time.Now().Add(drainTime))
		case <-over:
		}
	})
	return unanswered
}

// detach ends the link's side. It may be called again.
func (l *link) detach() {
	l.Proxy.mu.Lock()
	delete(l.links, l)
	l.Proxy.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.side.raw.Close()
}

// send hands frames to the kernel.
func (l *link) send(frames [][]byte) error {
	l.mu.Lock()
	s := l.side
	if l.channel == "control" || l.channel == "hb" {
		s.mu.Lock()
		s.waiting = append(s.waiting, frames)
		s.mu.Unlock()
	}
	l.mu.Unlock()
	return s.channel.send(frames)
}

// answered forgets the request with this id; all, if it is empty.
func (s *side) answered(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(frames [][]byte) bool {
		return slices.ContainsFunc(frames, func(f []byte) bool { return bytes.Contains(f, []byte(id)) })
	})
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
			_ = l.send(frames)
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
		return ignoreClosed(l.send(frames))
	}
	var h wire.Header
	if err := json.Unmarshal(f.Header, &h); err != nil {
		return ignoreClosed(l.send(frames)) // the kernel has its own way to refuse it
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
	return ignoreClosed(l.send(frames))
}

// ignoreClosed drops the error of a send: the connection's reader sees its end.
func ignoreClosed(error) error { return nil }

// fromKernel hands the messages of a side of the kernel's on until its connection ends, then lets the client read
// them, unless another has taken its place. Of a client that has gone the gate still hears the replies.
func (l *link) fromKernel(s *side) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.side == s {
			l.front.finish()
		}
	}()
	for gone := false; ; {
		frames, err := s.conn.Read()
		if err != nil {
			return
		}
		if l.channel == "hb" {
			s.answered("")
		} else {
			frames = l.reply(s, frames)
		}
		if gone {
			continue
		}
		if err := l.front.out.wait(l.ctx, zmtp.Encode(frames)); err != nil {
			if gone = l.gate != nil; !gone {
				return
			}
		}
	}
}

// reply changes what must differ in a message of the kernel: nothing in almost all of them.
func (l *link) reply(s *side, frames [][]byte) [][]byte {
	f, err := wire.Split(frames)
	if err != nil {
		return frames
	}
	changed := false
	var parent wire.Header
	if l.channel == "control" && json.Unmarshal(f.Parent, &parent) == nil && parent.MsgID != "" {
		s.answered(parent.MsgID)
	}
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
