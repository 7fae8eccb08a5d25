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
// frame; the first column is its index.
type Preview struct {
	Text    string     `json:"text,omitempty"`
	Columns []string   `json:"columns,omitempty"`
	Rows    [][]string `json:"rows,omitempty"`
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
