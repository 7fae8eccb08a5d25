package session

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/observe"
	"kedge/notebook"
)

// Past makes code that ran in the kernel before anybody watched the first
// foreign code of n: these sources, in order. p is what was watched before
// them, or nil. The agent and the ring know how the kernel began, and so what
// differs since. What cannot be told any more makes cells run.
func (n *Interactive) Past(ctx context.Context, sources []string, p *Prologue) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.pass(ctx, sources, p); err != nil {
		n.forget(fmt.Sprintf("code ran before the notebook had step tags, and what it did is not known (%v); restart the kernel", err))
	}
}

// errOverflow is that more happened before there were step tags than the ring holds.
var errOverflow = errors.New("there was more than could be recorded")

func (n *Interactive) pass(ctx context.Context, sources []string, p *Prologue) error {
	s := n.s
	f := &foreign{seen: seen{cell: notebook.CodeCell{Cell: notebook.Cell{Source: strings.Join(sources, "\n")}}, began: time.Now()}, past: true}
	n.asked++
	f.mark = uint64(n.asked)
	records, lost, err := s.ring.Read()
	if p != nil {
		records = slices.Concat(p.started, p.records, p.between, records)
		lost = lost || p.lost
	}
	s.watch.greeted, s.watch.unseen = true, observe.Observed(records, s.kernel.PID(), s.interpreter())
	if err = errors.Join(err, observe.Adopt()); err != nil {
		return err
	}
	if lost {
		return errOverflow
	}
	f.records = records
	var open []string
	if f.reads, open, err = s.agent.Past(ctx, sources); err != nil {
		return err
	}
	if s.watch.baseline, err = s.heldOf(open); err != nil {
		return err
	}
	if f.before, err = s.volume.scan(); err != nil {
		return err
	}
	s.learn(&f.seen)
	s.world.keepAll() // which of them that code has written nobody knows
	n.dirty = f
	return nil
}

// heldOf is what the kernel holds of that which it has had open from its start.
func (s *Session) heldOf(open []string) (*observe.Held, error) {
	held, err := observe.Holds(s.kernel.PID())
	if err != nil {
		return nil, err
	}
	held.Files = slices.DeleteFunc(held.Files, func(f observe.HeldFile) bool { return !slices.Contains(open, f.Path) })
	for fd, socket := range held.Sockets {
		if !slices.Contains(open, socket) {
			delete(held.Sockets, fd)
		}
	}
	return &held, nil
}

// pastCode is the code of what ran before anybody watched: no other run of a kernel has the same.
func (s *Session) pastCode() cellgraph.Digest {
	return cellgraph.Combine("past", s.world.now().String(), fmt.Sprint(s.kernel.PID()))
}

// strays are the programs of processes that are alive, whoever their parent is by now, and do not belong to a library.
func strays(started []int) (programs []string) {
	for _, p := range observe.Alive(started) {
		if !p.LibraryWorker() {
			programs = append(programs, filepath.Base(append(p.Args, "a process")[0]))
		}
	}
	return programs
}
