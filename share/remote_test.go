package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// peer answers for one bundle; answer may do so in its own way first.
type peer struct {
	head, all []byte
	m         *Manifest
	answer    func(w http.ResponseWriter, q *http.Request) bool
	cut       bool // it has cut something off
}

func newPeer(t *testing.T, h homeOf) *peer {
	t.Helper()
	path, m := h.bundle(t, false)
	b, err := OpenBundle(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := &peer{head: b.Sealed.head(), m: m}
	for n := range m.Pieces {
		data, err := b.piece(n)
		if err != nil {
			t.Fatal(err)
		}
		p.all = append(p.all, data...)
	}
	return p
}

func (p *peer) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	switch {
	case p.answer != nil && p.answer(w, q):
	case strings.HasSuffix(q.URL.Path, "/manifest"):
		w.Write(p.head)
	case strings.HasSuffix(q.URL.Path, "/blocks"):
		spans, err := ParseSpans(q.Header.Get("Range"), UnitPieces, int64(len(p.m.Pieces)))
		var at, sums []byte
		for n, all := int64(0), p.all; n < int64(len(p.m.Pieces)); n++ {
			at, all = all[:p.m.Pieces[n].Length], all[p.m.Pieces[n].Length:]
			if slices.ContainsFunc(spans, func(s Span) bool { return s.From <= n && n < s.To }) {
				sums = BlockSums(sums, at)
			}
		}
		p.send(w, sums, err)
	case strings.HasPrefix(q.Header.Get("Range"), UnitParts):
		spans, err := ParseSpans(q.Header.Get("Range"), UnitParts, int64(len(p.all)))
		var parts []byte
		for _, s := range spans {
			parts = append(parts, p.all[s.From:s.To]...)
		}
		p.send(w, parts, err)
	default:
		var from, to int
		if _, err := fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(to+1-from))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(p.all[from : to+1])
	}
}

func (p *peer) send(w http.ResponseWriter, data []byte, err error) {
	if err != nil {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(data)
}

// open opens the link to a peer, impatiently.
func (p *peer) open(t *testing.T) (*Remote, error) {
	t.Helper()
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return openImpatiently(Link{Base: s.URL, Share: "0123456789abcdef", Token: "secret"}, 300*time.Millisecond)
}

func openImpatiently(l Link, patience time.Duration) (*Remote, error) {
	r := newRemote(l)
	r.patience = patience
	return r, r.open(context.Background())
}

func TestAPeerThatMisbehavesIsLeft(t *testing.T) {
	manifest := func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/manifest") }
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { t.Error("the token went elsewhere", q.Header) }))
	defer elsewhere.Close()
	for name, tt := range map[string]struct {
		want   error
		answer func(p *peer, w http.ResponseWriter, q *http.Request) bool
	}{
		"says nothing of the manifest": {ErrPeer, func(_ *peer, _ http.ResponseWriter, q *http.Request) bool {
			<-q.Context().Done()
			return true
		}},
		"drips the manifest": {ErrPeer, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			w.Write(p.head[:bundleHeader])
			drips(w, q)
			return true
		}},
		"says that the manifest is huge": {ErrDamaged, func(p *peer, w http.ResponseWriter, _ *http.Request) bool {
			head := append([]byte{}, p.head...)
			head[15] = 0xff
			w.Write(head)
			return true
		}},
		"sends no manifest": {ErrDamaged, func(_ *peer, w http.ResponseWriter, _ *http.Request) bool {
			io.WriteString(w, "<html>")
			return true
		}},
		"sends elsewhere": {ErrPeer, func(_ *peer, w http.ResponseWriter, q *http.Request) bool {
			http.Redirect(w, q, elsewhere.URL, http.StatusFound)
			return true
		}},
		"does not know it": {ErrRefused, func(_ *peer, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusNotFound)
			return true
		}},
		"has no more": {ErrRefused, func(_ *peer, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusGone)
			return true
		}},
		"drips a piece": {ErrPeer, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if manifest(q) {
				return false
			}
			var from, to int
			fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-%d", &from, &to)
			w.Header().Set("Content-Length", fmt.Sprint(to+1-from))
			w.WriteHeader(http.StatusPartialContent)
			for ; from <= to && q.Context().Err() == nil; from++ {
				w.Write(p.all[from : from+1])
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
			return true
		}},
		"never ends a range": {ErrPeer, func(_ *peer, w http.ResponseWriter, q *http.Request) bool {
			if manifest(q) {
				return false
			}
			w.WriteHeader(http.StatusPartialContent)
			drips(w, q)
			return true
		}},
		"sends all for a range": {ErrPeer, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if manifest(q) {
				return false
			}
			w.Write(p.all)
			return true
		}},
		"sends zeros": {ErrDamaged, func(p *peer, w http.ResponseWriter, q *http.Request) bool {
			if !manifest(q) {
				p.all = make([]byte, len(p.all))
			}
			return false
		}},
		"fails": {ErrPeer, func(_ *peer, w http.ResponseWriter, q *http.Request) bool {
			if manifest(q) {
				return false
			}
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, newHome(t))
			p.answer = func(w http.ResponseWriter, q *http.Request) bool { return tt.answer(p, w, q) }
			r, err := p.open(t)
			if err == nil {
				bob := newHome(t)
				if _, err = Fetch(context.Background(), bob.store, r.Manifest, r, nil, func(int64, int64) {}); err == nil {
					t.Fatal("it was fetched")
				}
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if name == "sends elsewhere" && !strings.Contains(err.Error(), "wants a login") {
				t.Error(err)
			}
		})
	}
}

// A connection that is cut after any number of bytes costs no byte that came whole.
func TestAPullGoesOnWhereItWasCutOff(t *testing.T) {
	p := newPeer(t, newHome(t))
	backend := httptest.NewServer(p)
	defer backend.Close()
	for _, after := range []int{1, 100, 500, len(p.head), len(p.head) + 500, 1 << 19, 1<<20 + 1<<19} {
		bob := newHome(t)
		sum := pullOverACutLine(t, backend, bob, after, 3, 50)
		if sum != p.m.Bytes() {
			t.Errorf("cut after %d bytes: %d bytes moved of %d", after, sum, p.m.Bytes())
		}
		into := filepath.Join(t.TempDir(), "into")
		if err := Place(context.Background(), bob.store, Sealed{}, p.m, into); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(into, "out/big.bin")); err != nil || info.Size() != 3<<19 {
			t.Error(err)
		}
	}
}

// pullOverACutLine fetches all again and again over a line that is cut after so many bytes, and is good once it was tried
// more often than bad. It returns the bytes that moved in all, and fails after more than most tries.
func pullOverACutLine(t *testing.T, backend *httptest.Server, bob homeOf, after, bad, most int) (sum int64) {
	t.Helper()
	var last error
	for tries := 0; ; tries++ {
		if tries > most {
			t.Fatalf("cut after %d bytes: it gets nowhere: %v", after, last)
		}
		limit := after
		if tries > bad {
			limit = 1 << 30
		}
		proxy := cutting(t, backend.Listener.Addr().String(), limit)
		r, err := openImpatiently(Link{Base: "http://" + proxy, Share: "0123456789abcdef"}, 5*time.Second)
		if err == nil {
			var moved int64
			moved, err = Fetch(context.Background(), bob.store, r.Manifest, r, nil, func(int64, int64) {})
			sum += moved
		}
		if last = err; err == nil {
			return sum
		}
	}
}

// cutting passes connections on to addr and cuts each after so many bytes of answers.
func cutting(t *testing.T, addr string, after int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer s.Close()
				go io.Copy(s, c)
				io.CopyN(c, s, int64(after))
			}()
		}
	}()
	return l.Addr().String()
}

func TestLinks(t *testing.T) {
	for text, base := range map[string]string{
		"http://127.0.0.1:80/s/0123456789abcdef#t.u":              "http://127.0.0.1:80",
		"https://hub.example.org/user/ada/s/0123456789abcdef#t.u": "https://hub.example.org/user/ada",
		"https://hub.example.org/s/s/0123456789abcdef#t.u":        "https://hub.example.org/s",
		"ftp://hub.example.org/s/0123456789abcdef#t.u":            "",
		"http://hub.example.org/s/0123456789abcde/#t.u":           "",
		"http://hub.example.org/s/../../../etc/passwd#t.u":        "",
		"http://user:pw@hub.example.org/s/0123456789abcdef#t.u":   "",
		"https://hub.example.org/x/0123456789abcdef":              "",
	} {
		l, err := ParseLink(text)
		if (err == nil) != (base != "") || l.Base != base {
			t.Errorf("%s: %v, %v", text, l, err)
		}
		if err == nil && l.String() != text {
			t.Errorf("%s, not %s", l, text)
		}
	}
	for base, local := range map[string]bool{"http://127.0.0.1:1": true, "http://[::1]:1": true, "http://localhost": true, "http://10.0.0.1": false, "https://a.example.org": false} {
		if (Link{Base: base}).Local() != local {
			t.Error(base)
		}
	}
}
