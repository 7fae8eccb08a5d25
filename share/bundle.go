package share

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kedge/snapshotter"
)

const (
	bundleMagic   = "KEDGESHR"
	bundleVersion = 1
	bundleHeader  = len(bundleMagic) + 4 + 4 + 32 + 64 // magic, version, length of the manifest, author, signature
	packedBit     = 1 << 31                            // of a number in the index
)

// WriteBundle writes a bundle at a path, in the place of what is there, and
// returns its length. progress counts bytes of pieces.
func WriteBundle(ctx context.Context, store *snapshotter.Store, sealed Sealed, m *Manifest, to string, progress func(done, total int64)) (n int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(to), reserved+"*")
	if err != nil {
		return 0, fmt.Errorf("write bundle: %w", err)
	}
	defer os.Remove(f.Name())
	err = writeBundle(ctx, store, sealed, m, f, progress)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err != nil {
		return 0, fmt.Errorf("write bundle: %w", err)
	}
	return info.Size(), nil
}

func writeBundle(ctx context.Context, store *snapshotter.Store, sealed Sealed, m *Manifest, f *os.File, progress func(done, total int64)) error {
	head := sealed.head()
	if _, err := f.Write(head); err != nil {
		return err
	}
	index := make([]byte, 4*len(m.Pieces)) // filled in behind the pieces
	if _, err := f.Write(index); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, maxPiece)
	var buffer []byte
	var done int64
	for n, p := range m.Pieces {
		data, err := store.Extent(ctx, p.ID, buffer)
		if err != nil {
			return err
		}
		buffer = data
		out, packed, err := snapshotter.Pack(data)
		if err != nil {
			return err
		}
		length := uint32(len(out))
		if packed {
			length |= packedBit
		}
		binary.LittleEndian.PutUint32(index[4*n:], length)
		if _, err := w.Write(out); err != nil {
			return err
		}
		done += p.Length
		progress(done, m.Bytes())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := f.WriteAt(index, int64(len(head)))
	return err
}

// head is what a bundle begins with: the manifest and who has signed it.
func (s Sealed) head() []byte {
	head := append(make([]byte, 0, bundleHeader+len(s.Packed)), bundleMagic...)
	head = binary.LittleEndian.AppendUint32(head, bundleVersion)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(s.Packed)))
	head = append(append(head, s.Author[:]...), s.Signature...)
	return append(head, s.Packed...)
}

// ReadHead reads what a bundle begins with; nothing of it is believed yet.
func ReadHead(r io.Reader) (Sealed, error) {
	head := make([]byte, bundleHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return Sealed{}, endsEarly(err)
	}
	if string(head[:8]) != bundleMagic {
		return Sealed{}, fmt.Errorf("no bundle of kedge: %w", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint32(head[8:]); v > bundleVersion {
		return Sealed{}, fmt.Errorf("version %d, this kedge knows %d: %w", v, bundleVersion, ErrNewer)
	}
	length := int64(binary.LittleEndian.Uint32(head[12:]))
	if length > maxManifest {
		return Sealed{}, fmt.Errorf("its manifest would have %d bytes: %w", length, ErrDamaged)
	}
	var packed bytes.Buffer // grows with what comes, not with what is said
	if n, err := io.CopyN(&packed, r, length); err != nil || n != length {
		return Sealed{}, endsEarly(err)
	}
	return Sealed{Author: Key(head[16:48]), Signature: head[48:], Packed: packed.Bytes()}, nil
}

func endsEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends early: %w", ErrDamaged)
	}
	return err
}

// Bundle is a bundle that is open for reading.
type Bundle struct {
	Sealed   Sealed
	Manifest *Manifest
	file     *os.File
	at       []int64  // where each piece lies
	stored   []uint32 // its length there, and whether it is packed
}

// OpenBundle opens a bundle and checks all but its pieces, which are checked
// one by one as they are read: [ErrDamaged], [ErrHostile], [ErrNewer].
func OpenBundle(path string) (*Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	b := &Bundle{file: f}
	if err := b.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open bundle %s: %w", path, err), f.Close())
	}
	return b, nil
}

func (b *Bundle) open() error {
	info, err := b.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("no regular file: %w", ErrDamaged)
	}
	if b.Sealed, err = ReadHead(io.NewSectionReader(b.file, 0, info.Size())); err != nil {
		return err
	}
	if b.Manifest, err = b.Sealed.Open(); err != nil {
		return err
	}
	index := make([]byte, 4*len(b.Manifest.Pieces))
	end := int64(bundleHeader + len(b.Sealed.Packed))
	if err := b.read(index, end); err != nil {
		return err
	}
	end += int64(len(index))
	for n, p := range b.Manifest.Pieces {
		stored := binary.LittleEndian.Uint32(index[4*n:])
		size := int64(stored &^ packedBit)
		if packed := stored&packedBit != 0; size == 0 || size > p.Length || !packed && size != p.Length {
			return fmt.Errorf("piece %d has %d bytes of %d: %w", n, size, p.Length, ErrDamaged)
		}
		b.at, b.stored = append(b.at, end), append(b.stored, stored)
		end += size
	}
	if end != info.Size() {
		return fmt.Errorf("it has %d bytes, not %d: %w", info.Size(), end, ErrDamaged)
	}
	return nil
}

func (b *Bundle) read(data []byte, at int64) error {
	if _, err := b.file.ReadAt(data, at); err != nil {
		return endsEarly(err)
	}
	return nil
}

// Fetch reads pieces; see [Source].
func (b *Bundle) Fetch(ctx context.Context, wanted []int, got func(n int, data []byte) error) error {
	for _, n := range wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := b.piece(n)
		if err != nil {
			return err
		}
		if err := got(n, data); err != nil {
			return err
		}
	}
	return nil
}

// piece is the n-th piece, whose digest nobody has compared yet.
func (b *Bundle) piece(n int) ([]byte, error) {
	stored := b.stored[n]
	data := make([]byte, stored&^packedBit)
	if err := b.read(data, b.at[n]); err != nil {
		return nil, err
	}
	data, err := snapshotter.Unpack(data, stored&packedBit != 0, b.Manifest.Pieces[n].Length)
	if err != nil {
		return nil, fmt.Errorf("piece %d: %w: %w", n, ErrDamaged, err)
	}
	return data, nil
}

// Close closes the file.
func (b *Bundle) Close() error { return b.file.Close() }
