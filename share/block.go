package share

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"kedge/cellgraph"
)

// What a pull of something that has changed asks for, beside whole pieces.
const (
	blockBytes = 4 << 10 // of a piece that is compared in blocks; its last may be shorter
	blockSum   = 8       // bytes of the digest of a block: what it leads to is compared with that of the piece
	// MaxLooked are pieces that one request may have looked into.
	MaxLooked = 16
	maxParts  = 128
)

// Units of the header Range beside bytes, and their kinds of answer. The
// pieces of a share, whose numbers a manifest gives, are asked for the digests of
// their blocks; parts are of all pieces, one behind the other.
const (
	UnitPieces = "pieces"
	UnitParts  = "parts"
)

// Span is a range from a place up to another, in bytes or in numbers of pieces.
type Span struct{ From, To int64 }

// ErrRange says that a header is no list of ranges.
var ErrRange = errors.New("no list of ranges")

// ParseSpans reads a header Range of a unit: ranges, first and last given,
// that ascend and do not touch what lies before, below total. There is at least one.
func ParseSpans(text, unit string, total int64) ([]Span, error) {
	list, ok := strings.CutPrefix(text, unit+"=")
	if !ok || strings.Count(list, ",") >= maxParts {
		return nil, ErrRange
	}
	var spans []Span
	var before int64
	for one := range strings.SplitSeq(list, ",") {
		first, last, both := strings.Cut(one, "-")
		from, err := strconv.ParseInt(first, 10, 64)
		to, lastErr := strconv.ParseInt(last, 10, 64)
		if !both || err != nil || lastErr != nil || from < before || to < from || to >= total {
			return nil, ErrRange
		}
		spans, before = append(spans, Span{from, to + 1}), to+1
	}
	return spans, nil
}

// WriteSpans is the inverse of [ParseSpans].
func WriteSpans(unit string, spans []Span) string {
	var b strings.Builder
	for i, s := range spans {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d-%d", s.From, s.To-1)
	}
	return unit + "=" + b.String()
}

// blocks is how many blocks so many bytes have.
func blocks(length int64) int64 { return (length + blockBytes - 1) / blockBytes }

// BlockSums appends the digests of the blocks of data to what it is given.
func BlockSums(sums, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), blockBytes)
		sum := cellgraph.Sum(data[:n])
		sums, data = append(sums, sum[:blockSum]...), data[n:]
	}
	return sums
}

// BlockSumsLength is how long what [BlockSums] appends for so many bytes is.
func BlockSumsLength(length int64) int64 { return blockSum * blocks(length) }

// sumAt is the digest of the n-th block.
func sumAt(sums []byte, n int) uint64 { return binary.LittleEndian.Uint64(sums[n*blockSum:]) }
