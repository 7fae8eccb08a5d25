package snapshotter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kedge/cellgraph"
)

// benchBytes is the size of what the benchmarks store, as one array.
const benchBytes = 256 << 20

// written is what this process has handed to write calls.
func written(b *testing.B) (n int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	return 0
}

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkSaveNewData saves an array that the store does not have, beside a
// plain write and fsync of the same bytes: ratio is ours over plain.
func BenchmarkSaveNewData(b *testing.B) {
	var ours, plain time.Duration
	data := random(1, benchBytes)
	for n := range b.N {
		copy(data, fmt.Append(nil, n))
		for at := 0; at < len(data); at += extentBytes {
			data[at+20]++ // no extent is known
		}
		began := time.Now()
		f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
		if err == nil {
			_, err = f.Write(data)
		}
		if err == nil {
			err = f.Sync()
		}
		plain += time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
		s := benchStore(b)
		began = time.Now()
		if _, err = s.PutBlobFrom(b.Context(), bytes.NewReader(data)); err == nil {
			err = s.Flush(b.Context())
		}
		ours += time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*benchBytes/1e9/ours.Seconds(), "GB/s")
	b.ReportMetric(float64(b.N)*benchBytes/1e9/plain.Seconds(), "plain-GB/s")
	b.ReportMetric(ours.Seconds()/plain.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// numbered is an array of 2 GiB whose extents all differ, and where 4 KiB have
// changed in the middle.
type numbered struct {
	at      int
	changed uint64
}

func (r *numbered) Read(p []byte) (int, error) {
	const extents = 2 << 10
	if r.at >= extents*extentBytes {
		return 0, io.EOF
	}
	n := min(len(p), extentBytes-r.at%extentBytes)
	clear(p[:n])
	if n >= 4096 && r.at%extentBytes == 0 {
		binary.LittleEndian.PutUint64(p, uint64(r.at))
		if r.at == extents/2*extentBytes {
			copy(p, random(r.changed, 4096))
		}
	}
	r.at += n
	return n, nil
}

// BenchmarkOneChangedPage saves an array of 2 GiB of which 4 KiB have changed:
// how many bytes are written, beside the one extent.
func BenchmarkOneChangedPage(b *testing.B) {
	s := benchStore(b)
	save := func(changed uint64) {
		if _, err := s.PutBlobFrom(b.Context(), &numbered{changed: changed}); err != nil {
			b.Fatal(err)
		}
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	save(1)
	before := written(b)
	b.ResetTimer()
	for n := range b.N {
		save(uint64(n + 2))
	}
	b.ReportMetric((float64(written(b)-before)/float64(b.N)-extentBytes)/1024, "KiB-beside-extent")
}

// BenchmarkKnownData saves an array that the store has: hashing is what is left.
func BenchmarkKnownData(b *testing.B) {
	s := benchStore(b)
	data := random(4, benchBytes)
	if _, err := s.PutBlobFrom(b.Context(), bytes.NewReader(data)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchBytes)
	for b.Loop() {
		if _, err := s.PutBlobFrom(b.Context(), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookUp asks for the traces of a cell, which the handle's lease then holds.
func BenchmarkLookUp(b *testing.B) {
	s := benchStore(b)
	for n := range 100 {
		c := cell{code: cellgraph.Sum([]byte{byte(n)}), value: random(uint64(n), 100), output: []byte("[]")}
		if _, err := runCell(b.Context(), s, c); err != nil {
			b.Fatal(err)
		}
	}
	for n := 0; b.Loop(); n++ {
		if _, err := s.Traces(b.Context(), cellgraph.Sum([]byte{byte(n % 100)})); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallCell records a cell with 10 KiB of values, durably.
func BenchmarkSmallCell(b *testing.B) {
	s := benchStore(b)
	for n := 0; b.Loop(); n++ {
		c := cell{code: cellgraph.Sum(fmt.Append(nil, n)), value: random(uint64(n), 10<<10), output: []byte("[]"), created: time.Now()}
		if _, err := runCell(b.Context(), s, c); err != nil {
			b.Fatal(err)
		}
	}
}
