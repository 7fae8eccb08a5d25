package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"kedge/cellgraph"
	"kedge/share"
)

const (
	maxDiffText     = 256 << 10 // bytes of a file that is compared by its lines
	maxDiffDocument = 16 << 20  // of a notebook whose cells are
	maxCompares     = 2         // at a time
)

// difference is what of a share is otherwise than it was.
type difference struct {
	Was    whence           `json:"was"`
	Values bool             `json:"values"` // variables were compared; else one side shares none
	Bytes  *sharedBytes     `json:"bytes,omitempty"`
	Diff   share.Difference `json:"difference"`
}

// whence is what a share is compared with: after one of its own cells, or another.
type whence struct {
	Snapshot cellgraph.Digest `json:"snapshot,omitzero"`
	Notebook string           `json:"notebook"`
	Step     string           `json:"step"`
	Cell     string           `json:"cell"`
	Created  time.Time        `json:"created"`
}

// sharedBytes are those of the pieces that only one side needs, and of those that both do.
type sharedBytes struct {
	Was  int64 `json:"was"`
	Is   int64 `json:"is"`
	Both int64 `json:"both"`
}

// difference compares a share with what one of its own cells had left, or with
// another share of this server, of which the request has to have the token, too.
func (s *Server) difference(w http.ResponseWriter, q *http.Request) {
	_, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	if !s.enter(w, s.compares) {
		return
	}
	defer func() { <-s.compares }()
	query := q.URL.Query()
	after, err := strconv.Atoi(query.Get("after"))
	var d difference
	switch {
	case query.Has("with"):
		one, err := s.admit(query.Get("with"), q.Header.Get("Kedge-With"))
		if err != nil {
			s.refuse(w, err)
			return
		}
		other, err := s.head(one.ID)
		if err != nil {
			s.refuse(w, err)
			return
		}
		if d, err = s.between(q, other.m, h.m); err != nil {
			s.refuse(w, err)
			return
		}
	case err != nil:
		s.fail(w, http.StatusBadRequest, "it has to be said with what it is compared", nil)
		return
	default:
		if d, ok = s.since(q, h.m, after); !ok {
			s.fail(w, http.StatusNotFound, "what that cell left is not known here", nil)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if deadline(w) == nil {
		_ = json.NewEncoder(w).Encode(d) // whoever asked is gone if it fails
	}
}

// since compares what the last cell left with what that one had.
func (s *Server) since(q *http.Request, m *share.Manifest, cell int) (difference, bool) {
	was, ok := m.After(cell)
	is, also := m.After(len(m.Cells) - 1)
	if !ok || !also {
		return difference{}, false
	}
	c := m.Cells[cell]
	return difference{Was: whence{Notebook: m.Notebook, Step: c.Step, Cell: c.ID, Created: c.Created}, Values: true,
		Diff: share.Compare(was, is, s.texts(q, m))}, true
}

// between compares two shares.
func (s *Server) between(q *http.Request, before, now *share.Manifest) (difference, error) {
	d := difference{Was: whence{Snapshot: before.Snapshot, Notebook: before.Notebook, Created: before.Created}, Values: before.State != nil && now.State != nil, Bytes: &sharedBytes{}}
	if n := len(before.Cells); n > 0 {
		d.Was.Step, d.Was.Cell = before.Cells[n-1].Step, before.Cells[n-1].ID
	}
	var both [2]share.Contents
	for i, m := range []*share.Manifest{before, now} {
		f, _ := fileOf(m, m.Notebook)
		document, err := s.read(q, f, maxDiffDocument)
		if err != nil {
			return d, fmt.Errorf("notebook of a share: %w", err)
		}
		both[i] = m.Seen(document)
		if !d.Values {
			both[i].Variables = nil
		}
	}
	needed := map[cellgraph.Digest]bool{}
	for _, p := range before.Pieces {
		needed[p.ID] = true
		d.Bytes.Was += p.Length
	}
	for _, p := range now.Pieces {
		if needed[p.ID] {
			d.Bytes.Both, d.Bytes.Was = d.Bytes.Both+p.Length, d.Bytes.Was-p.Length
		} else {
			d.Bytes.Is += p.Length
		}
	}
	d.Diff = share.Compare(both[0], both[1], s.texts(q, before, now))
	return d, nil
}

// texts reads files of these shares, and no others.
func (s *Server) texts(q *http.Request, of ...*share.Manifest) func(share.File) (string, bool) {
	shared := map[cellgraph.Digest]bool{}
	for _, m := range of {
		for _, id := range m.Contents() {
			shared[id] = true
		}
	}
	return func(f share.File) (string, bool) {
		if !shared[f.Content] {
			return "", false
		}
		data, err := s.read(q, f, maxDiffText)
		return string(data), err == nil && data != nil
	}
}

// read is a file of at most so many bytes; nil if it has more.
func (s *Server) read(q *http.Request, f share.File, most int64) ([]byte, error) {
	if f.Size > most {
		return nil, nil
	}
	r, _, err := s.cfg.Store.OpenBlob(q.Context(), f.Content)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, most))
}
