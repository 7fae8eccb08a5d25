package server

import (
	"encoding/binary"
	"errors"
	"math"
)

const (
	maxDeep  = 16      // structs and lists in each other
	maxNodes = 400_000 // values of one message
)

var errThrift = errors.New("no message of Thrift that can be read")

// thrift reads one message of Thrift's compact protocol
// (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md) from data
// that may hold anything: structs are map[int]any by field, lists []any, numbers int64 or
// float64, texts []byte within data, truth bool.
type thrift struct {
	data  []byte
	nodes int
}

func (t *thrift) take(n uint64) ([]byte, error) {
	if n > uint64(len(t.data)) {
		return nil, errThrift
	}
	part := t.data[:n]
	t.data = t.data[n:]
	return part, nil
}

func (t *thrift) unsigned() (uint64, error) {
	n, size := binary.Uvarint(t.data)
	if size <= 0 {
		return 0, errThrift
	}
	t.data = t.data[size:]
	return n, nil
}

func (t *thrift) signed() (int64, error) {
	n, err := t.unsigned()
	return int64(n>>1) ^ -int64(n&1), err
}

func (t *thrift) structure(deep int) (map[int]any, error) {
	fields, id := map[int]any{}, int64(0)
	for {
		head, err := t.take(1)
		if err != nil {
			return nil, err
		}
		kind := head[0] & 15
		if head[0] == 0 {
			return fields, nil
		}
		if step := int64(head[0] >> 4); step != 0 {
			id += step
		} else if id, err = t.signed(); err != nil {
			return nil, err
		}
		if id < 0 || id > math.MaxInt16 {
			return nil, errThrift
		}
		if kind == 1 || kind == 2 {
			fields[int(id)] = kind == 1
			continue
		}
		if fields[int(id)], err = t.value(kind, deep); err != nil {
			return nil, err
		}
	}
}

func (t *thrift) value(kind byte, deep int) (any, error) {
	if t.nodes++; t.nodes > maxNodes || deep >= maxDeep {
		return nil, errThrift
	}
	switch kind {
	case 1, 2, 3: // in a list, truth is a byte like another
		part, err := t.take(1)
		if err != nil {
			return nil, err
		}
		return int64(int8(part[0])), nil
	case 4, 5, 6:
		return t.signed()
	case 7:
		part, err := t.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(part)), nil
	case 8:
		n, err := t.unsigned()
		if err != nil {
			return nil, err
		}
		return t.take(n)
	case 9, 10:
		return t.list(deep + 1)
	case 12:
		return t.structure(deep + 1)
	}
	return nil, errThrift // maps are in nothing that is looked at
}

func (t *thrift) list(deep int) ([]any, error) {
	head, err := t.take(1)
	if err != nil {
		return nil, err
	}
	n := uint64(head[0] >> 4)
	if n == 15 {
		if n, err = t.unsigned(); err != nil {
			return nil, err
		}
	}
	if n > uint64(len(t.data)) { // each takes a byte at least
		return nil, errThrift
	}
	var all []any
	for range n {
		one, err := t.value(head[0]&15, deep)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
