package kernel

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/null"

	"kedge/kernel/wire"
)

// channel is one connected socket. Sends may come from any goroutine; one goroutine receives.
type channel struct {
	name string
	raw  net.Conn
	conn *zmq4.Conn
	mu   sync.Mutex
}

// dial connects to the kernel's socket file, again every tick until it is bound, the kernel died, or ctx ends.
func dial(ctx context.Context, name, path string, typ zmq4.SocketType, id string, died <-chan struct{}) (*channel, error) {
	for {
		raw, err := net.Dial("unix", path)
		if err == nil {
			_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
			var conn *zmq4.Conn
			conn, err = zmq4.Open(raw, null.Security(), typ, zmq4.SocketIdentity(id), false, nil)
			if err == nil {
				_ = raw.SetDeadline(time.Time{})
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

func (c *channel) send(frames [][]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.SendMsg(zmq4.NewMsgFrom(frames...))
}

// receive hands every well-formed message to deliver and every other to reject, until the socket ends.
func (c *channel) receive(key []byte, deliver func(incoming), reject func(string, error)) {
	for {
		msg, err := c.conn.RecvMsg()
		if err != nil {
			return
		}
		if msg.Type == zmq4.CmdMsg {
			continue
		}
		m, err := wire.Decode(msg.Frames, key)
		if err != nil {
			reject(c.name, err)
			continue
		}
		deliver(incoming{c.name, m})
	}
}

// incoming is a message and the channel it came on.
type incoming struct {
	channel string
	msg     wire.Message
}
