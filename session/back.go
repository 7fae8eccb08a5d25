package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
)

// Back is the way to an earlier point of a notebook, or to any that a straight
// run of it would reach by restoring alone: its first cells, with a trace for
// each. It belongs to the goroutine of the Interactive that gave it.
type Back struct {
	n     *Interactive
	cfg   Config // of the notebook as it was looked up
	cells []notebook.CodeCell
	hits  []cellgraph.Trace
	Next  string // id of the first cell that would have to run, "" if none
	Why   string // why it would
}

// Back looks the notebook's cells up, top to bottom, as in a fresh kernel: all
// of them or, if to is not empty, those up to the end of that step. It changes
// nothing. Know has told what the notebook is. The error is for people.
func (n *Interactive) Back(ctx context.Context, to string) (*Back, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.join(ctx)
	last := n.s.lastOf(to)
	if to != "" && last < 0 {
		return nil, fmt.Errorf("there is no step %s", to)
	}
	return n.back(ctx, last)
}

// BackTo is Back up to a cell, that cell included.
func (n *Interactive) BackTo(ctx context.Context, cell string) (*Back, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.join(ctx)
	last := slices.IndexFunc(n.s.cfg.Outline.Cells, func(c notebook.CodeCell) bool { return c.ID == cell })
	if last < 0 {
		return nil, errors.New("the notebook's file does not have this cell")
	}
	return n.back(ctx, last)
}

// back looks up the cells up to number last, all if that is -1.
func (n *Interactive) back(ctx context.Context, last int) (*Back, error) {
	b := &Back{n: n, cfg: n.s.cfg}
	b.cfg.Blind, b.cfg.Sources = "", map[string]Source{}
	for _, cell := range b.cfg.Outline.Cells {
		source, err := n.s.agent.Normalise(ctx, cell.Source)
		if err != nil {
			return nil, fmt.Errorf("read cell %s: %w", cell.ID, err)
		}
		b.cfg.Sources[cell.ID] = source
	}
	s, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	for i, cell := range s.cfg.Outline.Cells {
		if last >= 0 && i > last {
			break
		}
		if cell.Skip {
			continue
		}
		hit, why := (&Interactive{s: s}).holds(ctx, cell)
		if why != "" {
			b.Next, b.Why = cell.ID, why
			break
		}
		cellgraph.Settle(hit, s.world)
		b.cells, b.hits = append(b.cells, cell), append(b.hits, *hit)
		s.pass(cell, s.entered(cell), len(b.cells), *hit)
	}
	return b, nil
}

// holds looks a cell up, and says why it would have to run in a live kernel.
func (n *Interactive) holds(ctx context.Context, cell notebook.CodeCell) (*cellgraph.Trace, string) {
	if cell.Step == "" {
		return nil, "it is in no step"
	}
	if n.s.step(cell.Step).Cache == "disabled" || cell.Cache == "disabled" {
		return nil, "cache:disabled"
	}
	verdict := n.s.look(ctx, cell)
	if verdict.Hit == nil {
		return nil, verdict.Why
	}
	if opaque := verdict.Hit.Effect.Opaque; len(opaque) > 0 {
		return nil, fmt.Sprintf("%s cannot be captured (%s)", opaque[0].Name, opaque[0].Reason)
	}
	if _, _, err := n.outputs(ctx, verdict.Hit); err != nil {
		return nil, err.Error()
	}
	return verdict.Hit, ""
}

// open is a session of the same notebook that has no kernel yet. What it
// records goes the same way.
func (b *Back) open(ctx context.Context) (*Session, error) {
	s, err := Open(ctx, b.cfg)
	if err != nil {
		return nil, err
	}
	s.interactive, s.writer, s.faults = true, b.n.s.writer, slices.Clone(b.n.s.faults)
	return s, nil
}

// Cells is how many cells are on the way.
func (b *Back) Cells() int { return len(b.cells) }

// Way are these cells, in order.
func (b *Back) Way() []notebook.CodeCell { return b.cells }

// Fits says whether a fresh kernel that has imported these modules is as one
// that has not, as far as restoring goes.
func (b *Back) Fits(modules []string) bool {
	ahead := imports(b.hits)
	return len(modules) <= len(ahead) && slices.Equal(modules, ahead[:len(modules)])
}

// Take makes the kernel k, which is fresh, and the folder what they are after
// the cells of b. sockets is the folder of k's sockets. It returns the notebook
// in k, and how each cell was answered for. If it fails, or ctx ends first, the
// folder is as it was, or the error wraps ErrFiles.
func (b *Back) Take(ctx context.Context, k Kernel, ring *observe.Ring, sockets string) (n *Interactive, answers []Answer, err error) {
	ours := context.WithoutCancel(ctx)
	s, err := b.open(ours)
	if err != nil {
		return nil, nil, err
	}
	s.cfg.Sockets = sockets
	s.kernel, s.ring, s.agent = k, ring, agent.NewClient(k)
	n = &Interactive{s: s, counts: map[string]int{}, opened: map[string]bool{}}
	for len(answers) < len(b.cells) {
		some, err := b.some(ctx, n, len(answers))
		if err != nil {
			return nil, nil, errors.Join(err, n.TakeFilesBack(ours))
		}
		answers = append(answers, some...)
	}
	for i := range answers {
		n.asked++
		answers[i].SavedSeconds = b.hits[i].Seconds
	}
	return n, answers, nil
}

// some restores cells from number first on, as many as can be at once.
func (b *Back) some(ctx context.Context, n *Interactive, first int) ([]Answer, error) {
	var hits []hit
	for i, cell := range b.cells[first:] {
		t := &b.hits[first+i]
		if i > 0 && !n.s.joins(hits, cell, t) {
			break
		}
		h, err := n.prepare(ctx, cell, t)
		if err != nil {
			return nil, fmt.Errorf("cell %s: %w", cell.ID, err)
		}
		hits = append(hits, h)
	}
	answers, err := n.apply(ctx, hits)
	if err != nil && len(hits) > 1 {
		answers, err = n.apply(ctx, hits[:1])
	}
	if err != nil {
		return nil, fmt.Errorf("cell %s: %w", b.cells[first].ID, err)
	}
	return answers, nil
}

// ErrFiles reports that files are not what they were.
var ErrFiles = errors.New("some files could not be put back")

// TakeFilesBack makes the files that restored cells have changed what they were
// before the first cell. Errors wrap ErrFiles.
func (n *Interactive) TakeFilesBack(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.join(ctx)
	if err := n.s.takeAllBack(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	return nil
}

// Ahead are modules that a fresh kernel may import before it is known how far
// the notebook is restored there: those that its first cells import, as far as
// nothing that imports depend on comes before them.
func (n *Interactive) Ahead() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var traces []cellgraph.Trace
	for _, p := range n.s.past {
		traces = append(traces, p.trace)
	}
	return imports(traces)
}

// imports are the modules that the first of the cells imports that does import
// some. There are none if a cell before it changes what importing could depend
// on or changes too, if it changes itself what is restored before modules are
// imported, or if a local module is among them.
func imports(traces []cellgraph.Trace) []string {
	leading := []string{"environ", "cwd", "sys.path"}
	for _, t := range traces {
		if len(t.Effect.Modules) == 0 {
			if len(t.Effect.Ambient)+len(t.Effect.Files) > 0 {
				return nil
			}
			continue
		}
		if slices.ContainsFunc(t.Effect.Ambient, func(a cellgraph.Ambient) bool { return slices.Contains(leading, a.Name) }) {
			return nil
		}
		if slices.ContainsFunc(t.Observed, func(o cellgraph.Observation) bool {
			return o.Kind == cellgraph.KindSource || o.Kind == cellgraph.KindDefines
		}) {
			return nil
		}
		return t.Effect.Modules
	}
	return nil
}
