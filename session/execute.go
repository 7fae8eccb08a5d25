package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// ErrRestore is returned by Run when the notebook has to run straight: the
// kernel did not take the restored state, or a cell needs what restoring does
// not bring back. Running again with Config.Straight does that.
var ErrRestore = errors.New("restoring is given up")

// execute runs a cell in the kernel and records what it did.
func (s *Session) execute(ctx context.Context, cell notebook.CodeCell, count int, c *CellReport) (*RunError, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if cell.Step == "" || s.blind != "" { // nothing is recorded; the kernel holds what it holds
		res, err := s.kernel.Execute(ctx, s.request(cell))
		s.counted = res.ExecutionCount
		return s.finish(cell, count, res, err)
	}
	if err := s.bring(ctx, count); err != nil {
		return nil, fmt.Errorf("%w: the kernel did not take the state before cell %s: %w", ErrRestore, cell.ID, err)
	}
	o := &seen{cell: cell}
	doubt := s.announce(ctx, o)
	for doubt == nil {
		cells := s.missing(o.reads)
		if len(cells) == 0 {
			break
		}
		if err := s.replay(ctx, cells, count); err != nil {
			return nil, err
		}
		doubt = s.announce(ctx, o) // what came alive may reach more
	}
	if doubt == nil && (s.needsHistory(o.reads.Reads) || o.reads.All) {
		if err := s.tell(ctx); err != nil {
			return nil, fmt.Errorf("%w: cell %s may read the history: %w", ErrRestore, cell.ID, err)
		}
	}
	if why := s.beyond(o.reads); doubt == nil && why != "" {
		return nil, fmt.Errorf("%w: cell %s %s", ErrRestore, cell.ID, why)
	}
	blind, err := s.watched(ctx, o, count)
	if late := s.catchUp(ctx); late != nil {
		return nil, errors.Join(err, late)
	}
	s.opaqueReads(o)
	if o.result.StrayComm && s.reopened {
		return nil, fmt.Errorf("%w: cell %s changes a widget of a cell that was restored", ErrRestore, cell.ID)
	}
	doubt = errors.Join(doubt, blind)
	if path := s.sees(o); path != "" {
		return nil, s.foundOut(o, "finds "+path+", which an earlier run left and a restored cell took for absent")
	}
	if path := s.dates(o); path != "" {
		return nil, s.foundOut(o, "asks when "+path+" was changed, which a restored cell has made")
	}
	failure, err := s.finish(cell, count, o.result, err)
	if err != nil || failure != nil {
		return failure, err
	}
	if doubt != nil {
		return nil, s.lose(ctx, cell, doubt)
	}
	if err := s.record(ctx, o, count, c); err != nil {
		return nil, s.lose(ctx, cell, err)
	}
	if s.pending != nil {
		return nil, nil
	}
	return nil, s.confused(o)
}

// beyond says what a cell asks for that a restored cell has not left in the kernel, or "".
func (s *Session) beyond(reads agent.Reads) string {
	for i, p := range s.past {
		switch {
		case s.executed[i]:
		case reads.Failure && p.cell.RaisesException:
			return "asks for the exception of a cell that was restored"
		case reads.Beyond != "":
			return reads.Beyond + ", and others were restored"
		}
	}
	return ""
}

// request is what the kernel is asked to run for a cell.
func (s *Session) request(cell notebook.CodeCell) kernel.Request {
	return kernel.Request{Code: cell.Source, StopOnError: !cell.RaisesException, Shown: s.shown()}
}

// announce learns what a cell will read, and how the volume is before it.
func (s *Session) announce(ctx context.Context, o *seen) (err error) {
	if o.before, err = s.volume.scan(); err != nil {
		return err
	}
	o.began = time.Now()
	s.learn(o)
	absent := []string{}
	for _, u := range s.state.Opaque() {
		absent = append(absent, u.Name)
	}
	if o.reads, err = s.agent.Before(ctx, o.cell.Source, s.cfg.Stateless, absent); err != nil {
		return err
	}
	s.opaqueReads(o)
	return nil
}

// dates is a file whose times a cell may have asked for and that a restored
// cell has made: it is as old as the restore, not as that cell. "" if there is none.
func (s *Session) dates(o *seen) string {
	if !o.reads.Times {
		return ""
	}
	for i, p := range s.past {
		if s.executed[i] {
			continue
		}
		for _, f := range p.trace.Effect.Files {
			path := s.volume.path(f.Path)
			if !f.Deleted && (slices.Contains(o.access.Stat, path) || slices.Contains(o.access.Read, path)) {
				return f.Path
			}
		}
	}
	return ""
}

// foundOut gives up restoring, for what a cell that has run saw.
func (s *Session) foundOut(o *seen, saw string) error {
	why := fmt.Errorf("%w: cell %s %s", ErrRestore, o.cell.ID, saw)
	var err error
	if o.after, err = s.volume.scan(); err != nil {
		return errors.Join(why, err)
	}
	var e cellgraph.Effect
	for _, path := range s.touched(o) {
		e.Files = append(e.Files, cellgraph.FileChange{Path: path})
	}
	s.keepPrior(o, &e)
	return why
}

// lose ends restoring: what the cell did is not known, so nothing after it may hit.
func (s *Session) lose(ctx context.Context, cell notebook.CodeCell, err error) error {
	s.fault("record cell "+cell.ID, err)
	s.blind = "what cell " + cell.ID + " did could not be recorded"
	return context.Cause(ctx)
}

// finish writes what a cell put out into the document, also after a failure.
func (s *Session) finish(cell notebook.CodeCell, count int, res kernel.Result, err error) (*RunError, error) {
	if setErr := s.cfg.Document.SetOutputs(cell.Index, res.Outputs, &count); setErr != nil {
		return nil, fmt.Errorf("write outputs: %w", setErr)
	}
	if setErr := s.update(res.Displays); setErr != nil {
		return nil, fmt.Errorf("write outputs: %w", setErr)
	}
	s.show(cell.Index, res.DisplayIDs)
	if setErr := s.showWidgets(res.Widgets); setErr != nil {
		return nil, fmt.Errorf("write widgets: %w", setErr)
	}
	if len(res.Times) > 0 {
		if setErr := s.cfg.Document.SetExecution(cell.Index, res.Times); setErr != nil {
			return nil, fmt.Errorf("write outputs: %w", setErr)
		}
	}
	id := cell.ID
	switch {
	case errors.Is(err, kernel.ErrKernelDied):
		return &RunError{Cell: &id, EName: "KernelDied", EValue: s.kernel.DeathReason()}, nil
	case err != nil:
		return nil, err
	case res.Status == "error" && !cell.RaisesException:
		return &RunError{Cell: &id, EName: res.EName, EValue: res.EValue}, nil
	}
	return nil, nil
}
