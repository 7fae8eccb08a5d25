// Package server answers for what this home shares by links: the signed
// manifest and the pieces of each share, to whoever has a capability for it,
// and to nobody else. It can only be read.
package server

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"kedge/share"
	"kedge/snapshotter"
)

//go:embed openapi.json
var openAPI []byte

const (
	maxTransfers = 32 // ranges that are being sent; each holds one piece in memory
	maxLooks     = 8  // requests that look into more than they send
	maxHeader    = 16 << 10
	sendTime     = 30 * time.Second // that a piece may take
	stopTime     = 10 * time.Second // that requests have to end after Run's context has
)

// Config says what is served. All fields but Public, Base and Name are required.
type Config struct {
	Store    *snapshotter.Store
	Registry share.Registry
	Home     share.Key // what capabilities are signed with
	Logger   *slog.Logger
	Now      func() time.Time
	Public   *url.URL // where people reach it, if that is not where it listens
	Base     string   // what links to it begin with; proofs of a key have to name it
	Name     string   // what an answer to a health check says, so that it can be told from another's
}

// Server is one HTTP server.
type Server struct {
	cfg        Config
	hosts      map[string]bool // by which it may be called
	prefix     string          // path under which a reverse proxy offers it
	transfers  chan struct{}
	looks      chan struct{}
	compares   chan struct{}
	closing    chan struct{}
	challenges *challenges

	mu    sync.Mutex // guards what follows
	heads map[string]*head
}

// New returns a server for a listener at addr.
func New(cfg Config, addr net.Addr) *Server {
	s := &Server{cfg: cfg, hosts: map[string]bool{"localhost": true}, transfers: make(chan struct{}, maxTransfers), looks: make(chan struct{}, maxLooks), compares: make(chan struct{}, maxCompares),
		closing: make(chan struct{}), challenges: newChallenges(), heads: map[string]*head{}}
	if name, err := os.Hostname(); err == nil && !isLoopback(addr) {
		s.hosts[strings.ToLower(name)] = true
	}
	if cfg.Public != nil {
		s.hosts[strings.ToLower(cfg.Public.Hostname())] = true
		s.prefix = strings.TrimSuffix(cfg.Public.Path, "/")
	}
	return s
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Run serves on a listener until ctx ends, and then lets requests end. With
// certificate and key files it speaks TLS.
func (s *Server) Run(ctx context.Context, l net.Listener, certificate, key string) error {
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug)}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		close(s.closing)
		end, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		err := srv.Shutdown(end)
		if errors.Is(err, context.DeadlineExceeded) { // who is still fetching goes on elsewhere, or later
			err = srv.Close()
		}
		stopped <- err
	})
	var err error
	if certificate != "" {
		err = srv.ServeTLS(l, certificate, key)
	} else {
		err = srv.Serve(l)
	}
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return <-stopped
}

// Handler answers every request.
func (s *Server) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(s.logged, s.guarded)
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { s.fail(w, http.StatusNotFound, "not found", nil) })
	r.MethodNotAllowed(func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, http.StatusMethodNotAllowed, "it can only be read", nil)
	})
	r.Get("/api/v1/health", s.health)
	r.Get("/api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(openAPI)
	})
	r.Get("/api/v1/shares/{share}/events", s.events)
	r.Get("/api/v1/shares/{share}/manifest", s.manifest)
	r.Get("/api/v1/shares/{share}/pieces", s.pieces)
	r.Get("/api/v1/shares/{share}/blocks", s.blocks)
	r.Get("/api/v1/shares/{share}/view", s.view)
	r.Get("/api/v1/shares/{share}/content", s.content)
	r.Get("/api/v1/shares/{share}/prose", s.prose)
	r.Get("/api/v1/shares/{share}/preview", s.preview)
	r.Get("/api/v1/shares/{share}/diff", s.difference)
	r.Get("/s/{share}", s.page)
	for _, name := range []string{"page.js", "values.js", "compare.js", "prose.js"} {
		r.Get("/assets/"+name, func(w http.ResponseWriter, _ *http.Request) { s.asset(w, name, "text/javascript; charset=utf-8") })
	}
	r.Get("/assets/page.css", func(w http.ResponseWriter, _ *http.Request) { s.asset(w, "page.css", "text/css; charset=utf-8") })
	if s.prefix == "" {
		return r
	}
	strip := http.StripPrefix(s.prefix, r)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasPrefix(q.URL.Path, s.prefix+"/") { // some proxies take the prefix away, others leave it
			strip.ServeHTTP(w, q)
			return
		}
		r.ServeHTTP(w, q)
	})
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "name": s.cfg.Name}) // whoever asked is gone if it fails
}

// fail answers that something is not so. Only what this server means to say reaches the other side.
func (s *Server) fail(w http.ResponseWriter, status int, message string, err error) {
	if err != nil {
		s.cfg.Logger.Error(message, "err", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
}

// refuse is the one table from errors of a share to answers.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errRevoked):
		w.Header().Set(share.HeaderError, "revoked")
		s.fail(w, http.StatusGone, "it was revoked", nil)
	case errors.Is(err, share.ErrExpired):
		w.Header().Set(share.HeaderError, "expired")
		s.fail(w, http.StatusGone, "it has expired", nil)
	case errors.Is(err, share.ErrAudience):
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.Header().Set(share.HeaderError, "audience")
		s.fail(w, http.StatusUnauthorized, "this link is for one person: it opens in her home, by kedge open and her key, not in a browser", nil)
	case errors.Is(err, share.ErrRefused):
		w.Header().Set("WWW-Authenticate", "Bearer")
		s.fail(w, http.StatusUnauthorized, "the link does not let you in", nil)
	case errors.Is(err, snapshotter.ErrNotFound), errors.Is(err, os.ErrNotExist):
		s.fail(w, http.StatusNotFound, "it is here no more", err)
	default:
		s.fail(w, http.StatusInternalServerError, "internal error", err)
	}
}

var errRevoked = errors.New("revoked")

// admit is the share that who holds a token may read: none that is for one key,
// for which she would have to prove that she has that ([Server.proven]).
func (s *Server) admit(id, token string) (share.Shared, error) {
	one, err := s.open(id, token)
	if err == nil && one.For != "" {
		return share.Shared{}, share.ErrAudience
	}
	return one, err
}

// open is the share that a token is of. That there is none is said like that
// its token is wrong.
func (s *Server) open(id, token string) (share.Shared, error) {
	now := s.cfg.Now()
	c, err := share.ReadToken(token, s.cfg.Home, id, now)
	if err != nil {
		return share.Shared{}, err
	}
	one, err := s.cfg.Registry.Get(id)
	if err != nil {
		return one, err
	}
	if c.For != one.For {
		return one, fmt.Errorf("its token is for another reader: %w", share.ErrRefused)
	}
	if !one.Revoked.IsZero() {
		return one, errRevoked
	}
	return one, one.Open(now)
}

// bearer is the token of a request.
func bearer(q *http.Request) string {
	token, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}
