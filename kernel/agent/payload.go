package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"kedge/cellgraph"
)

// ErrPayload reports a manifest that cannot be read.
var ErrPayload = errors.New("bad payload manifest")

// Payload is the manifest of a group's saved form, stored as a blob.
type Payload struct {
	Stream  cellgraph.Digest `json:"stream"` // blob of the pickle stream
	Buffers []PayloadBuffer  `json:"buffers"`
	// Previews show a few values to people, by name.
	Previews map[string]Preview `json:"previews,omitempty"`
}

// Preview is the beginning of a value: a text, or rows under columns, of a
// frame; the first column is its index. Rows without columns are the corner of
// an array.
type Preview struct {
	Text    string     `json:"text,omitempty"`
	Columns []string   `json:"columns,omitempty"`
	Rows    [][]string `json:"rows,omitempty"`
	// Sketches say what the columns of a frame, or an array or series, hold.
	Sketches []Sketch `json:"sketches,omitempty"`
	// Grid are levels, 0 to 99, of an array of two axes or more; -1 is no number.
	Grid [][]int `json:"grid,omitempty"`
}

// Sketch is what a column or an array holds, in a few numbers. All but Sum is
// of those elements that were looked at.
type Sketch struct {
	Name    string `json:"name,omitempty"` // of a column
	Type    string `json:"type,omitempty"`
	Of      int64  `json:"of,omitempty"` // elements
	Seen    int64  `json:"seen,omitempty"`
	Missing int64  `json:"missing,omitempty"`
	Low     string `json:"low,omitempty"` // of numbers and dates, the least and the greatest
	High    string `json:"high,omitempty"`
	// Bins are how many lie in parts of equal width between them.
	Bins     []int64 `json:"bins,omitempty"`
	Line     []int   `json:"line,omitempty"`     // levels, 0 to 99, in the order of the elements; -1 is no number
	Distinct int64   `json:"distinct,omitempty"` // texts
	Top      []Count `json:"top,omitempty"`      // the most frequent
	// Sum is a digest of the elements, with ~ before it if only of a sample.
	Sum string `json:"sum,omitempty"`
}

// Count is how often there is a text.
type Count struct {
	Text  string `json:"text"`
	Count int64  `json:"count"`
}

// PayloadBuffer is one out-of-band buffer, in the stream's order.
type PayloadBuffer struct {
	Blob     cellgraph.Digest `json:"blob"`
	Length   int64            `json:"length"` // bytes
	ReadOnly bool             `json:"readonly"`
}

// Encode writes p as JSON; equal payloads give equal bytes.
func (p Payload) Encode() ([]byte, error) {
	if p.Buffers == nil {
		p.Buffers = []PayloadBuffer{}
	}
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	return data, nil
}

// DecodePayload is the inverse of [Payload.Encode]. The error is ErrPayload.
func DecodePayload(data []byte) (Payload, error) {
	var p Payload
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Payload{}, fmt.Errorf("%w: %v", ErrPayload, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Payload{}, fmt.Errorf("%w: data after the end", ErrPayload)
	}
	if p.Stream.IsZero() {
		return Payload{}, fmt.Errorf("%w: no stream", ErrPayload)
	}
	for i, b := range p.Buffers {
		if b.Length < 0 || (b.Blob.IsZero() && b.Length > 0) {
			return Payload{}, fmt.Errorf("%w: buffer %d", ErrPayload, i)
		}
	}
	return p, nil
}
