package zmtp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// coming is a trusted connection that a test sends to by hand, with a large message begun: its head and half of its last frame
// are sent. It returns the other end, what was sent, the rest, and what sends that.
func coming(t *testing.T) (c *Conn, other net.Conn, first, second []byte, rest func()) {
	t.Helper()
	ours, other := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), other.Close() })
	go func() { _, _ = io.Copy(io.Discard, other) }()
	go func() { _, _ = other.Write(peer("XPUB", "")) }()
	c, err := Open(ours, "SUB", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Trust()
	body := make([]byte, 4*tailStep+largeTail)
	for i := range body {
		body[i] = byte(i % 251)
	}
	whole := wireOf([]byte("topic"), body)
	half := len(whole) - len(body) + 2*tailStep
	begun := make(chan struct{})
	go func() { _, _ = other.Write(whole[:half]); close(begun) }()
	return c, other, whole[:half], whole[half:], func() {
		go func() { <-begun; _, _ = other.Write(whole[half:]) }()
	}
}

func TestALargeMessageIsSentOnAsItComes(t *testing.T) {
	c, _, first, second, rest := coming(t)
	frames, tail, err := c.Begin()
	if err != nil || tail == nil || len(frames) != 2 || string(frames[0]) != "topic" {
		t.Fatal(frames, tail, err)
	}
	read := make(chan error, 1)
	go func() { read <- c.Finish(tail) }()

	near, far := net.Pipe()
	defer near.Close()
	sent := make(chan error, 1)
	go func() {
		sent <- (&Conn{raw: near}).Write(Encode([][]byte{[]byte("before")}), EncodeComing(frames, tail), Encode([][]byte{[]byte("after")}))
	}()
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Second))
	before, after := wireOf([]byte("before")), wireOf([]byte("after"))
	got := make([]byte, len(before)+len(first))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, append(before, first...)) {
		t.Fatalf("half of it has come, and is not sent on: %v", err)
	}
	rest()
	got = make([]byte, len(second)+len(after))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, append(second, after...)) {
		t.Fatalf("the rest: %v", err)
	}
	if err := errors.Join(<-read, <-sent, tail.Whole()); err != nil {
		t.Error(err)
	}
}

func TestALargeMessageThatNeverEndsFailsAllWhoWait(t *testing.T) {
	c, other, _, _, _ := coming(t)
	frames, tail, err := c.Begin()
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	near, far := net.Pipe()
	defer near.Close()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	go func() { sent <- (&Conn{raw: near}).Write(EncodeComing(frames, tail)) }()
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = other.Close()
	}()
	if err := c.Finish(tail); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read: %v", err)
	}
	if err := <-sent; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("sent: %v", err)
	}
	if err := tail.Whole(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("whole: %v", err)
	}
}

func TestReadReturnsLargeMessagesWhole(t *testing.T) {
	c, _, _, second, rest := coming(t)
	rest()
	frames, err := c.Read()
	if err != nil || !bytes.HasSuffix(frames[1], second) {
		t.Error(err)
	}
}
