package live

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"kedge/session"
)

// Wish is what a page wants to share: a snapshot, or, without that, the newest of a cell.
type Wish struct {
	Snapshot, Cell string
	NoState        bool // the notebook, its outputs and the files only
}

// Publisher shares snapshots of the notebook at path in a store that Open has opened. It may be called from any goroutine.
type Publisher interface {
	// Offer says what would leave the machine. Nothing does before Publish is called.
	Offer(ctx context.Context, store session.Store, path string, w Wish) (Offer, error)
}

// Offer is what a person is shown before it is shared: exactly that is.
type Offer interface {
	Shown() any
	// Publish makes a link, which is good for that time from now, such as 7d, to whoever has reader's key; "": to whoever has it.
	Publish(ctx context.Context, expires, reader string) (any, error)
}

// offers are the types of what asks for something that may take long, beside the desk. "publish" is about what the last
// "offer" of the same page has shown.
var offers = map[string]bool{"offer": true, "publish": true}

// maxOffers is how many of these are done at a time.
const maxOffers = 4

// errNothingShown says that a page wants to publish what it has not seen.
var errNothingShown = errors.New("nothing was shown that could be shared")

// offering does what is asked beside the desk, and answers it. The desk goes on.
func (d *desk) offering(ctx context.Context, g *errgroup.Group, q question) {
	begun := g.TryGo(func() error {
		d.answer(q.comm, d.offer(ctx, q.comm, q.said))
		return nil
	})
	if !begun {
		d.answer(q.comm, map[string]any{"type": "done", "id": q.said.ID, "ok": false, "reason": "other snapshots are being looked at; try again"})
	}
}

func (d *desk) offer(ctx context.Context, comm string, s said) map[string]any {
	done := map[string]any{"type": "done", "id": s.ID, "ok": true, "reason": ""}
	var err error
	if s.Type == "offer" {
		err = d.present(ctx, comm, s, done)
	} else {
		err = d.publish(ctx, comm, s, done)
	}
	if err != nil {
		done["ok"], done["reason"] = false, err.Error()
	}
	return done
}

func (d *desk) present(ctx context.Context, comm string, s said, done map[string]any) error {
	d.shown(comm, s.ID, nil)
	store, path, err := d.stored(ctx)
	if err != nil {
		return err
	}
	if d.publisher == nil {
		return errNothingShown
	}
	one, err := d.publisher.Offer(ctx, store, path, Wish{s.Snapshot, s.Cell, s.NoState})
	if err != nil {
		return err
	}
	done["offer"] = one.Shown()
	d.shown(comm, s.ID, one)
	return nil
}

// shown keeps what a page is shown by its number, in the place of what it was shown before.
func (d *desk) shown(comm string, id int, one Offer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.pages[comm]; p != nil && id >= p.offered {
		p.offered, p.offer = id, one
	}
}

func (d *desk) publish(ctx context.Context, comm string, s said, done map[string]any) error {
	d.mu.Lock()
	var one Offer
	if p := d.pages[comm]; p != nil && p.offered == s.Offer {
		one, p.offer = p.offer, nil
	}
	d.mu.Unlock()
	if one == nil {
		return errNothingShown
	}
	link, err := one.Publish(ctx, s.Expires, s.Reader)
	done["link"] = link
	return err
}
