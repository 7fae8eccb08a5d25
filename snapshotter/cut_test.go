package snapshotter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

func TestFilesRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	holes := make([]byte, 5*extentBytes)
	copy(holes[3*extentBytes:], random(9, 1000))
	contents := [][]byte{holes}
	for _, n := range []int{0, 1, cutLeast, extentBytes - 1, extentBytes, extentBytes + 1, extentBytes + cutLeast, 3*extentBytes + 17} {
		contents = append(contents, random(uint64(n), n))
	}
	for n, data := range contents {
		for _, r := range []io.Reader{bytes.NewReader(data), iotest.HalfReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data))} {
			id, err := s.PutFile(t.Context(), r)
			check(t, err)
			if id != cellgraph.Sum(data) {
				t.Fatalf("%d bytes: another digest", len(data))
			}
		}
		check(t, s.Flush(t.Context()))
		path := filepath.Join(t.TempDir(), "file")
		f, err := os.Create(path)
		check(t, err)
		check(t, errors.Join(s.CopyBlob(t.Context(), cellgraph.Sum(data), f), f.Close()))
		got, err := os.ReadFile(path)
		check(t, err)
		if !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: content differs", len(data))
		}
		if n == 0 { // the one with holes
			var st unix.Stat_t
			check(t, unix.Stat(path, &st))
			if st.Blocks*512 > extentBytes {
				t.Errorf("a file of holes takes %d bytes", st.Blocks*512)
			}
		}
		whole, err := s.Blob(t.Context(), cellgraph.Sum(data))
		check(t, err)
		if !bytes.Equal(whole, data) {
			t.Fatalf("%d bytes: the blob differs", len(data))
		}
	}
	_, err := s.PutFile(t.Context(), io.MultiReader(bytes.NewReader(random(1, 2*extentBytes)), iotest.ErrReader(io.ErrClosedPipe)))
	wantErr(t, err, io.ErrClosedPipe)
	wantSound(t, s)
	check(t, s.Close())
	s = open(t, dir)
	gc(t, s, GCConfig{Quota: -1})
	wantSound(t, s)
}

func TestAnInsertionIsStoredAlone(t *testing.T) {
	for name, put := range map[string]func(*Store, []byte) (cellgraph.Digest, error){
		"File": func(s *Store, data []byte) (cellgraph.Digest, error) {
			return s.PutFile(t.Context(), bytes.NewReader(data))
		},
		"Stream": func(s *Store, data []byte) (cellgraph.Digest, error) { return s.PutStream(t.Context(), data) },
	} {
		t.Run(name, func(t *testing.T) { insertAndStore(t, put) })
	}
}

func insertAndStore(t *testing.T, put func(*Store, []byte) (cellgraph.Digest, error)) {
	s := open(t, t.TempDir())
	data := random(1, 16*extentBytes)
	size := func() int64 {
		check(t, s.Flush(t.Context()))
		st, err := s.Stats(t.Context())
		check(t, err)
		return st.Bytes
	}
	for n, content := range [][]byte{data, slices.Concat([]byte("a line more\n"), data), slices.Concat(data[:7_000_000], data[7_000_100:]), append(data, "at the end"...)} {
		before := size()
		id, err := put(s, content)
		check(t, err)
		got, err := s.Blob(t.Context(), id)
		if check(t, err); id != cellgraph.Sum(content) || !bytes.Equal(got, content) {
			t.Errorf("content %d comes back as %d bytes", n, len(got))
		}
		if grown := size() - before; n > 0 && grown > 3*cutMost {
			t.Errorf("content %d stores %d bytes", n, grown)
		}
	}
}

func TestASmallStreamIsOnePiece(t *testing.T) {
	s := open(t, t.TempDir())
	for _, n := range []int{0, 1, smallBytes, smallBytes + 1, cutMost + 1} {
		data := bytes.Repeat([]byte{7}, n) // nothing to cut at
		id, err := s.PutStream(t.Context(), data)
		check(t, err)
		got, err := s.Blob(t.Context(), id)
		check(t, err)
		_, pieces, err := s.Extents(t.Context(), id)
		if check(t, err); !bytes.Equal(got, data) || len(pieces) != (n+cutMost-1)/cutMost {
			t.Errorf("%d bytes come back as %d, in %d pieces", n, len(got), len(pieces))
		}
	}
	check(t, s.Flush(t.Context()))
	wantSound(t, s)
}

func TestPiecesHaveTheSizesThatTheyShould(t *testing.T) {
	data, sizes, total := random(5, 32<<20), []int{}, 0
	for left := data; len(left) > 0; left = left[sizes[len(sizes)-1]:] {
		sizes = append(sizes, cut(left))
		total += sizes[len(sizes)-1]
	}
	if mean := total / len(sizes); total != len(data) || slices.Max(sizes) > cutMost || slices.Min(sizes[:len(sizes)-1]) <= cutLeast ||
		mean < cutUsual*3/4 || mean > cutUsual*3/2 {
		t.Errorf("%d pieces of %d to %d, mean %d", len(sizes), slices.Min(sizes), slices.Max(sizes), mean)
	}
}

// BenchmarkPutFile stores files of which the store has nothing.
func BenchmarkPutFile(b *testing.B) {
	s := benchStore(b)
	data := random(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for n := 0; b.Loop(); n++ {
		copy(data, fmt.Append(nil, n))
		if _, err := s.PutFile(b.Context(), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallFiles stores 10,000 new files of 200 bytes, durably.
func BenchmarkSmallFiles(b *testing.B) {
	s := benchStore(b)
	for round := 0; b.Loop(); round++ {
		for n := range 10_000 {
			data := bytes.Repeat(fmt.Appendf(nil, "%d of %d, ", n, round), 12)
			if _, err := s.PutFile(b.Context(), bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
