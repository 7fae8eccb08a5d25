package server

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"kedge/cellgraph"
	"kedge/share"
	"kedge/web"
)

const (
	maxPreview  = 64 << 10 // bytes of a file
	maxDocument = 64 << 20 // bytes of the notebook
	maxBoxes    = 500      // steps that are drawn
)

// pagePolicy is what a page may do: run our script, show pictures that stand in
// it, and ask us. Frames get it too.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page is the same for every share: what it shows it asks for with the token,
// which this server has not seen yet.
func (s *Server) page(w http.ResponseWriter, q *http.Request) {
	if !share.IsShareID(chi.URLParam(q, "share")) {
		s.fail(w, http.StatusNotFound, "not found", nil)
		return
	}
	s.asset(w, "page.html", "text/html; charset=utf-8")
}

func (s *Server) asset(w http.ResponseWriter, name, kind string) {
	data, err := fs.ReadFile(web.Page(), name)
	if err != nil {
		s.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Security-Policy", pagePolicy)
	_, _ = w.Write(data) // whoever asked is gone if it fails
}

// view is what a page shows of a manifest.
type view struct {
	Snapshot    cellgraph.Digest   `json:"snapshot"`
	Parent      cellgraph.Digest   `json:"parent,omitzero"` // the snapshot before it
	Notebook    string             `json:"notebook"`
	Author      string             `json:"author"`
	Key         string             `json:"key"`
	Created     time.Time          `json:"created"`
	Expires     time.Time          `json:"expires"`
	State       bool               `json:"state"`
	Bytes       int64              `json:"bytes"`
	Cells       []passed           `json:"cells"`
	Graph       *cellgraph.Drawing `json:"graph"` // null: it is not known, or too large
	Sizes       *share.Sizes       `json:"sizes"` // null: they are not known
	Variables   []share.Variable   `json:"variables"`
	Files       []share.File       `json:"files"`
	Environment map[string]string  `json:"environment"`
	Imports     []string           `json:"imports"`
}

// passed is a cell that led to the snapshot, and the names of what it changed.
type passed struct {
	share.Cell
	Variables []string `json:"variables"`
	Deleted   []string `json:"deleted"`
	Files     []string `json:"files"`
	Known     bool     `json:"known"` // what it changed
}

func passedOf(c share.Cell) passed {
	p := passed{Cell: c, Variables: []string{}, Deleted: []string{}, Files: []string{}, Known: c.Changed != nil}
	p.Changed = nil
	if c.Changed == nil {
		return p
	}
	for _, v := range c.Changed.Variables {
		p.Variables = append(p.Variables, v.Name)
	}
	for _, f := range c.Changed.Files {
		p.Files = append(p.Files, f.Path)
	}
	p.Deleted = append(p.Deleted, c.Changed.Deleted...)
	return p
}

func (s *Server) view(w http.ResponseWriter, q *http.Request) {
	one, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	m := h.m
	v := view{Snapshot: m.Snapshot, Parent: m.Parent(), Notebook: m.Notebook, Author: m.Author, Key: share.KeyText(s.cfg.Home), Created: m.Created, Expires: one.Expires,
		State: m.State != nil, Bytes: m.Bytes(), Cells: []passed{}, Sizes: m.Sizes, Variables: m.Variables, Files: m.Files, Environment: m.Environment, Imports: []string{}}
	if m.State != nil {
		v.Imports = m.State.Imports
	}
	for _, c := range m.Cells {
		v.Cells = append(v.Cells, passedOf(c))
	}
	if m.Graph != nil && len(m.Graph.Steps) <= maxBoxes {
		drawing := m.Graph.Draw()
		v.Graph = &drawing
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// content sends the beginning of a file, or the notebook, which is what it
// sends without a path, as text: a browser takes it for nothing else.
func (s *Server) content(w http.ResponseWriter, q *http.Request) {
	_, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	path, most := q.URL.Query().Get("path"), int64(maxPreview)
	if path == "" || path == h.m.Notebook {
		path, most = h.m.Notebook, maxDocument
	}
	_, r, ok := s.file(w, q, h.m, path)
	if !ok {
		return
	}
	defer r.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if deadline(w) == nil {
		_, _ = io.Copy(w, io.LimitReader(r, most))
	}
}

// file opens a file of a share, which is the caller's to close; if there is none it has been answered.
func (s *Server) file(w http.ResponseWriter, q *http.Request, m *share.Manifest, path string) (share.File, io.ReadCloser, bool) {
	f, ok := fileOf(m, path)
	if !ok {
		s.fail(w, http.StatusNotFound, "there is no such file", nil)
		return f, nil, false
	}
	r, _, err := s.cfg.Store.OpenBlob(q.Context(), f.Content)
	if err != nil {
		s.refuse(w, fmt.Errorf("file of a share: %w", err))
		return f, nil, false
	}
	return f, r, true
}
