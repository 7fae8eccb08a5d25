package share

import (
	"context"
	"errors"
	"slices"
	"sync"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

const (
	leastPatched = 32 << 10 // bytes of a piece that is compared in blocks
	maxAlike     = 8        // earlier states of a blob that are compared with
	maxPatched   = 256      // blobs that are looked for
	probes       = 3        // pieces in the middle of a long change that tell whether the others are worth a look
)

// patcher is a [Source] that gives parts of pieces, too.
type patcher interface {
	// Blocks calls got with the digests of the blocks of pieces, as the peer says they are.
	Blocks(ctx context.Context, wanted []int, got func(n int, sums []byte)) error
	// Parts calls got for each piece of which parts are wanted, with those one
	// behind the other, in any order and from any goroutine; otherwise it is as Fetch.
	Parts(ctx context.Context, wanted []partial, got func(i int, data []byte) error) error
}

// partial is a piece of which parts are wanted, which ascend.
type partial struct {
	n     int
	parts []Span // of the piece
}

func (p partial) bytes() (sum int64) {
	for _, s := range p.parts {
		sum += s.To - s.From
	}
	return sum
}

// older is where the bytes of a piece stood in an earlier state of its blob.
type older struct {
	pieces []snapshotter.Extent
	at     int64
}

// patch is a piece that is made of blocks that are here and of parts that are not.
type patch struct {
	partial
	olders []older
	of     []uint8 // for each block which of olders has it; lacking is none
}

const lacking = 255

// pull is what a Fetch asks for.
type pull struct {
	patches []patch
	whole   []int
	asked   int64 // bytes of digests that came to know that
}

func (p *pull) bytes(m *Manifest) (sum int64) {
	for _, one := range p.patches {
		sum += one.bytes()
	}
	for _, n := range p.whole {
		sum += m.Pieces[n].Length
	}
	return sum + p.asked
}

// Moves is how many bytes a [Fetch] would move now: what the store lacks, less
// what a source finds to be the same as in an earlier state, with what finding it costs.
func Moves(ctx context.Context, store *snapshotter.Store, m *Manifest, from Source, blobs []cellgraph.Digest) (int64, error) {
	wanted, bytes, err := Wanted(ctx, store, m, blobs)
	if err != nil {
		return 0, err
	}
	p, err := plan(ctx, store, m, from, blobs, wanted)
	if err != nil {
		return bytes, err
	}
	return p.bytes(m), nil
}

// plan compares pieces that are wanted with what stood at their places in
// earlier states. What a source says of them is not believed: at worst it costs
// bytes. Where it says nothing they are wanted whole.
func plan(ctx context.Context, store *snapshotter.Store, m *Manifest, from Source, blobs []cellgraph.Digest, wanted []int) (*pull, error) {
	p := &pull{whole: wanted}
	source, ok := from.(patcher)
	if !ok || len(wanted) == 0 {
		return p, nil
	}
	olders, err := findOlders(ctx, store, m, blobs, wanted)
	if err != nil || len(olders) == 0 {
		return p, err
	}
	first, rest := probed(wanted, olders)
	c := &comparison{store: store, m: m, olders: olders, patches: map[int]patch{}}
	if p.asked, err = c.look(ctx, source, first); err == nil {
		more, _ := c.look(ctx, source, c.worth(rest))
		p.asked += more
	}
	if ctx.Err() != nil {
		return p, context.Cause(ctx)
	}
	p.whole = nil // also if err: what was not told of is asked for whole, which says what is wrong
	for _, n := range wanted {
		if one, ok := c.patches[n]; ok {
			p.patches = append(p.patches, one)
		} else {
			p.whole = append(p.whole, n)
		}
	}
	return p, nil
}

// findOlders says for pieces where they stood in earlier states.
func findOlders(ctx context.Context, store *snapshotter.Store, m *Manifest, blobs []cellgraph.Digest, wanted []int) (map[int][]older, error) {
	lacks := make([]bool, len(m.Pieces))
	for _, n := range wanted {
		lacks[n] = m.Pieces[n].Length >= leastPatched
	}
	found := map[int][]older{}
	looked := 0
	for _, b := range named(m, blobs) {
		if looked >= maxPatched || !slices.ContainsFunc(b.Pieces, func(n int) bool { return lacks[n] }) {
			continue
		}
		looked++
		pieces := make([]snapshotter.Extent, len(b.Pieces))
		for i, n := range b.Pieces {
			pieces[i] = snapshotter.Extent{ID: m.Pieces[n].ID, Length: m.Pieces[n].Length}
		}
		alike, err := store.Alike(ctx, b.Size, pieces, maxAlike)
		if err != nil {
			return nil, err
		}
		var at int64
		for _, n := range b.Pieces {
			if lacks[n] {
				for _, old := range alike {
					found[n] = append(found[n], older{old, at})
				}
				lacks[n] = false // where it stands again it is the same
			}
			at += m.Pieces[n].Length
		}
	}
	return found, nil
}

// stretch are pieces that lie side by side, between two that were asked about.
type stretch struct{ pieces, probes []int }

// probed says about which pieces to ask first: both ends of what lies side by
// side, and some between. The rest is worth it if one of those has something in common.
func probed(wanted []int, olders map[int][]older) (first []int, rest []stretch) {
	known := slices.DeleteFunc(slices.Clone(wanted), func(n int) bool { return len(olders[n]) == 0 })
	for len(known) > 0 {
		k := 1
		for k < len(known) && known[k] == known[k-1]+1 {
			k++
		}
		side := known[:k]
		known = known[k:]
		if k <= probes+2 {
			first = append(first, side...)
			continue
		}
		one := stretch{}
		for i, n := range side {
			switch {
			case i == 0 || i == k-1:
				first = append(first, n)
			case i%(k/(probes+1)) == 0 && len(one.probes) < probes:
				first, one.probes = append(first, n), append(one.probes, n)
			default:
				one.pieces = append(one.pieces, n)
			}
		}
		rest = append(rest, one)
	}
	return first, rest
}

// comparison is what is found to be the same.
type comparison struct {
	store   *snapshotter.Store
	m       *Manifest
	olders  map[int][]older
	mu      sync.Mutex // guards patches
	patches map[int]patch
}

// worth are the pieces of those stretches whose probes had something in common.
func (c *comparison) worth(rest []stretch) (pieces []int) {
	for _, one := range rest {
		if slices.ContainsFunc(one.probes, func(n int) bool { _, ok := c.patches[n]; return ok }) {
			pieces = append(pieces, one.pieces...)
		}
	}
	return pieces
}

// look asks for the digests of blocks and compares them.
func (c *comparison) look(ctx context.Context, from patcher, pieces []int) (asked int64, err error) {
	if len(pieces) == 0 {
		return 0, nil
	}
	var failed error
	err = from.Blocks(ctx, pieces, func(n int, sums []byte) {
		one, err := c.compare(ctx, n, sums)
		c.mu.Lock()
		defer c.mu.Unlock()
		asked += int64(len(sums))
		failed = errors.Join(failed, err)
		if length := c.m.Pieces[n].Length; err == nil && one.bytes() < length-length/8 {
			c.patches[n] = one
		}
	})
	return asked, errors.Join(err, failed)
}

// compare says which blocks of a piece are here.
func (c *comparison) compare(ctx context.Context, n int, sums []byte) (patch, error) {
	length := c.m.Pieces[n].Length
	one := patch{partial: partial{n: n}, olders: c.olders[n], of: make([]uint8, blocks(length))}
	left := len(one.of)
	for i := range one.of {
		one.of[i] = lacking
	}
	var data, own []byte
	for k, old := range one.olders {
		if left == 0 {
			break
		}
		var err error
		if data, err = c.store.Window(ctx, old.pieces, old.at, length, data); err != nil {
			if ctx.Err() != nil {
				return one, err
			}
			continue // it was removed, or is damaged
		}
		own = BlockSums(own[:0], data)
		for i := range one.of {
			if one.of[i] == lacking && (i+1)*blockSum <= len(own) && sumAt(own, i) == sumAt(sums, i) {
				one.of[i], left = uint8(k), left-1
			}
		}
	}
	for i, k := range one.of {
		begin := int64(i) * blockBytes
		if k != lacking {
			continue
		}
		if last := len(one.parts) - 1; last >= 0 && one.parts[last].To == begin {
			one.parts[last].To = min(begin+blockBytes, length)
			continue
		}
		one.parts = append(one.parts, Span{begin, min(begin+blockBytes, length)})
	}
	return one, nil
}

// assembled is a piece as its patch makes it, with the parts that came; nobody
// has compared its digest.
func (one *patch) assembled(ctx context.Context, store *snapshotter.Store, length int64, came []byte) ([]byte, error) {
	buffer := make([]byte, length)
	for k, old := range one.olders {
		if !slices.Contains(one.of, uint8(k)) {
			continue
		}
		data, err := store.Window(ctx, old.pieces, old.at, length, nil)
		if err != nil {
			return nil, err
		}
		for i, of := range one.of {
			begin := int64(i) * blockBytes
			end := min(begin+blockBytes, length)
			if of != uint8(k) {
				continue
			}
			if end > int64(len(data)) {
				return nil, snapshotter.ErrNotFound
			}
			copy(buffer[begin:end], data[begin:end])
		}
	}
	for _, p := range one.parts {
		copy(buffer[p.From:p.To], came)
		came = came[p.To-p.From:]
	}
	return buffer, nil
}

// patched fetches the parts of patches, and keeps the pieces that they make. It
// returns the pieces that cannot be made so; lost is told of bytes that came for nothing.
func patched(ctx context.Context, store *snapshotter.Store, m *Manifest, from Source, patches []patch, lost func(bytes int64), keep func(n int, data []byte, came int64) error) (left []int, err error) {
	if len(patches) == 0 {
		return nil, nil
	}
	wanted, made := make([]partial, len(patches)), make([]bool, len(patches))
	for i := range patches {
		wanted[i] = patches[i].partial
	}
	var mu sync.Mutex // guards what follows, and made
	var fatal error
	_ = from.(patcher).Parts(ctx, wanted, func(i int, data []byte) error { // what does not come is asked for whole, which says why if that does not come either
		one := &patches[i]
		piece, err := one.assembled(ctx, store, m.Pieces[one.n].Length, data)
		if err == nil {
			err = keep(one.n, piece, int64(len(data)))
		}
		if errors.Is(err, ErrDamaged) || errors.Is(err, snapshotter.ErrCorrupt) || errors.Is(err, snapshotter.ErrNotFound) {
			lost(int64(len(data)))
			return nil // the peer lied, or what was here is damaged or gone
		}
		mu.Lock()
		defer mu.Unlock()
		made[i], fatal = err == nil, errors.Join(fatal, err)
		return err
	})
	if fatal = errors.Join(fatal, context.Cause(ctx)); fatal != nil {
		return nil, fatal
	}
	for i, ok := range made {
		if !ok {
			left = append(left, patches[i].n)
		}
	}
	return left, nil
}
