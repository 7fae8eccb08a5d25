package snapshotter

import (
	"bytes"
	"compress/zlib"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"kedge/cellgraph"
)

const (
	journalMagic  = "KEDGEIDX"
	journalHeader = len(journalMagic) + 16 + 32 + 8 // magic, segment, digest, length
	maxJournal    = 1 << 30                         // bytes of one entry, unpacked
)

// journal is an entry of a segment that says what a commit put into the
// catalog, so that the catalog can be made again from the segments.
type journal struct {
	Extents   []journalExtent    `json:"extents,omitempty"`
	Runs      []journalRun       `json:"runs,omitempty"`
	Blobs     []journalBlob      `json:"blobs,omitempty"`
	Traces    []journalRow       `json:"traces,omitempty"`
	Snapshots []journalRow       `json:"snapshots,omitempty"`
	Saved     []SavedFile        `json:"saved,omitempty"`
	Memos     []journalMemo      `json:"memos,omitempty"` // those that must not be lost
	Pins      []journalPin       `json:"pins,omitempty"`
	Deleted   []cellgraph.Digest `json:"deleted,omitempty"` // snapshots and traces, whichever entry has them
}

// journalExtent is an extent in a segment; the entry's own if Segment is "".
type journalExtent struct {
	ID      cellgraph.Digest `json:"id"`
	Segment string           `json:"segment,omitempty"`
	Offset  int64            `json:"offset"`
	Length  int64            `json:"length"`
	Stored  int64            `json:"stored"`
	Codec   int              `json:"codec,omitempty"`
}

type journalBlob struct {
	ID      cellgraph.Digest   `json:"id"`
	Size    int64              `json:"size"`
	Extents []cellgraph.Digest `json:"extents,omitempty"`
	Runs    []cellgraph.Digest `json:"runs,omitempty"` // in place of extents
}

// journalRun is a piece of the lists of blobs' extents.
type journalRun struct {
	ID      cellgraph.Digest   `json:"id"`
	Extents []cellgraph.Digest `json:"extents"`
}

// journalRow is the body of a trace or snapshot, whose id is its digest.
type journalRow struct {
	Body   string           `json:"body"`
	Trace  cellgraph.Digest `json:"trace,omitzero"` // of a snapshot
	Unique int64            `json:"unique,omitempty"`
}

// journalPin says that a snapshot is pinned from here on, or no longer.
type journalPin struct {
	Snapshot cellgraph.Digest `json:"snapshot"`
	Pinned   bool             `json:"pinned"`
}

type journalMemo struct {
	Kind  string           `json:"kind"`
	Key   cellgraph.Digest `json:"key"`
	Value []byte           `json:"value"`
}

func (j *journal) empty() bool {
	return len(j.Extents)+len(j.Runs)+len(j.Blobs)+len(j.Traces)+len(j.Snapshots)+len(j.Saved)+len(j.Memos)+len(j.Pins)+len(j.Deleted) == 0
}

func (j *journal) extent(id cellgraph.Digest, at location) {
	j.Extents = append(j.Extents, journalExtent{ID: id, Segment: at.segment, Offset: at.offset, Length: at.length, Stored: at.stored, Codec: at.codec})
}

func (j *journal) blob(id cellgraph.Digest, l layout) {
	b := journalBlob{ID: id, Size: l.size}
	for _, e := range l.extents {
		b.Extents = append(b.Extents, e.id)
	}
	j.Blobs = append(j.Blobs, b)
}

func (j *journal) run(r run) {
	j.Runs = append(j.Runs, journalRun{r.id, digests(r.extents)})
}

// pack is the entry as it lies at an offset of a segment. Both are in its
// digest: a copy elsewhere, as in a notebook's own data, is none.
func (j *journal) pack(segment string, offset int64) ([]byte, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	z, err := zlib.NewWriterLevel(&body, zlib.BestSpeed)
	if err == nil {
		_, err = z.Write(text)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, err
	}
	id := journalDigest(segment, offset, body.Bytes())
	name, err := segmentID(segment)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, journalHeader+body.Len())
	b = append(append(append(b, journalMagic...), name[:]...), id[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(body.Len()))
	return append(b, body.Bytes()...), nil
}

func journalDigest(segment string, offset int64, body []byte) cellgraph.Digest {
	return cellgraph.Combine("journal", segment, fmt.Sprint(offset), string(body))
}

// unpackJournal reads the entry at the beginning of data, which lies at offset
// in a segment, and how long it is; ErrCorrupt if it is not as it was written.
func unpackJournal(segment string, offset int64, data []byte) (*journal, int64, error) {
	name, err := segmentID(segment)
	if err != nil {
		return nil, 0, err
	}
	if len(data) < journalHeader || string(data[:len(journalMagic)]) != journalMagic || !bytes.Equal(data[8:24], name[:]) {
		return nil, 0, fmt.Errorf("no journal entry: %w", ErrCorrupt)
	}
	length := binary.LittleEndian.Uint64(data[56:])
	if length > uint64(len(data)-journalHeader) {
		return nil, 0, fmt.Errorf("journal entry ends early: %w", ErrCorrupt)
	}
	body := data[journalHeader : journalHeader+int(length)]
	if journalDigest(segment, offset, body) != cellgraph.Digest(data[24:56]) {
		return nil, 0, fmt.Errorf("journal entry: %w", ErrCorrupt)
	}
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, 0, fmt.Errorf("journal entry: %w: %w", ErrCorrupt, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxJournal))
	if err != nil {
		return nil, 0, fmt.Errorf("journal entry: %w: %w", ErrCorrupt, err)
	}
	var j journal
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, 0, fmt.Errorf("journal entry: %w: %w", ErrCorrupt, err)
	}
	return &j, int64(journalHeader) + int64(length), nil
}

// place is where a journal entry lies.
type place struct {
	segment        string
	offset, length int64
}

// readJournal reads the entry that the catalog knows at a place.
func (s *Store) readJournal(p place) (*journal, error) {
	if p.length < 0 || p.length > maxJournal || p.offset < 0 {
		return nil, fmt.Errorf("journal entry of %d bytes at %d: %w", p.length, p.offset, ErrCorrupt)
	}
	f, err := os.Open(s.segmentPath(p.segment))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer f.Close()
	data := make([]byte, p.length)
	if _, err := f.ReadAt(data, p.offset); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("segment %s ends early: %w", p.segment, ErrCorrupt)
		}
		return nil, err
	}
	j, n, err := unpackJournal(p.segment, p.offset, data)
	if err == nil && n != p.length {
		err = fmt.Errorf("journal entry at %d has another length: %w", p.offset, ErrCorrupt)
	}
	return j, err
}

// insertPlace notes in the catalog where a journal entry lies.
func insertPlace(ctx context.Context, tx *sql.Tx, p place) error {
	if p.segment == "" {
		return nil
	}
	id, err := segmentRow(ctx, tx, p.segment)
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO record VALUES (?, ?, ?)", id, p.offset, p.length)
	}
	if err != nil {
		return fmt.Errorf("insert journal entry: %w", err)
	}
	return nil
}

// journals lists the entries of a segment, or of all if it is "", in order.
func (c *catalog) journals(ctx context.Context, segment string) ([]place, error) {
	return collect(ctx, c.db, func(rows *sql.Rows) (p place, err error) {
		err = rows.Scan(&p.segment, &p.offset, &p.length)
		return p, err
	}, `SELECT s.name, r.offset, r.length FROM record r JOIN segment s ON s.id = r.segment
		WHERE ? IN ('', s.name) ORDER BY r.segment, r.offset`, segment)
}

// journalRows are snapshots as the journal has them.
func (c *catalog) journalRows(ctx context.Context, where string, args ...any) ([]journalRow, error) {
	return collect(ctx, c.db, func(rows *sql.Rows) (r journalRow, err error) {
		var trace, body []byte
		err = rows.Scan(&body, &trace, &r.Unique)
		copy(r.Trace[:], trace)
		r.Body = string(body)
		return r, err
	}, "SELECT body, trace, unique_bytes FROM snapshot "+where, args...)
}

// lasting reports whether memos of a kind bar traces from being restored: they
// may not be lost.
func lasting(kind string) bool { return slices.Contains(barring(), kind) }

// barring are the kinds of those memos.
func barring() []string { return []string{"background", "unrepeatable"} }
