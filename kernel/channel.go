package kernel

import (
	"context"
	"fmt"
	"net"
	"time"

	"kedge/kernel/wire"
	"kedge/kernel/zmtp"
)

// handshakeTime is how long a peer may take to say who it is.
const handshakeTime = 30 * time.Second

// socket describes one of the kernel's five sockets.
type socket struct {
	name   string
	port   string // its key in a connection file
	number int    // the port of a kernel of ours
	server string // socket type at the kernel
	client string // socket type at its clients
}

var sockets = [...]socket{
	{"shell", "shell_port", 1, "ROUTER", "DEALER"},
	{"iopub", "iopub_port", 2, "XPUB", "SUB"},
	{"stdin", "stdin_port", 3, "ROUTER", "DEALER"},
	{"control", "control_port", 4, "ROUTER", "DEALER"},
	{"hb", "hb_port", 5, "REP", "REQ"},
}

// channel is one connection to a kernel's socket. Sends may come from any goroutine; one goroutine receives.
type channel struct {
	name string
	raw  net.Conn
	conn *zmtp.Conn
}

// dial connects to the kernel's socket file, again every tick until it is bound, the kernel died, or ctx ends.
func dial(ctx context.Context, name, path, typ string, id []byte, died <-chan struct{}) (*channel, error) {
	for {
		raw, err := net.Dial("unix", path)
		if err == nil {
			_ = raw.SetDeadline(time.Now().Add(handshakeTime))
			stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
			var conn *zmtp.Conn
			conn, err = zmtp.Open(raw, typ, id)
			if stop() && err == nil {
				_ = raw.SetDeadline(time.Time{})
				conn.Trust()
				return &channel{name: name, raw: raw, conn: conn}, nil
			}
			_ = raw.Close()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect %s: %w (last: %w)", name, context.Cause(ctx), err)
		case <-died:
			return nil, fmt.Errorf("connect %s: %w", name, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *channel) send(frames [][]byte) error { return c.conn.Write(zmtp.Encode(frames)) }

// listener is given the messages of a kernel before anybody else.
type listener interface {
	// take reports whether a message is not for others. The last frame of a large one may still be coming.
	take(k *Kernel, l letter) bool
	// taken tells that no more messages are there at present.
	taken()
}

// receive hands every message to deliver if it is well-formed, else to reject. It returns when the socket ends.
func (c *channel) receive(key []byte, deliver func(incoming), reject func(string, error)) {
	c.handle(key, nil, nil, deliver, reject)
}

// handle is receive for a channel whose messages a listener may want, nil if there is none. What the kernel publishes is
// read at once, whatever becomes of it: a kernel drops what waits for longer than its queue is.
func (c *channel) handle(key []byte, k *Kernel, t listener, deliver func(incoming), reject func(string, error)) {
	in := newInbox()
	go func() { // ends with the connection
		defer in.end()
		for {
			frames, tail, err := c.conn.Begin()
			if err != nil {
				return
			}
			in.put(letter{frames, tail})
			if tail != nil && c.conn.Finish(tail) != nil {
				return
			}
		}
	}()
	for {
		batch := in.take()
		if len(batch) == 0 {
			return
		}
		for i, l := range batch {
			batch[i] = letter{}
			if t != nil && t.take(k, l) || l.whole() != nil {
				continue
			}
			m, err := wire.Decode(l.frames, key)
			if err != nil {
				reject(c.name, err)
				continue
			}
			deliver(incoming{c.name, m})
		}
		if t != nil {
			t.taken()
		}
	}
}

// incoming is a message and the channel it came on.
type incoming struct {
	channel string
	msg     wire.Message
}
