package live

import (
	"context"

	"kedge/session"
)

// question asks for what is recorded.
type question struct {
	comm string
	said said
}

// maxAsks is how many questions may wait; more are not answered.
const maxAsks = 64

// sizes are the bytes of all snapshots of the notebook.
type sizes struct{ logical, unique int64 }

// recalls are the types of what asks for something recorded.
var recalls = map[string]bool{"log": true, "show": true, "delete": true}

// recall answers what asks for something recorded.
func (d *desk) recall(ctx context.Context, s said) map[string]any {
	done := map[string]any{"type": "done", "id": s.ID, "ok": true, "reason": ""}
	store, path, err := d.stored(ctx)
	if err == nil {
		switch s.Type {
		case "log":
			done["log"], err = d.archive.Log(ctx, store, path)
		case "show":
			done["show"], err = d.archive.Show(ctx, store, s.Snapshot)
		case "delete":
			if err = d.archive.Delete(ctx, store, path, s.Snapshot); err == nil {
				d.recorded()
			}
		}
	}
	if err != nil {
		done["ok"], done["reason"] = false, err.Error()
	}
	return done
}

// stored is the store that the archive reads, and the notebook that is asked for.
func (d *desk) stored(ctx context.Context) (store session.Store, path string, err error) {
	path = d.path()
	if d.opening.open == nil || d.archive == nil || path == "" {
		return nil, "", errNoNotebook
	}
	_, err = d.opening.get(ctx, path)
	return d.opening.store, path, err
}

// measure sums the snapshots up; what cannot be read has no size.
func (d *desk) measure(ctx context.Context) sizes {
	if d.sizes == nil {
		var of sizes
		if store, path, err := d.stored(ctx); err == nil {
			of.logical, of.unique, _ = d.archive.Sizes(ctx, store, path)
		}
		d.sizes = &of
	}
	return *d.sizes
}
