package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"

	"kedge/cellgraph"
	"kedge/share"
	"kedge/snapshotter"
)

// site is a server with one share, whose pieces are all.
type site struct {
	open share.Shared // of a site with a share for one key: the one for everybody
	*Server
	store    *snapshotter.Store
	registry share.Registry
	signer   share.Signer
	one      share.Shared
	all      []byte
	token    string
	base     string
	log      *lines
	stop     func() error
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newSite(t testing.TB, size int, public string) *site {
	t.Helper()
	all := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(all)
	return newSiteOf(t, all, public)
}

// newSiteOf is a site whose one blob is all.
func newSiteOf(t testing.TB, all []byte, public string) *site {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	store, err := snapshotter.Open(ctx, snapshotter.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w := &site{store: store, registry: share.Registry{Dir: filepath.Join(dir, "shares")}, log: &lines{}, all: all}
	if w.signer, err = share.LoadSigner(filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	id, err := store.PutBlob(ctx, w.all)
	if err != nil {
		t.Fatal(err)
	}
	total, pieces, err := store.Extents(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	m := &share.Manifest{Format: 2, Cells: []share.Cell{{ID: "a", Step: "one", Changed: &share.Changed{}}}, Snapshot: cellgraph.Sum([]byte("s")), Notebook: "nb.ipynb", Created: time.Now(), Expires: time.Now().Add(time.Hour),
		Files: []share.File{{Path: "nb.ipynb", Type: "file", Content: id, Size: total}}, Blobs: []share.Blob{{ID: id, Size: total}}}
	for i, p := range pieces {
		m.Pieces = append(m.Pieces, share.Piece{ID: p.ID, Length: p.Length})
		m.Blobs[0].Pieces = append(m.Blobs[0].Pieces, i)
	}
	sealed, err := w.signer.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	if w.one, err = w.registry.Add(ctx, store, sealed, m, nil); err != nil {
		t.Fatal(err)
	}
	if w.token, err = w.signer.Token(w.one.Capability()); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Store: store, Registry: w.registry, Home: w.signer.Public(), Logger: slog.New(slog.NewJSONHandler(w.log, nil)), Now: time.Now, Name: "me"}
	if public != "" {
		if cfg.Public, err = url.Parse(public); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.base = "http://" + l.Addr().String()
	cfg.Base = w.base
	w.Server = New(cfg, l.Addr())
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, l, "", "") }()
	w.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { w.stop() })
	return w
}

// ask sends a request; header names and values come in turn.
func (w *site) ask(t *testing.T, method, path string, header ...string) (int, http.Header, string) {
	t.Helper()
	q, err := http.NewRequest(method, w.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			q.Host = header[i+1]
			continue
		}
		q.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

func (w *site) path(what string) string { return "/api/v1/shares/" + w.one.ID + "/" + what }

func TestOnlyWhoHasTheLinkReads(t *testing.T) {
	w := newSite(t, 3<<19, "")
	bearer := []string{"Authorization", "Bearer " + w.token}
	status, _, body := w.ask(t, "GET", w.path("manifest"), bearer...)
	sealed, err := share.ReadHead(strings.NewReader(body))
	if status != 200 || err != nil || sealed.Author != w.signer.Public() {
		t.Fatal(status, err)
	}
	for _, r := range [][2]int{{0, 0}, {0, len(w.all) - 1}, {5, 1<<20 + 5}, {1 << 20, 1<<20 + 1}, {len(w.all) - 1, len(w.all) - 1}} {
		status, h, body := w.ask(t, "GET", w.path("pieces"), append(bearer, "Range", fmt.Sprintf("bytes=%d-%d", r[0], r[1]))...)
		if status != 206 || body != string(w.all[r[0]:r[1]+1]) || h.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", r[0], r[1], len(w.all)) {
			t.Errorf("%v: %d, %d bytes, %s", r, status, len(body), h.Get("Content-Range"))
		}
	}
	for _, r := range []string{"", "bytes=0-", "bytes=-5", "bytes=5-2", "bytes=0-1,3-4", "bytes=0-99999999999", "bytes=-1--1", "lines=0-1", "bytes=99999999999999999999-1",
		"parts=", "parts=1-0", "parts=0-1,1-2", "parts=5-6,0-1", "parts=0-99999999", "parts=0-0" + strings.Repeat(",0-0", 999)} {
		if status, _, _ := w.ask(t, "GET", w.path("pieces"), append(bearer, "Range", r)...); status != 416 {
			t.Errorf("range %q: %d", r, status)
		}
	}
	parts := fmt.Sprintf("5-9,11-%d,%d-%d", 1<<20+4, len(w.all)-1, len(w.all)-1)
	status, h, body := w.ask(t, "GET", w.path("pieces"), append(bearer, "Range", "parts="+parts)...)
	if want := string(w.all[5:10]) + string(w.all[11:1<<20+5]) + string(w.all[len(w.all)-1:]); status != 206 || body != want || h.Get("Content-Range") != fmt.Sprintf("parts %s/%d", parts, len(w.all)) {
		t.Errorf("parts: %d, %d bytes, %s", status, len(body), h.Get("Content-Range"))
	}
	status, h, body = w.ask(t, "GET", w.path("blocks"), append(bearer, "Range", "pieces=1-1")...)
	if first := cellgraph.Sum(w.all[1<<20 : 1<<20+4<<10]); status != 206 || len(body) != 8*128 || body[:8] != string(first[:8]) || h.Get("Content-Range") != "pieces 1-1/2" {
		t.Errorf("blocks: %d, %d bytes, %s", status, len(body), h.Get("Content-Range"))
	}
	for _, r := range []string{"", "bytes=0-1", "pieces=2-2", "pieces=0-1,0-1", "pieces=0-"} {
		if status, _, _ := w.ask(t, "GET", w.path("blocks"), append(bearer, "Range", r)...); status != 416 {
			t.Errorf("blocks of %q: %d", r, status)
		}
	}

	other := newSite(t, 10, "")
	late := w.one
	late.Expires = time.Now().Add(-time.Second)
	expired, _ := w.signer.Token(late.Capability())
	longer := late
	longer.Expires = time.Now().Add(99 * time.Hour)
	changed, _ := w.signer.Token(longer.Capability())
	mixed := changed[:strings.Index(changed, ".")] + w.token[strings.Index(w.token, "."):]
	foreign, _ := other.signer.Token(w.one.Capability())
	for name, tt := range map[string]struct {
		token  string
		status int
	}{
		"none": {"", 401}, "cut": {w.token[:len(w.token)-4], 401}, "of another share": {other.token, 401}, "signed by another": {foreign, 401},
		"expires later": {mixed, 401}, "expired": {expired, 410}, "long": {strings.Repeat("a", 9000), 401}, "no text": {"\xff.\xff", 401},
	} {
		for _, what := range []string{"manifest", "pieces", "blocks"} {
			status, _, body := w.ask(t, "GET", w.path(what), "Authorization", "Bearer "+tt.token, "Range", "bytes=0-1")
			if status != tt.status || len(body) > 200 {
				t.Errorf("%s, %s: %d %s", name, what, status, body)
			}
		}
	}
	if status, _, _ := w.ask(t, "GET", w.path("manifest")+"?token="+w.token); status != 401 {
		t.Error("a token in an address lets in", status)
	}
	if _, err := w.registry.Revoke(context.Background(), w.store, w.one.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	if status, h, _ := w.ask(t, "GET", w.path("manifest"), bearer...); status != 410 || h.Get("Kedge-Error") != "revoked" {
		t.Error("revoked", status)
	}
	if text := w.log.String(); strings.Contains(text, w.token) || !strings.Contains(text, `"path":"`+w.path("manifest")+`","status":200`) {
		t.Errorf("the log: %s", text[:min(len(text), 500)])
	}
}

func TestPagesOfOthersAreRefused(t *testing.T) {
	w := newSite(t, 10, "https://hub.example.org/user/ada/")
	port := w.base[strings.LastIndex(w.base, ":"):]
	for name, tt := range map[string]struct {
		status int
		header []string
	}{
		"by its number":           {200, nil},
		"by localhost":            {200, []string{"Host", "localhost" + port}},
		"by its public name":      {200, []string{"Host", "hub.example.org"}},
		"by a rebound name":       {421, []string{"Host", "evil.example.com" + port}},
		"by a name below ours":    {421, []string{"Host", "x.hub.example.org"}},
		"by a name like a number": {421, []string{"Host", "127.0.0.1.example.com"}},
		"own origin":              {200, []string{"Origin", w.base}},
		"public origin":           {200, []string{"Origin", "https://hub.example.org"}},
		"another origin":          {403, []string{"Origin", "https://evil.example.com"}},
		"no origin to speak of":   {403, []string{"Origin", "null"}},
		"cross-site":              {403, []string{"Sec-Fetch-Site", "cross-site"}},
		"same site":               {403, []string{"Sec-Fetch-Site", "same-site"}},
		"same origin":             {200, []string{"Sec-Fetch-Site", "same-origin"}},
	} {
		if status, h, body := w.ask(t, "GET", "/api/v1/health", tt.header...); status != tt.status || h.Get("Access-Control-Allow-Origin") != "" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"} {
		if status, _, _ := w.ask(t, method, w.path("manifest"), "Authorization", "Bearer "+w.token); status != 405 {
			t.Errorf("%s: %d", method, status)
		}
	}
	for _, path := range []string{"/", "/api", "/api/v1", "/api/v1/shares", "/api/v1/shares/", w.path(""), "/s", "/shares/", "/..", "/%2e%2e/key", "/api/v1/shares/..%2f..%2fkey/manifest", "/.git/config", "/key"} {
		if status, _, body := w.ask(t, "GET", path, "Authorization", "Bearer "+w.token); status != 404 && status != 401 || len(body) > 100 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	// A reverse proxy may take the prefix away, or leave it.
	if status, _, _ := w.ask(t, "GET", "/user/ada/api/v1/health"); status != 200 {
		t.Error("under its prefix", status)
	}
}

func TestEvents(t *testing.T) {
	w := newSite(t, 10, "")
	at := "ws" + strings.TrimPrefix(w.base, "http") + w.path("events")
	dial := func(token, origin string) (*websocket.Conn, error) {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		c, _, err := websocket.DefaultDialer.Dial(at, header)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		return c, c.WriteMessage(websocket.TextMessage, []byte(token))
	}
	next := func(c *websocket.Conn) string {
		var e event
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if err := c.ReadJSON(&e); err != nil {
			return err.Error()
		}
		return e.Event
	}
	if _, err := dial(w.token, "https://evil.example.com"); !errors.Is(err, websocket.ErrBadHandshake) {
		t.Error(err)
	}
	if c, err := dial("nothing", ""); err != nil || next(c) != "refused" {
		t.Error(err)
	}
	c, err := dial(w.token, w.base)
	if err != nil || next(c) != "open" {
		t.Fatal(err)
	}
	if _, err := w.registry.Revoke(context.Background(), w.store, w.one.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	if e := next(c); e != "revoked" {
		t.Error(e)
	}
	big, err := dial(strings.Repeat("a", 1<<20), "")
	if err == nil && next(big) == "open" {
		t.Error("a message of a MiB was read")
	}
}

// fetching is the answer to who asks for all pieces; its body is still to be read.
func (w *site) fetching(t *testing.T) *http.Response {
	t.Helper()
	q, _ := http.NewRequest("GET", w.base+w.path("pieces"), nil)
	q.Header.Set("Authorization", "Bearer "+w.token)
	q.Header.Set("Range", fmt.Sprintf("bytes=0-%d", len(w.all)-1))
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestTheServerStopsGracefully(t *testing.T) {
	w := newSite(t, 8<<20, "")
	response := w.fetching(t)
	began, got := make([]byte, 1000), make(chan []byte, 1)
	if _, err := io.ReadFull(response.Body, began); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(200 * time.Millisecond)
		rest, _ := io.ReadAll(response.Body)
		got <- rest
	}()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if rest := <-got; !bytes.Equal(append(began, rest...), w.all) {
		t.Errorf("%d bytes came", len(began)+len(rest))
	}
	if _, err := http.Get(w.base + "/api/v1/health"); err == nil {
		t.Error("it answers after it stopped")
	}
}

// What is revoked ends also for who is fetching it.
func TestATransferEndsWhenItsShareIsRevoked(t *testing.T) {
	w := newSite(t, 64<<20, "")
	response := w.fetching(t)
	if _, err := w.registry.Revoke(context.Background(), w.store, w.one.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("all of %d bytes came", len(rest))
	}
}

// The description names the routes that there are, and each answer that it
// gives is one that the description has.
func TestTheDescriptionHolds(t *testing.T) {
	w := newSite(t, 100, "")
	status, h, body := w.ask(t, "GET", "/api/v1/openapi.json")
	var doc struct {
		Components struct {
			Responses map[string]answer
			Schemas   map[string]struct{ Required []string }
		}
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 || h.Get("Content-Type") != "application/json" {
		t.Fatal(err, status)
	}
	described := map[string]map[string]answer{}
	for path, methods := range doc.Paths {
		for method, raw := range methods {
			if method == "parameters" {
				continue
			}
			var op struct{ Responses map[string]answer }
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatal(err)
			}
			described[strings.ToUpper(method)+" "+path] = op.Responses
		}
	}
	routes := map[string]bool{}
	err := chi.Walk(w.Handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if strings.HasPrefix(route, "/api/") {
			routes[method+" "+route] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for route := range routes {
		if described[route] == nil {
			t.Errorf("%s is not described", route)
		}
	}
	for route, responses := range described {
		if !routes[route] {
			t.Errorf("there is no %s", route)
		}
		method, path, _ := strings.Cut(route, " ")
		path = strings.ReplaceAll(path, "{share}", w.one.ID)
		seen := map[string]bool{}
		for i, header := range [][]string{nil, {"Authorization", "Bearer " + w.token}, {"Authorization", "Bearer " + w.token}, {"Authorization", "Bearer " + w.token, "Range", "bytes=0-1"},
			{"Authorization", "Bearer " + w.token, "Range", "pieces=0-0"}, {"Host", "evil.example.com"}, {"Origin", "https://evil.example.com"}, {"Authorization", "Bearer " + w.expired(t)}} {
			if header != nil && path == "/api/v1/openapi.json" {
				continue
			}
			query := ""
			switch i {
			case 1:
				query = "?path=nb.ipynb&after=0"
			case 3:
				query = "?path=none&after=99"
			}
			status, h, body := w.ask(t, method, path+query, header...)
			code := fmt.Sprint(status)
			seen[code] = true
			r, ok := responses[code]
			if name := strings.TrimPrefix(r.Ref, "#/components/responses/"); name != "" {
				r, ok = doc.Components.Responses[name], true
			}
			kind := regexp.MustCompile(`;.*`).ReplaceAllString(h.Get("Content-Type"), "")
			content, typed := r.Content[kind]
			if !ok || !typed {
				t.Errorf("%s with %v: %s %s is not described", route, header, code, kind)
				continue
			}
			for name := range r.Headers {
				if h.Get(name) == "" {
					t.Errorf("%s: %s has no %s", route, code, name)
				}
			}
			schema := doc.Components.Schemas[strings.TrimPrefix(content.Schema.Ref, "#/components/schemas/")]
			var fields map[string]any
			if len(schema.Required) > 0 && json.Unmarshal([]byte(body), &fields) != nil {
				t.Errorf("%s: %s is no JSON: %s", route, code, body)
			}
			for _, name := range schema.Required {
				if _, ok := fields[name]; !ok {
					t.Errorf("%s: %s has no %q", route, code, name)
				}
			}
		}
		for code := range responses {
			if !seen[code] && !slices.Contains([]string{"101", "503"}, code) { // see TestEvents; and who is busy
				t.Errorf("%s never answered %s", route, code)
			}
		}
	}
}

// answer is a response of the description.
type answer struct {
	Ref     string `json:"$ref"`
	Headers map[string]any
	Content map[string]struct {
		Schema struct {
			Ref string `json:"$ref"`
		}
	}
}

func (w *site) expired(t *testing.T) string {
	t.Helper()
	late := w.one.Capability()
	late.Expires = time.Now().Add(-time.Hour)
	token, err := w.signer.Token(late)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A pull moves what is lacking, checked, in several ranges at a time.
func TestALinkIsPulled(t *testing.T) {
	w := newSite(t, 40<<20, "")
	ctx := context.Background()
	r, err := share.OpenLink(ctx, share.Link{Base: w.base, Share: w.one.ID, Token: w.token}, share.Signer{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	store, err := snapshotter.Open(ctx, snapshotter.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	moved, err := share.Fetch(ctx, store, r.Manifest, r, nil, func(int64, int64) {})
	if err != nil || moved != int64(len(w.all)) {
		t.Fatal(moved, err)
	}
	if data, err := store.Blob(ctx, r.Manifest.Blobs[0].ID); err != nil || !bytes.Equal(data, w.all) {
		t.Fatal(err)
	}
	for token, want := range map[string]error{w.token[1:]: share.ErrRefused, w.expired(t): share.ErrExpired, "": share.ErrRefused} {
		if _, err := share.OpenLink(ctx, share.Link{Base: w.base, Share: w.one.ID, Token: token}, share.Signer{}); !errors.Is(err, want) {
			t.Error(err)
		}
	}
}
