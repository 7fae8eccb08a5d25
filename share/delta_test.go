package share

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// holds puts an earlier state of the peer's large blob into a store: one page of each of its two pieces is another.
func (p *peer) holds(t *testing.T, h homeOf) {
	t.Helper()
	for _, b := range p.m.Blobs {
		if b.Size != 3<<19 {
			continue
		}
		data, err := Read(context.Background(), p.m, source(p.piece), b.ID, b.Size)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{300 << 10, 1<<20 + 5000} {
			clear(data[at : at+4<<10])
		}
		if _, err := h.store.PutBlob(context.Background(), data); err != nil {
			t.Fatal(err)
		}
		if err := h.store.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is none")
}

func (p *peer) piece(n int) []byte {
	at := int64(0)
	for _, one := range p.m.Pieces[:n] {
		at += one.Length
	}
	return p.all[at : at+p.m.Pieces[n].Length]
}

// source gives pieces that are in memory.
type source func(n int) []byte

func (s source) Fetch(_ context.Context, wanted []int, got func(n int, data []byte) error) error {
	for _, n := range wanted {
		if err := got(n, s(n)); err != nil {
			return err
		}
	}
	return nil
}

// Whatever a peer says of the blocks of a piece, what is kept is the piece.
func TestAPeerThatLiesOfBlocks(t *testing.T) {
	blocks := func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/blocks") }
	parts := func(q *http.Request) bool { return strings.HasPrefix(q.Header.Get("Range"), UnitParts) }
	// small is what moves if it does not lie: 12 KiB, digests, and what else is shared.
	const small = 20 << 10
	for name, tt := range map[string]struct {
		most   int64
		answer func(p *peer, w http.ResponseWriter, q *http.Request) bool
	}{
		"does not lie": {small, nil},
		"knows nothing of blocks": {2 << 20, func(_ *peer, w http.ResponseWriter, q *http.Request) bool {
			if blocks(q) {
				w.WriteHeader(http.StatusNotFound)
			}
			return blocks(q)
		}},
		"knows nothing of parts": {2 << 20, func(_ *peer, w http.ResponseWriter, q *http.Request) bool {
			if parts(q) {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			}
			return parts(q)
		}},
		"has digests of nothing": {2 << 20, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if blocks(q) {
				p.send(w, make([]byte, BlockSumsLength(1<<20)+BlockSumsLength(1<<19)), nil)
			}
			return blocks(q)
		}},
		"has digests of other pieces": {2 << 20, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if blocks(q) { // as if nothing had changed
				data := p.changed(t)
				p.send(w, BlockSums(BlockSums(nil, data[:1<<20]), data[1<<20:]), nil)
			}
			return blocks(q)
		}},
		"sends too few digests": {2 << 20, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if blocks(q) {
				p.send(w, make([]byte, 8), nil)
			}
			return blocks(q)
		}},
		"sends digests for ever": {2 << 20, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if blocks(q) {
				w.WriteHeader(http.StatusPartialContent)
				drips(w, q)
			}
			return blocks(q)
		}},
		"drips digests": {2 << 20, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if blocks(q) {
				w.Header().Set("Content-Length", fmt.Sprint(BlockSumsLength(1<<20)+BlockSumsLength(1<<19)))
				w.WriteHeader(http.StatusPartialContent)
				drips(w, q)
			}
			return blocks(q)
		}},
		"sends other parts": {2 << 20, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if parts(q) {
				p.send(w, make([]byte, 12<<10), nil)
			}
			return parts(q)
		}},
		"sends too much": {2 << 20, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if parts(q) {
				p.send(w, p.all, nil)
			}
			return parts(q)
		}},
		"cuts parts off": {small, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if !parts(q) || p.cut {
				return false
			}
			p.cut = true
			w.Header().Set("Content-Length", fmt.Sprint(12<<10))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(p.all[:1000])
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, bob := newPeer(t, newHome(t)), newHome(t)
			p.holds(t, bob)
			if tt.answer != nil {
				p.answer = func(w http.ResponseWriter, q *http.Request) bool { return tt.answer(p, w, q) }
			}
			r, err := p.open(t)
			if err != nil {
				t.Fatal(err)
			}
			moved, err := Fetch(context.Background(), bob.store, r.Manifest, r, nil, func(int64, int64) {})
			if err != nil || moved > tt.most {
				t.Fatalf("%d bytes moved: %v", moved, err)
			}
			for _, b := range r.Manifest.Blobs {
				if err := bob.store.CheckBlob(context.Background(), b.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// changed is what the peer's large blob was.
func (p *peer) changed(t *testing.T) []byte {
	h := newHome(t)
	p.holds(t, h)
	for _, b := range p.m.Blobs {
		if b.Size == 3<<19 {
			lists, err := h.store.Alike(context.Background(), b.Size, nil, 1)
			if err != nil || len(lists) != 1 {
				t.Error(lists, err)
			}
			data, err := h.store.Window(context.Background(), lists[0], 0, b.Size, nil)
			if err != nil {
				t.Error(err)
			}
			return data
		}
	}
	return nil
}

// drips sends a little at a time, for ever.
func drips(w http.ResponseWriter, q *http.Request) {
	for q.Context().Err() == nil {
		if _, err := w.Write([]byte{0}); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
	}
}

// What was patched and has come before the connection is cut need not come again.
func TestAPullOfPartsGoesOnWhereItWasCutOff(t *testing.T) {
	p := newPeer(t, newHome(t))
	backend := httptest.NewServer(p)
	defer backend.Close()
	for _, after := range []int{1, 1000, len(p.head) + 2000, len(p.head) + 4000, len(p.head) + 9000} {
		bob := newHome(t)
		p.holds(t, bob)
		sum := pullOverACutLine(t, backend, bob, after, 2, 4)
		if sum > 64<<10 {
			t.Errorf("cut after %d bytes: %d bytes moved", after, sum)
		}
	}
}

// What was here and is damaged or gone by the time that it is needed is asked for.
func TestWhatIsGoneWhenItIsNeededIsAskedFor(t *testing.T) {
	p, bob := newPeer(t, newHome(t)), newHome(t)
	p.holds(t, bob)
	wanted, _, err := Wanted(context.Background(), bob.store, p.m, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.open(t)
	if err != nil {
		t.Fatal(err)
	}
	what, err := plan(context.Background(), bob.store, p.m, r, nil, wanted)
	if err != nil || len(what.patches) != 2 {
		t.Fatal(what, err)
	}
	for i := range what.patches { // as if gc had taken it
		for k := range what.patches[i].olders {
			what.patches[i].olders[k].pieces = []snapshotter.Extent{{ID: cellgraph.Sum([]byte("gone")), Length: 1 << 20}}
		}
	}
	lost := int64(0)
	left, err := patched(context.Background(), bob.store, p.m, r, what.patches, func(n int64) { lost += n }, func(int, []byte, int64) error {
		t.Error("it was made")
		return nil
	})
	if err != nil || len(left) != 2 || lost != 12<<10 {
		t.Error(left, lost, err)
	}
	full := errors.New("full")
	if what, err = plan(context.Background(), bob.store, p.m, r, nil, wanted); err != nil {
		t.Fatal(err)
	}
	if _, err := patched(context.Background(), bob.store, p.m, r, what.patches, func(int64) {}, func(int, []byte, int64) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
}

func TestSpans(t *testing.T) {
	for _, text := range []string{"x=0-0", "x=0-9", "x=0-1,3-9", "x=9-9"} {
		spans, err := ParseSpans(text, "x", 10)
		if err != nil || WriteSpans("x", spans) != text {
			t.Error(text, spans, err)
		}
	}
	for _, text := range []string{"", "x=", "x=0", "x=-1", "x=1-", "x=0-10", "x=2-1", "x=2-3,1-1", "x=2-3,3-4", "y=0-1", "x=0-1,", "x=+-1", "x=-1--1", "x=99999999999999999999-1"} {
		if spans, err := ParseSpans(text, "x", 10); !errors.Is(err, ErrRange) {
			t.Error(text, spans, err)
		}
	}
}
