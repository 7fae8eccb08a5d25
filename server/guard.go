package server

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// guarded refuses what a page of somebody else makes a browser ask for, and
// names of this machine that somebody else has given it (DNS rebinding).
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if !s.called(q.Host) {
			s.fail(w, http.StatusMisdirectedRequest, "this server has another name; see kedge serve --public-url", nil)
			return
		}
		if origin := q.Header.Get("Origin"); origin != "" && !s.own(origin, q.Host) {
			s.fail(w, http.StatusForbidden, "a page of another origin asks", nil)
			return
		}
		if site := q.Header.Get("Sec-Fetch-Site"); strings.HasPrefix(q.URL.Path, "/api/") && (site == "cross-site" || site == "same-site") {
			s.fail(w, http.StatusForbidden, "a page of another site asks", nil)
			return
		}
		next.ServeHTTP(w, q)
	})
}

// called reports whether a Host is one by which this server may be called: its
// names, and numbers, which nobody can point elsewhere.
func (s *Server) called(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return net.ParseIP(name) != nil || s.hosts[strings.ToLower(name)]
}

// own reports whether an origin is this server's.
func (s *Server) own(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, host) || s.cfg.Public != nil && u.Scheme == s.cfg.Public.Scheme && strings.EqualFold(u.Host, s.cfg.Public.Host)
}

// logged writes a line for each request. Tokens stand in headers, and so in no line.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		began, counted := s.cfg.Now(), &counter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(counted, q)
		s.cfg.Logger.Info("request", "method", q.Method, "path", q.URL.Path, "status", counted.status, "bytes", counted.bytes,
			"ms", s.cfg.Now().Sub(began).Milliseconds(), "from", q.RemoteAddr, "range", q.Header.Get("Range"))
	})
}

// counter remembers what was answered.
type counter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Hijack is for WebSockets.
func (c *counter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c.status = http.StatusSwitchingProtocols
	return http.NewResponseController(c.ResponseWriter).Hijack()
}

// deadline is when what is sent now has to have been taken.
func deadline(w http.ResponseWriter) error {
	return http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTime))
}

// enter takes one of the places for requests that cost much; if there is none it has been answered.
func (s *Server) enter(w http.ResponseWriter, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
		w.Header().Set("Retry-After", "1")
		s.fail(w, http.StatusServiceUnavailable, "too many requests at a time", nil)
		return false
	}
}
