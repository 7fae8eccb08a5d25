package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"kedge/share"
	"kedge/snapshotter"
)

// BenchmarkPull pulls 512 MiB of an array over loopback into an empty home,
// checked and stored; both ends share the machine.
func BenchmarkPull(b *testing.B) {
	const size = 512 << 20
	w := newSite(b, size, "")
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		store := newStore(b)
		warm(b, size+size/4)
		b.StartTimer()
		if moved := pullInto(b, store, w); moved != size {
			b.Fatal(moved)
		}
		store.Close()
	}
}

// warm has the kernel hold so many bytes of free memory that its host has given.
// A virtual machine whose host takes free memory back gets new memory
// at a tenth of the speed at which it is written.
func warm(b *testing.B, bytes int) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "warm")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for piece := make([]byte, 1<<20); bytes > 0; bytes -= len(piece) {
		if _, err := f.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(f.Close(), os.Remove(path)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPullOfAChange pulls what has changed since the last pull, and
// reports what moved in relation to that.
func BenchmarkPullOfAChange(b *testing.B) {
	for _, c := range []struct {
		name                          string
		all, from, size, times, apart int
	}{
		{"5MiB-of-512MiB-aligned", 512 << 20, 100 << 20, 5 << 20, 1, 0},
		{"5MiB-of-512MiB", 512 << 20, 100<<20 + 777_777, 5 << 20, 1, 0},
		{"2MiB-of-200MiB", 200 << 20, 100<<20 + 777_777, 2 << 20, 1, 0},
		{"1310-pages-of-512MiB", 512 << 20, 777 << 12, 4 << 10, 1310, 99 << 12},
		{"1310-pages-of-512MiB-anywhere", 512 << 20, 777_777, 4 << 10, 1310, 400_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			was := random(0, c.all)
			is, moved := changed(was, c.from, c.size, c.times, c.apart), int64(0)
			for b.Loop() {
				b.StopTimer()
				store := newStore(b)
				pullInto(b, store, newSiteOf(b, was, ""))
				w := newSiteOf(b, is, "")
				b.StartTimer()
				moved = pullInto(b, store, w)
			}
			b.ReportMetric(float64(moved)/float64(c.size*c.times), "x")
		})
	}
}

func newStore(b *testing.B) *snapshotter.Store {
	b.Helper()
	store, err := snapshotter.Open(context.Background(), snapshotter.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	return store
}

func pullInto(b *testing.B, store *snapshotter.Store, w *site) int64 {
	b.Helper()
	r, err := share.OpenLink(context.Background(), w.link(), share.Signer{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	moved, err := share.Fetch(context.Background(), store, r.Manifest, r, nil, func(int64, int64) {})
	if err != nil {
		b.Fatal(err)
	}
	return moved
}

// BenchmarkServe sends 512 MiB over loopback to a client that throws it away,
// and reports by how much the heap of the process grows meanwhile.
func BenchmarkServe(b *testing.B) {
	const size = 512 << 20
	w := newSite(b, size, "")
	w.all = nil
	b.SetBytes(size)
	most := uint64(0)
	sink := make([]byte, 1<<20)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		q, err := http.NewRequest("GET", w.base+w.path("pieces"), nil)
		if err != nil {
			b.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+w.token)
		q.Header.Set("Range", fmt.Sprintf("bytes=0-%d", size-1))
		response, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			m, err := response.Body.Read(sink)
			if n += m; err != nil {
				break
			}
		}
		response.Body.Close()
		if n != size {
			b.Fatal(n)
		}
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse-min(now.HeapInuse, before.HeapInuse))
	}
	b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
}
