package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"kedge/kernel/wire"
)

// errStranger is a kernel that would be taken for another one than the one whose place it shall take.
var errStranger = errors.New("it has a session of its own")

// Starter starts a kernel like the one behind a proxy, of which clients hear nothing until it is swapped in. env is in
// place of that of the first. It may be called from any goroutine. Whoever does not swap it in ends it.
type Starter func(ctx context.Context, env []string) (*Kernel, error)

// Starter returns what starts further kernels.
func (c *Cell) Starter() Starter {
	p := c.gate.proxy
	return func(ctx context.Context, env []string) (*Kernel, error) {
		cfg := p.childConfig()
		cfg.Env, cfg.StartTimeout = env, 0
		return startTaking(ctx, cfg, p)
	}
}

// Swap puts k, which has the session and the name of the kernel that clients know, in its place. Clients notice
// nothing: their connections stay, and what they asked on control and was not answered, k is asked. The former kernel
// is still there and unseen; the caller ends it. If Swap fails, all is as it was.
func (c *Cell) Swap(ctx context.Context, k *Kernel) error {
	p := c.gate.proxy
	old := p.kernel()
	m, err := k.ask(ctx, "shell", "kernel_info_request", struct{}{}, nil)
	if err != nil {
		return fmt.Errorf("swap kernels: %w", err)
	}
	if m.Header.Session != old.peer.Session {
		return fmt.Errorf("swap kernels: %w", errStranger)
	}
	k.peer, k.topic = m.Header, old.topic
	ready := map[*link]*side{}
	for {
		p.mu.Lock()
		missing := slices.DeleteFunc(slices.Collect(maps.Keys(p.links)), func(l *link) bool { return ready[l] != nil })
		if len(missing) == 0 {
			break
		}
		p.mu.Unlock()
		for _, l := range missing {
			if ready[l], err = l.reach(ctx, k); err != nil {
				delete(ready, l)
				for _, s := range ready {
					_ = s.raw.Close()
				}
				return fmt.Errorf("swap kernels: %w", err)
			}
		}
	}
	p.child.Store(k)
	unanswered := map[*link][][][]byte{}
	for l, s := range ready {
		if p.links[l] {
			unanswered[l] = l.face(s)
		} else { // its client has gone meanwhile
			_ = s.raw.Close()
		}
	}
	p.mu.Unlock()
	for l, requests := range unanswered {
		for _, frames := range requests {
			_ = ignoreClosed(l.send(frames))
		}
	}
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.gate.widgets = newWidgets(func(string, any, wire.Message) error { return nil })
	return nil
}

// Session is the id that the kernel's messages carry in their headers.
func (k *Kernel) Session() string { return k.peer.Session }

// Name is what the kernel calls itself in the topics of its messages; "" if it does not.
func (k *Kernel) Name() string {
	name, _ := k.ident()
	return name
}

func (k *Kernel) ident() (string, bool) {
	return strings.CutPrefix(strings.TrimSuffix(k.topic, ".status"), "kernel.")
}

// Pause stops the kernel's process group until Resume: nothing of it acts meanwhile.
func (k *Kernel) Pause() error { return k.proc.signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (k *Kernel) Resume() error { return k.proc.signal(syscall.SIGCONT) }

// Kill ends the kernel without asking, paused or not: what it has not written yet it never writes. It returns when the
// process is gone and its folder removed.
func (k *Kernel) Kill() {
	_ = k.proc.signal(syscall.SIGKILL) // it may be gone already
	<-k.proc.died
	k.stop()
}
