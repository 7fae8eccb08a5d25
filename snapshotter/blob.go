package snapshotter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"kedge/cellgraph"
)

// Range is a piece of a file that holds a piece of a blob.
type Range struct {
	Path           string
	Offset, Length int64 // bytes
}

// extent is a piece of a blob.
type extent struct {
	id cellgraph.Digest
	location
}

// layout is what a blob is made of, in order.
type layout struct {
	size    int64
	extents []extent
	whole   bool  // the list is not cut, however long
	cut     []run // nil: the list is cut as [layout.runs] does
}

// pending is what is written to segments but not yet in the catalog.
type pending struct {
	extents map[cellgraph.Digest]location
	blobs   map[cellgraph.Digest]layout
}

func newPending() pending {
	return pending{extents: map[cellgraph.Digest]location{}, blobs: map[cellgraph.Digest]layout{}}
}

// PutBlob stores data, unless it is there, and returns its digest. The blob can
// be read from this handle at once; it is durable after the next Flush or
// PutTrace. It does not keep data.
func (s *Store) PutBlob(ctx context.Context, data []byte) (cellgraph.Digest, error) {
	return s.putPieces(ctx, data, func(left []byte) int { return min(len(left), extentBytes) }, len(data) < smallBytes)
}

// putPieces stores data, unless it is there, in pieces whose lengths next gives.
func (s *Store) putPieces(ctx context.Context, data []byte, next func(left []byte) int, packed bool) (cellgraph.Digest, error) {
	id := cellgraph.Sum(data)
	has, err := s.HasBlob(ctx, id)
	if has || err != nil {
		return id, err
	}
	l := layout{size: int64(len(data))}
	for left := data; len(left) > 0; {
		size, part := next(left), id
		if size < len(data) {
			part = cellgraph.Sum(left[:size])
		}
		e, err := s.putExtent(ctx, part, left[:size], packed)
		if err != nil {
			return id, fmt.Errorf("put blob: %w", err)
		}
		l.extents, left = append(l.extents, e), left[size:]
	}
	return id, s.addBlob(id, l)
}

// PutBlobFrom is [Store.PutBlob] for a stream; it holds one extent in memory.
func (s *Store) PutBlobFrom(ctx context.Context, r io.Reader) (cellgraph.Digest, error) {
	whole := cellgraph.NewHash()
	var l layout
	piece := make([]byte, extentBytes)
	for {
		n, err := io.ReadFull(r, piece)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return cellgraph.Digest{}, fmt.Errorf("put blob: %w", err)
		}
		if last && l.size == 0 {
			return s.PutBlob(ctx, piece[:n])
		}
		if n > 0 {
			var hashed sync.WaitGroup
			hashed.Go(func() { whole.Write(piece[:n]) })
			e, err := s.putExtent(ctx, cellgraph.Sum(piece[:n]), piece[:n], false)
			hashed.Wait()
			if err != nil {
				return cellgraph.Digest{}, fmt.Errorf("put blob: %w", err)
			}
			l.extents = append(l.extents, e)
			l.size += int64(n)
		}
		if last {
			break
		}
	}
	id := whole.Digest()
	return id, s.addBlob(id, l)
}

// putExtent writes data unless an extent with that digest is known.
func (s *Store) putExtent(ctx context.Context, id cellgraph.Digest, data []byte, packed bool) (extent, error) {
	if err := ctx.Err(); err != nil {
		return extent{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return extent{}, err
	}
	if at, ok := s.pending.extents[id]; ok {
		return extent{id, at}, nil
	}
	var at location
	err := s.lease.during(func() (err error) {
		at, err = s.catalog.extent(ctx, id)
		return err
	}, hold{holdBlob, id})
	if err == nil {
		return extent{id, at}, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return extent{}, err
	}
	at, err = s.segment.append(id, data, packed)
	if err != nil {
		return extent{}, err
	}
	s.pending.extents[id] = at
	return extent{id, at}, nil
}

func (s *Store) addBlob(id cellgraph.Digest, l layout) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.lease.during(func() error { return nil }, hold{holdBlob, id}); err != nil {
		return err
	}
	s.pending.blobs[id] = l
	s.noteOwn(id, l)
	return nil
}

// HasBlob reports whether a blob is in the store. It reads no data. A blob that
// is there stays until s is closed.
func (s *Store) HasBlob(ctx context.Context, id cellgraph.Digest) (has bool, err error) {
	s.mu.Lock()
	_, ok := s.pending.blobs[id]
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return false, ErrClosed
	}
	if ok {
		return true, nil
	}
	err = s.lease.during(func() error {
		has, err = s.catalog.hasBlob(ctx, id)
		return err
	}, hold{holdBlob, id})
	return has, err
}

func (s *Store) layout(ctx context.Context, id cellgraph.Digest) (layout, error) {
	s.mu.Lock()
	l, ok := s.pending.blobs[id]
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return layout{}, ErrClosed
	}
	if ok {
		return l, nil
	}
	return s.committedLayout(ctx, id)
}

// committedLayout takes no lock of s.
func (s *Store) committedLayout(ctx context.Context, id cellgraph.Digest) (layout, error) {
	l, err := s.catalog.layout(ctx, id)
	if err != nil {
		return layout{}, fmt.Errorf("blob %s: %w", id, err)
	}
	var sum int64
	for _, e := range l.extents {
		sum += e.length
	}
	if sum != l.size {
		return layout{}, fmt.Errorf("blob %s: extents hold %d of %d bytes: %w", id, sum, l.size, ErrCorrupt)
	}
	return l, nil
}

// Blob reads a whole blob and checks it: [ErrNotFound], [ErrCorrupt].
func (s *Store) Blob(ctx context.Context, id cellgraph.Digest) ([]byte, error) {
	l, err := s.layout(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.readAll(ctx, id, l)
}

// committed is [Store.Blob] for those who have the gate alone: it takes no lock
// of s, whose owner may wait for the gate.
func (s *Store) committed(ctx context.Context, id cellgraph.Digest) ([]byte, error) {
	l, err := s.committedLayout(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.readAll(ctx, id, l)
}

func (s *Store) readAll(ctx context.Context, id cellgraph.Digest, l layout) ([]byte, error) {
	r := s.reader(ctx, id, l)
	defer r.Close()
	var b bytes.Buffer
	if l.size <= segmentBytes { // more is not trusted before it is read
		b.Grow(int(l.size) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// CheckBlob reads a whole blob and compares its digest: [ErrNotFound], [ErrCorrupt].
func (s *Store) CheckBlob(ctx context.Context, id cellgraph.Digest) error {
	r, _, err := s.OpenBlob(ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// OpenBlob reads a blob as a stream, and gives its size in bytes. Every extent
// is checked before its bytes are handed out; the digest of the whole is
// checked at the end, where Read fails with [ErrCorrupt] instead of io.EOF.
func (s *Store) OpenBlob(ctx context.Context, id cellgraph.Digest) (io.ReadCloser, int64, error) {
	l, err := s.layout(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	return s.reader(ctx, id, l), l.size, nil
}

// BlobRanges says where a blob's bytes are, in order; neighbours are joined.
// The files stay until s is closed. Nothing is read or checked, but that
// extents which gc has compressed are written raw again. A blob that is not flushed has ranges too. Those
// of a blob of 64 KiB or more begin at page boundaries, except that a last piece
// under 64 KiB may not, if a small blob with the same bytes was stored before.
func (s *Store) BlobRanges(ctx context.Context, id cellgraph.Digest) ([]Range, error) {
	l, err := s.heldLayout(ctx, id)
	if err != nil {
		return nil, err
	}
	return l.ranges(s), nil
}

// segments are those that l lies in.
func (l layout) segments() []string {
	var names []string
	for _, e := range l.extents {
		if len(names) == 0 || names[len(names)-1] != e.segment {
			names = append(names, e.segment)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (l layout) ranges(s *Store) []Range {
	var ranges []Range
	for _, e := range l.extents {
		path := s.segmentPath(e.segment)
		if n := len(ranges); n > 0 && ranges[n-1].Path == path && ranges[n-1].Offset+ranges[n-1].Length == e.offset {
			ranges[n-1].Length += e.length
			continue
		}
		ranges = append(ranges, Range{path, e.offset, e.length})
	}
	return ranges
}

// heldLayout is where a blob's bytes are, raw, in files that stay.
func (s *Store) heldLayout(ctx context.Context, id cellgraph.Digest) (l layout, err error) {
	const tries = 3 // another process may move a blob between two steps of ours
	for range tries {
		err = s.lease.during(func() error {
			if l, err = s.layout(ctx, id); err != nil {
				return err
			}
			for _, e := range l.extents {
				if err := s.lease.add(segmentHold(e.segment)); err != nil {
					return err
				}
			}
			return nil
		}, hold{holdBlob, id})
		if err != nil {
			return l, err
		}
		cold := slices.DeleteFunc(slices.Clone(l.extents), func(e extent) bool { return e.codec == codecRaw })
		if len(cold) == 0 {
			return l, nil
		}
		if err := s.thaw(ctx, cold, l.size < smallBytes); err != nil {
			return l, fmt.Errorf("blob %s: %w", id, err)
		}
	}
	return l, fmt.Errorf("blob %s is compressed again and again: %w", id, ErrCorrupt)
}

func (s *Store) segmentPath(name string) string {
	return filepath.Join(s.dir, segmentFolder, filepath.Base(name)+segmentExt)
}

func (s *Store) reader(ctx context.Context, id cellgraph.Digest, l layout) *blobReader {
	r := &blobReader{ctx: ctx, store: s, id: id, extents: l.extents}
	if len(l.extents) != 1 || l.extents[0].id != id {
		r.whole = cellgraph.NewHash()
	}
	return r
}

// blobReader reads one extent at a time. It lives no longer than the call's ctx.
type blobReader struct {
	ctx     context.Context
	store   *Store
	id      cellgraph.Digest
	extents []extent
	whole   *cellgraph.Hash // nil where the only extent has the blob's digest
	file    *os.File
	name    string
	left    []byte
	buffer  []byte
	err     error
}

func (r *blobReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.left) == 0 {
		return 0, r.err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *blobReader) next() error {
	if len(r.extents) == 0 {
		return r.finish()
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	e := r.extents[0]
	r.extents = r.extents[1:]
	if r.file == nil || r.name != e.segment {
		r.Close()
		f, now, err := r.store.openExtent(r.ctx, e)
		if err != nil {
			return fmt.Errorf("blob %s: %w", r.id, err)
		}
		e = now
		r.file, r.name = f, e.segment
	}
	data, err := readExtent(r.file, e, r.buffer)
	if err != nil {
		return fmt.Errorf("blob %s: %w", r.id, err)
	}
	if r.whole != nil {
		r.whole.Write(data)
	}
	r.buffer, r.left = data, data
	return nil
}

func (r *blobReader) finish() error {
	if r.whole != nil {
		got := r.whole.Digest()
		if got != r.id {
			return fmt.Errorf("blob %s has the content of %s: %w", r.id, got, ErrCorrupt)
		}
	}
	return io.EOF
}

// Close releases the file. It may be called again.
func (r *blobReader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// openExtent opens the segment that an extent is in. If gc has moved it
// meanwhile it says where it is now.
func (s *Store) openExtent(ctx context.Context, e extent) (*os.File, extent, error) {
	f, err := os.Open(s.segmentPath(e.segment))
	if errors.Is(err, fs.ErrNotExist) {
		at, lookErr := s.catalog.extent(ctx, e.id)
		if lookErr != nil && !errors.Is(lookErr, ErrNotFound) {
			return nil, e, lookErr
		}
		if lookErr == nil && at.segment != e.segment {
			e.location = at
			f, err = os.Open(s.segmentPath(e.segment))
		}
	}
	if err != nil {
		return nil, e, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return f, e, nil
}

// readExtent reads and checks one extent, into buffer if it is long enough.
func readExtent(f *os.File, e extent, buffer []byte) ([]byte, error) {
	buffer, err := readUnchecked(f, e, buffer)
	if err != nil {
		return nil, err
	}
	if got := cellgraph.Sum(buffer); got != e.id {
		return nil, fmt.Errorf("extent %s in segment %s at %d: %w", e.id, e.segment, e.offset, ErrCorrupt)
	}
	return buffer, nil
}

// readUnchecked is readExtent for who compares the digest of what the extent is part of.
func readUnchecked(f *os.File, e extent, buffer []byte) ([]byte, error) {
	if e.length < 0 || e.length > extentBytes || e.offset < 0 || e.stored < 0 || e.stored > e.length {
		return nil, fmt.Errorf("extent %s of %d bytes at %d: %w", e.id, e.length, e.offset, ErrCorrupt)
	}
	if int64(cap(buffer)) < e.length {
		buffer = make([]byte, e.length)
	}
	buffer = buffer[:e.length]
	stored := buffer[:e.stored]
	if e.codec != codecRaw {
		stored = make([]byte, e.stored)
	}
	if _, err := f.ReadAt(stored, e.offset); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("segment %s ends early: %w", e.segment, ErrCorrupt)
		}
		return nil, fmt.Errorf("read extent %s: %w", e.id, err)
	}
	buffer, err := unpack(e, stored, buffer)
	if err != nil {
		return nil, fmt.Errorf("extent %s in segment %s at %d: %w: %w", e.id, e.segment, e.offset, ErrCorrupt, err)
	}
	return buffer, nil
}
