package live

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/notebook"
	"kedge/session"
)

// quietFor is how long no cell has ended before the outlook is asked for again: Run All ends many in a row.
const quietFor = 120 * time.Millisecond

// desk tells the pages that have the notebook open how its cells stand.
type desk struct {
	opening *opening
	goOn    Continue
	path    func() string // of the notebook; "" while it is not known
	version string
	wake    chan struct{}

	mu        sync.Mutex
	pages     map[string]*page // by the id of their comm
	order     []string         // their ids, oldest first
	became    []became         // what pages have not been told yet
	ended     time.Time        // when a cell last ended, or something was recorded; zero if all pages know
	outcomes  map[string]outcome
	running   string // the cell that really runs, "" if none
	notice    string // what is to be said of the notebook as a whole
	asks      []question
	archive   Archive
	publisher Publisher

	glance     *session.Glance // the desk's own goroutine's, as what follows
	normaliser *agent.Normaliser
	sizes      *sizes // nil if they may have changed
}

// page is one tab that has the notebook open.
type page struct {
	comm    string
	say     kernel.Say
	greeted bool
	refused string
	seq     int
	ids     []string
	cells   map[string]pageCell
	auto    bool
	changed bool  // since it was last told
	offered int   // the number of the offer that it was shown last
	offer   Offer // that, until it is published
}

// became is what has just become of a cell.
type became struct {
	Type  string  `json:"type"`
	Cell  string  `json:"cell"`
	State string  `json:"state"`
	Why   string  `json:"reason"`
	Saved float64 `json:"saved_seconds"`
}

func newDesk(o *opening, path func() string, version string) *desk {
	return &desk{opening: o, path: path, version: version, wake: make(chan struct{}, 1), pages: map[string]*page{}, outcomes: map[string]outcome{}}
}

func (d *desk) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// open says whether a page is there.
func (d *desk) open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pages) > 0
}

func (d *desk) enter(comm string, s said, say kernel.Say) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.order) == maxPages { // the oldest is most likely gone: a page that is reloaded says no goodbye
		d.drop(d.order[0])
	}
	d.drop(comm)
	d.order = append(d.order, comm)
	d.pages[comm] = &page{comm: comm, say: say, refused: s.refusal(), cells: map[string]pageCell{}}
	d.signal()
}

// drop forgets a page. d.mu is held.
func (d *desk) drop(comm string) {
	delete(d.pages, comm)
	d.order = slices.DeleteFunc(d.order, func(id string) bool { return id == comm })
}

func (d *desk) leave(comm string) kernel.Fate {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pages[comm] == nil {
		return kernel.Passes
	}
	d.drop(comm)
	return kernel.Taken
}

// hear takes what a page says.
func (d *desk) hear(comm string, s said) kernel.Fate {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pages[comm]
	switch {
	case p == nil:
		return kernel.Passes
	case p.refused != "":
		return kernel.Taken
	case errands[s.Type]:
		return kernel.Waits
	case s.Type == "cells":
		p.take(s)
	case (recalls[s.Type] || offers[s.Type]) && len(d.asks) < maxAsks:
		d.asks = append(d.asks, question{comm, s})
	case s.Type == "look":
		p.changed = true
		d.ended = time.Now().Add(-quietFor)
	}
	d.signal()
	return kernel.Taken
}

// take lays what has changed over the page's cells. What is too much is not looked at.
func (p *page) take(s said) {
	p.seq, p.auto, p.changed = s.Seq, s.Auto, true
	for _, c := range s.Cells {
		p.cells[c.ID] = c
	}
	if s.Order != nil {
		p.ids = s.Order
	}
	known := make(map[string]pageCell, len(p.ids))
	size := 0
	for i, id := range p.ids {
		c, ok := p.cells[id]
		size += len(c.Source)
		if !ok || i == maxCells || size > maxText {
			p.ids = p.ids[:i]
			break
		}
		known[id] = c
	}
	p.cells = known
}

// begins tells that a cell really runs.
func (d *desk) begins(cell, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = cell
	d.tell(became{"became", cell, "running", why, 0})
}

// rests tells that no cell runs.
func (d *desk) rests() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.ended = "", time.Now()
	d.signal()
}

// ends tells what became of a cell.
func (d *desk) ends(o outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = time.Now()
	d.outcomes[o.id] = o
	if o.answer.Status == session.Restored {
		d.tell(became{"became", o.id, "restored", o.answer.Why, o.answer.SavedSeconds})
	}
	d.signal()
}

// tell lets the pages know soon. d.mu is held.
func (d *desk) tell(b became) {
	if len(d.pages) == 0 {
		return
	}
	d.became = append(d.became, b)
	d.signal()
}

// recorded tells that something was made durable.
func (d *desk) recorded() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = time.Now()
	d.signal()
}

// anew tells what a fresh kernel has in the place of the former.
func (d *desk) anew(restored []outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.ended, d.outcomes = "", time.Now().Add(-quietFor), map[string]outcome{}
	for _, o := range restored {
		d.outcomes[o.id] = o
	}
	d.signal()
}

// says sets what is to be said of the notebook as a whole.
func (d *desk) says(notice string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.notice != notice {
		d.notice, d.ended = notice, time.Now()
		d.signal()
	}
}

// cells are those of a page, by id.
func (d *desk) cells(comm string) map[string]pageCell {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.pages[comm]; p != nil {
		return maps.Clone(p.cells)
	}
	return nil
}

// around are the cells, in order, of the page that has this one; of several, the one that was opened last.
func (d *desk) around(cell string) []notebook.Cell {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, comm := range slices.Backward(d.order) {
		p := d.pages[comm]
		if _, has := p.cells[cell]; has {
			return p.list()
		}
	}
	return nil
}

// answer answers an errand of a page's.
func (d *desk) answer(comm string, content map[string]any) {
	d.mu.Lock()
	p := d.pages[comm]
	d.mu.Unlock()
	if p != nil {
		p.send(content)
	}
}

func (p *page) send(data any) {
	p.say("comm_msg", map[string]any{"comm_id": p.comm, "data": data})
}

// run tells the pages until ctx ends.
func (d *desk) run(ctx context.Context) {
	var beside errgroup.Group
	beside.SetLimit(maxOffers)
	defer func() {
		_ = beside.Wait() // what it does answers for itself
		if d.normaliser != nil {
			d.normaliser.Close()
		}
	}()
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-timer.C:
		}
		if again := d.turn(ctx, &beside); again > 0 {
			timer.Reset(again)
		}
	}
}

// turn tells the pages what is new. It returns when there is more to tell, 0 if there is not.
func (d *desk) turn(ctx context.Context, beside *errgroup.Group) (again time.Duration) {
	d.mu.Lock()
	news, asks := d.became, d.asks
	d.became, d.asks = nil, nil
	all := false
	if !d.ended.IsZero() {
		if again = quietFor - time.Since(d.ended); again <= 0 {
			all, again, d.ended = true, 0, time.Time{}
		}
	}
	known := standing{maps.Clone(d.outcomes), d.running, d.notice}
	var greet, changed []*page
	var pages []*page
	for _, comm := range d.order {
		p := d.pages[comm]
		if !p.greeted {
			p.greeted = true
			greet = append(greet, p)
		}
		if p.refused != "" {
			continue
		}
		pages = append(pages, p)
		if p.changed || all && p.seq > 0 {
			p.changed = false
			changed = append(changed, &page{comm: p.comm, say: p.say, seq: p.seq, ids: p.ids, cells: p.cells, auto: p.auto})
		}
	}
	d.mu.Unlock()
	for _, p := range greet {
		p.send(map[string]any{"type": "hello", "protocol": newest, "oldest": oldest, "version": d.version, "refused": p.refused, "notebook": d.path(), "continue": d.goOn.of(d.path())})
	}
	for _, b := range news {
		for _, p := range pages {
			p.send(b)
		}
	}
	for _, p := range changed {
		if all {
			d.forget()
		}
		p.send(d.states(ctx, p, known))
	}
	for _, q := range asks {
		if offers[q.said.Type] {
			d.offering(ctx, beside, q)
			continue
		}
		d.answer(q.comm, d.recall(ctx, q.said))
	}
	return again
}

// forget lets what may have changed in the store be looked up again.
func (d *desk) forget() {
	d.sizes = nil
	if d.glance != nil {
		d.glance.Forget()
	}
}
