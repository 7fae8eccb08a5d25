package snapshotter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"kedge/cellgraph"
)

const (
	segmentBytes = 1 << 30 // a segment is left once it holds this much
	extentBytes  = 1 << 20 // piece of a large blob
	smallBytes   = 64 << 10
	pageBytes    = 4096

	recordMagic  = "KEDGEREC"
	recordHeader = len(recordMagic) + 32 + 8
	segmentExt   = ".seg"
)

// location is where an extent's bytes are.
type location struct {
	segment        string // file name without folder and extension
	offset, length int64
}

// segmentWriter appends to segment files that no other writer has.
type segmentWriter struct {
	folder string
	limit  int64

	file *os.File // nil until the first write
	name string
	end  int64

	// broken is the first failed fsync: what it covered may be lost even if a
	// later one succeeds, so that no later one may.
	broken error
}

// append writes one extent: behind a header if packed, else at a page
// boundary. It is durable after the next sync.
func (w *segmentWriter) append(id cellgraph.Digest, data []byte, packed bool) (location, error) {
	if w.file != nil && w.end >= w.limit {
		if err := w.roll(); err != nil {
			return location{}, err
		}
	}
	if w.file == nil {
		if err := w.create(); err != nil {
			return location{}, err
		}
	}
	at, write, skip := w.end, data, int64(0)
	if packed {
		write = make([]byte, 0, recordHeader+len(data))
		write = append(appendHeader(write, id, int64(len(data))), data...)
		skip = int64(recordHeader)
	} else {
		at = (at + pageBytes - 1) &^ (pageBytes - 1)
	}
	if _, err := w.file.WriteAt(write, at); err != nil {
		return location{}, fmt.Errorf("append to segment %s: %w", w.name, err)
	}
	w.end = at + int64(len(write))
	return location{segment: w.name, offset: at + skip, length: int64(len(data))}, nil
}

// appendHeader appends what stands before a packed extent.
func appendHeader(b []byte, id cellgraph.Digest, length int64) []byte {
	b = append(b, recordMagic...)
	b = append(b, id[:]...)
	return binary.LittleEndian.AppendUint64(b, uint64(length))
}

func (w *segmentWriter) create() error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("name segment: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(w.folder, id.String()+segmentExt), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create segment: %w", writeError(err))
	}
	if err := syncFolder(w.folder); err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.name, w.end = f, id.String(), 0
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
	if err := w.file.Sync(); err != nil {
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
