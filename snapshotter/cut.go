package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"kedge/cellgraph"
)

// How files of more than one extent, and streams, are cut, in bytes: where their content says
// so, and not at fixed places, so that what follows an insertion is known again.
// FastCDC with normalised chunking (Xia and others, USENIX ATC 2016).
const (
	cutLeast  = 16 << 10
	cutUsual  = 64 << 10
	cutMost   = 256 << 10
	maskEarly = uint64(1<<18-1) << 46 // before cutUsual it is harder to cut
	maskLate  = uint64(1<<14-1) << 50
)

// gear gives each byte a random number: splitmix64 from 0.
var gear = sync.OnceValue(func() *[256]uint64 {
	var table [256]uint64
	state := uint64(0)
	for i := range table {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		table[i] = z ^ z>>31
	}
	return &table
})

// cut is the length of the first piece of data, which has cutMost bytes or is
// all that is left.
func cut(data []byte) int {
	data = data[:min(len(data), cutMost)]
	if len(data) <= cutLeast {
		return len(data)
	}
	table, hash := gear(), uint64(0)
	i, usual := cutLeast, min(cutUsual, len(data))
	for ; i < usual; i++ {
		if hash = hash<<1 + table[data[i]]; hash&maskEarly == 0 {
			return i + 1
		}
	}
	for ; i < len(data); i++ {
		if hash = hash<<1 + table[data[i]]; hash&maskLate == 0 {
			return i + 1
		}
	}
	return len(data)
}

// buffers are lent to PutFile: a hundred thousand small files need not have one each.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, extentBytes+1)
	return &b
}}

// PutFile is [Store.PutBlobFrom] for the content of a file, which is not
// mapped: what a file shares with others is stored once, wherever it stands.
func (s *Store) PutFile(ctx context.Context, r io.Reader) (cellgraph.Digest, error) {
	borrowed := buffers.Get().(*[]byte)
	defer buffers.Put(borrowed)
	buffer := *borrowed
	n, err := io.ReadFull(r, buffer)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if n <= extentBytes {
			return s.PutBlob(ctx, buffer[:n])
		}
	} else if err != nil {
		return cellgraph.Digest{}, fmt.Errorf("put file: %w", err)
	}
	whole, l, end := cellgraph.NewHash(), layout{}, err != nil
	for left := buffer[:n]; len(left) > 0; {
		size := cut(left)
		piece := left[:size]
		var hashed sync.WaitGroup
		hashed.Go(func() { whole.Write(piece) })
		e, err := s.putExtent(ctx, cellgraph.Sum(piece), piece, true)
		hashed.Wait()
		if err != nil {
			return cellgraph.Digest{}, fmt.Errorf("put file: %w", err)
		}
		l.extents = append(l.extents, e)
		l.size += int64(size)
		if left = left[size:]; end || len(left) >= cutMost {
			continue
		}
		kept := copy(buffer, left)
		n, err := io.ReadFull(r, buffer[kept:])
		if end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !end {
			return cellgraph.Digest{}, fmt.Errorf("put file: %w", err)
		}
		left = buffer[:kept+n]
	}
	id := whole.Digest()
	return id, s.addBlob(id, l)
}

// PutStream is [Store.PutBlob] for what is read as a whole, and not mapped: what
// it shares with others is stored once, wherever it stands.
func (s *Store) PutStream(ctx context.Context, data []byte) (cellgraph.Digest, error) {
	if len(data) <= smallBytes {
		return s.PutBlob(ctx, data)
	}
	return s.putPieces(ctx, data, cut, true)
}

// CopyBlob writes a blob to a file that is empty: [ErrNotFound], [ErrCorrupt].
// Extents of zeros become holes. What is in the file after an error is of no use.
func (s *Store) CopyBlob(ctx context.Context, id cellgraph.Digest, to *os.File) error {
	l, err := s.layout(ctx, id)
	if err != nil {
		return err
	}
	r := s.reader(ctx, id, l)
	defer r.Close()
	var at int64
	for {
		if err := r.next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if len(r.left) < pageBytes || !zeros(r.left) {
			if _, err := to.WriteAt(r.left, at); err != nil {
				return err
			}
		}
		at += int64(len(r.left))
	}
	return to.Truncate(l.size)
}

func zeros(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}
