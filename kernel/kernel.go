// Package kernel runs a Jupyter kernel as a child process and executes cells as its client.
package kernel

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/google/uuid"

	"kedge/kernel/wire"
)

// ErrKernelStart reports a kernel that did not come up; ErrKernelDied one that ended while it was needed.
var (
	ErrKernelStart = errors.New("the kernel did not start")
	ErrKernelDied  = errors.New("the kernel died")
)

const (
	startTimeout   = 60 * time.Second
	interruptGrace = 5 * time.Second
	maxSocketPath  = 100 // sun_path holds 108 bytes
)

// Config says what to start. Argv holds {connection_file} where the kernel wants that path. A nil Env is ours;
// an empty RuntimeDir is $XDG_RUNTIME_DIR or the temp folder; a nil Logger discards.
type Config struct {
	Argv       []string
	Dir        string
	Env        []string
	RuntimeDir string
	Logger     *slog.Logger
}

// Kernel is a running kernel. Its methods may be called from any goroutine.
type Kernel struct {
	log      *slog.Logger
	proc     *process
	dir      string
	key      []byte
	session  string
	channels map[string]*channel
	info     json.RawMessage
	widgets  *widgets
	heard    chan struct{} // closed at the first iopub message
	drained  chan struct{} // closed when the process is dead and all its messages are delivered
	closed   chan struct{} // closed by Shutdown
	closing  sync.Once

	mu       sync.Mutex
	waiters  map[string]*waiter
	displays map[string]bool // display ids shown by finished executions
	heardIt  bool
}

type waiter struct {
	id   string
	in   chan incoming
	done chan struct{}
}

// Start starts a kernel and returns once it answers kernel_info_request and its iopub is heard, at most 60 s later.
// Errors wrap ErrKernelStart and carry the end of the kernel's stderr. The caller must call Shutdown.
func Start(ctx context.Context, cfg Config) (*Kernel, error) {
	if len(cfg.Argv) == 0 {
		return nil, fmt.Errorf("%w: empty argv", ErrKernelStart)
	}
	k := &Kernel{
		log: cfg.Logger, session: uuid.NewString(), channels: map[string]*channel{},
		heard: make(chan struct{}), drained: make(chan struct{}), closed: make(chan struct{}),
		waiters: map[string]*waiter{}, displays: map[string]bool{},
	}
	k.widgets = newWidgets(k.sendComm)
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	file, err := k.prepare(cfg.RuntimeDir)
	if err != nil {
		if k.dir != "" {
			_ = os.RemoveAll(k.dir)
		}
		return nil, fmt.Errorf("%w: %w", ErrKernelStart, err)
	}
	argv := make([]string, len(cfg.Argv))
	for i, a := range cfg.Argv {
		argv[i] = strings.ReplaceAll(a, "{connection_file}", file)
	}
	env := cfg.Env
	if env == nil {
		env = os.Environ()
	}
	env = append(env[:len(env):len(env)], fmt.Sprintf("JPY_PARENT_PID=%d", os.Getpid()))
	if k.proc, err = startProcess(argv, cfg.Dir, env); err != nil {
		_ = os.RemoveAll(k.dir)
		return nil, fmt.Errorf("%w: %w", ErrKernelStart, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := k.connect(ctx); err != nil {
		select {
		case <-k.proc.died:
			err = fmt.Errorf("it ended at once (%s); see that `%s -m ipykernel --version` works", k.proc.state, argv[0])
		default:
		}
		k.stop()
		return nil, fmt.Errorf("%w: %w%s", ErrKernelStart, err, k.suffix())
	}
	return k, nil
}

// prepare makes the private folder and the connection file, whose path it returns.
func (k *Kernel) prepare(base string) (string, error) {
	if base == "" {
		base = os.Getenv("XDG_RUNTIME_DIR")
	}
	if base == "" {
		base = os.TempDir()
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	if len(base)+len("/kedge-0123456789/i-5") > maxSocketPath {
		base = "/tmp"
	}
	if k.dir, err = os.MkdirTemp(base, "kedge-"); err != nil {
		return "", err
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	k.key = []byte(hex.EncodeToString(key[:]))
	conn, err := json.Marshal(map[string]any{
		"transport": "ipc", "ip": filepath.Join(k.dir, "i"), "signature_scheme": "hmac-sha256", "key": string(k.key),
		"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5, "kernel_name": "",
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(k.dir, "connection.json")
	return file, os.WriteFile(file, conn, 0o600)
}

func (k *Kernel) connect(ctx context.Context) error {
	identity := uuid.NewString()
	var readers sync.WaitGroup
	defer func() { go k.watch(&readers) }()
	for _, c := range []struct {
		name string
		port int
		typ  zmq4.SocketType
	}{{"iopub", 2, zmq4.Sub}, {"shell", 1, zmq4.Dealer}, {"stdin", 3, zmq4.Dealer}, {"control", 4, zmq4.Dealer}} {
		ch, err := dial(ctx, c.name, fmt.Sprintf("%s/i-%d", k.dir, c.port), c.typ, identity, k.proc.died)
		if err != nil {
			return err
		}
		k.channels[c.name] = ch
		if c.typ == zmq4.Sub {
			if err := ch.send([][]byte{{1}}); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
		}
		readers.Go(func() { ch.receive(k.key, k.deliver, k.reject) })
	}
	return k.greet(ctx)
}

// greet asks for kernel_info, again every half second, until a reply and an iopub message have come: what is
// published before our subscription arrives is lost.
func (k *Kernel) greet(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		content, _, err := k.Call(try, "shell", "kernel_info_request", struct{}{}, nil)
		if err == nil {
			k.info = content
			select {
			case <-k.heard:
				cancel()
				return nil
			case <-try.Done():
			case <-k.drained:
			}
		}
		cancel()
		if errors.Is(err, ErrKernelDied) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no answer to kernel_info_request: %w", context.Cause(ctx))
		}
	}
}

// watch closes drained once the process is dead and the readers have seen the end of its messages.
func (k *Kernel) watch(readers *sync.WaitGroup) {
	<-k.proc.died
	for _, c := range k.channels { // a forked grandchild may hold a socket open
		_ = c.raw.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	}
	readers.Wait()
	close(k.drained)
}

func (k *Kernel) deliver(in incoming) {
	k.mu.Lock()
	if in.channel == "iopub" && !k.heardIt {
		k.heardIt = true
		close(k.heard)
	}
	w := k.waiters[in.msg.Parent.MsgID]
	k.mu.Unlock()
	if w == nil {
		return
	}
	select {
	case w.in <- in:
	case <-w.done:
	case <-k.closed:
	}
}

func (k *Kernel) reject(channel string, err error) {
	k.log.Warn("message from the kernel ignored", "channel", channel, "error", err)
}

// request sends a message and returns the waiter for everything the kernel sends in answer; release it.
func (k *Kernel) request(channel, msgType string, content any, metadata any, buffers [][]byte) (*waiter, error) {
	ch, ok := k.channels[channel]
	if !ok || channel == "iopub" {
		return nil, fmt.Errorf("no channel %q to send on", channel)
	}
	body, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", msgType, err)
	}
	meta, err := json.Marshal(metadata)
	if err != nil {
		return nil, fmt.Errorf("encode metadata of %s: %w", msgType, err)
	}
	if string(meta) == "null" {
		meta = nil
	}
	header := k.header(msgType)
	w := &waiter{id: header.MsgID, in: make(chan incoming, 1024), done: make(chan struct{})}
	k.mu.Lock()
	k.waiters[w.id] = w
	k.mu.Unlock()
	err = ch.send(wire.Encode(wire.Message{
		Header:   header,
		Metadata: meta, Content: body, Buffers: buffers,
	}, k.key))
	if err != nil {
		k.release(w)
		return nil, k.deathOr(fmt.Errorf("send %s: %w", msgType, err))
	}
	return w, nil
}

// header is that of a new message of ours.
func (k *Kernel) header(msgType string) wire.Header {
	return wire.Header{
		MsgID: uuid.NewString(), Username: "kedge", Session: k.session, MsgType: msgType, Version: "5.4",
		Date: time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
	}
}

func (k *Kernel) release(w *waiter) {
	k.mu.Lock()
	delete(k.waiters, w.id)
	k.mu.Unlock()
	close(w.done)
}

// Call sends a request on "shell" or "control" and returns the content and buffers of its reply. When ctx ends
// first the kernel may still act on the request. Errors wrap ErrKernelDied or ctx's.
func (k *Kernel) Call(ctx context.Context, channel, msgType string, content any, buffers [][]byte) (json.RawMessage, [][]byte, error) {
	w, err := k.request(channel, msgType, content, nil, buffers)
	if err != nil {
		return nil, nil, err
	}
	defer k.release(w)
	for {
		in, err := k.next(ctx, w)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", msgType, err)
		}
		if in.channel == channel {
			return in.msg.Content, in.msg.Buffers, nil
		}
	}
}

// next returns the waiter's next message; those the kernel sent before it died come first.
func (k *Kernel) next(ctx context.Context, w *waiter) (incoming, error) {
	select {
	case in := <-w.in:
		return in, nil
	case <-ctx.Done():
		return incoming{}, context.Cause(ctx)
	case <-k.drained:
		select {
		case in := <-w.in:
			return in, nil
		default:
			return incoming{}, k.died()
		}
	}
}

func (k *Kernel) died() error { return fmt.Errorf("%w: %s", ErrKernelDied, k.ExitError()) }

// deathOr returns ErrKernelDied if the process ends within a moment, else err: a socket closes before its process.
func (k *Kernel) deathOr(err error) error {
	select {
	case <-k.proc.died:
		return k.died()
	case <-time.After(time.Second):
		return err
	}
}

// sendComm sends a comm_msg in answer to parent.
func (k *Kernel) sendComm(comm string, data any, parent wire.Message) error {
	content, err := json.Marshal(map[string]any{"comm_id": comm, "data": data})
	if err != nil {
		return fmt.Errorf("encode comm_msg: %w", err)
	}
	return k.channels["shell"].send(wire.Encode(wire.Message{Header: k.header("comm_msg"), RawParent: parent.RawParent, Content: content}, k.key))
}

// Info returns the content of kernel_info_reply.
func (k *Kernel) Info() json.RawMessage { return k.info }

// PID returns the kernel's process id.
func (k *Kernel) PID() int { return k.proc.pid }

// Died is closed when the kernel process has ended, for whatever reason.
func (k *Kernel) Died() <-chan struct{} { return k.proc.died }

// ExitError says how the process ended and the last of what it printed; empty while it runs.
func (k *Kernel) ExitError() string {
	select {
	case <-k.proc.died:
		return k.proc.state + k.suffix()
	default:
		return ""
	}
}

// DeathReason says in one line why the kernel ended, the usual causes and what to do.
func (k *Kernel) DeathReason() string {
	state := k.ExitError()
	how, _, _ := strings.Cut(state, "\n")
	hint := "the cell ended the kernel's process, or a library crashed in it"
	if strings.HasPrefix(how, "signal: killed") {
		hint = "killed from outside, most likely because memory ran out; use less memory in this cell or a larger machine"
	}
	reason := fmt.Sprintf("the kernel died (%s): %s", how, hint)
	if said := k.proc.out.String(); said != "" {
		lines := strings.Split(said, "\n")
		reason += "; it last said: " + strings.TrimSpace(lines[len(lines)-1])
	}
	return reason
}

func (k *Kernel) suffix() string {
	if s := k.proc.out.String(); s != "" {
		return "\n" + s
	}
	return ""
}

// Interrupt sends SIGINT to the kernel's process group.
func (k *Kernel) Interrupt() error {
	if err := k.proc.signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("interrupt kernel: %w", err)
	}
	return nil
}

// Shutdown asks the kernel to end, then ends it, and removes its folder. It may be called again, and returns only
// when the process is gone; when ctx ends it stops asking and kills.
func (k *Kernel) Shutdown(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-k.proc.died:
	default:
		_, _, _ = k.Call(asking, "control", "shutdown_request", map[string]bool{"restart": false}, nil)
		select {
		case <-k.proc.died:
		case <-asking.Done():
		}
	}
	k.stop()
	if _, err := os.Lstat(k.dir); err == nil {
		return fmt.Errorf("remove %s: some files remain", k.dir)
	}
	return nil
}

// stop ends the process by signals, closes the sockets and removes the folder.
func (k *Kernel) stop() {
	if k.proc.signal(syscall.SIGTERM) == nil {
		select {
		case <-k.proc.died:
		case <-time.After(time.Second):
			_ = k.proc.signal(syscall.SIGKILL)
			<-k.proc.died
		}
	}
	<-k.proc.died
	k.closing.Do(func() { close(k.closed) })
	<-k.drained
	for _, c := range k.channels {
		_ = c.raw.Close()
	}
	_ = os.RemoveAll(k.dir)
}
