package share

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// flushed is after how many bytes what was fetched is made durable: a pull that
// is cut off goes on from there.
const flushed = 64 << 20

// spare is how much room is left on the disk by a pull that stops for want of
// room: what has come has to be noted.
const spare = 8 << 20

// room says why so many of the bytes that are to come, and what it takes to
// note them, do not fit into a store: [ErrFull].
func room(store *snapshotter.Store, bytes, coming int64) error {
	free, err := store.Free()
	if err == nil && free < bytes+spare {
		err = fmt.Errorf("%d bytes are to come, and %d are free where the store is: %w; make room, such as with kedge store gc --quota, and open it again", coming, free, ErrFull)
	}
	return err
}

// Source gives the pieces of a manifest.
type Source interface {
	// Fetch calls got for each piece wanted, by its number, in any order and from
	// any goroutine. The data, which is the caller's again afterwards, is what the
	// peer says that it is; got tells whether it is, and its error ends the call.
	Fetch(ctx context.Context, wanted []int, got func(n int, data []byte) error) error
}

// Wanted are the numbers of the pieces that a store lacks, and their bytes.
func Wanted(ctx context.Context, store *snapshotter.Store, m *Manifest, blobs []cellgraph.Digest) (wanted []int, bytes int64, err error) {
	pieces := map[int]bool{}
	for _, b := range named(m, blobs) {
		for _, n := range b.Pieces {
			pieces[n] = true
		}
	}
	for n, p := range m.Pieces {
		if !pieces[n] {
			continue
		}
		has, err := store.HasExtent(ctx, p.ID)
		if err != nil {
			return nil, 0, err
		}
		if !has {
			wanted, bytes = append(wanted, n), bytes+p.Length
		}
	}
	return wanted, bytes, nil
}

// Size is the length in bytes of the pieces of blobs, all of the manifest's if blobs is nil.
func Size(m *Manifest, blobs []cellgraph.Digest) (bytes int64) {
	pieces := map[int]bool{}
	for _, b := range named(m, blobs) {
		for _, n := range b.Pieces {
			if !pieces[n] {
				pieces[n], bytes = true, bytes+m.Pieces[n].Length
			}
		}
	}
	return bytes
}

// named are those of the manifest's blobs that ids name, all if it is nil.
func named(m *Manifest, ids []cellgraph.Digest) []Blob {
	if ids == nil {
		return m.Blobs
	}
	asked := map[cellgraph.Digest]bool{}
	for _, id := range ids {
		asked[id] = true
	}
	return slices.DeleteFunc(slices.Clone(m.Blobs), func(b Blob) bool { return !asked[b.ID] })
}

// Fetch brings blobs of a manifest, all if blobs is nil, into a store: the
// pieces that it lacks, each checked before it is kept; of those that replace
// some that it has, where the source can, the parts that differ. What has come is kept
// also if the rest does not. It returns the bytes that moved; progress is told
// those of the pieces that are there.
func Fetch(ctx context.Context, store *snapshotter.Store, m *Manifest, from Source, blobs []cellgraph.Digest, progress func(done, total int64)) (moved int64, err error) {
	wanted, total, err := Wanted(ctx, store, m, blobs)
	if err != nil {
		return 0, fmt.Errorf("fetch: %w", err)
	}
	if err := room(store, total, total); err != nil {
		return 0, err
	}
	packed, here := packedPieces(m), newArrivals(len(m.Pieces), wanted)
	var mu sync.Mutex // guards what follows
	done, unflushed, writing := int64(0), int64(0), int64(0)
	count := func(bytes int64) {
		mu.Lock()
		defer mu.Unlock()
		moved += bytes
	}
	put := func(id cellgraph.Digest, data []byte, packed bool) error {
		mark := func(bytes int) (beside, coming int64) {
			mu.Lock()
			defer mu.Unlock()
			writing += int64(bytes)
			return writing, total - done
		}
		defer mark(-len(data))
		beside, coming := mark(len(data))
		if err := room(store, beside, coming); err != nil { // others fill the disk, too
			return err
		}
		return store.PutExtent(ctx, id, data, packed)
	}
	keep := func(n int, data []byte, came int64) error {
		p := m.Pieces[n]
		if int64(len(data)) != p.Length {
			return fmt.Errorf("piece %d has %d bytes, not %d: %w", n, len(data), p.Length, ErrDamaged)
		}
		err := put(p.ID, data, packed[n])
		if errors.Is(err, snapshotter.ErrCorrupt) {
			return fmt.Errorf("piece %d: %w", n, ErrDamaged)
		}
		if err != nil {
			return err
		}
		here.add(n)
		mu.Lock()
		defer mu.Unlock()
		moved, done = moved+came, done+p.Length
		progress(done, total)
		if unflushed += p.Length; unflushed > flushed {
			unflushed = 0
			return store.Flush(ctx)
		}
		return nil
	}
	g, during := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer here.end()
		what, err := plan(during, store, m, from, blobs, wanted)
		if err != nil {
			return err
		}
		count(what.asked)
		left, err := patched(during, store, m, from, what.patches, count, keep)
		if err != nil {
			return err
		}
		return from.Fetch(during, slices.Sorted(slices.Values(append(left, what.whole...))), func(n int, data []byte) error {
			return keep(n, data, int64(len(data)))
		})
	})
	g.Go(func() error { return assemble(during, store, m, blobs, here) })
	err = g.Wait()
	// Also after an interrupt: what has come need not come again.
	if err = errors.Join(err, store.Flush(context.WithoutCancel(ctx))); err != nil {
		return moved, fmt.Errorf("fetch: %w", err)
	}
	return moved, nil
}

// arrivals are the pieces that are there, as they come.
type arrivals struct {
	mu     sync.Mutex // guards what follows
	more   *sync.Cond
	lacks  []bool // by number
	nought bool   // no more come
}

func newArrivals(pieces int, wanted []int) *arrivals {
	a := &arrivals{lacks: make([]bool, pieces)}
	a.more = sync.NewCond(&a.mu)
	for _, n := range wanted {
		a.lacks[n] = true
	}
	return a
}

func (a *arrivals) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lacks[n] = false
	a.more.Broadcast()
}

// end says that no more come.
func (a *arrivals) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nought = true
	a.more.Broadcast()
}

// errIncomplete says that a piece will not come. Why says who fetches.
var errIncomplete = errors.New("a piece does not come")

// wait returns when a piece is there: errIncomplete.
func (a *arrivals) wait(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.lacks[n] {
		if a.nought {
			return errIncomplete
		}
		a.more.Wait()
	}
	return nil
}

// assemble makes blobs of the pieces, following them as they come. Where one
// does not it returns without an error: that is for who fetches.
func assemble(ctx context.Context, store *snapshotter.Store, m *Manifest, blobs []cellgraph.Digest, here *arrivals) error {
	for _, b := range named(m, blobs) {
		pieces := make([]snapshotter.Extent, len(b.Pieces))
		for i, n := range b.Pieces {
			pieces[i] = snapshotter.Extent{ID: m.Pieces[n].ID, Length: m.Pieces[n].Length}
		}
		err := store.PutAssembled(ctx, b.ID, b.Size, pieces, func(i int) error { return here.wait(b.Pieces[i]) })
		if errors.Is(err, errIncomplete) {
			return nil
		}
		if errors.Is(err, snapshotter.ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// packedPieces are those that belong to nothing that is mapped: to small blobs
// and to files, which are cut where their content says so.
func packedPieces(m *Manifest) []bool {
	const small = 64 << 10
	packed := make([]bool, len(m.Pieces))
	for n := range packed {
		packed[n] = true
	}
	for _, b := range m.Blobs {
		cut := slices.ContainsFunc(b.Pieces[:max(0, len(b.Pieces)-1)], func(n int) bool { return m.Pieces[n].Length != maxPiece })
		for _, n := range b.Pieces {
			packed[n] = packed[n] && (b.Size < small || cut)
		}
	}
	return packed
}

// Read reads one blob from a source, without keeping it; most is how many
// bytes it may have.
func Read(ctx context.Context, m *Manifest, from Source, id cellgraph.Digest, most int64) ([]byte, error) {
	found := named(m, []cellgraph.Digest{id})
	if len(found) == 0 {
		return nil, fmt.Errorf("blob %s is not in the manifest: %w", id, ErrDamaged)
	}
	if found[0].Size > most {
		return nil, fmt.Errorf("blob %s has %d bytes: %w", id, found[0].Size, ErrDamaged)
	}
	var mu sync.Mutex // guards got
	got := map[int][]byte{}
	wanted := slices.Compact(slices.Sorted(slices.Values(found[0].Pieces)))
	err := from.Fetch(ctx, wanted, func(n int, data []byte) error {
		if cellgraph.Sum(data) != m.Pieces[n].ID {
			return fmt.Errorf("piece %d: %w", n, ErrDamaged)
		}
		mu.Lock()
		defer mu.Unlock()
		got[n] = bytes.Clone(data)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var whole []byte
	for _, n := range found[0].Pieces {
		whole = append(whole, got[n]...)
	}
	if cellgraph.Sum(whole) != id {
		return nil, fmt.Errorf("blob %s: %w", id, ErrDamaged)
	}
	return whole, nil
}
