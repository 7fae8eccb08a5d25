package zmtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

// script is a connection that reads what a test wrote and keeps nothing of what is sent.
type script struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error) { return s.out.Write(p) }

// peer is what a peer of the given type sends, up to and with its READY.
func peer(socketType, identity string) []byte {
	return append(greeting(), command("READY", property(property(nil, "Socket-Type", []byte(socketType)), "Identity", []byte(identity)))...)
}

func open(t *testing.T, data ...[]byte) (*Conn, *script) {
	t.Helper()
	s := &script{in: bytes.NewReader(slices.Concat(data...))}
	c, err := Open(s, "ROUTER", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.out.Reset()
	return c, s
}

func wireOf(frames ...[]byte) []byte {
	return slices.Concat(Encode(frames).parts...)
}

func TestMessagesComeBackAsSent(t *testing.T) {
	messages := [][][]byte{
		{{}}, {[]byte("a"), {}, bytes.Repeat([]byte("b"), 255)}, {bytes.Repeat([]byte("c"), 256), bytes.Repeat([]byte("d"), 5*growStep)},
	}
	data := [][]byte{peer("DEALER", "\x00\xff id")}
	for _, m := range messages {
		data = append(data, wireOf(m...))
	}
	c, _ := open(t, data...)
	if c.PeerType != "DEALER" || string(c.Identity) != "\x00\xff id" {
		t.Errorf("peer %q %q", c.PeerType, c.Identity)
	}
	for i, want := range messages {
		got, err := c.Read()
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("message %d: %v", i, err)
		}
		if p := Encode(want); p.Size() != len(wireOf(want...)) {
			t.Errorf("message %d: size %d", i, p.Size())
		}
	}
	if _, err := c.Read(); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

func TestSubscriptionsOfBothVersions(t *testing.T) {
	c, _ := open(t, peer("SUB", ""), command("SUBSCRIBE", []byte("x")), wireOf([]byte("\x01y")), command("CANCEL", []byte("x")))
	for _, want := range []string{"\x01x", "\x01y", "\x00x"} {
		if m, err := c.Read(); err != nil || len(m) != 1 || string(m[0]) != want {
			t.Errorf("%q: got %q, %v", want, m, err)
		}
	}
	for minor, want := range [][]byte{wireOf([]byte("\x01t")), command("SUBSCRIBE", []byte("t"))} {
		first := peer("XPUB", "")
		first[11] = byte(minor)
		c, s := open(t, first)
		if err := c.Subscribe([]byte("t")); err != nil || !bytes.Equal(s.out.Bytes(), want) {
			t.Errorf("3.%d: sent %q, %v", minor, s.out.Bytes(), err)
		}
	}
}

func TestPingIsAnswered(t *testing.T) {
	c, s := open(t, peer("DEALER", ""), command("PING", []byte("\x00\x01ctx")), wireOf([]byte("m")))
	if m, err := c.Read(); err != nil || string(m[0]) != "m" {
		t.Fatal(m, err)
	}
	if !bytes.Equal(s.out.Bytes(), command("PONG", []byte("ctx"))) {
		t.Errorf("sent %q", s.out.Bytes())
	}
}

func TestNewerMajorVersionIsSpokenTo(t *testing.T) {
	first := peer("DEALER", "")
	first[10] = 4
	c, _ := open(t, first, wireOf([]byte("m")))
	if m, err := c.Read(); err != nil || string(m[0]) != "m" {
		t.Fatal(m, err)
	}
}

func TestRefuses(t *testing.T) {
	old, secure := greeting(), greeting()
	old[10] = 2
	copy(secure[12:], "CURVE")
	long := binary.BigEndian.AppendUint64([]byte{flagLong}, MaxMessage+1)
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"HTTP":              {[]byte("GET / HTTP/1.1\r\n"), ErrProtocol},
		"OldVersion":        {old, ErrProtocol},
		"OtherMechanism":    {secure, ErrProtocol},
		"NoReady":           {append(greeting(), wireOf([]byte("x"))...), ErrProtocol},
		"CutGreeting":       {greeting()[:20], io.ErrUnexpectedEOF},
		"LongIdentity":      {peer("DEALER", string(make([]byte, MaxIdentity+1))), ErrTooLarge},
		"BadMetadata":       {append(greeting(), command("READY", []byte("\x20x"))...), ErrProtocol},
		"LongCommand":       {slices.Concat(greeting(), binary.BigEndian.AppendUint64([]byte{flagLong | flagCommand}, MaxCommand+1)), ErrTooLarge},
		"LongFrame":         {slices.Concat(peer("DEALER", ""), long), ErrTooLarge},
		"LongMessage":       {slices.Concat(peer("DEALER", ""), []byte{flagMore, 1, 'x'}, binary.BigEndian.AppendUint64([]byte{flagLong}, MaxMessage)), ErrTooLarge},
		"ManyFrames":        {slices.Concat(peer("DEALER", ""), bytes.Repeat([]byte{flagMore, 0}, MaxFrames+1)), ErrTooLarge},
		"CutFrame":          {slices.Concat(peer("DEALER", ""), []byte{0, 9, 'x'}), io.ErrUnexpectedEOF},
		"UnknownFlags":      {slices.Concat(peer("DEALER", ""), []byte{0x80, 0}), ErrProtocol},
		"EmptyCommand":      {slices.Concat(peer("DEALER", ""), []byte{flagCommand, 0}), ErrProtocol},
		"ErrorFromThePeer":  {slices.Concat(peer("DEALER", ""), command("ERROR", []byte("\x02no"))), ErrProtocol},
		"CommandWithFlagMo": {slices.Concat(peer("DEALER", ""), []byte{flagCommand | flagMore, 0}), ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Open(&script{in: bytes.NewReader(test.data)}, "ROUTER", nil)
			if err == nil {
				_, err = c.Read()
			}
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestAnnouncedBytesCostNothingBeforeTheyCome(t *testing.T) {
	head := binary.BigEndian.AppendUint64([]byte{flagLong}, MaxMessage)
	c, _ := open(t, peer("DEALER", ""), head, make([]byte, 100))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4*growStep {
		t.Errorf("%d bytes were allocated for 100", grown)
	}
}

func TestTwoEndsOverASocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the connection
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return
		}
		defer raw.Close()
		c, err := Open(raw, "DEALER", []byte("me"))
		if err != nil {
			return
		}
		if m, err := c.Read(); err == nil {
			_ = c.Write(Encode(m), Encode(m))
		}
	}()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	c, err := Open(raw, "ROUTER", nil)
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 3<<20)
	if err := c.Write(Encode([][]byte{[]byte("a"), big})); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if m, err := c.Read(); err != nil || len(m) != 2 || !bytes.Equal(m[1], big) {
			t.Fatal(err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(slices.Concat(peer("SUB", "id"), command("SUBSCRIBE", nil), wireOf([]byte("a"), nil)))
	f.Add(slices.Concat(peer("DEALER", ""), command("PING", []byte("\x00\x01")), wireOf(make([]byte, 300))))
	f.Add([]byte("GET / HTTP/1.1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Open(&script{in: bytes.NewReader(data)}, "ROUTER", nil)
		if err != nil {
			return
		}
		for {
			m, err := c.Read()
			if err != nil {
				return
			}
			again, _ := open(t, peer("DEALER", ""), wireOf(m...))
			if got, err := again.Read(); err != nil || !slices.EqualFunc(got, m, bytes.Equal) {
				t.Fatalf("%q came back as %q, %v", m, got, err)
			}
		}
	})
}
