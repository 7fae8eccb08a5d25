package snapshotter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

const (
	segmentBytes = 1 << 30 // a segment is left once it holds this much
	extentBytes  = 1 << 20 // piece of a large blob
	smallBytes   = 64 << 10
	pageBytes    = 4096

	recordMagic   = "KEDGEREC"
	squeezedMagic = "KEDGEZST"
	recordHeader  = len(recordMagic) + 32 + 8
	segmentExt    = ".seg"
)

// location is where an extent's bytes are.
type location struct {
	segment        string // file name without folder and extension
	offset, length int64  // length is that of the extent's bytes
	stored         int64  // bytes in the segment
	codec          int    // one of those below
}

// How the bytes of an extent lie in a segment.
const (
	codecRaw  = 0
	codecZstd = 1
)

// segmentWriter appends to segment files that no other writer has.
type segmentWriter struct {
	folder string
	limit  int64
	lease  *lease // keeps gc away from the segments
	faults faults

	file   *os.File // nil until the first write
	name   string
	end    int64
	pushed int64            // up to where the disk was told to write
	left   map[string]stamp // segments of this writer as it left them, unless somebody else has changed one meanwhile

	// broken is the first failed fsync: what it covered may be lost even if a
	// later one succeeds, so that no later one may.
	broken error
}

// append writes one extent: behind a header if packed, else at a page
// boundary. It is durable after the next sync.
func (w *segmentWriter) append(id cellgraph.Digest, data []byte, packed bool) (location, error) {
	if err := w.ready(); err != nil {
		return location{}, err
	}
	n := int64(len(data))
	if packed {
		at, err := w.packed(recordMagic, id, data)
		return location{segment: w.name, offset: at, length: n, stored: n}, err
	}
	at := (w.end + pageBytes - 1) &^ (pageBytes - 1)
	if err := w.write(data, at); err != nil {
		return location{}, err
	}
	return location{segment: w.name, offset: at, length: n, stored: n}, nil
}

// appendSqueezed writes an extent of length bytes that zstd has made data of.
func (w *segmentWriter) appendSqueezed(id cellgraph.Digest, length int64, data []byte) (location, error) {
	if err := w.ready(); err != nil {
		return location{}, err
	}
	at, err := w.packed(squeezedMagic, id, data)
	return location{segment: w.name, offset: at, length: length, stored: int64(len(data)), codec: codecZstd}, err
}

// packed writes data behind a header and returns where data begins.
func (w *segmentWriter) packed(magic string, id cellgraph.Digest, data []byte) (int64, error) {
	at := w.end
	b := appendHeader(make([]byte, 0, recordHeader+len(data)), magic, id, int64(len(data)))
	return at + int64(recordHeader), w.write(append(b, data...), at)
}

func (w *segmentWriter) write(data []byte, at int64) error {
	if err := w.faults.before("write segment", func() { _, _ = w.file.WriteAt(data[:len(data)/2], at) }); err != nil {
		return fmt.Errorf("append to segment %s: %w", w.name, err)
	}
	_, known := w.left[w.name]
	ours := known && w.stamp() == w.left[w.name]
	delete(w.left, w.name)
	if _, err := w.file.WriteAt(data, at); err != nil {
		return fmt.Errorf("append to segment %s: %w", w.name, err)
	}
	w.end = at + int64(len(data))
	if ours {
		w.left[w.name] = w.stamp()
	}
	return nil
}

// stamp is that of the segment now; the zero stamp if it cannot be told.
func (w *segmentWriter) stamp() stamp {
	var info unix.Stat_t
	if err := unix.Fstat(int(w.file.Fd()), &info); err != nil {
		return stamp{}
	}
	return stampOf(info)
}

// entry appends an entry of the journal, which says what a commit does, and
// makes it durable.
func (w *segmentWriter) entry(j *journal) (place, error) {
	if err := w.ready(); err != nil { // from here on it is known which segment the entry's own is
		return place{}, err
	}
	for i, e := range j.Extents {
		if e.Segment == w.name {
			j.Extents[i].Segment = ""
		}
	}
	at := w.end
	data, err := j.pack(w.name, at)
	if err != nil {
		return place{}, fmt.Errorf("journal: %w", err)
	}
	if err := w.write(data, at); err != nil {
		return place{}, err
	}
	return place{w.name, at, int64(len(data))}, w.sync()
}

// ready opens another segment where there is none yet, or it is full.
func (w *segmentWriter) ready() error {
	if w.file != nil && w.end >= w.limit {
		if err := w.roll(); err != nil {
			return err
		}
	}
	if w.file == nil {
		return w.create()
	}
	return nil
}

// appendHeader appends what stands before a packed extent.
func appendHeader(b []byte, magic string, id cellgraph.Digest, length int64) []byte {
	b = append(b, magic...)
	b = append(b, id[:]...)
	return binary.LittleEndian.AppendUint64(b, uint64(length))
}

func (w *segmentWriter) create() error {
	if err := w.faults.before("create segment", nil); err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("name segment: %w", err)
	}
	var f *os.File
	err = w.lease.during(func() error {
		f, err = os.OpenFile(filepath.Join(w.folder, id.String()+segmentExt), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		return err
	}, segmentHold(id.String()))
	if err != nil {
		return fmt.Errorf("create segment: %w", writeError(err))
	}
	if err := syncFolder(w.folder); err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.name, w.end, w.pushed = f, id.String(), 0, 0
	if w.left == nil {
		w.left = map[string]stamp{}
	}
	w.left[w.name] = w.stamp()
	return nil
}

func (w *segmentWriter) roll() error {
	if err := w.sync(); err != nil {
		return err
	}
	return w.close()
}

func (w *segmentWriter) sync() error {
	if w.broken != nil || w.file == nil {
		return w.broken
	}
	err := w.faults.before("sync segment", nil)
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		w.broken = fmt.Errorf("sync segment %s; open the store again: %w", w.name, err)
	}
	return w.broken
}

func (w *segmentWriter) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}

// syncFolder makes the entries of a folder durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// segmentID is the number that a segment's name stands for.
func segmentID(name string) (uuid.UUID, error) {
	id, err := uuid.Parse(name)
	if err != nil {
		return id, fmt.Errorf("segment %q: %w: %w", name, ErrCorrupt, err)
	}
	return id, nil
}

// faults lets tests fail, or end the process, at an operation that changes the
// disk; nil in use. half does a part of the operation, where it has parts.
type faults func(operation string, half func()) error

func (f faults) before(operation string, half func()) error {
	if f == nil {
		return nil
	}
	return f(operation, half)
}
