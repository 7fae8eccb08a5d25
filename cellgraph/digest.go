// Package cellgraph holds the rule by which Kedge decides whether a cell runs
// or is restored: digests, effects, traces, the look-up and the plan. It is
// pure: no files, no processes, no clock.
package cellgraph

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// Digest is a BLAKE3-256 hash. The zero Digest stands for "absent".
type Digest [32]byte

// IsZero reports whether d stands for "absent".
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes 64 hex digits, or nothing for the zero Digest.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return []byte{}, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText is the inverse of [Digest.MarshalText].
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	if len(text) != 64 {
		return fmt.Errorf("digest has %d characters, want 64 hex digits", len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// ParseDigest reads 64 hex digits.
func ParseDigest(s string) (d Digest, err error) {
	err = d.UnmarshalText([]byte(s))
	return d, err
}

// Sum is the digest of data.
func Sum(data []byte) Digest { return blake3.Sum256(data) }

// Combine digests the parts, each preceded by its length, so that no two
// different lists of parts collide by concatenation.
func Combine(parts ...string) Digest {
	h := blake3.New()
	var size [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.WriteString(p)
	}
	var d Digest
	h.Sum(d[:0])
	return d
}

// Hash computes the [Digest] of what is written to it.
type Hash struct{ h *blake3.Hasher }

// NewHash returns an empty Hash.
func NewHash() *Hash { return &Hash{blake3.New()} }

// Write adds p. It never fails.
func (h *Hash) Write(p []byte) (int, error) { return h.h.Write(p) }

// Digest is the digest of what has been written so far.
func (h *Hash) Digest() (d Digest) {
	h.h.Sum(d[:0])
	return d
}
