package snapshotter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kedge/cellgraph"
)

const (
	anchors     = 16 // pieces by which blobs are looked for
	alikeLooked = 32 // blobs that are looked at, of each kind
)

// Alike are the pieces of those blobs of the store, at most so many, that are
// likely to be earlier states of one of that size and those pieces: first what
// has most of the pieces at the same places, then what has the same size, the
// last written first. They stay until s is closed.
func (s *Store) Alike(ctx context.Context, size int64, pieces []Extent, most int) ([][]Extent, error) {
	ids, err := s.catalog.blobsOfSize(ctx, size, alikeLooked)
	if err != nil {
		return nil, err
	}
	known, err := s.anchorsOf(ctx, pieces)
	if err != nil {
		return nil, err
	}
	holding, err := s.catalog.blobsWith(ctx, known, alikeLooked)
	if err != nil {
		return nil, err
	}
	type found struct {
		pieces []Extent
		common int
	}
	var all []found
	seen := map[cellgraph.Digest]bool{}
	for _, id := range append(ids, holding...) {
		if seen[id] {
			continue
		}
		seen[id] = true
		_, has, err := s.Extents(ctx, id)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found{has, common(has, pieces)})
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.common, a.common) })
	var lists [][]Extent
	for _, f := range all[:min(most, len(all))] {
		lists = append(lists, f.pieces)
	}
	return lists, nil
}

// common is how many pieces two blobs have at the same places.
func common(a, b []Extent) (n int) {
	var at, in int64
	for len(a) > 0 && len(b) > 0 {
		switch {
		case at < in:
			at, a = at+a[0].Length, a[1:]
		case in < at:
			in, b = in+b[0].Length, b[1:]
		default:
			if a[0].ID == b[0].ID {
				n++
			}
			at, a, in, b = at+a[0].Length, a[1:], in+b[0].Length, b[1:]
		}
	}
	return n
}

// anchorsOf are some of those pieces that are in the store.
func (s *Store) anchorsOf(ctx context.Context, pieces []Extent) (known []cellgraph.Digest, err error) {
	step := max(1, len(pieces)/(4*anchors))
	for i := 0; i < len(pieces) && len(known) < anchors; i += step {
		has, err := s.HasExtent(ctx, pieces[i].ID)
		if err != nil {
			return nil, err
		}
		if has {
			known = append(known, pieces[i].ID)
		}
	}
	return known, nil
}

// Window reads length bytes from a place on of a blob of those pieces, into
// buffer if it is long enough, and fewer where the blob ends: [ErrNotFound],
// [ErrCorrupt].
func (s *Store) Window(ctx context.Context, pieces []Extent, from, length int64, buffer []byte) ([]byte, error) {
	buffer = slices.Grow(buffer[:0], int(length))
	var at int64
	for _, p := range pieces {
		begin, end := max(from, at), min(from+length, at+p.Length)
		var data, room []byte
		if begin < end {
			if len(buffer) == 0 {
				room = buffer
			}
			var err error
			if data, err = s.Extent(ctx, p.ID, room); err != nil {
				return nil, err
			}
			if int64(len(data)) != p.Length {
				return nil, fmt.Errorf("extent %s has another length: %w", p.ID, ErrCorrupt)
			}
			buffer = append(buffer, data[begin-at:end-at]...)
		}
		if at += p.Length; at >= from+length {
			break
		}
	}
	return buffer, nil
}

// blobsOfSize are the last written blobs of a size, as far as that is known.
func (c *catalog) blobsOfSize(ctx context.Context, size int64, most int) ([]cellgraph.Digest, error) {
	return collect(ctx, c.db, scanDigest, `SELECT b.id FROM blob b LEFT JOIN part p ON p.blob = b.id AND p.seq = 0
		LEFT JOIN extent e ON e.id = p.extent WHERE b.size = ? ORDER BY e.segment DESC, e.offset DESC LIMIT ?`, size, most)
}

// blobsWith are blobs in which some of these extents are.
func (c *catalog) blobsWith(ctx context.Context, extents []cellgraph.Digest, most int) ([]cellgraph.Digest, error) {
	if len(extents) == 0 {
		return nil, nil
	}
	in, args := listed(extents)
	ids, err := collect(ctx, c.db, scanDigest, "SELECT DISTINCT blob FROM part WHERE extent IN ("+in+") LIMIT ?", append(args, most)...)
	if err != nil {
		return nil, err
	}
	runs, err := collect(ctx, c.db, scanDigest, "SELECT id FROM run WHERE "+strings.Repeat("instr(extents, ?) OR ", len(args))+"0 LIMIT ?", append(args, most)...)
	if err != nil || len(runs) == 0 {
		return ids, err
	}
	_, args = listed(runs)
	more, err := collect(ctx, c.db, scanDigest, "SELECT blob FROM blob_run WHERE "+strings.Repeat("instr(runs, ?) OR ", len(args))+"0 LIMIT ?", append(args, most)...)
	return append(ids, more...), err
}

// listed are placeholders for digests, and what they stand for.
func listed(ids []cellgraph.Digest) (in string, args []any) {
	for _, id := range ids {
		args = append(args, bytes.Clone(id[:]))
	}
	return strings.TrimSuffix(strings.Repeat("?, ", len(ids)), ", "), args
}
