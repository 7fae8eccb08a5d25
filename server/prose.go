package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"kedge/notebook"
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
	var document []byte
	if f, ok := fileOf(h.m, h.m.Notebook); ok {
		var err error
		if document, err = s.read(q, f, maxDocument); err != nil {
			s.refuse(w, fmt.Errorf("notebook of a share: %w", err))
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(proseOf(document))
}

// proseOf renders the Markdown cells of a notebook; none if it is not one.
func proseOf(document []byte) []*string {
	var doc struct {
		Cells []struct {
			Type   string          `json:"cell_type"`
			Source json.RawMessage `json:"source"`
		} `json:"cells"`
	}
	all := []*string{}
	if json.Unmarshal(document, &doc) != nil {
		return all
	}
	for _, c := range doc.Cells {
		if c.Type != "markdown" {
			continue
		}
		var html bytes.Buffer
		source := notebook.Text(c.Source)
		if len(source) > maxProse || markdown.Convert([]byte(source), &html) != nil {
			all = append(all, nil)
			continue
		}
		made := html.String()
		all = append(all, &made)
	}
	return all
}
