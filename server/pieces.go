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
	"kedge/snapshotter"
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

// pieces sends ranges of all pieces, one behind the other: one of bytes, or
// parts, for who has the rest.
func (s *Server) pieces(w http.ResponseWriter, q *http.Request) {
	one, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	total, places, unit := h.at[len(h.at)-1], s.transfers, "bytes"
	w.Header().Set("Accept-Ranges", "bytes, "+share.UnitParts)
	if strings.HasPrefix(q.Header.Get("Range"), share.UnitParts+"=") {
		places, unit = s.looks, share.UnitParts
	}
	spans, err := share.ParseSpans(q.Header.Get("Range"), unit, total)
	if err != nil || unit == "bytes" && len(spans) != 1 || unit != "bytes" && h.touched(spans) > share.MaxLooked {
		w.Header().Set("Content-Range", fmt.Sprintf("%s */%d", unit, total))
		s.fail(w, http.StatusRequestedRangeNotSatisfiable, "one range of bytes has to be asked for, or parts of few pieces", nil)
		return
	}
	if !s.enter(w, places) {
		return
	}
	defer func() { <-places }()
	s.send(w, q, one.ID, h, spans, unit)
}

// blocks sends the digests of the blocks of pieces, for who has something like them.
func (s *Server) blocks(w http.ResponseWriter, q *http.Request) {
	_, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	total := int64(len(h.m.Pieces))
	spans, err := share.ParseSpans(q.Header.Get("Range"), share.UnitPieces, total)
	w.Header().Set("Accept-Ranges", share.UnitPieces)
	if err != nil || length(spans) > share.MaxLooked {
		w.Header().Set("Content-Range", fmt.Sprintf("%s */%d", share.UnitPieces, total))
		s.fail(w, http.StatusRequestedRangeNotSatisfiable, "few pieces have to be asked for", nil)
		return
	}
	if !s.enter(w, s.looks) {
		return
	}
	defer func() { <-s.looks }()
	var sums, buffer []byte
	var want int64
	for _, one := range spans {
		for n := one.From; n < one.To; n++ {
			if buffer, err = s.cfg.Store.Extent(q.Context(), h.m.Pieces[n].ID, buffer); err != nil {
				s.refuse(w, err)
				return
			}
			sums = share.BlockSums(sums, buffer)
			want += share.BlockSumsLength(h.m.Pieces[n].Length)
		}
	}
	if int64(len(sums)) != want {
		s.refuse(w, fmt.Errorf("pieces of other lengths: %w", snapshotter.ErrCorrupt))
		return
	}
	if err := deadline(w); err != nil {
		s.refuse(w, err)
		return
	}
	partial(w, share.UnitPieces, spans, total, want)
	_, _ = w.Write(sums) // whoever asked is gone if it fails
}

// partial begins an answer of so many bytes.
func partial(w http.ResponseWriter, unit string, spans []share.Span, total, length int64) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	w.Header().Set("Content-Range", fmt.Sprintf("%s/%d", strings.Replace(share.WriteSpans(unit, spans), "=", " ", 1), total))
	w.WriteHeader(http.StatusPartialContent)
}

// piece is the number of the piece in which a byte of all lies.
func (h *head) piece(at int64) int {
	n, found := slices.BinarySearch(h.at, at)
	if !found {
		n--
	}
	return n
}

// touched is in how many pieces spans lie, counted anew for each, but for what neighbours share.
func (h *head) touched(spans []share.Span) (n int) {
	before := -1
	for _, one := range spans {
		first, last := h.piece(one.From), h.piece(one.To-1)
		n += last + 1 - max(first, before+1)
		before = last
	}
	return n
}

// send sends spans. What a piece turns out not to be there ends the connection
// early: the other side notices by the length.
func (s *Server) send(w http.ResponseWriter, q *http.Request, id string, h *head, spans []share.Span, unit string) {
	var data []byte
	read, begun := -1, false // which piece data is
	for _, one := range spans {
		for from := one.From; from < one.To; {
			n := h.piece(from)
			if n != read {
				got, err := s.cfg.Store.Extent(q.Context(), h.m.Pieces[n].ID, data)
				if err != nil && !begun {
					s.refuse(w, err)
					return
				}
				if err != nil {
					s.cfg.Logger.Error("send a piece", "err", err)
					panic(http.ErrAbortHandler)
				}
				data, read = got, n
				if !begun {
					begun = true
					partial(w, unit, spans, h.at[len(h.at)-1], length(spans))
				} else if _, err := s.open(id, bearer(q)); err != nil { // revoked meanwhile
					panic(http.ErrAbortHandler)
				}
			}
			part := data[from-h.at[n] : min(one.To, h.at[n+1])-h.at[n]]
			if deadline(w) != nil {
				return
			}
			if _, err := w.Write(part); err != nil {
				return // whoever asked is gone, or too slow
			}
			from += int64(len(part))
		}
	}
}

// length is that of spans together.
func length(spans []share.Span) (sum int64) {
	for _, one := range spans {
		sum += one.To - one.From
	}
	return sum
}
