package live

import (
	"context"
	"sync"

	"kedge/session"
)

// opening opens the store for a notebook, once: for its session, and for the outlook on its cells, whichever comes first.
type opening struct {
	open func(ctx context.Context, path string) (session.Config, func() error, error)
	told func() // called when something was recorded

	once    sync.Once
	cfg     session.Config
	store   session.Store // that of cfg as it was opened
	closing func() error
	err     error
}

// get returns the configuration of a session; its store tells when something was recorded.
func (o *opening) get(ctx context.Context, path string) (session.Config, error) {
	o.once.Do(func() {
		o.cfg, o.closing, o.err = o.open(context.WithoutCancel(ctx), path)
		if o.store = o.cfg.Store; o.store != nil {
			o.cfg.Store = session.Recording{Store: o.cfg.Store, Told: o.told}
		}
	})
	return o.cfg, o.err
}

// close closes the store, if it was opened. Nothing of it is used any more.
func (o *opening) close() error {
	o.once.Do(func() {})
	if o.closing == nil {
		return nil
	}
	return o.closing()
}
