package snapshotter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

const (
	smallSegment  = 8 << 20 // segments below that are joined
	fewSegments   = 8       // if there are more of them
	emptyPercent  = 30      // of a segment that may be of no use before it is rewritten
	strictPercent = 10      // the same for a store beyond its quota
	coldPercent   = 50      // of a segment that must be cold before it is compressed
)

// sweep removes and rewrites segments after rows have been deleted.
func (g *collector) sweep(ctx context.Context) error {
	if err := g.removeOrphans(ctx); err != nil {
		return err
	}
	names, err := g.worn(ctx)
	if err != nil {
		return err
	}
	g.hot = segmentWriter{folder: g.store.segment.folder, limit: g.store.segment.limit, lease: g.store.lease, faults: g.store.segment.faults}
	g.cold = g.hot
	defer g.hot.close()
	defer g.cold.close()
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := g.rewrite(ctx, name)
		if errors.Is(err, ErrCorrupt) { // it stays for verify to name, and for people to save
			g.report.Damaged++
			g.store.log.Warn("segment left as it is", "segment", name, "error", err)
		} else if err != nil {
			return fmt.Errorf("rewrite segment %s: %w", name, err)
		} else {
			g.report.Segments++
		}
		g.cfg.Progress(i+1, len(names))
	}
	return nil
}

// removeOrphans removes segments that the catalog does not know and no live
// process writes or holds: crashed writers leave them.
func (g *collector) removeOrphans(ctx context.Context) error {
	held, release, err := aloneWith(ctx, g.store.dir)
	if err != nil {
		return err
	}
	defer release()
	known, err := g.segments(ctx)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(g.store.segment.folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentExt)
		if _, row := known[name]; !ok || row || held.segment(name) {
			continue
		}
		if err := g.unlink(name); err != nil {
			return err
		}
		g.report.Segments++
	}
	return nil
}

func (g *collector) unlink(name string) error {
	if err := g.store.segment.faults.before("remove segment", nil); err != nil {
		return err
	}
	if err := os.Remove(g.store.segmentPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// segments are the rows of segments, by name; whether each was compressed.
func (g *collector) segments(ctx context.Context) (map[string]bool, error) {
	type row struct {
		name     string
		squeezed bool
	}
	rows, err := collect(ctx, g.catalog.db, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.name, &r.squeezed)
		return r, err
	}, "SELECT name, squeezed FROM segment")
	all := map[string]bool{}
	for _, r := range rows {
		all[r.name] = r.squeezed
	}
	return all, err
}

// worn lists the segments that are worth rewriting and that nobody holds.
func (g *collector) worn(ctx context.Context) ([]string, error) {
	squeezed, err := g.segments(ctx)
	if err != nil {
		return nil, err
	}
	held, err := leasesOf(ctx, g.store.dir)
	if err != nil {
		return nil, err
	}
	type usage struct{ live, cold int64 }
	used := map[string]*usage{}
	for name := range squeezed {
		used[name] = &usage{}
	}
	for _, e := range g.inventory.extents {
		u := used[e.segment]
		if e.users == 0 || u == nil {
			continue
		}
		u.live += e.space()
		if !e.hot && e.codec == codecRaw {
			u.cold += e.space()
		}
	}
	entries, err := g.catalog.journals(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, p := range entries {
		if u := used[p.segment]; u != nil {
			u.live += p.length
		}
	}
	empty := int64(emptyPercent)
	if g.report.Quota >= 0 && g.report.Before > g.report.Quota {
		empty = strictPercent
	}
	var names, small []string
	for name, u := range used {
		if held.segment(name) {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(g.store.segmentPath(name), &st); err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		size := st.Blocks * 512
		switch {
		case u.live*100 < size*(100-empty), u.live == 0, !squeezed[name] && u.cold*100 > size*coldPercent:
			names = append(names, name)
		case size < smallSegment:
			small = append(small, name)
		}
	}
	if len(small) > fewSegments {
		names = append(names, small...)
	}
	slices.Sort(names) // the oldest first: their names begin with the time
	return names, nil
}

// rewrite moves what is needed of a segment to another and removes it.
func (g *collector) rewrite(ctx context.Context, name string) error {
	extents, err := g.catalog.extents(ctx, `SELECT e.id, s.name, e.offset, e.length, e.stored, e.codec FROM extent e
		JOIN segment s ON s.id = e.segment WHERE s.name = ? ORDER BY e.offset`, name)
	if err != nil {
		return err
	}
	carried, err := g.carry(ctx, name)
	if err != nil {
		return err
	}
	moved, err := g.copy(ctx, name, extents)
	if err != nil {
		return err
	}
	if err := errors.Join(g.hot.sync(), g.cold.sync()); err != nil {
		return err
	}
	for id, at := range moved {
		carried.extent(id, at)
	}
	var at place
	if !carried.empty() {
		out := &g.hot
		if out.file == nil {
			out = &g.cold
		}
		if at, err = out.entry(carried); err != nil {
			return err
		}
	}
	return g.replace(ctx, name, moved, at)
}

// copy appends extents to the output, those that are cold compressed.
func (g *collector) copy(ctx context.Context, name string, extents []extent) (map[cellgraph.Digest]location, error) {
	moved := map[cellgraph.Digest]location{}
	if len(extents) == 0 {
		return moved, nil
	}
	f, err := os.Open(g.store.segmentPath(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer f.Close()
	buffer := make([]byte, extentBytes)
	for _, e := range extents {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := readExtent(f, e, buffer)
		if err != nil {
			return nil, err
		}
		if moved[e.id], err = g.place(e, data); err != nil {
			return nil, err
		}
	}
	return moved, nil
}

func (g *collector) place(e extent, data []byte) (location, error) {
	packed := e.offset%pageBytes != 0 && (e.codec == codecRaw || e.length < smallBytes)
	if known := g.inventory.extents[e.id]; known != nil && !known.hot {
		small, err := squeeze(data)
		if err != nil {
			return location{}, err
		}
		if small != nil {
			g.report.Squeezed += e.stored - int64(len(small))
			return g.cold.appendSqueezed(e.id, e.length, small)
		}
		return g.cold.append(e.id, data, packed)
	}
	return g.hot.append(e.id, data, packed)
}

// carry is what the journal of a segment says about what is still there: the
// segment's successor has to say it too.
func (g *collector) carry(ctx context.Context, name string) (*journal, error) {
	places, err := g.catalog.journals(ctx, name)
	if err != nil {
		return nil, err
	}
	all := &journal{}
	for _, p := range places {
		j, err := g.store.readJournal(p)
		if err != nil {
			return nil, err
		}
		if err := g.keep(ctx, all, j); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// keep adds to all what of j the catalog still has.
func (g *collector) keep(ctx context.Context, all, j *journal) error {
	for _, r := range j.Runs {
		if has, err := g.catalog.hasRun(ctx, r.ID); err != nil {
			return err
		} else if has {
			all.Runs = append(all.Runs, r)
		}
	}
	for _, b := range j.Blobs {
		if has, err := g.catalog.hasBlob(ctx, b.ID); err != nil {
			return err
		} else if has {
			all.Blobs = append(all.Blobs, b)
		}
	}
	for _, r := range j.Traces {
		if has, err := g.catalog.hasTrace(ctx, cellgraph.Sum([]byte(r.Body))); err != nil {
			return err
		} else if has {
			all.Traces = append(all.Traces, r)
		}
	}
	for _, r := range j.Snapshots {
		found, err := g.catalog.snapshots(ctx, "id = ?", 1, cellgraph.Sum([]byte(r.Body)).String())
		if err != nil {
			return err
		}
		if len(found) > 0 {
			all.Snapshots = append(all.Snapshots, r)
		}
	}
	for _, e := range j.Extents {
		if e.Segment == "" {
			continue // it is moved, or is needed no more
		}
		at, err := g.catalog.extent(ctx, e.ID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && at.segment == e.Segment && at.offset == e.Offset {
			all.Extents = append(all.Extents, e)
		}
	}
	all.Saved = append(all.Saved, j.Saved...)
	all.Memos = append(all.Memos, j.Memos...)
	all.Deleted = append(all.Deleted, j.Deleted...)
	pinned, err := g.catalog.pins(ctx)
	if err != nil {
		return err
	}
	for _, p := range j.Pins { // the segments of a pin and its end may go in any order
		if p.Pinned == pinned[p.Snapshot] {
			all.Pins = append(all.Pins, p)
		}
	}
	return nil
}

// replace makes the catalog look for a segment's extents where they were moved
// to, and removes the file unless somebody holds it.
func (g *collector) replace(ctx context.Context, name string, moved map[cellgraph.Digest]location, at place) error {
	if err := g.store.segment.faults.before("move extents", nil); err != nil {
		return err
	}
	err := g.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
		if err := insertPlace(ctx, tx, at); err != nil {
			return err
		}
		old, err := segmentRow(ctx, tx, name)
		if err != nil {
			return err
		}
		for id, to := range moved {
			segment, err := segmentRow(ctx, tx, to.segment)
			if err != nil {
				return err
			}
			// One that a reader has written raw meanwhile stays where that is.
			_, err = tx.ExecContext(ctx, "UPDATE extent SET segment = ?, offset = ?, stored = ?, codec = ? WHERE id = ? AND segment = ?",
				segment, to.offset, to.stored, to.codec, id[:], old)
			if err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE segment SET squeezed = 1 WHERE name = ?", g.cold.name); err != nil {
			return err
		}
		for _, query := range []string{"DELETE FROM record WHERE segment = ?", "DELETE FROM segment WHERE id = ?"} {
			if _, err := tx.ExecContext(ctx, query, old); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	held, release, err := aloneWith(ctx, g.store.dir)
	if err != nil {
		return err
	}
	defer release()
	if held.segment(name) {
		return nil // the file goes at the next gc
	}
	return g.unlink(name)
}

// shrink gives back the space of deleted rows.
func (c *catalog) shrink(ctx context.Context) error {
	const least = 4 << 20 // bytes
	var free, pages, size int64
	for query, to := range map[string]*int64{"PRAGMA freelist_count": &free, "PRAGMA page_count": &pages, "PRAGMA page_size": &size} {
		if err := c.db.QueryRowContext(ctx, query).Scan(to); err != nil {
			return err
		}
	}
	if free*size > least && free*4 > pages {
		if _, err := c.db.ExecContext(ctx, "VACUUM"); err != nil {
			return fmt.Errorf("vacuum: %w", err)
		}
	}
	var busy, inLog, done int
	if err := c.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &inLog, &done); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
