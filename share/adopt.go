package share

import (
	"context"
	"errors"
	"fmt"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// Here are the payloads of a manifest that a store has by itself, before
// anything is fetched.
func Here(ctx context.Context, store *snapshotter.Store, m *Manifest) (map[cellgraph.Digest]bool, error) {
	here := map[cellgraph.Digest]bool{}
	if m.State == nil {
		return here, nil
	}
	_, traces, err := m.State.read(m)
	if err != nil {
		return nil, err
	}
	for i := range traces {
		for _, id := range snapshotter.Payloads(&traces[i]) {
			if here[id], err = store.HasBlob(ctx, id); err != nil {
				return nil, err
			}
		}
	}
	return here, nil
}

// Adopt makes the state of a manifest, which was fetched, one that cells of
// this home may be restored from. The caller has asked whether the author is
// trusted; here is what [Here] said before.
func Adopt(ctx context.Context, store *snapshotter.Store, author Key, own bool, m *Manifest, here map[cellgraph.Digest]bool, env Environment) error {
	if m.State == nil {
		return nil
	}
	_, traces, err := m.State.read(m)
	if err != nil {
		return err
	}
	settle(traces, m.State, env)
	err = store.Adopt(ctx, snapshotter.Adopted{Author: author, Own: own, Traces: traces, Of: m.State.Of, Snapshot: []byte(m.State.Body), Before: here})
	if errors.Is(err, snapshotter.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err) // it was not in the manifest
	}
	if err != nil {
		return fmt.Errorf("take over its state: %w", err)
	}
	return nil
}

// LookInto lists what the values of a manifest name. Unlike what the manifest
// says of itself, it is read from the values.
func LookInto(ctx context.Context, m *Manifest, from Source) ([]string, error) {
	if m.State == nil {
		return []string{}, nil
	}
	_, traces, err := m.State.read(m)
	if err != nil {
		return nil, err
	}
	return Imports(traces, func(id cellgraph.Digest) ([]byte, error) { return Read(ctx, m, from, id, maxStream) })
}
