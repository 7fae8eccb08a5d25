package kernel

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kedge/kernel/zmtp"
)

const (
	maxGreeting = 128                    // connections of one socket that have not said who they are; more end the oldest
	flushTime   = time.Second            // for a client to read what is left for it
	partingTime = 100 * time.Millisecond // for it to close its side
)

// clientTypes are the socket types that may connect to a socket of ours.
var clientTypes = map[string][]string{
	"ROUTER": {"DEALER", "REQ", "ROUTER"},
	"XPUB":   {"SUB", "XSUB"},
	"REP":    {"REQ", "DEALER"},
}

// endpoint is a bound socket. What one connection does or fails to do never concerns another.
type endpoint struct {
	socket
	listener net.Listener
	log      *slog.Logger
	limit    int // bytes queued for a client

	mu       sync.Mutex
	greeting []net.Conn // in order of arrival
}

// peer is a client's connection. Its queue is sent by a goroutine of its own.
type peer struct {
	raw  net.Conn
	conn *zmtp.Conn
	out  *queue
}

// serve accepts connections until the listener is closed, and calls use for each, on a goroutine in g, once it has
// said who it is. When use returns, what is queued for the client is sent, for a second at most.
func (e *endpoint) serve(ctx context.Context, g *errgroup.Group, use func(context.Context, *peer)) {
	for {
		raw, err := e.listener.Accept()
		if err == nil {
			e.await(raw) // before the next one comes
			g.Go(func() error { e.admit(ctx, raw, use); return nil })
			continue
		}
		if isClosed(err) {
			return
		}
		select { // no descriptors are left, or the client is gone again
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (e *endpoint) admit(ctx context.Context, raw net.Conn, use func(context.Context, *peer)) {
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	_ = raw.SetDeadline(time.Now().Add(handshakeTime))
	conn, err := zmtp.Open(raw, e.server, nil)
	e.forget(raw)
	if err != nil {
		e.log.Debug("connection refused", "channel", e.name, "error", err)
		return
	}
	if !slices.Contains(clientTypes[e.server], conn.PeerType) {
		e.log.Warn("connection refused", "channel", e.name, "socket", conn.PeerType)
		return
	}
	_ = raw.SetDeadline(time.Time{})
	p := &peer{raw: raw, conn: conn, out: newQueue(e.limit)}
	var writer sync.WaitGroup
	writer.Go(p.write)
	use(ctx, p)
	p.finish()
	writer.Wait()
}

// await notes a connection that has said nothing yet, and ends the oldest of too many.
func (e *endpoint) await(raw net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.greeting = append(e.greeting, raw); len(e.greeting) > maxGreeting {
		_ = e.greeting[0].Close()
		e.greeting = e.greeting[1:]
	}
}

func (e *endpoint) forget(raw net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.Index(e.greeting, raw); i >= 0 {
		e.greeting = slices.Delete(e.greeting, i, i+1)
	}
}

// write sends the queue until its end, then closes our side, so that the last message is not lost to a reset.
func (p *peer) write() {
	for {
		batch := p.out.take()
		if len(batch) == 0 {
			break
		}
		if p.conn.Write(batch...) != nil {
			p.out.end()
			_ = p.raw.Close()
			return
		}
	}
	_ = p.raw.SetReadDeadline(time.Now().Add(partingTime))
	if half, ok := p.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// finish lets the client read what is queued, and then ends the connection. It may be called again.
func (p *peer) finish() {
	p.out.end()
	_ = p.raw.SetWriteDeadline(time.Now().Add(flushTime))
}
