// Package kernel runs a Jupyter kernel as a child process and executes cells as its client.
package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

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

	signatureScheme = "hmac-sha256"
)

// now is the date of a message.
func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") }

// Kernel is a running kernel. Its methods may be called from any goroutine.
type Kernel struct {
	cfg      Config
	log      *slog.Logger
	proc     *process
	take     listener // gets iopub messages first; nil if there is no proxy
	dir      string
	key      []byte
	session  string
	channels map[string]*channel
	info     json.RawMessage
	widgets  *widgets
	peer     wire.Header   // of the kernel's reply to the greeting
	topic    string        // of a status message
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
	all  bool // iopub messages too
	in   chan incoming
	done chan struct{}
}

func (k *Kernel) deliver(in incoming) {
	k.mu.Lock()
	if in.channel == "iopub" && !k.heardIt {
		k.heardIt = true
		if len(in.msg.Idents) > 0 {
			k.topic = string(in.msg.Idents[0])
		}
		close(k.heard)
	}
	w := k.waiters[in.msg.Parent.MsgID]
	k.mu.Unlock()
	if w == nil || in.channel == "iopub" && !w.all {
		return
	}
	select {
	case w.in <- in:
	case <-w.done:
	case <-k.closed:
	}
}

// awaits says whether somebody here waits for iopub messages about the request with this header.
func (k *Kernel) awaits(header []byte) bool {
	var h wire.Header
	if json.Unmarshal(header, &h) != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.waiters[h.MsgID]
	return w != nil && w.all
}

func (k *Kernel) reject(channel string, err error) {
	k.log.Warn("message from the kernel ignored", "channel", channel, "error", err)
}

// request sends a message and returns the waiter for what the kernel sends in answer, on iopub too if all is set;
// release it.
func (k *Kernel) request(channel, msgType string, content any, metadata any, buffers [][]byte, all bool) (*waiter, error) {
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
	w := &waiter{id: header.MsgID, all: all, in: make(chan incoming, 1024), done: make(chan struct{})}
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
		Date: now(),
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
	m, err := k.ask(ctx, channel, msgType, content, buffers)
	return m.Content, m.Buffers, err
}

// ask is Call that returns the whole reply.
func (k *Kernel) ask(ctx context.Context, channel, msgType string, content any, buffers [][]byte) (wire.Message, error) {
	w, err := k.request(channel, msgType, content, nil, buffers, false)
	if err != nil {
		return wire.Message{}, err
	}
	defer k.release(w)
	for {
		in, err := k.next(ctx, w)
		if err != nil {
			return wire.Message{}, fmt.Errorf("%s: %w", msgType, err)
		}
		if in.channel == channel {
			return in.msg, nil
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

// Dir returns the folder of the kernel's sockets and connection file.
func (k *Kernel) Dir() string { return k.dir }

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
	k.cfg.Guard.ended(k.proc.pid)
}
