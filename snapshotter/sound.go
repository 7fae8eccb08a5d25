package snapshotter

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

const (
	soundBytes = 1 << 20 // what is smaller is read and compared each time
	soundMemo  = "sound"
)

// stamp tells one content of a segment from another: whatever changes the file
// changes it. It is that of one machine between two starts of it.
type stamp struct {
	dev, ino uint64
	size     int64
	modified unix.Timespec
	changed  unix.Timespec // also where somebody sets back the former
}

func stampOf(info unix.Stat_t) stamp {
	return stamp{info.Dev, info.Ino, info.Size, info.Mtim, info.Ctim}
}

func (s stamp) String() string {
	return fmt.Sprint(s.dev, s.ino, s.size, s.modified.Sec, s.modified.Nsec, s.changed.Sec, s.changed.Nsec)
}

// bootID names the time since the machine was started; "" if that is not known.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

// SoundRanges is [Store.BlobRanges] of a blob whose digest was compared: now,
// or, if it is of 1 MiB or more, since the machine was started, and no segment
// that it lies in has been changed since by anyone but this handle. What a disk
// loses without a change of the file's times is for [Store.Verify] to find.
func (s *Store) SoundRanges(ctx context.Context, id cellgraph.Digest) ([]Range, error) {
	l, err := s.heldLayout(ctx, id)
	if err != nil {
		return nil, err
	}
	if l.size < soundBytes || bootID() == "" {
		return l.ranges(s), s.compare(ctx, id, l)
	}
	names := l.segments()
	stamps, err := s.stamps(names)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w: %w", id, ErrCorrupt, err)
	}
	form := formOf(id, l)
	if s.isOwn(id, form, stamps) {
		return l.ranges(s), nil
	}
	key := soundKey(form, stamps)
	if _, known, err := s.Memo(ctx, soundMemo, key); known && err == nil {
		return l.ranges(s), nil
	}
	if err := s.compare(ctx, id, l); err != nil {
		return nil, err
	}
	if again, err := s.stamps(names); err == nil && maps.Equal(stamps, again) {
		if err := s.PutMemo(ctx, soundMemo, key, nil); err != nil {
			s.log.Warn("a check is forgotten", "blob", id, "err", err) // it is made again
		}
	}
	return l.ranges(s), nil
}

// compare reads a whole blob where l says that it lies.
func (s *Store) compare(ctx context.Context, id cellgraph.Digest, l layout) error {
	r := s.reader(ctx, id, l)
	defer r.Close()
	_, err := io.Copy(io.Discard, r)
	return err
}

// stamps are those of segments, now.
func (s *Store) stamps(segments []string) (map[string]stamp, error) {
	found := map[string]stamp{}
	for _, name := range segments {
		var info unix.Stat_t
		if err := unix.Stat(s.segmentPath(name), &info); err != nil {
			return nil, fmt.Errorf("segment %s: %w", name, err)
		}
		found[name] = stampOf(info)
	}
	return found, nil
}

// formOf is a digest of where the bytes of a blob lie, in order.
func formOf(id cellgraph.Digest, l layout) cellgraph.Digest {
	h := cellgraph.NewHash()
	fmt.Fprintf(h, "%s %d\n", id, l.size)
	for _, e := range l.extents {
		fmt.Fprintf(h, "%s %s %d %d %d %d\n", e.id, e.segment, e.offset, e.length, e.stored, e.codec)
	}
	return h.Digest()
}

// soundKey is the memo key of a blob that was found sound where it lay, in
// segments as they were.
func soundKey(form cellgraph.Digest, stamps map[string]stamp) cellgraph.Digest {
	parts := []string{soundMemo, bootID(), form.String()}
	for _, name := range slices.Sorted(maps.Keys(stamps)) {
		parts = append(parts, name, stamps[name].String())
	}
	return cellgraph.Combine(parts...)
}

// ownBlob is a large blob that this handle has written.
type ownBlob struct {
	form     cellgraph.Digest
	segments []string
}

// noteOwn notes a blob that has just been written, or found. The caller holds s.mu.
func (s *Store) noteOwn(id cellgraph.Digest, l layout) {
	if l.size < soundBytes {
		return
	}
	names := l.segments()
	for _, name := range names {
		if _, mine := s.segment.left[name]; !mine {
			return
		}
	}
	s.own[id] = ownBlob{formOf(id, l), names}
}

// isOwn reports whether this handle has written a blob where it lies, and nobody
// else has changed the segments.
func (s *Store) isOwn(id, form cellgraph.Digest, stamps map[string]stamp) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own[id].form == form && s.untouched(stamps)
}

// untouched reports whether segments are as this handle has left them. The
// caller holds s.mu.
func (s *Store) untouched(stamps map[string]stamp) bool {
	for name, at := range stamps {
		if left, ok := s.segment.left[name]; !ok || left != at {
			return false
		}
	}
	return true
}

// rememberOwn notes as sound the large blobs that this handle has written, for
// those who come after it. The caller holds s.mu.
func (s *Store) rememberOwn() error {
	var keys []cellgraph.Digest
	for _, own := range s.own {
		stamps, err := s.stamps(own.segments)
		if err == nil && s.untouched(stamps) {
			keys = append(keys, soundKey(own.form, stamps))
		}
	}
	if len(keys) == 0 || bootID() == "" {
		return nil
	}
	return s.catalog.inTransaction(context.Background(), func(tx *sql.Tx) error {
		for _, key := range keys {
			if _, err := tx.Exec("INSERT INTO memo VALUES (?, ?, ?) ON CONFLICT DO NOTHING", soundMemo, key[:], []byte{}); err != nil {
				return fmt.Errorf("write memo %s: %w", soundMemo, err)
			}
		}
		return nil
	})
}
