package server

import (
	"context"
	"fmt"
	"net/http"
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
		store, err := snapshotter.Open(context.Background(), snapshotter.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		r, err := share.OpenLink(context.Background(), share.Link{Base: w.base, Share: w.one.ID, Token: w.token}, share.Signer{})
		if err != nil {
			b.Fatal(err)
		}
		moved, err := share.Fetch(context.Background(), store, r.Manifest, r, nil, func(int64, int64) {})
		if err != nil || moved != size {
			b.Fatal(moved, err)
		}
		r.Close()
		store.Close()
	}
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
