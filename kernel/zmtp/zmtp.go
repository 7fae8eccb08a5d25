// Package zmtp speaks ZMTP 3.1 with the NULL mechanism over one connection:
// greeting, READY, messages, and the commands of publishing and of heartbeats.
// It opens no sockets and starts no goroutines. Source: https://rfc.zeromq.org/spec/37.
package zmtp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Limits that a peer meets before memory is taken for what it announces.
const (
	MaxMessage  = 2 << 30  // bytes of all frames of a message
	MaxFrames   = 1 << 16  // frames of a message
	MaxCommand  = 64 << 10 // bytes of a command
	MaxIdentity = 255      // bytes
)

// ErrProtocol reports a peer that does not speak ZMTP 3; ErrTooLarge one that announces more than a limit.
var (
	ErrProtocol = errors.New("not ZMTP 3")
	ErrTooLarge = errors.New("larger than the limit")
)

const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4

	greetingSize  = 64
	signatureSize = 10
	minorVersion  = 1
	readBuffer    = 16 << 10
	growStep      = 1 << 20 // a frame's memory follows its bytes in steps that start here
)

// Conn is one connection after its handshake. One goroutine may read while others write.
type Conn struct {
	PeerType string // its socket type, such as DEALER
	Identity []byte // of the peer, opaque, empty if it gave none

	raw   net.Conn
	in    *bufio.Reader
	minor byte // of the peer's version 3.minor
	trust bool // see Trust

	mu sync.Mutex // writes
}

// Open exchanges greeting and READY on raw as a socket of the given type. The caller sets the deadline and closes
// raw if Open fails. Errors wrap ErrProtocol, ErrTooLarge or the connection's.
func Open(raw net.Conn, socketType string, identity []byte) (*Conn, error) {
	c := &Conn{raw: raw}
	if _, err := raw.Write(greeting()); err != nil {
		return nil, fmt.Errorf("send greeting: %w", err)
	}
	if err := c.readGreeting(); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	c.in = bufio.NewReaderSize(raw, readBuffer)
	ready := command("READY", property(property(nil, "Socket-Type", []byte(socketType)), "Identity", identity))
	if _, err := raw.Write(ready); err != nil {
		return nil, fmt.Errorf("send READY: %w", err)
	}
	if err := c.readReady(); err != nil {
		return nil, fmt.Errorf("read READY: %w", err)
	}
	return c, nil
}

func greeting() []byte {
	g := make([]byte, greetingSize)
	g[0], g[8], g[9] = 0xFF, 1, 0x7F
	g[10], g[11] = 3, minorVersion
	copy(g[12:32], "NULL")
	return g
}

// readGreeting looks at the signature first, so that a peer of another protocol is not waited for.
func (c *Conn) readGreeting() error {
	var g [greetingSize]byte
	if _, err := io.ReadFull(c.raw, g[:1]); err != nil {
		return err
	}
	if g[0] != 0xFF {
		return fmt.Errorf("%w: it starts with byte %#x", ErrProtocol, g[0])
	}
	if _, err := io.ReadFull(c.raw, g[1:signatureSize]); err != nil {
		return err
	}
	if g[9] != 0x7F {
		return fmt.Errorf("%w: wrong signature", ErrProtocol)
	}
	if _, err := io.ReadFull(c.raw, g[signatureSize:]); err != nil {
		return err
	}
	if g[10] < 3 {
		return fmt.Errorf("%w: version %d.%d", ErrProtocol, g[10], g[11])
	}
	if mechanism := string(bytes.TrimRight(g[12:32], "\x00")); mechanism != "NULL" {
		return fmt.Errorf("%w: mechanism %q, only NULL is spoken here", ErrProtocol, mechanism)
	}
	if c.minor = g[11]; g[10] > 3 { // a newer major version speaks ours to us
		c.minor = minorVersion
	}
	return nil
}

// Trust says that the peer is ours: memory is taken for what it announces, up to the limits. No Read may be under way.
func (c *Conn) Trust() { c.trust = true }

func (c *Conn) readReady() error {
	flags, body, _, err := c.readFrame(MaxCommand)
	if err != nil {
		return err
	}
	name, data, ok := splitCommand(body)
	if flags&flagCommand == 0 || !ok || name != "READY" {
		return fmt.Errorf("%w: %q instead of READY", ErrProtocol, name)
	}
	for len(data) > 0 {
		key, value, rest, ok := splitProperty(data)
		if !ok {
			return fmt.Errorf("%w: malformed metadata", ErrProtocol)
		}
		switch data = rest; {
		case bytes.EqualFold(key, []byte("Socket-Type")):
			c.PeerType = string(value)
		case bytes.EqualFold(key, []byte("Identity")):
			if len(value) > MaxIdentity {
				return fmt.Errorf("%w: an identity of %d bytes", ErrTooLarge, len(value))
			}
			c.Identity = value
		}
	}
	return nil
}

// Read returns the frames of the next message, whole. A subscription, in whichever form the peer sends it, is the message
// of one frame {1, topic…}, its end {0, topic…}; other commands are answered or ignored. Errors are final.
func (c *Conn) Read() ([][]byte, error) {
	frames, tail, err := c.Begin()
	if err == nil && tail != nil {
		err = tail.fill(c.in)
	}
	return frames, err
}

// Begin is Read that of a trusted peer returns once only a large last frame is missing: what has come of that is told
// by the Tail, nil if the message is whole. Finish is to be called before the next Begin or Read.
func (c *Conn) Begin() ([][]byte, *Tail, error) {
	var frames [][]byte
	room := int64(MaxMessage)
	for {
		flags, body, tail, err := c.readFrame(room)
		if err != nil {
			return nil, nil, err
		}
		if flags&flagCommand != 0 {
			m, err := c.act(body)
			if err != nil {
				return nil, nil, err
			}
			if m != nil && frames == nil {
				return [][]byte{m}, nil, nil
			}
			continue
		}
		if len(frames) == MaxFrames {
			return nil, nil, fmt.Errorf("%w: a message of more than %d frames", ErrTooLarge, MaxFrames)
		}
		room -= int64(len(body))
		if frames = append(frames, body); flags&flagMore == 0 {
			return frames, tail, nil
		}
	}
}

// Finish reads the rest of what Begin has begun.
func (c *Conn) Finish(t *Tail) error { return t.fill(c.in) }

// act handles a command; it returns the message that the command stands for, if any.
func (c *Conn) act(body []byte) ([]byte, error) {
	name, data, ok := splitCommand(body)
	if !ok {
		return nil, fmt.Errorf("%w: malformed command", ErrProtocol)
	}
	switch name {
	case "SUBSCRIBE":
		return append([]byte{1}, data...), nil
	case "CANCEL":
		return append([]byte{0}, data...), nil
	case "PING":
		if len(data) < 2 { // the time to live
			return nil, fmt.Errorf("%w: malformed PING", ErrProtocol)
		}
		return nil, c.write(net.Buffers{command("PONG", data[2:])})
	case "ERROR":
		return nil, fmt.Errorf("%w: the peer refused: %q", ErrProtocol, data)
	}
	return nil, nil
}

func (c *Conn) readFrame(room int64) (flags byte, body []byte, tail *Tail, err error) {
	if flags, err = c.in.ReadByte(); err != nil {
		return 0, nil, nil, err
	}
	if flags&^(flagMore|flagLong|flagCommand) != 0 || flags&flagCommand != 0 && flags&flagMore != 0 {
		return 0, nil, nil, fmt.Errorf("%w: frame flags %#x", ErrProtocol, flags)
	}
	var size uint64
	if flags&flagLong == 0 {
		b, err := c.in.ReadByte()
		if err != nil {
			return 0, nil, nil, truncated(err)
		}
		size = uint64(b)
	} else {
		var b [8]byte
		if _, err := io.ReadFull(c.in, b[:]); err != nil {
			return 0, nil, nil, truncated(err)
		}
		size = binary.BigEndian.Uint64(b[:])
	}
	if flags&flagCommand != 0 {
		room = MaxCommand
	}
	if size > uint64(room) {
		return 0, nil, nil, fmt.Errorf("%w: a frame of %d bytes", ErrTooLarge, size)
	}
	if c.trust {
		body = make([]byte, size)
		if flags&(flagMore|flagCommand) == 0 && size >= largeTail {
			return flags, body, newTail(body), nil
		}
		if _, err := io.ReadFull(c.in, body); err != nil {
			return 0, nil, nil, truncated(err)
		}
		return flags, body, nil, nil
	}
	body, err = readBody(c.in, int(size))
	return flags, body, nil, err
}

// readBody takes memory for what has come, not for what was announced.
func readBody(r io.Reader, size int) ([]byte, error) {
	body := make([]byte, min(size, growStep))
	for at := 0; ; {
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			return nil, truncated(err)
		}
		if at = len(body); at == size {
			return body, nil
		}
		grown := make([]byte, min(size, 4*at))
		copy(grown, body)
		body = grown
	}
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Subscribe asks a publishing peer for topic, and for all that starts with it.
func (c *Conn) Subscribe(topic []byte) error {
	if c.minor >= 1 {
		return c.write(net.Buffers{command("SUBSCRIBE", topic)})
	}
	return c.Write(Encode([][]byte{append([]byte{1}, topic...)}))
}

// Write sends packets, each a whole message. Of one that is still coming it sends what is there, and the rest as it comes;
// if that never does, the connection is of no more use.
func (c *Conn) Write(packets ...Packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all net.Buffers
	for _, p := range packets {
		if p.tail == nil {
			all = append(all, p.parts...)
			continue
		}
		all = append(all, p.parts[:len(p.parts)-1]...)
		if _, err := all.WriteTo(c.raw); err != nil {
			return err
		}
		all = nil
		if err := p.tail.writeTo(c.raw); err != nil {
			return err
		}
	}
	_, err := all.WriteTo(c.raw)
	return err
}

func (c *Conn) write(parts net.Buffers) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := parts.WriteTo(c.raw)
	return err
}

// Close closes the connection; a Read or Write under way fails.
func (c *Conn) Close() error { return c.raw.Close() }
