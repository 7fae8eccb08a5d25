package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	_ "image/gif" // their sizes are read, nothing is decoded
	_ "image/jpeg"
	_ "image/png"
	"io"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"

	"kedge/share"
)

const (
	maxPicture = 4 << 20   // bytes
	maxDrawing = 512 << 10 // bytes of an SVG
	maxPixels  = 40 << 20  // that a browser shall unpack
	maxSide    = 20_000
	maxTable   = 50  // rows
	maxFields  = 40  // of a row
	maxField   = 200 // bytes
)

// preview is the beginning of a file, as a page shows it.
type preview struct {
	Kind  string     `json:"kind"`           // text, table, picture or none
	Text  string     `json:"text,omitempty"` // of a table: what it is
	Rows  [][]string `json:"rows,omitempty"` // the first is the head
	Type  string     `json:"type,omitempty"` // of a picture: image/…
	Data  []byte     `json:"data,omitempty"` // all of it
	Why   string     `json:"why,omitempty"`  // there is none
	Whole bool       `json:"whole"`          // nothing is left out
}

// preview sends what a page shows of a file: read as bytes, and nothing of it is run.
func (s *Server) preview(w http.ResponseWriter, q *http.Request) {
	_, h, ok := s.admitted(w, q)
	if !ok {
		return
	}
	f, r, ok := s.file(w, q, h.m, q.URL.Query().Get("path"))
	if !ok {
		return
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, maxPreview))
	if err != nil {
		s.refuse(w, fmt.Errorf("file of a share: %w", err))
		return
	}
	p, rest := previewOf(f, head)
	if bytes.HasPrefix(head, []byte(parquetMagic)) {
		if !s.enter(w, s.looks) {
			return
		}
		defer func() { <-s.looks }()
		p = s.parquet(q.Context(), f)
	}
	if rest {
		more, err := io.ReadAll(io.LimitReader(r, f.Size-int64(len(head))))
		if err != nil {
			s.refuse(w, fmt.Errorf("file of a share: %w", err))
			return
		}
		p.Data = append(head, more...)
	}
	w.Header().Set("Content-Type", "application/json")
	if deadline(w) == nil {
		_ = json.NewEncoder(w).Encode(p) // whoever asked is gone if it fails
	}
}

// parquet is what the end of a Parquet file says of it.
func (s *Server) parquet(ctx context.Context, f share.File) preview {
	end := func(length, before int64) ([]byte, error) {
		_, pieces, err := s.cfg.Store.Extents(ctx, f.Content)
		if err != nil {
			return nil, err
		}
		return s.cfg.Store.Window(ctx, pieces, f.Size-length-before, length, nil)
	}
	none := preview{Kind: "none", Why: "it begins like Parquet, and its end cannot be read"}
	if f.Size < tailLength {
		return none
	}
	tail, err := end(tailLength, 0)
	length, ok := footerLength(tail)
	if err != nil || !ok || length > f.Size-tailLength {
		return none
	}
	if length > maxFooter {
		return preview{Kind: "none", Why: "what it says of its columns is too large to be looked at"}
	}
	footer, err := end(length, tailLength)
	if err != nil {
		return none
	}
	p, err := parquetTable(footer)
	if err != nil {
		return none
	}
	return p
}

func fileOf(m *share.Manifest, path string) (share.File, bool) {
	for _, f := range m.Files {
		if f.Path == path && f.Type == "file" {
			return f, true
		}
	}
	return share.File{}, false
}

// previewOf says how a file that begins with head is shown, and whether that takes the rest of it.
func previewOf(f share.File, head []byte) (p preview, rest bool) {
	whole, ext := int64(len(head)) >= f.Size, strings.ToLower(path.Ext(f.Path))
	kind := http.DetectContentType(head)
	switch {
	case kind == "image/png" || kind == "image/jpeg" || kind == "image/gif":
		return pictureOf(f, head, kind)
	case bytes.HasPrefix(head, []byte("\x93NUMPY")):
		return preview{Kind: "text", Text: arrayHeader(head)}, false
	}
	text, ok := textOf(head, whole)
	switch {
	case !ok:
		return preview{Kind: "none", Why: "it is no text"}, false
	case ext == ".svg" && f.Size <= maxDrawing && strings.Contains(text, "<svg") && !strings.Contains(text, "<!ENTITY"):
		return preview{Kind: "picture", Type: "image/svg+xml", Whole: true}, true
	case ext == ".csv" || ext == ".tsv" || ext == ".tab":
		if rows, all := tableOf(text, ext, whole); len(rows) > 0 {
			return preview{Kind: "table", Rows: rows, Whole: all}, false
		}
	}
	return preview{Kind: "text", Text: text, Whole: whole}, false
}

// pictureOf looks at the size only: a browser unpacks it, and should not for ever.
func pictureOf(f share.File, head []byte, kind string) (preview, bool) {
	size, _, err := image.DecodeConfig(bytes.NewReader(head))
	switch {
	case err != nil:
		return preview{Kind: "none", Why: "it is no picture that can be shown"}, false
	case f.Size > maxPicture || size.Width > maxSide || size.Height > maxSide || size.Width*size.Height > maxPixels:
		return preview{Kind: "none", Why: fmt.Sprintf("a picture of %d by %d is too large to be shown here", size.Width, size.Height)}, false
	}
	return preview{Kind: "picture", Type: kind, Whole: true}, true
}

// textOf is head as text, without a letter that is cut in two.
func textOf(head []byte, whole bool) (string, bool) {
	if !whole {
		for range utf8.UTFMax {
			if r, n := utf8.DecodeLastRune(head); r != utf8.RuneError || n != 1 {
				break
			}
			head = head[:len(head)-1]
		}
	}
	text := strings.TrimPrefix(string(head), "\ufeff")
	return text, utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// tableOf reads the first rows of text; all says whether there are no more.
func tableOf(text, ext string, whole bool) (rows [][]string, all bool) {
	if !whole { // the last line is cut
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	r := csv.NewReader(strings.NewReader(text))
	r.LazyQuotes, r.FieldsPerRecord, r.Comma = true, -1, separator(text, ext)
	for len(rows) <= maxTable {
		row, err := r.Read()
		if err == io.EOF {
			return rows, whole
		}
		if err != nil {
			return nil, false
		}
		row = row[:min(len(row), maxFields)]
		for i, field := range row {
			if len(field) > maxField {
				row[i] = strings.ToValidUTF8(field[:maxField], "") + "…"
			}
		}
		rows = append(rows, row)
	}
	return rows, false
}

// separator is what stands most often in the first line.
func separator(text, ext string) rune {
	first, _, _ := strings.Cut(text, "\n")
	best := ','
	if ext != ".csv" {
		best = '\t'
	}
	for _, r := range ",;\t|" {
		if strings.Count(first, string(r)) > strings.Count(first, string(best)) {
			best = r
		}
	}
	return best
}

// arrayHeader is what a file of numpy says of its array; it is not evaluated.
func arrayHeader(head []byte) string {
	const fixed = 10 // magic, version, length
	if len(head) < fixed {
		return ""
	}
	length := int(binary.LittleEndian.Uint16(head[8:]))
	text, _, _ := strings.Cut(string(head[fixed:min(len(head), fixed+min(length, 1<<10))]), "\n")
	return "numpy array: " + strings.TrimSpace(strings.ToValidUTF8(text, "�"))
}
