package session

import (
	"context"
	"errors"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
)

// Everything is code that may do anything to any name: what Foreign is told of
// callbacks and threads, whose code is not known.
const Everything = "globals()"

// foreign is what ran since the last cell of a step and was no cell of one. It
// is watched as if it were one cell: what is open and alive is looked at before
// the first of it and after the last, which costs more than most of it.
type foreign struct {
	seen
	mark    uint64           // of its records
	records []observe.Record // its own
	between []observe.Record // of what went on meanwhile
	lost    bool
	past    bool // it begins with what ran before anybody watched
}

// add takes in more code, which reads this.
func (f *foreign) add(code string, reads agent.Reads) {
	f.cell.Source += "\n" + code
	for name, bound := range reads.Reads {
		f.reads.Reads[name] = bound
	}
	f.reads.All = f.reads.All || reads.All
}

// hear takes the records so far.
func (f *foreign) hear(ring *observe.Ring) error {
	const most = 1 << 20
	records, lost, err := ring.Read()
	for _, r := range records {
		if r.Cell == 0 {
			f.between = append(f.between, r)
		} else {
			f.records = append(f.records, r)
		}
	}
	f.lost = f.lost || lost || len(f.records)+len(f.between) > most
	return err
}

// account closes the account of all of it.
func (f *foreign) account(ctx context.Context, s *Session) error {
	err := f.hear(s.ring)
	return errors.Join(err, s.account(&f.seen, f.records, f.lost), s.background(ctx, f.between, f.lost))
}

// Foreign tells that code comes next which is no cell of a step: a console's,
// a skipped cell's, a widget's callback. What it reaches is looked at before
// the next cell of a step is looked up. After it has run EndForeign is called.
func (n *Interactive) Foreign(ctx context.Context, code string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.s
	n.last = asked{}
	if s.blind != "" {
		return
	}
	var err error
	if n.dirty == nil {
		n.asked++
		n.dirty = &foreign{seen: seen{cell: notebook.CodeCell{Cell: notebook.Cell{Source: code}}}, mark: uint64(n.asked)}
		if err = s.announce(ctx, &n.dirty.seen); err == nil {
			err = s.beginWatch(ctx, &n.dirty.seen, n.asked)
		}
	} else {
		reads, e := s.agent.More(ctx, code)
		n.dirty.add(code, reads)
		err = e
		s.ring.Mark(n.dirty.mark)
	}
	if err != nil {
		n.lose("watch what is no cell of a step", err)
	}
}

// EndForeign tells that the code of the last Foreign has run: what happens in
// the kernel from here on is not its doing.
func (n *Interactive) EndForeign() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dirty == nil || n.s.blind != "" {
		return
	}
	n.s.ring.Mark(0)
	if err := n.dirty.hear(n.s.ring); err != nil {
		n.lose("watch what is no cell of a step", err)
	}
}

// settle brings the state up to what foreign code has left.
func (n *Interactive) settle(ctx context.Context) {
	s, f := n.s, n.dirty
	n.dirty = nil
	if f == nil || s.blind != "" {
		return
	}
	o := &f.seen
	s.opaqueReads(o)
	if err := f.account(ctx, s); err != nil {
		n.lose("watch what is no cell of a step", err)
		return
	}
	if f.past {
		o.left = append(o.left, strays(o.access.Started)...)
	}
	effect, err := s.capture(ctx, o)
	if err != nil {
		n.lose("look at what is no cell of a step", err)
		return
	}
	t := cellgraph.Trace{Code: cellgraph.Combine("foreign", o.cell.Source), Effect: effect}
	if f.past {
		if t.Code = s.pastCode(); o.captured.Hidden {
			n.doubt = "code that ran before the notebook had step tags " + o.captured.Refused[0] + "; restart the kernel"
		}
	}
	t.Observed, t.Hidden = append(s.names(o, &effect), s.modules(o)...), o.captured.Hidden
	s.state.Apply(t)
	s.state.Enter(cellgraph.Entered{Code: t.Code, Source: o.cell.Source, Defines: true}, cellgraph.Combine("at", s.world.now().String()), effect.Outputs) // what it showed is not known
	s.past = append(s.past, passed{cell: o.cell, trace: t})
	s.live = s.state.Clone()
	if why := leftRunning(o); why != "" {
		s.blind = "code outside the steps " + why
	}
}
