package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"kedge/kernel/wire"
)

const (
	subscriberLimit = 512 << 20        // bytes that wait for a client that reads too slowly, before it misses some
	stalledLimit    = 64 << 20         // that wait for one that does not read at all
	stalledAfter    = 10 * time.Second // it is disconnected
	replyLimit      = 8 << 20          // before the kernel's replies to a client wait in the kernel
)

// ErrParentDied reports that the process on whose behalf we run is gone.
var ErrParentDied = errors.New("the program that started the kernel is gone")

// ProxyConfig says what clients connect to and which kernel is behind it. Child needs Argv, Dir and Env; a nil
// Session means that every message passes.
type ProxyConfig struct {
	Connection Connection
	Child      Config
	Signals    bool // the kernel is interrupted by SIGINT, not by a message
	Session    Session
	Parent     int // end when this process, our parent, ends; 0 or 1: never
	Logger     *slog.Logger
}

// Proxy stands between clients and a kernel of its own. What it does not act on it forwards as it came; it signs with
// the clients' key towards both sides, so that a forwarded message keeps its signature.
type Proxy struct {
	cfg    ProxyConfig
	log    *slog.Logger
	signer wire.Signer
	seen   signatures
	ends   []*endpoint
	iopub  *publisher
	gate   *gate         // nil without a session
	asked  atomic.Bool   // a client asked for shutdown
	ready  chan struct{} // closed once child is set
	over   chan struct{} // closed when the kernel has ended by itself
	child  atomic.Pointer[Kernel]
	cell   atomic.Pointer[[]byte] // header of the request that ran the latest cell

	mu      sync.Mutex
	links   map[*link]bool    // those that have their side to the kernel
	holders map[string]holder // by channel and identity
	clients int               // connections that said who they are
	gone    chan struct{}     // closed by the last of them; nil until they are waited for
}

// OpenProxy binds the sockets of the connection file. Errors wrap ErrConnection.
func OpenProxy(cfg ProxyConfig) (*Proxy, error) {
	p := &Proxy{cfg: cfg, log: cfg.Logger, signer: wire.NewSigner(cfg.Connection.key), ready: make(chan struct{}),
		over: make(chan struct{}), links: map[*link]bool{}, holders: map[string]holder{}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.iopub = &publisher{log: p.log, patience: stalledAfter, signer: p.signer, peers: map[*peer]*subscriber{}}
	if cfg.Session != nil {
		p.gate = newGate(p, cfg.Session)
	}
	chosen := false
	for _, s := range sockets {
		chosen = chosen || p.cfg.Connection.ports[s.name] == 0
		l, err := p.cfg.Connection.listen(s.name)
		if err != nil {
			p.close()
			return nil, err
		}
		limit := replyLimit
		if s.name == "iopub" {
			limit = subscriberLimit
		}
		p.ends = append(p.ends, &endpoint{socket: s, listener: l, log: p.log, limit: limit})
	}
	if chosen {
		if err := p.cfg.Connection.save(); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// Run starts the kernel and serves until it is gone. It returns nil after a shutdown that a client asked for, an
// *ExitError if the kernel ended by itself, an error that wraps ErrKernelStart if it did not come up, ErrParentDied,
// or ctx's cause.
func (p *Proxy) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range p.ends {
		g.Go(func() error {
			e.serve(ctx, g, func(ctx context.Context, front *peer) {
				p.enter()
				defer p.leave()
				if e.name == "iopub" {
					p.iopub.serve(ctx, front)
				} else {
					p.link(ctx, e.name, front)
				}
			})
			return nil
		})
	}
	g.Go(func() error { return watchParent(ctx, p.cfg.Parent) })
	if p.gate != nil {
		g.Go(func() error { return p.gate.run(ctx) })
	}
	g.Go(func() error {
		defer p.close()
		err := p.supervise(ctx)
		if err == nil {
			err = errEnded // so that the others end too
		}
		return err
	})
	if err := g.Wait(); !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// supervise starts the kernel and waits for its end, or ends it with ctx.
func (p *Proxy) supervise(ctx context.Context) error {
	k, err := startTaking(ctx, p.childConfig(), p)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	p.child.Store(k)
	close(p.ready)
	for ended := false; !ended; {
		k = p.kernel()
		select {
		case <-ctx.Done():
			k.stop()
			return context.Cause(ctx)
		case <-k.proc.died:
			ended = p.kernel() == k // else another stands in its place
		}
	}
	close(p.over)
	<-k.drained
	p.close()
	p.iopub.finish()
	p.part(ctx)
	k.stop()
	if p.asked.Load() && k.proc.code == 0 {
		return nil
	}
	return &ExitError{Code: k.proc.code, State: k.proc.state}
}

// childConfig says how the kernel is started.
func (p *Proxy) childConfig() Config {
	child := p.cfg.Child
	child.Key, child.Connection = p.cfg.Connection.key, p.cfg.Connection.rest
	child.File, child.StartTimeout, child.Logger = filepath.Base(p.cfg.Connection.Path), -1, p.log
	if child.Key == nil {
		child.Key = []byte{} // nil would mean a fresh one
	}
	return child
}

// kernel is the kernel that clients talk to; nil before it has started.
func (p *Proxy) kernel() *Kernel { return p.child.Load() }

// part waits until the clients have read what was left for them, or had their time.
func (p *Proxy) part(ctx context.Context) {
	p.mu.Lock()
	gone := make(chan struct{})
	if p.clients == 0 {
		close(gone)
	} else {
		p.gone = gone
	}
	p.mu.Unlock()
	select {
	case <-gone:
	case <-ctx.Done():
	case <-time.After(drainTime + flushTime + partingTime):
	}
}

func (p *Proxy) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients++
}

func (p *Proxy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients--; p.clients == 0 && p.gone != nil {
		close(p.gone)
		p.gone = nil
	}
}

// close lets no more clients in.
func (p *Proxy) close() {
	for _, e := range p.ends {
		_ = e.listener.Close()
	}
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// ExitError says how a kernel ended that nobody asked to end. Code is its exit status, or 128 and the signal.
type ExitError struct {
	Code  int
	State string
}

func (e *ExitError) Error() string { return fmt.Sprintf("%v: %s", ErrKernelDied, e.State) }

// Unwrap returns ErrKernelDied.
func (e *ExitError) Unwrap() error { return ErrKernelDied }

// take is given the kernel's iopub messages. It forwards those that are for clients, and leaves to the Kernel those
// about requests of ours, and all of a kernel that is not, or no longer, the one that clients talk to.
func (p *Proxy) take(k *Kernel, l letter) bool {
	if now := p.kernel(); now != nil && now != k {
		return false
	}
	f, err := wire.Split(l.frames)
	if err != nil {
		return false
	}
	if bytes.Contains(f.Parent, []byte(k.session)) {
		return l.whole() != nil || p.takeOwn(k, f)
	}
	if contains(f.Header, "iopub_welcome") {
		p.iopub.welcomed(f)
		return true
	}
	if contains(f.Header, "execute_input") {
		p.cell.Store(&f.Parent)
	}
	p.iopub.stage(l)
	if p.gate != nil && l.whole() == nil {
		p.gate.published(f)
	}
	return true
}

// taken lets the clients have what was taken.
func (p *Proxy) taken() { p.iopub.flush() }

// contains says whether a header may be one of msgType.
func contains(header []byte, msgType string) bool {
	return bytes.Contains(header, []byte(`"`+msgType+`"`))
}

// takeOwn handles a message about a request of ours. Output belongs to the notebook whatever the kernel was doing
// for us when a thread of the notebook wrote it.
func (p *Proxy) takeOwn(k *Kernel, f wire.Frames) bool {
	kind := messageType(f.Header)
	if kind == "status" || k.awaits(f.Parent) {
		return false
	}
	f.Parent = []byte("{}")
	if cell := p.cell.Load(); cell != nil {
		f.Parent = *cell
	}
	p.iopub.publish(p.signer.Join(f))
	return true
}

// topic is what the kernel puts before a message of the given type on iopub.
func (p *Proxy) topic(msgType string) [][]byte {
	prefix, ok := strings.CutSuffix(p.kernel().topic, "status")
	if !ok {
		return [][]byte{[]byte(msgType)}
	}
	return [][]byte{[]byte(prefix + msgType)}
}

// message is one of ours to clients, in the kernel's session: front ends drop messages when sessions alternate.
func (p *Proxy) message(msgType string, parent []byte, content, metadata any, buffers [][]byte) wire.Frames {
	h := p.kernel().peer
	h.MsgID, h.MsgType, h.Date = uuid.NewString(), msgType, now()
	f := wire.Frames{Header: encode(h), Parent: parent, Metadata: []byte("{}"), Content: encode(content), Buffers: buffers}
	if metadata != nil {
		f.Metadata = encode(metadata)
	}
	return f
}

// tell publishes a message of ours.
func (p *Proxy) tell(msgType string, parent []byte, content, metadata any, buffers [][]byte) {
	f := p.message(msgType, parent, content, metadata, buffers)
	f.Idents = p.topic(msgType)
	p.iopub.publish(p.signer.Join(f))
}

func (p *Proxy) status(state string, parent []byte) {
	p.tell("status", parent, map[string]string{"execution_state": state}, nil, nil)
}
