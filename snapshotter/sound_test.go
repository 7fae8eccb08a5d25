package snapshotter

import (
	"errors"
	"os"
	"testing"

	"kedge/cellgraph"
)

// flip changes one bit of a file, and sets its modification time back.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	check(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	check(t, errors.Join(err, f.Close(), os.Chtimes(path, info.ModTime(), info.ModTime())))
}

// checks counts the blobs that are remembered as sound.
func checks(t *testing.T, s *Store) (n int) {
	t.Helper()
	check(t, s.catalog.db.QueryRow("SELECT count(*) FROM memo WHERE kind = ?", soundMemo).Scan(&n))
	return n
}

func TestWhatWasFoundSoundIsNotReadAgain(t *testing.T) {
	dir := t.TempDir()
	data := random(9, 3*extentBytes+5)
	writer := open(t, dir)
	id := put(t, writer, data)
	other := put(t, writer, random(10, 2*extentBytes))
	small := put(t, writer, random(11, extentBytes-1))
	check(t, writer.Flush(t.Context()))
	forget := func() {
		_, err := writer.catalog.db.Exec("DELETE FROM memo WHERE kind = ?", soundMemo)
		check(t, err)
	}
	sound := func(s *Store, id cellgraph.Digest) {
		t.Helper()
		ranges, err := s.SoundRanges(t.Context(), id)
		check(t, err)
		if len(ranges) != 1 {
			t.Errorf("%v", ranges)
		}
	}
	sound(writer, id)
	if n := checks(t, writer); n != 0 {
		t.Errorf("the handle that has written a blob remembers %d checks of it", n)
	}
	reader := open(t, dir)
	sound(reader, id)
	sound(reader, id)
	sound(reader, small)
	if n := checks(t, reader); n != 1 {
		t.Errorf("%d checks are remembered", n)
	}
	put(t, writer, random(12, extentBytes)) // now the segment is another
	check(t, writer.Flush(t.Context()))
	sound(reader, id)
	if n := checks(t, reader); n != 2 {
		t.Errorf("%d checks are remembered after the segment has grown", n)
	}
	sound(writer, id)

	forget()
	s := open(t, dir)
	check(t, writer.Close())
	if n := checks(t, s); n != 3 {
		t.Errorf("a handle that ends remembers %d blobs", n)
	}
	for _, id := range []cellgraph.Digest{id, other} {
		sound(s, id)
	}
	if n := checks(t, s); n != 3 {
		t.Errorf("%d checks are remembered: those of the writer did not hold", n)
	}
}

func TestSoundRangesSeeDamage(t *testing.T) {
	for name, damage := range map[string]func(path string, at int64){
		"flipped": func(path string, at int64) { flip(t, path, at) },
		"cut":     func(path string, at int64) { check(t, os.Truncate(path, at)) },
		"removed": func(path string, _ int64) { check(t, os.Remove(path)) },
	} {
		for _, n := range []int{100, 200_000, 3 * extentBytes} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				writer := open(t, dir)
				id := put(t, writer, random(5, n))
				check(t, writer.Flush(t.Context()))
				ranges, err := writer.SoundRanges(t.Context(), id)
				check(t, err)
				reader := open(t, dir)
				_, err = reader.SoundRanges(t.Context(), id)
				check(t, err)
				damage(ranges[0].Path, ranges[0].Offset+int64(n)-1)
				for _, s := range []*Store{writer, reader, open(t, dir)} {
					_, err = s.SoundRanges(t.Context(), id)
					wantErr(t, err, ErrCorrupt)
				}
				if name == "removed" {
					return
				}
				put(t, writer, random(6, 100)) // what is written later does not hide it
				check(t, writer.Flush(t.Context()))
				_, err = writer.SoundRanges(t.Context(), id)
				wantErr(t, err, ErrCorrupt)
				check(t, writer.Close())
				if n := checks(t, reader); n > 1 {
					t.Errorf("the writer says that what was damaged is sound: %d checks", n)
				}
			})
		}
	}
}

func TestAnotherPlaceIsAnotherCheck(t *testing.T) {
	l := layout{size: 8, extents: []extent{{location: location{segment: "a", length: 4, stored: 4}}, {location: location{segment: "a", offset: 4, length: 4, stored: 4}}}}
	turned := layout{size: 8, extents: []extent{l.extents[1], l.extents[0]}}
	id := cellgraph.Sum([]byte("x"))
	if formOf(id, l) == formOf(id, turned) {
		t.Error("the order of extents is no part of what was checked")
	}
	one, two := map[string]stamp{"a": {ino: 1, size: 2}}, map[string]stamp{"a": {ino: 1, size: 3}}
	if soundKey(formOf(id, l), one) == soundKey(formOf(id, l), two) {
		t.Error("a longer segment counts as checked")
	}
}
