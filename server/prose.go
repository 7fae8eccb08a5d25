package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

// maxProse bounds the Markdown of one cell, in bytes; what is longer is shown as it is written.
const maxProse = 256 << 10

// markdown writes no HTML that stands in the text, and no address that a browser would run. The page takes of what it
// writes only the elements that it knows.
var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM))

// prose sends the Markdown cells of the notebook as HTML, in order; null for one that cannot be had as that.
func (s *Server) prose(w http.ResponseWriter, q *http.Request) {
	_, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	data := []byte{}
	if f, ok := fileOf(h.m, h.m.Notebook); ok {
		r, _, err := s.cfg.Store.OpenBlob(q.Context(), f.Content)
		if err != nil {
			s.refuse(w, err)
			return
		}
		defer r.Close()
		if data, err = io.ReadAll(io.LimitReader(r, maxDocument)); err != nil {
			s.refuse(w, err)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(proseOf(data))
}

// proseOf renders the Markdown cells of a notebook; none if it is not one.
func proseOf(notebook []byte) []*string {
	var doc struct {
		Cells []struct {
			Type   string          `json:"cell_type"`
			Source json.RawMessage `json:"source"`
		} `json:"cells"`
	}
	all := []*string{}
	if json.Unmarshal(notebook, &doc) != nil {
		return all
	}
	for _, c := range doc.Cells {
		if c.Type != "markdown" {
			continue
		}
		var html bytes.Buffer
		source := text(c.Source)
		if len(source) > maxProse || markdown.Convert([]byte(source), &html) != nil {
			all = append(all, nil)
			continue
		}
		made := html.String()
		all = append(all, &made)
	}
	return all
}

// text is a string of nbformat, which may stand in lines.
func text(raw json.RawMessage) string {
	var whole string
	if json.Unmarshal(raw, &whole) == nil {
		return whole
	}
	var lines []string
	_ = json.Unmarshal(raw, &lines)
	for _, line := range lines {
		whole += line
	}
	return whole
}
