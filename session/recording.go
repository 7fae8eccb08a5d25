package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// recording is a cell that has run, on its way into the store. What can be told
// only now, of files above all, is in it from the start. What its variables are
// may still be found out, by a copy of the kernel's process, while the next
// cell runs: until then the session's state is that before the cell.
type recording struct {
	o      *seen
	count  int
	code   cellgraph.Digest // what is known of cells by their ids is by then of what they were edited to
	source cellgraph.Entered
	effect cellgraph.Effect // without what is in values
	spool  string
	late   *agent.Late // what a copy of the kernel tells; nil if all is told already
	// holder is who held a name before the cell. It may be called beside the session.
	holder func(name string) *cellgraph.Group

	outside  []cellgraph.Observation // but for variables of the environment
	touched  []cellgraph.Observation // paths
	hazard   string                  // why the trace may never hit, as far as files tell
	document cellgraph.Digest

	values values
	done   chan struct{} // closed when values are there
	report *CellReport
}

// patience is how long a run that is interrupted, or a kernel that ends, waits for the capture of its last cell.
const patience = 30 * time.Second

// capture takes from the kernel and the folder what a cell left.
func (s *Session) capture(ctx context.Context, o *seen) (e cellgraph.Effect, err error) {
	r, err := s.take(ctx, o, false)
	if err != nil {
		return e, err
	}
	r.values = s.receive(ctx, r)
	return s.effect(r)
}

// take takes what a cell left, but for the values of its variables if these may
// come late.
func (s *Session) take(ctx context.Context, o *seen, late bool) (r *recording, err error) {
	r = &recording{o: o, spool: filepath.Join(s.cfg.Runtime, "spool"), holder: s.state.Group}
	if late {
		if r.late, err = agent.Listen(r.spool + ".late"); err != nil {
			return nil, err
		}
	}
	if o.captured, err = s.agent.After(ctx, r.spool, s.mates(o), true, r.late, s.lends()); err != nil {
		r.hangUp()
		return nil, err
	}
	if !o.captured.Late {
		r.hangUp()
		r.late = nil
	}
	for _, name := range o.captured.Unused {
		delete(o.reads.Ambient, name)
		delete(o.reads.Reads, name)
	}
	if o.after, err = s.volume.scan(); err != nil {
		r.hangUp()
		return nil, err
	}
	o.changed = s.touched(o)
	if err := s.takeOutside(ctx, r); err != nil {
		r.hangUp()
		return nil, err
	}
	return r, nil
}

// lends reports whether a copy of the kernel may leave large values in its memory, for us to read there. It is tried once for each kernel.
func (s *Session) lends() bool {
	if pid := s.kernel.PID(); pid != s.tried {
		s.tried, s.unreadable = pid, !agent.Readable(pid)
	}
	return !s.unreadable
}

// hangUp ends waiting for the copy. It may be called again, by any goroutine.
func (r *recording) hangUp() {
	if r.late != nil {
		r.late.HangUp()
	}
}

// takeOutside stores what a cell left outside of its variables.
func (s *Session) takeOutside(ctx context.Context, r *recording) (err error) {
	o, e := r.o, &r.effect
	e.Deleted, e.Modules, e.Rebound, e.Tied = o.captured.Deleted, o.captured.Modules, o.captured.Bound, o.captured.Tied
	for _, a := range o.captured.Ambient {
		payload, err := s.cfg.Store.PutBlob(ctx, a.State)
		if err != nil {
			return fmt.Errorf("store %s: %w", a.Name, err)
		}
		e.Ambient = append(e.Ambient, cellgraph.Ambient{Name: a.Name, ID: cellgraph.Combine("ambient", payload.String()), Payload: payload})
	}
	if e.Files, err = captureFiles(ctx, s.world, o.changed); err != nil {
		return err
	}
	if e.Widgets, err = s.storeWidgets(ctx, o.result.Models); err != nil {
		return err
	}
	tagged, err := tagDisplays(o.result.Outputs, o.result.DisplayIDs)
	if err != nil {
		return err
	}
	outputs, err := json.Marshal(tagged)
	if err != nil {
		return fmt.Errorf("store outputs: %w", err)
	}
	if e.Outputs, err = s.cfg.Store.PutBlob(ctx, outputs); err != nil {
		return fmt.Errorf("store outputs: %w", err)
	}
	return nil
}

// receive stores the values of a cell's variables, once they are known. It may
// run beside the session.
func (s *Session) receive(ctx context.Context, r *recording) (v values) {
	defer os.Remove(r.spool)
	o, lent := r.o, false
	if r.late != nil {
		defer r.late.Close()
		left, err := r.late.Read()
		if err != nil {
			v.err = err
			return v
		}
		o.captured.Take(left)
		lent = left.Lent()
	}
	if v.holds, v.err = s.paths(o, r.spool); v.err != nil {
		return v
	}
	if v.groups, v.err = s.groups(ctx, o.captured.Groups, o.binds, r.holder, r.spool); v.err != nil {
		return v
	}
	if v.result, v.err = s.result(ctx, o.captured.Result, r.holder, r.spool); v.err != nil {
		return v
	}
	if lent {
		v.err = r.late.Ended()
	}
	return v
}

// effect is what a cell left, all of it, as a delta to the state before.
func (s *Session) effect(r *recording) (cellgraph.Effect, error) {
	if r.values.err != nil {
		return r.effect, r.values.err
	}
	o, e := r.o, &r.effect
	e.Groups, e.Result, o.holds = r.values.groups, r.values.result, r.values.holds
	e.Opaque, e.Classes = o.captured.Uncaptured, o.captured.Made
	for _, u := range e.Opaque {
		for i, path := range u.Open {
			u.Open[i] = s.volume.name(path)
		}
	}
	return *e, nil
}

// record turns what was seen of a cell into a trace and an effect, and stores
// both; at once, or when the values of its variables are known: see join.
func (s *Session) record(ctx context.Context, o *seen, count int, c *CellReport) error {
	r, err := s.take(ctx, o, true)
	if err != nil {
		return err
	}
	r.count, r.report = count, c
	r.code, r.source, o.cache = s.code(o.cell), s.entered(o.cell), s.step(o.cell.Step).Cache
	r.outside, r.touched, r.hazard = s.outside(o), s.touchedPaths(o), s.hazard(o)
	if r.document, err = s.document(ctx); err != nil {
		r.hangUp()
		return err
	}
	s.keepPrior(o, &r.effect)
	s.outputs[o.cell.ID] = r.effect.Outputs
	if r.late == nil {
		r.values = s.receive(ctx, r)
		return s.complete(ctx, r)
	}
	held := map[string]*cellgraph.Group{}
	for _, name := range s.state.Names() {
		held[name] = s.state.Group(name)
	}
	r.holder = func(name string) *cellgraph.Group { return held[name] }
	r.done = make(chan struct{})
	s.pending = r
	go func() {
		defer close(r.done)
		r.values = s.receive(context.WithoutCancel(ctx), r)
	}()
	return nil
}

// join waits until the cell that ran last is recorded. All that asks for the
// session's state comes after it, but for the start of a cell of which the
// store knows nothing: see ahead.
func (s *Session) join(ctx context.Context) error {
	r := s.pending
	if r == nil {
		return nil
	}
	<-r.done
	s.pending = nil
	return s.complete(ctx, r)
}

// ripe waits until join need not wait, or ctx ends: the error is then its cause.
func (s *Session) ripe(ctx context.Context) error {
	if s.pending == nil {
		return nil
	}
	select {
	case <-s.pending.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ripeShown is ripe with progress.
func (s *Session) ripeShown(ctx context.Context) error {
	select {
	case <-s.pending.done:
		return nil
	default:
	}
	s.stands(s.pending.o.cell.ID, "is being saved")
	return s.ripe(ctx)
}

// stands shows what goes on with a cell.
func (s *Session) stands(id, status string) {
	cells := s.cfg.Outline.Cells
	s.progress(slices.IndexFunc(cells, func(c notebook.CodeCell) bool { return c.ID == id }), len(cells), id, status)
}

// complete ends record.
func (s *Session) complete(ctx context.Context, r *recording) error {
	o, c := r.o, r.report
	effect, err := s.effect(r)
	if err != nil {
		s.unreadable = s.unreadable || errors.Is(err, agent.ErrMemory)
		return err
	}
	t := cellgraph.Trace{Code: r.code, Cell: o.cell.ID, Step: o.cell.Step, Seconds: o.seconds, Created: time.Now().UTC(),
		Bound: o.reads.Binds, Effect: effect, Observed: slices.Concat(s.names(o, &effect), r.outside, s.variables(o), r.touched),
		Uncached: cmp.Or(s.uncached(o), r.hazard), Text: text(o), Hidden: o.captured.Hidden}
	if s.varies(ctx, &t) {
		c.Why += "; it does not do the same each time"
	}
	c.leaves(&t)
	s.executed[s.state.Passed()] = true
	s.pass(o.cell, r.source, r.count, t)
	s.past[len(s.past)-1].shows = showsResult(o.result.Outputs)
	s.live = s.state.Clone()
	if err := s.anchor(o.cell, t, Ran, r.document); err != nil {
		return err
	}
	c.snapshot = s.parent.String()
	if why := leftRunning(o); why != "" { // it may change anything from here on
		s.blind = "cell " + o.cell.ID + " " + why
	}
	return s.remember(o.cell, t)
}

// ahead reports whether a cell may begin though the one before it is not
// recorded yet. Whatever that left, it is no hit, for its code has no trace;
// and nothing of the state is needed before it has run.
func (s *Session) ahead(ctx context.Context, cell notebook.CodeCell) bool {
	r := s.pending
	if r == nil || s.blind != "" || leftRunning(r.o) != "" || r.code == s.code(cell) {
		return false
	}
	if traces, err := s.cfg.Store.Traces(ctx, s.code(cell)); err != nil || len(traces) > 0 {
		return false
	}
	files := map[string]cellgraph.FileChange{}
	for _, f := range slices.Concat(s.state.Files(), r.effect.Files) {
		files[f.Path] = f
	}
	for path, f := range files { // what a person has changed meanwhile is to be noted first
		if now, err := s.world.found(path); err != nil || now != f {
			return false
		}
	}
	return true
}

// opaqueReads adds to what a cell reads what it lets go of: letting go of an
// open file or a generator does something.
func (s *Session) opaqueReads(o *seen) {
	for _, name := range o.reads.Binds {
		if _, opaque := s.state.IsOpaque(name); opaque {
			o.reads.Reads[name] = true
		}
	}
}

// catchUp is join for a run from top to bottom.
func (s *Session) catchUp(ctx context.Context) error {
	r := s.pending
	if r == nil {
		return nil
	}
	if err := s.ripeShown(ctx); err != nil {
		return err // lastly comes
	}
	if err := s.join(ctx); err != nil {
		err = s.lose(ctx, r.o.cell, err)
		s.noteLost(ctx, r.o.cell, r.report)
		return err
	}
	return s.confused(r.o)
}

// confused gives up restoring if a cell has bound _ to what may be the result of one that was restored.
func (s *Session) confused(o *seen) error {
	if s.mistaken(o) {
		return fmt.Errorf("%w: cell %s binds _ to what a restored cell may have shown", ErrRestore, o.cell.ID)
	}
	return nil
}

// varies reports whether an earlier run of a cell, which observed the same,
// left something else; outputs alone do not count.
func (s *Session) varies(ctx context.Context, t *cellgraph.Trace) bool {
	traces, err := s.cfg.Store.Traces(ctx, t.Code)
	if err != nil {
		return false // it is only shown
	}
	key, id := t.Key(), t.Effect.ID()
	return slices.ContainsFunc(traces, func(old cellgraph.Trace) bool { return old.Key() == key && old.Effect.ID() != id })
}

// mates are the names that shared with what the cell may have touched before
// it ran: it may have changed them in place and then have bound the name by
// which it reached them to something else.
func (s *Session) mates(o *seen) []string {
	names := slices.Concat(slices.Collect(maps.Keys(o.reads.Reads)), o.reads.Binds)
	return s.matesOf(slices.DeleteFunc(names, func(n string) bool { return s.state.Group(n) == nil }))
}

// matesOf are the names that share with any of names, sorted.
func (s *Session) matesOf(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, s.state.Mates(name)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pass moves the state past a cell.
func (s *Session) pass(cell notebook.CodeCell, source cellgraph.Entered, count int, t cellgraph.Trace) {
	p := passed{cell: cell, count: count, trace: t}
	if !s.interactive { // cells are replayed only where nobody can look
		p.pre = s.state.Clone()
	}
	s.past = append(s.past, p)
	s.state.Apply(t)
	s.state.Enter(source, t.Key(), t.Effect.Outputs)
}
