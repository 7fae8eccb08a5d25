package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// passed is a cell that the run has gone past, restored or run. Its place in
// Session.past is the Cell of a [cellgraph.Touch].
type passed struct {
	cell  notebook.CodeCell
	count int
	trace cellgraph.Trace
	pre   *cellgraph.State // the state before it; nil in a live kernel
	shows bool             // it showed a result
}

// missing are the cells that made the opaque things that a cell reads what
// they are, and that have not run in this kernel.
func (s *Session) missing(reads agent.Reads) []int {
	var cells []int
	for _, u := range s.state.Opaque() {
		if _, read := reads.Reads[u.Name]; !read && !reads.All && !reads.Unpickles {
			continue
		}
		thing, _ := s.state.IsOpaque(u.Name)
		for _, t := range thing.History {
			if !s.executed[t.Cell] {
				cells = append(cells, t.Cell)
			}
		}
	}
	slices.Sort(cells)
	return slices.Compact(cells)
}

// replay runs cells of the past again, in order, each from its own pre-state,
// so that the opaque things that they touched are alive. Then the present
// state is laid over what they left. The error wraps ErrRestore if a cell did
// not do again what is on record.
func (s *Session) replay(ctx context.Context, cells []int, count int) error {
	present := s.state
	s.present = present
	defer func() { s.present = nil }()
	defer s.use(present)
	var written []cellgraph.FileChange
	for _, i := range cells {
		p := s.past[i]
		s.use(p.pre)
		if err := s.again(ctx, p); err != nil {
			return err
		}
		s.executed[i] = true
		written = append(written, p.trace.Effect.Files...)
	}
	clear(s.told)
	s.retell = true
	s.use(present)
	for _, f := range written {
		if now, ok := present.File(f.Path); ok && !now.Deleted && now.Content != s.world.onDisk(f.Path) {
			return fmt.Errorf("%w: %s has changed since it was opened", ErrRestore, f.Path)
		}
	}
	if err := s.bring(ctx, count); err != nil {
		return fmt.Errorf("%w: the kernel did not take the state after a replay: %w", ErrRestore, err)
	}
	return nil
}

// use makes state the one that effects and observations refer to.
func (s *Session) use(state *cellgraph.State) { s.state, s.world.state = state, state }

// again runs one cell of the past and compares what it does with the record.
func (s *Session) again(ctx context.Context, p passed) error {
	for _, u := range s.present.Opaque() {
		if p.pre.Group(u.Name) != nil && s.alive(s.present, u.Name) {
			return fmt.Errorf("%w: %s would have to be two things at once", ErrRestore, u.Name)
		}
	}
	if err := s.bring(ctx, p.count); err != nil {
		return fmt.Errorf("%w: the kernel did not take the state before cell %s: %w", ErrRestore, p.cell.ID, err)
	}
	if err := s.takeBack(ctx, p); err != nil {
		return fmt.Errorf("%w: the files before cell %s: %w", ErrRestore, p.cell.ID, err)
	}
	o := &seen{cell: p.cell}
	if err := s.announce(ctx, o); err != nil {
		return fmt.Errorf("%w: %w", ErrRestore, err)
	}
	if s.needsHistory(o.reads.Reads) {
		return fmt.Errorf("%w: cell %s may read the history of cells that were restored", ErrRestore, p.cell.ID)
	}
	doubt, err := s.watched(ctx, o, p.count)
	if err = errors.Join(doubt, err); err != nil {
		return fmt.Errorf("%w: cell %s, run again for what it left: %w", ErrRestore, p.cell.ID, err)
	}
	res := o.result
	differs := fmt.Errorf("%w: cell %s, run again for what it left, did something else", ErrRestore, p.cell.ID)
	if res.Status == "error" && !p.cell.RaisesException {
		return errors.Join(differs, s.unrepeatable(ctx, p.trace))
	}
	effect, err := s.capture(ctx, o)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRestore, err)
	}
	if effect.ID() != p.trace.Effect.ID() {
		return errors.Join(differs, s.unrepeatable(ctx, p.trace))
	}
	s.live = p.pre.Clone()
	s.live.Apply(p.trace)
	return nil
}

// alive reports whether all cells in the history of an opaque thing have run in this kernel.
func (s *Session) alive(state *cellgraph.State, name string) bool {
	thing, ok := state.IsOpaque(name)
	return ok && !slices.ContainsFunc(thing.History, func(t cellgraph.Touch) bool { return !s.executed[t.Cell] })
}

// takeBack makes the files that a cell writes what they were before it.
func (s *Session) takeBack(ctx context.Context, p passed) error {
	var changes []cellgraph.FileChange
	for _, f := range p.trace.Effect.Files {
		was, ok := p.pre.File(f.Path)
		if !ok {
			was = cellgraph.FileChange{Path: f.Path, Deleted: true}
			if _, ours := s.present.File(f.Path); !ours || f.Deleted {
				continue
			}
		}
		changes = append(changes, was)
	}
	return s.putFiles(ctx, changes)
}

// putFiles lays changes over the folder and notes what was there before.
func (s *Session) putFiles(ctx context.Context, changes []cellgraph.FileChange) error {
	files, err := s.stage(ctx, changes)
	if err != nil {
		return err
	}
	return s.place(ctx, files)
}

// stage prepares putFiles, as far as it could fail, and notes what is there now.
func (s *Session) stage(ctx context.Context, changes []cellgraph.FileChange) (*staged, error) {
	for _, c := range changes {
		if _, known := s.prior[c.Path]; !known {
			if was, err := s.world.found(c.Path); err == nil {
				s.prior[c.Path] = was
			}
		}
	}
	return stageFiles(ctx, s.world, changes)
}

// place ends putFiles.
func (s *Session) place(ctx context.Context, files *staged) error {
	return errors.Join(files.place(), s.noteSaved(ctx, files.saved, time.Now().UTC()))
}

// keepPrior notes what the files were that a cell has changed, so far as that is known.
func (s *Session) keepPrior(o *seen, e *cellgraph.Effect) {
	for _, f := range e.Files {
		if _, known := s.prior[f.Path]; known {
			continue
		}
		was := cellgraph.FileChange{Path: f.Path, Deleted: true}
		if now, ours := s.state.File(f.Path); ours {
			was = now
		} else if before, there := o.before[f.Path]; there {
			d, known := s.content(o, f.Path)
			if !known || !before.Mode.IsRegular() {
				continue
			}
			was = cellgraph.FileChange{Path: f.Path, Content: d, Size: before.Size, Mode: uint32(before.Mode.Perm())}
		}
		s.prior[f.Path] = was
	}
}

// takeAllBack makes the files that an abandoned run has changed what they were
// before it: the straight run that follows must not find them.
func (s *Session) takeAllBack(ctx context.Context) error {
	var changes []cellgraph.FileChange
	for _, path := range slices.Sorted(maps.Keys(s.prior)) {
		was := s.prior[path]
		if !was.Content.IsZero() {
			if there, err := s.cfg.Store.HasBlob(ctx, was.Content); err != nil || !there {
				continue // a user's file that a cell changed: its old content is nowhere
			}
		}
		changes = append(changes, was)
	}
	saved, err := restoreFiles(ctx, s.world, changes)
	return errors.Join(err, s.noteSaved(ctx, saved, time.Now().UTC()))
}

// unrepeatable remembers that a trace cannot be replayed: its cell really runs from now on.
func (s *Session) unrepeatable(ctx context.Context, t cellgraph.Trace) error {
	return s.cfg.Store.PutMemo(ctx, "unrepeatable", t.Key(), []byte{1})
}

// repeatable says why a hit cannot be used: the opaque things that it leaves
// could not be had again, or an earlier one may hold a file that it changes. It
// returns "" if it can be used.
func (s *Session) repeatable(ctx context.Context, t *cellgraph.Trace) string {
	if len(t.Effect.Opaque) > 0 {
		if _, ok, err := s.cfg.Store.Memo(ctx, "unrepeatable", t.Key()); err != nil || ok {
			u := t.Effect.Opaque[0]
			return fmt.Sprintf("%s cannot be captured (%s), and the cell does not do the same each time", u.Name, u.Reason)
		}
	}
	for _, f := range t.Effect.Files {
		if name := s.holder(f.Path, t); name != "" {
			return fmt.Sprintf("changes %s, which %s may hold open", f.Path, name)
		}
	}
	return ""
}

// holder is an opaque thing that t leaves alone, whose cells used a file, and
// that may hold it open.
func (s *Session) holder(path string, t *cellgraph.Trace) string {
	own := t.Effect.Names()
	for _, u := range s.state.Opaque() {
		thing, _ := s.state.IsOpaque(u.Name)
		if own[u.Name] || thing.Open != nil && !slices.Contains(thing.Open, path) {
			continue
		}
		for _, touch := range thing.History {
			if uses(&s.past[touch.Cell].trace, path) {
				return u.Name
			}
		}
	}
	return ""
}

// uses reports whether a cell read, looked at or wrote a file.
func uses(t *cellgraph.Trace, path string) bool {
	return slices.ContainsFunc(t.Effect.Files, func(f cellgraph.FileChange) bool { return f.Path == path }) ||
		slices.ContainsFunc(t.Observed, func(o cellgraph.Observation) bool {
			return o.Name == path && (o.Kind == cellgraph.KindFile || o.Kind == cellgraph.KindStat)
		})
}
