package kernel

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Config says what to start. Argv holds {connection_file} where the kernel wants that path. A nil Env is ours;
// an empty RuntimeDir is $XDG_RUNTIME_DIR or the temp folder; a nil Logger discards. The rest is for a kernel that
// others shall take for another one: see Proxy.
type Config struct {
	Argv       []string
	Dir        string
	Env        []string
	RuntimeDir string
	Logger     *slog.Logger

	Key          []byte         // signs messages; a fresh one if nil
	Connection   map[string]any // further entries of the connection file
	File         string         // base name of the connection file; connection.json if empty
	Stdout       *os.File       // with Stderr, where the kernel's own go instead of into error messages
	Stderr       *os.File
	StartTimeout time.Duration // 60 s if 0; negative: none
	Guard        *Guard        // ends the kernel's process group and removes its folder if we are killed; nil: nobody does
}

// Start starts a kernel and returns once it answers kernel_info_request and its iopub is heard, at most 60 s later.
// Errors wrap ErrKernelStart and carry the end of the kernel's stderr. The caller must call Shutdown.
func Start(ctx context.Context, cfg Config) (*Kernel, error) { return startTaking(ctx, cfg, nil) }

// startTaking is Start with a listener of iopub messages.
func startTaking(ctx context.Context, cfg Config, take listener) (*Kernel, error) {
	if len(cfg.Argv) == 0 {
		return nil, fmt.Errorf("%w: empty argv", ErrKernelStart)
	}
	k := &Kernel{
		cfg: cfg, log: cfg.Logger, session: uuid.NewString(), channels: map[string]*channel{}, take: take,
		heard: make(chan struct{}), drained: make(chan struct{}), closed: make(chan struct{}),
		waiters: map[string]*waiter{}, displays: map[string]bool{},
	}
	k.widgets = newWidgets(k.sendComm)
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if err := k.launch(); err != nil {
		if k.dir != "" {
			_ = os.RemoveAll(k.dir)
		}
		return nil, fmt.Errorf("%w: %w", ErrKernelStart, err)
	}
	if cfg.StartTimeout >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(cfg.StartTimeout, startTimeout))
		defer cancel()
	}
	if err := k.connect(ctx); err != nil {
		select {
		case <-k.proc.died:
			err = fmt.Errorf("it ended at once (%s); see that `%s -m ipykernel --version` works", k.proc.state, cfg.Argv[0])
		default:
		}
		k.stop()
		return nil, fmt.Errorf("%w: %w%s", ErrKernelStart, err, k.suffix())
	}
	return k, nil
}

// launch starts the process.
func (k *Kernel) launch() error {
	file, err := k.prepare(k.cfg.RuntimeDir)
	if err != nil {
		return err
	}
	argv := make([]string, len(k.cfg.Argv))
	for i, a := range k.cfg.Argv {
		argv[i] = strings.ReplaceAll(a, "{connection_file}", file)
	}
	env := k.cfg.Env
	if env == nil {
		env = os.Environ()
	}
	env = append(env[:len(env):len(env)], fmt.Sprintf("JPY_PARENT_PID=%d", os.Getpid()))
	if k.proc, err = startProcess(argv, k.cfg.Dir, env, k.cfg.Stdout, k.cfg.Stderr); err != nil {
		return err
	}
	k.cfg.Guard.begun(k.proc.pid)
	return nil
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
	if k.dir, err = k.cfg.Guard.Folder(base, "kedge-"); err != nil {
		return "", err
	}
	if k.key = k.cfg.Key; k.key == nil {
		var key [32]byte
		_, _ = rand.Read(key[:]) // never fails
		k.key = []byte(hex.EncodeToString(key[:]))
	}
	entries := map[string]any{"kernel_name": ""}
	maps.Copy(entries, k.cfg.Connection)
	entries["transport"], entries["ip"] = "ipc", filepath.Join(k.dir, "i")
	entries["signature_scheme"], entries["key"] = signatureScheme, string(k.key)
	for _, s := range sockets {
		entries[s.port] = s.number
	}
	conn, err := json.Marshal(entries)
	if err != nil {
		return "", err
	}
	file := filepath.Join(k.dir, cmp.Or(k.cfg.File, "connection.json"))
	return file, os.WriteFile(file, conn, 0o600)
}

func (k *Kernel) connect(ctx context.Context) error {
	identity := []byte(uuid.NewString())
	var readers sync.WaitGroup
	defer func() { go k.watch(&readers) }()
	for _, name := range []string{"iopub", "shell", "stdin", "control"} {
		ch, err := k.dial(ctx, name, identity)
		if err != nil {
			return err
		}
		k.channels[name] = ch
		if name != "iopub" {
			readers.Go(func() { ch.receive(k.key, k.deliver, k.reject) })
			continue
		}
		if err := ch.conn.Subscribe(nil); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		readers.Go(func() { ch.handle(k.key, k, k.take, k.deliver, k.reject) })
	}
	return k.greet(ctx)
}

// dial makes a connection to one of the kernel's sockets, under identity unless that is empty.
func (k *Kernel) dial(ctx context.Context, name string, identity []byte) (*channel, error) {
	for _, s := range sockets {
		if s.name == name {
			return dial(ctx, name, fmt.Sprintf("%s/i-%d", k.dir, s.number), s.client, identity, k.proc.died)
		}
	}
	return nil, fmt.Errorf("no socket %q", name)
}

// greet asks for kernel_info, again every half second, until a reply and an iopub message have come: what is
// published before our subscription arrives is lost.
func (k *Kernel) greet(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		reply, err := k.ask(try, "shell", "kernel_info_request", struct{}{}, nil)
		if err == nil {
			k.info, k.peer = reply.Content, reply.Header
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
