package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Set returns the JSON object raw with value under key. Every other byte stays as it is; a new key is put last.
// Errors wrap ErrFrame.
func Set(raw []byte, key string, value json.RawMessage) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object", ErrFrame)
	}
	empty := true
	for d.More() {
		empty = false
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFrame, err)
		}
		var old json.RawMessage
		if err := d.Decode(&old); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFrame, err)
		}
		if name == key {
			end := int(d.InputOffset())
			return splice(raw, end-len(old), end, value), nil
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	name, err := json.Marshal(key)
	if err != nil { // a string always marshals
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	entry := append(append(name, ':'), value...)
	if !empty {
		entry = append([]byte(", "), entry...)
	}
	end := int(d.InputOffset()) - 1
	return splice(raw, end, end, entry), nil
}

func splice(raw []byte, from, to int, middle []byte) []byte {
	out := make([]byte, 0, len(raw)-(to-from)+len(middle))
	out = append(append(out, raw[:from]...), middle...)
	return append(out, raw[to:]...)
}
