package snapshotter

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"kedge/cellgraph"
)

// inventory is what a store holds and who needs it. Snapshots need the
// document and the outputs; the state they show is kept for the traces, and
// for snapshots that are pinned or held.
type inventory struct {
	traces, snapshots []*tracked
	blobs             map[cellgraph.Digest]*stored
	runs              map[cellgraph.Digest]*stretch
	extents           map[cellgraph.Digest]*piece
	bytes             int64 // of what is needed, with its rows

	payloads                *payloads
	byTrace                 map[cellgraph.Digest]*tracked
	lastTrace, lastSnapshot int64
}

// stored is a blob.
type stored struct {
	users   int
	extents []*piece
	runs    []*stretch // in place of extents
}

// stretch is a run of extents, which blobs share.
type stretch struct {
	users   int // blobs that are needed
	hot     bool
	space   int64
	extents []*piece
}

// piece is an extent.
type piece struct {
	location
	users int  // blobs and runs that are needed
	hot   bool // used lately
}

// bytes are those that the blob's extents take in segments.
func (b *stored) bytes() int64 {
	var n int64
	for _, e := range b.extents {
		n += e.space()
	}
	for _, r := range b.runs {
		n += r.space
	}
	return n
}

// space is what an extent takes in a segment.
func (e *piece) space() int64 {
	if e.offset%pageBytes != 0 {
		return e.stored + int64(recordHeader)
	}
	return (e.stored + pageBytes - 1) &^ (pageBytes - 1)
}

func newInventory(s *Store) *inventory {
	return &inventory{payloads: newPayloads(s), byTrace: map[cellgraph.Digest]*tracked{}}
}

// readRecords adds the traces and snapshots that were not there at the last call.
func (inv *inventory) readRecords(ctx context.Context, c *catalog, progress func(done, total int)) error {
	traces, err := collect(ctx, c.db, scanTrace, "SELECT "+traceColumns+" FROM trace WHERE seq > ? ORDER BY seq", inv.lastTrace)
	if err != nil {
		return err
	}
	snapshots, err := c.snapshots(ctx, "seq > ?", -1, inv.lastSnapshot)
	if err != nil {
		return err
	}
	slices.Reverse(snapshots)
	for i, row := range traces {
		if err := inv.addTrace(ctx, row); err != nil {
			return err
		}
		progress(i, len(traces)+len(snapshots))
	}
	for i, row := range snapshots {
		if err := inv.addSnapshot(ctx, row); err != nil {
			return err
		}
		progress(len(traces)+i, len(traces)+len(snapshots))
	}
	return nil
}

func (inv *inventory) addTrace(ctx context.Context, row traceRow) error {
	inv.lastTrace = max(inv.lastTrace, row.seq)
	t := &tracked{seq: row.seq, id: cellgraph.Digest(row.id), body: 2 * int64(len(row.body)), kept: row.kept, used: time.Unix(0, row.used)}
	inv.traces = append(inv.traces, t)
	inv.byTrace[t.id] = t
	var body cellgraph.Trace
	if !row.sound() || json.Unmarshal(row.body, &body) != nil {
		return nil // it can never hit: it has nothing, and goes first
	}
	t.code, t.created, t.seconds, t.hits = body.Code, body.Created, body.Seconds, body.Uncached == ""
	var err error
	t.record, t.state, err = inv.needs(ctx, traceRefs(&body), t.kept)
	return err
}

func (inv *inventory) addSnapshot(ctx context.Context, row snapshotRow) error {
	inv.lastSnapshot = max(inv.lastSnapshot, row.seq)
	s := &tracked{seq: row.seq, body: 2 * int64(len(row.body)), kept: row.kept}
	s.id, _ = cellgraph.ParseDigest(row.id) // the zero one is nobody's
	inv.snapshots = append(inv.snapshots, s)
	var body Snapshot
	if json.Unmarshal(row.body, &body) != nil {
		return nil
	}
	s.created, s.seconds, s.parent = body.Created, body.Seconds, body.Parent
	var err error
	s.record, s.state, err = inv.needs(ctx, snapshotRefs(&body), s.kept)
	return err
}

// needs lists the blobs of refs, each once, those of the state only if it is kept.
func (inv *inventory) needs(ctx context.Context, r refs, kept bool) (record, state []cellgraph.Digest, err error) {
	seen := map[cellgraph.Digest]bool{}
	once := func(list, ids []cellgraph.Digest) []cellgraph.Digest {
		for _, id := range ids {
			if !id.IsZero() && !seen[id] {
				seen[id] = true
				list = append(list, id)
			}
		}
		return list
	}
	record = once(record, r.record)
	if !kept {
		return record, nil, nil
	}
	state = once(state, r.state)
	for _, g := range r.groups {
		inner, err := inv.payloads.of(ctx, g.Payload)
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) && !isSyntax(err) {
			return nil, nil, err // else nobody can read it, and what it names is of no use
		}
		state = once(once(state, []cellgraph.Digest{g.Payload}), inner)
	}
	return record, state, nil
}

func isSyntax(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &kind)
}

// settle reads what changes all the time and counts who needs what. Nobody can
// look anything up meanwhile: the caller has the gate alone.
func (inv *inventory) settle(ctx context.Context, c *catalog, l leases, now time.Time) error {
	if err := inv.readLayouts(ctx, c); err != nil {
		return err
	}
	used, err := collect(ctx, c.db, scanPair, "SELECT seq, used FROM trace ORDER BY seq")
	if err != nil {
		return err
	}
	lately := map[int64]int64{}
	for _, u := range used {
		lately[u[0]] = u[1]
	}
	if err := inv.joinSnapshots(ctx, c); err != nil {
		return err
	}
	pinned, err := c.pins(ctx)
	if err != nil {
		return err
	}
	inv.markUseless()
	for _, t := range inv.traces {
		t.used = time.Unix(0, lately[t.seq])
		t.held = l.has(holdCode, t.code)
		inv.need(t.record, t.state)
		inv.bytes += t.body
		if t.held || now.Sub(t.used) < halfLife {
			inv.warm(t.record, t.state)
		}
	}
	for _, s := range inv.snapshots {
		inv.need(s.record)
		inv.bytes += s.body
		if pinned[s.id] || l.has(holdSnapshot, s.id) {
			inv.need(s.state)
			inv.hold(s)
		}
	}
	return inv.needOthers(ctx, c, l)
}

// hold keeps a snapshot, and the traces of the cells that lead to it.
func (inv *inventory) hold(s *tracked) {
	byID := map[cellgraph.Digest]*tracked{}
	for _, other := range inv.snapshots {
		byID[other.id] = other
	}
	for ; s != nil && !s.held; s = byID[s.parent] {
		s.held = true
		if s.trace != nil {
			s.trace.held = true
		}
	}
}

// needOthers counts what is needed by no trace and no snapshot.
func (inv *inventory) needOthers(ctx context.Context, c *catalog, l leases) error {
	saved, err := collect(ctx, c.db, scanDigest, "SELECT DISTINCT content FROM saved")
	if err != nil {
		return err
	}
	inv.need(saved)
	shared, err := collect(ctx, c.db, scanDigest, "SELECT DISTINCT value FROM memo WHERE kind > ? AND kind < ?", kindShared+" ", kindShared+"!")
	if err != nil {
		return err
	}
	inv.need(shared)
	for h := range l.held {
		if h.kind != holdBlob {
			continue
		}
		inv.need([]cellgraph.Digest{h.id}, inv.payloads.known[h.id])
		// A part of a blob that is not committed yet.
		if e := inv.extents[h.id]; e != nil {
			inv.use(e)
		}
		if r := inv.runs[h.id]; r != nil {
			inv.useRun(r)
		}
	}
	return nil
}

func (inv *inventory) readLayouts(ctx context.Context, c *catalog) error {
	inv.blobs, inv.extents = map[cellgraph.Digest]*stored{}, map[cellgraph.Digest]*piece{}
	all, err := c.allExtents(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		inv.extents[e.id] = &piece{location: e.location}
	}
	ids, err := c.allBlobs(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		inv.blobs[id] = &stored{}
	}
	parts, err := c.blobExtents(ctx)
	if err != nil {
		return err
	}
	for id, list := range parts {
		for _, part := range list {
			if b, e := inv.blobs[id], inv.extents[part]; b != nil && e != nil {
				b.extents = append(b.extents, e)
			}
		}
	}
	return inv.readRuns(ctx, c)
}

func (inv *inventory) readRuns(ctx context.Context, c *catalog) error {
	all, err := c.allRuns(ctx)
	if err != nil {
		return err
	}
	inv.runs = map[cellgraph.Digest]*stretch{}
	for id, parts := range all {
		r := &stretch{}
		for _, part := range parts {
			if e := inv.extents[part]; e != nil {
				r.extents, r.space = append(r.extents, e), r.space+e.space()
			}
		}
		inv.runs[id] = r
	}
	lists, err := c.blobRuns(ctx)
	if err != nil {
		return err
	}
	for id, list := range lists {
		for _, part := range list {
			if b, r := inv.blobs[id], inv.runs[part]; b != nil && r != nil {
				b.runs = append(b.runs, r)
			}
		}
	}
	return nil
}

// joinSnapshots ties each snapshot to its trace.
func (inv *inventory) joinSnapshots(ctx context.Context, c *catalog) error {
	type row struct {
		seq   int64
		trace cellgraph.Digest
	}
	rows, err := collect(ctx, c.db, func(rows *sql.Rows) (r row, err error) {
		var id []byte
		err = rows.Scan(&r.seq, &id)
		copy(r.trace[:], id)
		return r, err
	}, "SELECT seq, trace FROM snapshot")
	if err != nil {
		return err
	}
	traces := map[int64]*tracked{}
	for _, r := range rows {
		traces[r.seq] = inv.byTrace[r.trace]
	}
	for _, s := range inv.snapshots {
		if s.trace = traces[s.seq]; s.trace != nil {
			s.trace.snapshots = append(s.trace.snapshots, s)
		}
	}
	return nil
}

// markUseless marks the traces that Traces no longer returns.
func (inv *inventory) markUseless() {
	byCode := map[cellgraph.Digest][]*tracked{}
	for _, t := range inv.traces {
		if t.kept {
			byCode[t.code] = append(byCode[t.code], t)
		}
	}
	for _, list := range byCode {
		slices.SortFunc(list, func(a, b *tracked) int { return b.created.Compare(a.created) })
		for i, t := range list {
			t.hits = t.hits && i < maxTraces
		}
	}
}

// need counts blobs as needed once more.
func (inv *inventory) need(lists ...[]cellgraph.Digest) {
	for _, ids := range lists {
		for _, id := range ids {
			b := inv.blobs[id]
			if b == nil {
				continue // missing: verify says so
			}
			if b.users++; b.users == 1 {
				for _, e := range b.extents {
					inv.use(e)
				}
				for _, r := range b.runs {
					inv.useRun(r)
				}
			}
		}
	}
}

func (inv *inventory) use(e *piece) {
	if e.users++; e.users == 1 {
		inv.bytes += e.space()
	}
}

func (inv *inventory) useRun(r *stretch) {
	if r.users++; r.users == 1 {
		for _, e := range r.extents {
			inv.use(e)
		}
	}
}

// warm marks the extents of blobs as used lately.
func (inv *inventory) warm(lists ...[]cellgraph.Digest) {
	for _, ids := range lists {
		for _, id := range ids {
			b := inv.blobs[id]
			if b == nil {
				continue
			}
			for _, e := range b.extents {
				e.hot = true
			}
			for _, r := range b.runs {
				r.heat()
			}
		}
	}
}

func (r *stretch) heat() {
	if r.hot {
		return
	}
	r.hot = true
	for _, e := range r.extents {
		e.hot = true
	}
}

// drop is the inverse of need.
func (inv *inventory) drop(ids []cellgraph.Digest) {
	for _, id := range ids {
		b := inv.blobs[id]
		if b == nil {
			continue
		}
		if b.users--; b.users > 0 {
			continue
		}
		for _, e := range b.extents {
			inv.release(e)
		}
		for _, r := range b.runs {
			if r.users--; r.users > 0 {
				continue
			}
			for _, e := range r.extents {
				inv.release(e)
			}
		}
	}
}

func (inv *inventory) release(e *piece) {
	if e.users--; e.users == 0 {
		inv.bytes -= e.space()
	}
}

// complete reports whether all blobs are kept.
func (inv *inventory) complete(ids []cellgraph.Digest) bool {
	return !slices.ContainsFunc(ids, func(id cellgraph.Digest) bool {
		b := inv.blobs[id]
		return b == nil || b.users == 0
	})
}

func scanPair(rows *sql.Rows) (p [2]int64, err error) {
	err = rows.Scan(&p[0], &p[1])
	return p, err
}

func scanDigest(rows *sql.Rows) (d cellgraph.Digest, err error) {
	var id []byte
	err = rows.Scan(&id)
	copy(d[:], id)
	return d, err
}

// pins are the snapshots that gc may not touch.
func (c *catalog) pins(ctx context.Context) (map[cellgraph.Digest]bool, error) {
	ids, err := collect(ctx, c.db, func(rows *sql.Rows) (id string, err error) {
		err = rows.Scan(&id)
		return id, err
	}, "SELECT snapshot FROM pin")
	pinned := map[cellgraph.Digest]bool{}
	for _, text := range ids {
		id, err := cellgraph.ParseDigest(text)
		if err != nil {
			return nil, fmt.Errorf("pin %q: %w: %w", text, ErrCorrupt, err)
		}
		pinned[id] = true
	}
	return pinned, err
}
