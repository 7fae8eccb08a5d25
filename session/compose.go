package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// maxReady is how many bytes of outputs may wait for the requests that they answer.
const maxReady = 64 << 20

// hit is a cell that is about to be restored in a live kernel.
type hit struct {
	cell    notebook.CodeCell
	trace   *cellgraph.Trace
	outputs []json.RawMessage // as the document has them
	models  []kernel.Model    // of the widgets, as captured
	// As front ends get them: widgets have ids of their own there.
	shown    []json.RawMessage
	widgets  []kernel.Model
	displays map[int]string
}

// ready is a cell that the kernel is past before it is asked for.
type ready struct {
	asked  asked
	answer Answer
}

// restore restores a cell and, with it, those behind it that can be: what
// holds after the last of them is laid over the kernel once. The error says why
// the cell itself could not be restored; then all is as it was.
func (n *Interactive) restore(caller context.Context, cell notebook.CodeCell, t *cellgraph.Trace, next func() (notebook.CodeCell, bool), began time.Time) (Answer, error) {
	ctx := context.WithoutCancel(caller)
	first, err := n.prepare(ctx, cell, t)
	if err != nil {
		return Answer{}, err
	}
	hits, heard := n.behind(caller, first, next)
	answers, err := n.apply(ctx, hits)
	if err != nil && len(hits) > 1 {
		n.alone = len(hits) - 1
		answers, err = n.apply(ctx, hits[:1])
	}
	if err != nil {
		n.last = heard[0]
		return Answer{}, err
	}
	took := time.Since(began).Seconds() / float64(len(answers))
	for i := range answers {
		answers[i].SavedSeconds = max(0, hits[i].trace.Seconds-took)
		if i > 0 {
			n.ready = append(n.ready, ready{heard[i], answers[i]})
		}
	}
	n.last = heard[len(answers)-1]
	return answers[0], nil
}

// readied is the answer to a cell that the kernel is past already.
func (n *Interactive) readied(cell notebook.CodeCell) (Answer, bool) {
	if len(n.ready) == 0 {
		return Answer{}, false
	}
	r := n.ready[0]
	if n.ready = n.ready[1:]; r.asked.cell != cell.ID {
		n.ready = nil
		n.forget("the kernel is past cells that were not asked for; restart the kernel")
		return Answer{}, false
	}
	return r.answer, true
}

// behind is first and the cells behind it that can be restored with it, as far
// as each holds in the state that those before it leave. Nothing has changed
// when it returns.
func (n *Interactive) behind(caller context.Context, first hit, next func() (notebook.CodeCell, bool)) ([]hit, []asked) {
	ctx := context.WithoutCancel(caller)
	s, hits, heard := n.s, []hit{first}, []asked{n.last}
	if n.alone > 0 {
		n.alone--
		return hits, heard
	}
	if next == nil {
		return hits, heard
	}
	state, past, stands := s.state, len(s.past), s.world.stands()
	defer func() {
		s.use(state)
		s.past = s.past[:past]
		s.world.stand(stands)
	}()
	s.use(state.Clone())
	bytes := first.size()
	for caller.Err() == nil && bytes < maxReady && s.blind == "" {
		last := hits[len(hits)-1]
		cellgraph.Settle(last.trace, s.world)
		s.pass(last.cell, s.entered(last.cell), 0, *last.trace)
		cell, ok := next()
		if !ok || slices.ContainsFunc(hits, func(h hit) bool { return h.cell.ID == cell.ID }) {
			break
		}
		now := n.hear(ctx, cell)
		if n.mustRun(cell, now) != "" {
			break
		}
		v := s.look(ctx, cell)
		if v.Hit == nil || !s.joins(hits, cell, v.Hit) {
			break
		}
		h, err := n.prepare(ctx, cell, v.Hit)
		if err != nil {
			break
		}
		hits, heard, bytes = append(hits, h), append(heard, now), bytes+h.size()
	}
	return hits, heard
}

// joins reports whether a cell whose trace holds behind hits can be restored together with them.
func (s *Session) joins(hits []hit, cell notebook.CodeCell, t *cellgraph.Trace) bool {
	if !composes(hits[0].trace) || !composes(t) || splits(hits, t) {
		return false
	}
	// What a cell defines leads to the text of the last cell with its code.
	return !s.entered(cell).Defines || !slices.ContainsFunc(hits, func(h hit) bool { return s.code(h.cell) == s.code(cell) })
}

// composes reports whether a trace can be restored together with others: it
// leaves the names alone that the history goes by.
func composes(t *cellgraph.Trace) bool {
	return !slices.ContainsFunc(slices.Concat(t.Effect.Rebound, t.Effect.Deleted, t.Bound), cellgraph.IsHistory)
}

// splits reports whether t touches what an earlier hit has shown as its
// result, which is a name's value or shares with it: the history has to get
// that as it was before.
func splits(hits []hit, t *cellgraph.Trace) bool {
	touched := t.Effect.Names()
	for _, name := range t.Effect.Deleted {
		touched[name] = true
	}
	return slices.ContainsFunc(hits, func(h hit) bool {
		r := h.trace.Effect.Result
		return r != nil && (touched[r.Is] || slices.ContainsFunc(r.Within, func(n string) bool { return touched[n] }))
	})
}

// outOfReach says why what a trace left cannot be laid over a live kernel, "" if it can.
func outOfReach(t *cellgraph.Trace) string {
	if len(t.Effect.Opaque) > 0 {
		u := t.Effect.Opaque[0]
		return fmt.Sprintf("%s cannot be captured (%s)", u.Name, u.Reason)
	}
	if t.Effect.Tied {
		return "what it leaves shares with what was shown before"
	}
	if name := t.Takes(); name != "" {
		return fmt.Sprintf("it binds %s, which the history goes by", name)
	}
	return ""
}

// prepare reads what a trace showed. The error says why the cell cannot be restored in a live kernel.
func (n *Interactive) prepare(ctx context.Context, cell notebook.CodeCell, t *cellgraph.Trace) (h hit, err error) {
	if why := outOfReach(t); why != "" {
		return h, errors.New(why)
	}
	h = hit{cell: cell, trace: t}
	if h.outputs, h.displays, err = n.outputs(ctx, t); err != nil {
		return h, err
	}
	if h.models, err = n.s.storedWidgets(ctx, t.Effect.Widgets); err != nil {
		return h, err
	}
	h.shown, h.widgets, err = n.anew(h.outputs, h.models)
	return h, err
}

// size is the length of what is shown, in bytes.
func (h hit) size() (bytes int) {
	for _, raw := range h.shown {
		bytes += len(raw)
	}
	return bytes
}

// outputs reads what a trace showed. The error says why it cannot be shown again.
func (n *Interactive) outputs(ctx context.Context, t *cellgraph.Trace) ([]json.RawMessage, map[int]string, error) {
	tagged, err := n.s.recorded(ctx, t.Effect.Outputs)
	if err != nil {
		return nil, nil, err
	}
	if shows(tagged, "error") {
		return nil, nil, errors.New("it ended with an exception, which the kernel would not know")
	}
	if showsResult(tagged) && !t.Effect.Result.Captured() {
		return nil, nil, errors.New("what it showed as its result was not captured")
	}
	return untagDisplays(tagged)
}

// apply makes the kernel and the folder what they are after hits, and says how
// each is answered for. An error says why that could not be done: then they are
// as they were before.
func (n *Interactive) apply(ctx context.Context, hits []hit) ([]Answer, error) {
	s := n.s
	files, err := s.stage(ctx, leave(hits))
	if err != nil {
		return nil, fmt.Errorf("its files cannot be restored: %w", err)
	}
	defer files.drop()
	before, stands := s.state, s.world.stands()
	count, err := n.lay(ctx, hits)
	s.use(before)
	if err != nil {
		s.world.stand(stands)
		return nil, fmt.Errorf("the kernel did not take it: %w", err)
	}
	if err := s.place(ctx, files); err != nil {
		n.lose("restore the files of cell "+hits[0].cell.ID, err) // the kernel is past the cell, the folder is not
		return nil, err
	}
	var answers []Answer
	for i, h := range hits {
		answers = append(answers, n.enter(ctx, h, count-len(hits)+1+i))
	}
	return answers, nil
}

// leave is what hits leave in the folder.
func leave(hits []hit) []cellgraph.FileChange {
	last := map[string]cellgraph.FileChange{}
	for _, h := range hits {
		for _, f := range h.trace.Effect.Files {
			last[f.Path] = f
		}
	}
	return slices.Collect(maps.Values(last))
}

// lay lays the state after hits over the kernel, history included. It returns
// the execution count of the last of them.
func (n *Interactive) lay(ctx context.Context, hits []hit) (count int, err error) {
	s, r, changed := n.s, agent.Restore{}, newChanges()
	var anew []string // what was shown before is not what a name is bound to anew
	for _, h := range hits {
		e := &h.trace.Effect
		cellgraph.Settle(h.trace, s.world)
		next := s.state.Clone()
		next.Apply(*h.trace)
		s.use(next)
		changed.add(e)
		anew = append(anew, e.Rebound...)
		entry := agent.Entry{Code: h.cell.Source}
		if entry.Result, err = s.shownAgain(ctx, e.Result); err != nil {
			return 0, err
		}
		r.Entered = append(r.Entered, entry)
		r.Widgets = append(r.Widgets, again(h.widgets)...)
	}
	r.Changed, r.Lost, r.Rebound = sorted(changed.inPlace), sorted(changed.lost), sorted(changed.rebound)
	return s.lay(ctx, r, anew...)
}

// enter records that the kernel is past a hit.
func (n *Interactive) enter(ctx context.Context, h hit, count int) Answer {
	s := n.s
	n.write(h.cell, h.outputs, count)
	_ = s.showWidgets(kernel.WidgetState(h.models)) // that of the file is for its next readers
	s.pass(h.cell, s.entered(h.cell), count, *h.trace)
	document, err := s.document(ctx)
	if err == nil {
		err = s.anchor(h.cell, *h.trace, Restored, document)
	}
	if err != nil {
		s.fault("record cell "+h.cell.ID, err)
	}
	return Answer{Status: Restored, Why: "nothing changed", Count: count, Snapshot: s.parent.String(),
		Outputs: renumber(h.shown, count), DisplayIDs: h.displays, Widgets: h.widgets}
}
