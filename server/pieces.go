package server

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"kedge/share"
)

const maxHeads = 16 // manifests that are kept in memory

// head is the signed manifest of a share, as it is sent, and where its pieces lie.
type head struct {
	text []byte
	m    *share.Manifest
	at   []int64 // where each piece begins; the last is the end of all
}

// head reads the manifest of a share, once.
func (s *Server) head(id string) (*head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.heads[id]; h != nil {
		return h, nil
	}
	text, err := s.cfg.Registry.Head(id)
	if err != nil {
		return nil, err
	}
	sealed, err := share.ReadHead(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", id, err)
	}
	h := &head{text: text, at: []int64{0}}
	if h.m, err = sealed.Open(); err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", id, err)
	}
	for i, p := range h.m.Pieces {
		h.at = append(h.at, h.at[i]+p.Length)
	}
	if len(s.heads) >= maxHeads {
		clear(s.heads)
	}
	s.heads[id] = h
	return h, nil
}

// admitted is the share, and its manifest, that a request may read; else it has been answered.
func (s *Server) admitted(w http.ResponseWriter, q *http.Request) (share.Shared, *head, bool) {
	one, err := s.open(chi.URLParam(q, "share"), bearer(q))
	if err == nil {
		err = s.proven(w, q, one)
	}
	var h *head
	if err == nil {
		h, err = s.head(one.ID)
	}
	if err != nil {
		s.refuse(w, err)
	}
	return one, h, err == nil
}

func (s *Server) manifest(w http.ResponseWriter, q *http.Request) {
	_, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(h.text)))
	if err := deadline(w); err != nil {
		s.refuse(w, err)
		return
	}
	_, _ = w.Write(h.text) // whoever asked is gone if it fails
}

// pieces sends a range of all pieces, one behind the other.
func (s *Server) pieces(w http.ResponseWriter, q *http.Request) {
	one, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	total := h.at[len(h.at)-1]
	from, to, ok := byteRange(q.Header.Get("Range"), total)
	w.Header().Set("Accept-Ranges", "bytes")
	if !ok {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", total))
		s.fail(w, http.StatusRequestedRangeNotSatisfiable, "one range of bytes has to be asked for", nil)
		return
	}
	if !s.enter(w, s.transfers) {
		return
	}
	defer func() { <-s.transfers }()
	s.send(w, q, one.ID, h, from, to)
}

// send sends bytes from up to to. What a piece turns out not to be there ends
// the connection early: the other side notices by the length.
func (s *Server) send(w http.ResponseWriter, q *http.Request, id string, h *head, from, to int64) {
	n, found := slices.BinarySearch(h.at, from)
	if !found {
		n--
	}
	var buffer []byte
	for begun := false; from < to; n++ {
		data, err := s.cfg.Store.Extent(q.Context(), h.m.Pieces[n].ID, buffer)
		if err != nil && !begun {
			s.refuse(w, err)
			return
		}
		if err != nil {
			s.cfg.Logger.Error("send a piece", "err", err)
			panic(http.ErrAbortHandler)
		}
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.FormatInt(to-from, 10))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, h.at[len(h.at)-1]))
			w.WriteHeader(http.StatusPartialContent)
		} else if _, err := s.open(id, bearer(q)); err != nil { // revoked meanwhile
			panic(http.ErrAbortHandler)
		}
		buffer = data
		part := data[from-h.at[n] : min(to, h.at[n+1])-h.at[n]]
		if deadline(w) != nil {
			return
		}
		if _, err := w.Write(part); err != nil {
			return // whoever asked is gone, or too slow
		}
		from += int64(len(part))
	}
}

// byteRange reads a Range of one piece, first and last byte given, and returns
// where it begins and ends.
func byteRange(text string, total int64) (from, to int64, ok bool) {
	spec, ok := strings.CutPrefix(text, "bytes=")
	first, last, both := strings.Cut(spec, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	to, lastErr := strconv.ParseInt(last, 10, 64)
	if !ok || !both || err != nil || lastErr != nil || from < 0 || to < from || to >= total {
		return 0, 0, false
	}
	return from, to + 1, true
}
