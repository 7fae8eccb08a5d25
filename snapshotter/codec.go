package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"kedge/cellgraph"
)

// coders are made at first use and serve all goroutines.
var coders = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
})

var decoders = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*extentBytes))
})

// squeeze is data compressed by zstd, or nil where that saves less than an eighth.
func squeeze(data []byte) ([]byte, error) {
	e, err := coders()
	if err != nil {
		return nil, err
	}
	small := e.EncodeAll(data, make([]byte, 0, len(data)))
	if len(small) > len(data)-len(data)/8 {
		return nil, nil
	}
	return small, nil
}

// unpack turns what lies in a segment into an extent's bytes; those of a raw
// one are stored itself.
func unpack(e extent, stored, buffer []byte) ([]byte, error) {
	switch e.codec {
	case codecRaw:
		if e.stored != e.length {
			return nil, errors.New("its length is not that of what is stored")
		}
		return stored, nil
	case codecZstd:
		d, err := decoders()
		if err != nil {
			return nil, err
		}
		return d.DecodeAll(stored, buffer[:0])
	}
	return nil, fmt.Errorf("codec %d", e.codec)
}

// thaw writes extents that are compressed raw again, side by side, so that they
// can be mapped.
func (s *Store) thaw(ctx context.Context, cold []extent, packed bool) error {
	moved := map[cellgraph.Digest]location{}
	for _, e := range cold {
		if _, done := moved[e.id]; done {
			continue
		}
		at, err := s.thawExtent(ctx, e, packed)
		if err != nil {
			return err
		}
		moved[e.id] = at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	return s.move(ctx, moved)
}

func (s *Store) thawExtent(ctx context.Context, e extent, packed bool) (location, error) {
	f, e, err := s.openExtent(ctx, e)
	if err != nil {
		return location{}, err
	}
	defer f.Close()
	data, err := readExtent(f, e, nil)
	if err != nil {
		return location{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return location{}, err
	}
	return s.segment.append(e.id, data, packed)
}
