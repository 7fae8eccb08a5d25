package session

import (
	"context"
	"errors"
	"time"

	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
)

// Prologue is what runs in a kernel before it is known which notebook it is
// for: VS Code looks for ipywidgets before it names the notebook. It is watched
// from the start, as code that is no cell of a step. It belongs to the
// goroutine that the Interactive will belong to.
type Prologue struct {
	kernel  Kernel
	ring    *observe.Ring
	agent   *agent.Client
	held    observe.Held     // open before it
	started []observe.Record // of the kernel's start
	foreign
}

// prologueMark is that of its records: the first request's.
const prologueMark = 1

// BeginPrologue looks at a kernel that has run nothing yet, before code runs in it.
func BeginPrologue(ctx context.Context, k Kernel, ring *observe.Ring, code string) (*Prologue, error) {
	p := &Prologue{kernel: k, ring: ring, agent: agent.NewClient(k), foreign: foreign{mark: prologueMark}}
	p.cell, p.began = notebook.CodeCell{Cell: notebook.Cell{Source: code}}, time.Now()
	var err error
	if p.reads, err = p.agent.Before(ctx, code, nil, []string{}); err != nil {
		return nil, err
	}
	if p.held, err = observe.Holds(k.PID()); err != nil {
		return nil, err
	}
	if p.alive, err = observe.Descendants(k.PID(), nil); err != nil {
		return nil, err
	}
	ring.Mark(prologueMark)
	p.started, p.lost, err = ring.Read()
	return p, errors.Join(err, observe.Adopt())
}

// More tells that more code runs before the notebook is known.
func (p *Prologue) More(ctx context.Context, code string) error {
	reads, err := p.agent.More(ctx, code)
	p.add(code, reads)
	p.ring.Mark(p.mark)
	return err
}

// End tells that the code has run.
func (p *Prologue) End() error {
	p.ring.Mark(0)
	return p.hear(p.ring)
}

// Follow makes what ran before the notebook was known the first foreign code of
// n. If that cannot be done everything runs.
func (n *Interactive) Follow(p *Prologue) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.follow(p); err != nil {
		n.lose("watch what ran before the notebook was known", err)
	}
}

func (n *Interactive) follow(p *Prologue) error {
	s := n.s
	s.watch.baseline, s.watch.greeted = &p.held, true
	s.watch.unseen = observe.Observed(p.started, s.kernel.PID(), s.interpreter())
	a := observe.Summarize(p.records, s.summary())
	for _, path := range append(a.Written, a.Deleted...) {
		if s.volume.holds(s.volume.name(path)) {
			return errors.New("code wrote into the notebook's folder before the notebook was known")
		}
	}
	var err error
	if p.before, err = s.volume.scan(); err != nil {
		return err
	}
	s.learn(&p.foreign.seen)
	n.asked, n.dirty = prologueMark, &p.foreign
	return nil
}
