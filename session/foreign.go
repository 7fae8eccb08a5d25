package session

import (
	"context"

	"kedge/cellgraph"
	"kedge/notebook"
)

// Everything is code that may do anything to any name: what Foreign is told of
// callbacks and threads, whose code is not known.
const Everything = "globals()"

// Foreign tells that code comes next which is no cell of a step: a console's,
// a skipped cell's, a widget's callback. What it reaches is looked at before
// the next cell of a step is looked up. After it has run EndForeign is called.
func (n *Interactive) Foreign(ctx context.Context, code string) {
	s := n.s
	n.last = asked{}
	if s.blind != "" {
		return
	}
	var err error
	if n.dirty == nil {
		n.dirty = &seen{cell: notebook.CodeCell{Cell: notebook.Cell{Source: code}}}
		err = s.announce(ctx, n.dirty)
	} else {
		n.dirty.cell.Source += "\n" + code
		reads, e := s.agent.More(ctx, code)
		for name, bound := range reads.Reads {
			n.dirty.reads.Reads[name] = bound
		}
		n.dirty.reads.All = n.dirty.reads.All || reads.All
		err = e
	}
	n.asked++
	if err == nil {
		err = s.beginWatch(ctx, n.dirty, n.asked)
	}
	if err != nil {
		n.lose("watch what is no cell of a step", err)
	}
}

// EndForeign tells that the code of the last Foreign has run: what happens in
// the kernel from here on is not its doing.
func (n *Interactive) EndForeign() {
	if n.dirty == nil || n.s.blind != "" {
		return
	}
	if err := n.s.endWatch(n.dirty); err != nil {
		n.lose("watch what is no cell of a step", err)
	}
}

// settle brings the state up to what foreign code has left.
func (n *Interactive) settle(ctx context.Context) {
	s, o := n.s, n.dirty
	n.dirty = nil
	if o == nil || s.blind != "" {
		return
	}
	effect, err := s.capture(ctx, o)
	if err != nil {
		n.lose("look at what is no cell of a step", err)
		return
	}
	t := cellgraph.Trace{Code: cellgraph.Combine("foreign", o.cell.Source), Effect: effect}
	t.Observed, t.Hidden = s.names(o, &effect), o.captured.Hidden
	s.state.Apply(t)
	s.state.Enter(cellgraph.Entered{Code: t.Code, Source: o.cell.Source, Defines: true}, cellgraph.Combine("at", s.world.now().String()), effect.Outputs) // what it showed is not known
	s.past = append(s.past, passed{cell: o.cell, trace: t})
	s.live = s.state.Clone()
	if why := leftRunning(o); why != "" {
		s.blind = "code outside the steps " + why
	}
}
