package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
)

const (
	spareAfter = 2 * time.Second  // of quiet a spare kernel is started
	spareFor   = 10 * time.Minute // of quiet it is kept
	spareStart = time.Minute      // for a kernel to start and import what the notebook imports
)

// Spawn prepares what one more kernel of a notebook is observed with: a ring, and the environment to start it in.
type Spawn func() (*observe.Ring, []string, error)

// fresh is a kernel that has run nothing, with its ring and what it has imported.
type fresh struct {
	*kernel.Kernel
	ring    *observe.Ring
	modules []string
}

// end kills it; on nil it does nothing.
func (f *fresh) end() error {
	if f == nil {
		return nil
	}
	f.Kill()
	return f.ring.Close()
}

// spare keeps one fresh kernel ready while nobody asks the notebook for anything, so that going back does not wait for
// one to start. It is no template that is forked: numpy and pyarrow start threads when they are imported.
type spare struct {
	spawn Spawn
	rests chan rest // the latest, if it was not seen yet
	takes chan chan *fresh
}

// rest is the end of a request: what starts a kernel and what that may import ahead. The zero rest is the beginning of
// one: nothing is started then.
type rest struct {
	start   kernel.Starter
	modules []string
}

func newSpare(spawn Spawn) *spare {
	return &spare{spawn: spawn, rests: make(chan rest, 1), takes: make(chan chan *fresh)}
}

// tell tells how things stand. One goroutine calls it.
func (s *spare) tell(r rest) {
	select {
	case <-s.rests:
	default:
	}
	s.rests <- r
}

// run owns the spare kernel until ctx ends.
func (s *spare) run(ctx context.Context) (err error) {
	var ready *fresh
	var now rest
	drop := func() {
		err = errors.Join(err, ready.end())
		ready = nil
	}
	quiet := time.NewTimer(spareAfter)
	quiet.Stop()
	for {
		fits := func() bool { return ready != nil && slices.Equal(ready.modules, now.modules) }
		select {
		case <-ctx.Done():
			drop()
			return err
		case now = <-s.rests:
			switch {
			case now.start == nil:
				quiet.Stop()
			case fits():
				quiet.Reset(spareFor)
			default:
				quiet.Reset(spareAfter)
			}
		case give := <-s.takes:
			give <- ready
			ready = nil
		case <-quiet.C:
			enough := fits() // it was kept for as long as it may
			drop()
			if !enough {
				ready, _ = s.make(ctx, now.start, now.modules) // without one going back takes longer
				quiet.Reset(spareFor)
			}
		}
	}
}

// take gives a fresh kernel, the one that is ready if what it has imported fits.
func (s *spare) take(ctx context.Context, start kernel.Starter, fits func(modules []string) bool) (*fresh, error) {
	give := make(chan *fresh, 1)
	select {
	case s.takes <- give:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ready := <-give
	if ready != nil {
		select {
		case <-ready.Died():
		default:
			if fits(ready.modules) {
				return ready, nil
			}
		}
	}
	f, err := s.make(ctx, start, nil)
	return f, errors.Join(err, ready.end())
}

// make starts a fresh kernel that has imported modules.
func (s *spare) make(ctx context.Context, start kernel.Starter, modules []string) (*fresh, error) {
	ctx, cancel := context.WithTimeout(ctx, spareStart)
	defer cancel()
	ring, env, err := s.spawn()
	if err != nil {
		return nil, fmt.Errorf("observe a fresh kernel: %w", err)
	}
	k, err := start(ctx, append(env[:len(env):len(env)], "KEDGE_SPARE=1"))
	if err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	f := &fresh{k, ring, modules}
	if len(modules) > 0 {
		if _, err := agent.NewClient(k).Apply(ctx, agent.Restore{Modules: modules}); err != nil {
			return nil, errors.Join(err, f.end())
		}
	}
	return f, nil
}
