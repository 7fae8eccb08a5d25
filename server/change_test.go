package server

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"kedge/share"
	"kedge/snapshotter"
)

// moves pulls what was, and then what it has become, into one store, and
// returns what the second pull moved, and what was said before that it would.
func moves(t testing.TB, was, is []byte) (moved, said int64) {
	t.Helper()
	ctx := context.Background()
	store, err := snapshotter.Open(ctx, snapshotter.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, all := range [][]byte{was, is} {
		w := newSiteOf(t, all, "")
		r, err := share.OpenLink(ctx, w.link(), share.Signer{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if said, err = share.Moves(ctx, store, r.Manifest, r, nil); err != nil {
			t.Fatal(err)
		}
		before := len(w.log.String())
		var done, total int64
		if moved, err = share.Fetch(ctx, store, r.Manifest, r, nil, func(d, t int64) { done, total = max(done, d), t }); err != nil {
			t.Fatal(err)
		}
		if done != total {
			t.Errorf("the bar ends at %d of %d", done, total)
		}
		if data, err := store.Blob(ctx, r.Manifest.Blobs[0].ID); err != nil || !bytes.Equal(data, all) {
			t.Fatal("other bytes", err)
		}
		w.stop()
		if sent := w.sent(t, before); sent != moved {
			t.Errorf("%d bytes moved, and the server has sent %d", moved, sent)
		}
	}
	return moved, said
}

// sent is how many bytes of pieces and digests the log has from a place on.
func (w *site) sent(t testing.TB, from int) (bytes int64) {
	t.Helper()
	for line := range strings.Lines(w.log.String()[from:]) {
		var q struct {
			Path  string
			Bytes int64
		}
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		if q.Path == w.path("pieces") || q.Path == w.path("blocks") {
			bytes += q.Bytes
		}
	}
	return bytes
}

// random bytes, the same for the same seed.
func random(seed byte, size int) []byte {
	all := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(all)
	return all
}

// changed is all with something else from a place on, at each of so many places that are step apart.
func changed(all []byte, from, size, times, step int) []byte {
	is := bytes.Clone(all)
	for i := range times {
		copy(is[from+i*step:], random(byte(1+i), size))
	}
	return is
}

// A second pull moves what has changed, and little more, wherever that lies.
func TestASecondPullMovesWhatHasChanged(t *testing.T) {
	all := random(0, 40<<20)
	for name, tt := range map[string]struct {
		was, is []byte
		fresh   int // bytes
		most    float64
	}{
		"at a piece's begin":          {all, changed(all, 7<<20, 2<<20, 1, 0), 2 << 20, 1.05},
		"between pieces":              {all, changed(all, 7<<20+777_777, 2<<20, 1, 0), 2 << 20, 1.05},
		"in one piece":                {all, changed(all, 7<<20+1000, 400_000, 1, 0), 400_000, 1.05},
		"over many pieces":            {all, changed(all, 5<<20+99, 20<<20, 1, 0), 20 << 20, 1.01},
		"everywhere":                  {all, random(9, 40<<20), 40 << 20, 1.001},
		"in one page of each piece":   {all, changed(all, 8<<10, 4<<10, 40, 1<<20), 40 * 4 << 10, 1.6},
		"appended":                    {all[:20<<20+5], all[:22<<20], 2<<20 - 5, 1.05},
		"all of a small one, a bit":   {all[:300_000], changed(all[:300_000], 200_000, 10, 1, 0), 4 << 10, 1.2},
		"where there was nothing":     {all[:1<<20], random(9, 3<<20), 3 << 20, 1},
		"nothing but that it is less": {all, all[:10<<20], 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			moved, said := moves(t, tt.was, tt.is)
			if moved != said {
				t.Errorf("%d bytes moved, and %d were said to", moved, said)
			}
			if float64(moved) > tt.most*float64(tt.fresh) {
				t.Errorf("%d bytes moved for %d that are new", moved, tt.fresh)
			}
			t.Logf("%.4f times %d bytes", float64(moved)/float64(max(1, tt.fresh)), tt.fresh)
		})
	}
}
