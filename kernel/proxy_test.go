package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"kedge/kernel/wire"
	"kedge/kernel/zmtp"
)

// proxied is a running proxy and the key of its clients.
type proxied struct {
	*Proxy
	t    *testing.T
	conn *Connection
	done chan error
}

func proxy(t *testing.T, s Session) *proxied {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kernel-x.json")
	if err := os.WriteFile(file, []byte(`{"key":"secret","ip":"127.0.0.1","transport":"tcp","kernel_name":"k"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := ReadConnection(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenProxy(ProxyConfig{Connection: conn, Session: s, Signals: true,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Child:  Config{Argv: SpecForPython(python(t)).Argv, Dir: t.TempDir(), Stdout: os.Stderr, Stderr: os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	p.iopub.patience = 2 * time.Second
	ctx, cancel := context.WithCancel(context.Background())
	d := &proxied{Proxy: p, t: t, conn: &p.cfg.Connection, done: make(chan error, 1)}
	go func() { d.done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-d.done:
		case <-time.After(10 * time.Second):
			t.Error("the proxy did not end")
		}
	})
	return d
}

func (d *proxied) raw(channel string) net.Conn {
	d.t.Helper()
	raw, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", d.conn.ports[channel]))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = raw.Close() })
	return raw
}

func (d *proxied) socket(channel, typ, identity string) *zmtp.Conn {
	d.t.Helper()
	raw := d.raw(channel)
	_ = raw.SetDeadline(time.Now().Add(60 * time.Second))
	c, err := zmtp.Open(raw, typ, []byte(identity))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func request(kind string, content any) wire.Message {
	return wire.Message{Header: wire.Header{MsgID: uuid.NewString(), MsgType: kind, Session: "s", Version: "5.4"}, Content: encode(content)}
}

func send(t *testing.T, c *zmtp.Conn, frames [][]byte) {
	t.Helper()
	if err := c.Write(zmtp.Encode(frames)); err != nil {
		t.Fatal(err)
	}
}

// reply is the next message that answers the request with this id.
func reply(t *testing.T, c *zmtp.Conn, id string) wire.Message {
	t.Helper()
	for {
		frames, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Decode(frames, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if m.Parent.MsgID == id {
			return m
		}
	}
}

// lives fails unless a fresh client gets an answer.
func (d *proxied) lives() {
	d.t.Helper()
	c := d.socket("shell", "DEALER", uuid.NewString())
	m := request("is_complete_request", map[string]string{"code": "1"})
	send(d.t, c, wire.Encode(m, []byte("secret")))
	if got := reply(d.t, c, m.Header.MsgID); !strings.Contains(string(got.Content), "complete") {
		d.t.Errorf("reply %s", got.Content)
	}
}

func TestBadClientsHarmNobody(t *testing.T) {
	d := proxy(t, nil)
	d.lives()
	for range 1000 {
		d.raw("shell")
	}
	for _, junk := range [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), {0xFF}, bytes.Repeat([]byte{0}, 100)} {
		_, _ = d.raw("shell").Write(junk)
		_, _ = d.raw("iopub").Write(junk)
	}
	for range 5 {
		_ = d.raw("control").Close() // as VS Code looks for a port that is in use
	}
	d.lives()
	for _, announce := range [][]byte{
		binary.BigEndian.AppendUint64([]byte{2}, zmtp.MaxMessage+1), binary.BigEndian.AppendUint64([]byte{2}, zmtp.MaxMessage), {1, 0},
	} {
		raw := d.raw("shell")
		if _, err := zmtp.Open(raw, "DEALER", nil); err != nil {
			t.Fatal(err)
		}
		_, _ = raw.Write(announce)
	}
	d.lives()
	runtime.GC() // what earlier tests left is not in use
	var memory runtime.MemStats
	if runtime.ReadMemStats(&memory); memory.HeapAlloc > 100<<20 {
		t.Errorf("%d MiB in use", memory.HeapAlloc>>20)
	}
}

func TestRefusesWhatIsNotSigned(t *testing.T) {
	d := proxy(t, nil)
	c := d.socket("shell", "DEALER", "me")
	ran := func(code string) wire.Message {
		return request("execute_request", map[string]any{"code": code, "silent": false, "user_expressions": map[string]string{}})
	}
	forged := wire.Encode(ran("n = 1"), []byte("other"))
	first := wire.Encode(ran("n = globals().get('n', 0) + 10"), []byte("secret"))
	cut := wire.Encode(ran("n = 2"), []byte("secret"))[:4]
	for _, frames := range [][][]byte{forged, first, first, cut, {{}}, {[]byte("a"), []byte("b")}} {
		send(t, c, frames)
	}
	ask := ran("n")
	ask.Content = encode(map[string]any{"code": "", "user_expressions": map[string]string{"n": "n"}})
	send(t, c, wire.Encode(ask, []byte("secret")))
	if got := reply(t, c, ask.Header.MsgID); !strings.Contains(string(got.Content), `"10"`) {
		t.Errorf("a message was run that should not, or one was lost: %s", got.Content)
	}
}

func TestAStalledReaderLosesMessagesAlone(t *testing.T) {
	d := proxy(t, nil)
	stalled := d.socket("iopub", "SUB", "")
	if err := stalled.Subscribe(nil); err != nil {
		t.Fatal(err)
	}
	good := d.socket("iopub", "SUB", "")
	if err := good.Subscribe(nil); err != nil {
		t.Fatal(err)
	}
	shell := d.socket("shell", "DEALER", "me")
	m := request("execute_request", map[string]any{"code": "for i in range(300): display({'text/plain': 'x' * 1_000_000}, raw=True)"})
	send(t, shell, wire.Encode(m, []byte("secret")))
	count := 0
	for last := false; !last; {
		frames, err := good.Read()
		if err != nil {
			t.Fatal(err)
		}
		f, err := wire.Split(frames)
		if err != nil {
			t.Fatal(err)
		}
		if contains(f.Header, "display_data") {
			count++
		}
		last = contains(f.Parent, m.Header.MsgID) && contains(f.Content, "idle")
	}
	if count != 300 {
		t.Errorf("%d of 300 messages", count)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		d.lives() // its status messages find the client where it was
		runtime.GC()
		var memory runtime.MemStats
		if runtime.ReadMemStats(&memory); memory.HeapAlloc < stalledLimit {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d MiB are kept for a client that does not read", memory.HeapAlloc>>20)
		}
	}
}

// watched is a connection that calls at once, as soon as so many bytes have come.
type watched struct {
	net.Conn
	left int
	at   func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.left > 0 && w.left <= n {
		w.at()
	}
	w.left -= n
	return n, err
}

func TestAKernelThatDiesInALargeMessageEndsIt(t *testing.T) {
	d := proxy(t, nil)
	d.lives()
	raw := d.raw("iopub")
	_ = raw.SetDeadline(time.Now().Add(60 * time.Second))
	iopub, err := zmtp.Open(&watched{raw, 2 << 20, func() { _ = d.kernel().proc.signal(syscall.SIGKILL) }}, "SUB", nil)
	if err == nil {
		err = iopub.Subscribe(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // the subscription arrives
	shell := d.socket("shell", "DEALER", "me")
	send(t, shell, wire.Encode(request("execute_request", map[string]any{"code": "display({'text/plain': 'x' * (128 << 20)}, raw=True)", "silent": false,
		"store_history": true, "user_expressions": map[string]any{}, "allow_stdin": false, "stop_on_error": true}), []byte("secret")))
	for {
		frames, err := iopub.Read()
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the kernel died while it sent a message, and its client reads: %v", err)
			}
			break
		}
		if m, err := wire.Decode(frames, []byte("secret")); err != nil || m.Header.MsgType == "display_data" {
			t.Fatalf("%s, %v", m.Header.MsgType, err)
		}
	}
	select {
	case err := <-d.done:
		var exit *ExitError
		if d.done <- err; !errors.As(err, &exit) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the proxy goes on")
	}
}

func TestReconnectUnderTheSameIdentity(t *testing.T) {
	d := proxy(t, nil)
	const identity = "\x01any\x00bytes\xff"
	old, iopub := d.socket("shell", "DEALER", identity), d.socket("iopub", "SUB", "")
	if err := iopub.Subscribe(nil); err != nil {
		t.Fatal(err)
	}
	d.lives()
	m := request("execute_request", map[string]any{"code": "import time; time.sleep(1)"})
	send(t, old, wire.Encode(m, []byte("secret")))
	reply(t, iopub, m.Header.MsgID) // busy: the kernel has it
	next := d.socket("shell", "DEALER", identity)
	if got := reply(t, next, m.Header.MsgID); got.Header.MsgType != "execute_reply" {
		t.Errorf("got %s", got.Header.MsgType)
	}
	if _, err := old.Read(); err == nil {
		t.Error("the old connection was not ended")
	}
}

func TestEverySubscriberIsWelcomed(t *testing.T) {
	d := proxy(t, nil)
	d.lives()
	for _, topic := range []string{"", "", "kernel"} {
		c := d.socket("iopub", "SUB", "")
		if err := c.Subscribe([]byte(topic)); err != nil {
			t.Fatal(err)
		}
		frames, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Decode(frames, []byte("secret"))
		if err != nil || m.Header.MsgType != "iopub_welcome" || string(m.Content) != fmt.Sprintf(`{"subscription":%q}`, topic) {
			t.Errorf("%q: %s %s %v", topic, m.Header.MsgType, m.Content, err)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	d := proxy(t, nil)
	c := d.socket("hb", "REQ", "")
	send(t, c, [][]byte{{}, []byte("ping")})
	if got, err := c.Read(); err != nil || len(got) != 2 || string(got[1]) != "ping" {
		t.Errorf("%q %v", got, err)
	}
}

// fake is a session that answers cells that it knows and marks the rest.
type fake struct {
	ran  []string
	slow chan struct{} // closed when a slow cell begins
}

func (f *fake) Wants(r *ShellRequest) bool {
	return r.Header.MsgType == "execute_request" && strings.Contains(string(r.Metadata), "step:")
}

func (f *fake) Aside(string, string, json.RawMessage) {}

func (f *fake) Intercept(ctx context.Context, r *ShellRequest, c *Cell) error {
	var content struct{ Code string }
	if err := json.Unmarshal(r.Content, &content); err != nil {
		return err
	}
	if content.Code == "known" {
		c.Status("busy")
		c.Publish("execute_input", map[string]any{"code": content.Code, "execution_count": 7}, nil, nil)
		c.Publish("stream", map[string]string{"name": "stdout", "text": "restored\n"}, nil, nil)
		c.Reply(map[string]any{"status": "ok", "execution_count": 7}, map[string]any{"kedge": map[string]string{"status": "restored"}})
		c.Status("idle")
		return nil
	}
	if content.Code == "slow" {
		close(f.slow)
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrInterrupted) {
			return context.Cause(ctx)
		}
		return nil // the proxy forwards it
	}
	if _, _, err := c.Call(ctx, "shell", "is_complete_request", map[string]string{"code": "1"}, nil); err != nil {
		return err
	}
	res, err := c.Forward(ctx, json.RawMessage(`{"status":"ran"}`))
	for _, o := range res.Outputs {
		f.ran = append(f.ran, string(o))
	}
	return err
}

func TestSessionAnswersOrAccompaniesCells(t *testing.T) {
	session := &fake{slow: make(chan struct{})}
	d := proxy(t, session)
	shell, iopub := d.socket("shell", "DEALER", "me"), d.socket("iopub", "SUB", "")
	if err := iopub.Subscribe(nil); err != nil {
		t.Fatal(err)
	}
	d.lives()
	cell := func(code, metadata string) string {
		m := request("execute_request", map[string]any{"code": code, "silent": false, "stop_on_error": true})
		m.Metadata = json.RawMessage(metadata)
		send(t, shell, wire.Encode(m, []byte("secret")))
		return m.Header.MsgID
	}
	const tagged, plain = `{"tags":["step:a"]}`, `{}`
	type expected struct{ code, metadata, reply, mark, iopub string }
	cells := []expected{
		{"print('plain')", plain, `"ok"`, "", "busy execute_input stream idle"},
		{"known", tagged, `"ok"`, `"restored"`, "busy execute_input stream idle"},
		{"x = 1; print(x)", tagged, `"ok"`, `"ran"`, "busy execute_input stream idle"},
		{"1/0", tagged, `"error"`, `"ran"`, "busy execute_input error idle"},
		{"known", tagged, `"aborted"`, `"aborted"`, "busy idle"},
		{"print(2)", plain, `"aborted"`, `"aborted"`, "busy idle"},
	}
	var ids []string
	for _, c := range cells { // at once, as Run All does
		ids = append(ids, cell(c.code, c.metadata))
	}
	sessions := map[string]bool{}
	for i, c := range cells {
		got := reply(t, shell, ids[i])
		sessions[got.Header.Session] = true
		if !strings.Contains(string(got.Content), c.reply) || !strings.Contains(string(got.Metadata), c.mark) {
			t.Errorf("cell %d: reply %s %s", i, got.Content, got.Metadata)
		}
		var kinds []string
		for !slices.Contains(kinds, "idle") {
			m := reply(t, iopub, ids[i])
			sessions[m.Header.Session] = true
			var status struct {
				State string `json:"execution_state"`
			}
			_ = json.Unmarshal(m.Content, &status)
			if status.State == "" {
				status.State = m.Header.MsgType
			}
			kinds = append(kinds, status.State)
		}
		if strings.Join(kinds, " ") != c.iopub {
			t.Errorf("cell %d: iopub %v, want %s", i, kinds, c.iopub)
		}
	}
	if len(sessions) != 1 {
		t.Errorf("sessions toward clients: %v", sessions)
	}
	slow := cell("slow", tagged)
	<-session.slow
	control := d.socket("control", "DEALER", "me")
	m := request("interrupt_request", struct{}{})
	send(t, control, wire.Encode(m, []byte("secret")))
	reply(t, control, m.Header.MsgID)
	if got := reply(t, shell, slow); !strings.Contains(string(got.Content), "NameError") {
		t.Errorf("after the interrupt: %s", got.Content)
	}
	if len(session.ran) != 2 || !strings.Contains(session.ran[0], `"1\n"`) || !strings.Contains(session.ran[1], "ZeroDivisionError") {
		t.Errorf("outputs that the session saw: %v", session.ran)
	}
}

func TestConnectionFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, path := range map[string]string{
		"missing": filepath.Join(dir, "none"), "half": at("half", `{"key": "ab`), "empty": at("empty", ""), "folder": dir,
		"port": at("port", `{"shell_port": 70000}`), "scheme": at("scheme", `{"signature_scheme":"hmac-md5"}`),
		"transport": at("transport", `{"transport":"carrier pigeon"}`), "large": at("large", `{"a":"`+strings.Repeat("x", maxConnectionFile)+`"}`),
	} {
		if _, err := ReadConnection(t.Context(), path); !errors.Is(err, ErrConnection) {
			t.Errorf("%s: %v", name, err)
		}
	}
	late := filepath.Join(dir, "late")
	at("late", `{"key": "k`)
	time.AfterFunc(100*time.Millisecond, func() { _ = os.WriteFile(late, []byte(`{"key": "k"}`), 0o600) })
	if c, err := ReadConnection(t.Context(), late); err != nil || string(c.key) != "k" {
		t.Errorf("a file that was still being written: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := at("taken", fmt.Sprintf(`{"stdin_port": %d}`, l.Addr().(*net.TCPAddr).Port))
	c, err := ReadConnection(t.Context(), taken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenProxy(ProxyConfig{Connection: c}); !errors.Is(err, ErrConnection) || !strings.Contains(err.Error(), "stdin") {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestProxyEndsWithAKernelThatDoesNotStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConnection(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenProxy(ProxyConfig{Connection: c, Child: Config{Argv: []string{"/bin/sh", "-c", "exit 3"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); !errors.Is(err, ErrKernelStart) {
		t.Error(err)
	}
}

func TestProxyStopsAKernelThatNeverAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConnection(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenProxy(ProxyConfig{Connection: c, Child: Config{Argv: []string{"/bin/sh", "-c", "trap '' TERM; sleep 1000"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
