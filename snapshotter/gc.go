package snapshotter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

// ErrBusy says that another gc, or a verify, goes on.
var ErrBusy = errors.New("another process cleans or verifies the store")

const (
	workFile   = "work" // flock(2): gc has it alone, verify shares it
	manyMemos  = 300_000
	fillAtMost = 85 // percent of the quota that gc leaves, so that it need not come back at once
)

// GCConfig says how much a gc may leave.
type GCConfig struct {
	Quota    int64 // bytes on the disk; negative: no limit
	DryRun   bool  // say what would go, and change nothing
	Progress func(done, total int)
}

// GCReport is what a gc did, or would do. Sizes are bytes on the disk.
type GCReport struct {
	DryRun bool  `json:"dry_run,omitempty"`
	Quota  int64 `json:"quota"`  // negative: none
	Before int64 `json:"before"` // of the whole store
	After  int64 `json:"after"`  // of a dry run: about
	Needed int64 `json:"needed"` // by what is left

	States    int `json:"states"`    // traces whose values and files were taken, and whose outputs are left
	Traces    int `json:"traces"`    // taken with their outputs
	Snapshots int `json:"snapshots"` // taken
	Blobs     int `json:"blobs"`
	Segments  int `json:"segments"` // removed or rewritten

	Squeezed int64    `json:"squeezed"` // bytes that compressing what is cold has saved
	Damaged  int      `json:"damaged"`  // segments left as they are because something in them is damaged
	Holders  []Holder `json:"holders"`  // who has the store open, this process apart
}

// Within reports whether the store is within its quota.
func (r GCReport) Within() bool { return r.Quota < 0 || r.After <= r.Quota }

// GC removes what nobody needs, then what saves the least per byte until the
// store is within the quota, rewrites segments that are mostly empty, and
// compresses what is cold. What a live process holds, what is pinned and what a
// restore has saved stays. [ErrBusy] if another gc goes on.
func (s *Store) GC(ctx context.Context, cfg GCConfig) (GCReport, error) {
	report, err := s.gc(ctx, cfg)
	if err != nil {
		return report, fmt.Errorf("gc: %w", err)
	}
	return report, nil
}

func (s *Store) gc(ctx context.Context, cfg GCConfig) (report GCReport, err error) {
	release, err := s.claimWork(unix.LOCK_EX)
	if err != nil {
		return report, err
	}
	defer release()
	g := &collector{store: s, cfg: cfg, report: GCReport{DryRun: cfg.DryRun, Quota: cfg.Quota}}
	if g.cfg.Progress == nil {
		g.cfg.Progress = func(int, int) {}
	}
	if g.report.Before, err = s.Size(); err != nil {
		return report, err
	}
	// A connection of its own: rows go in bulk, and are known to be needed by nobody.
	if g.catalog, err = connect(filepath.Join(s.dir, catalogFile), false); err != nil {
		return report, err
	}
	defer g.catalog.close()
	g.inventory = newInventory(s)
	if err := g.inventory.readRecords(ctx, g.catalog, g.cfg.Progress); err != nil {
		return report, err
	}
	if err := g.decide(ctx); err != nil {
		return g.report, err
	}
	if cfg.DryRun {
		g.report.After = min(g.report.Before, g.report.Needed)
		return g.report, nil
	}
	if err := g.sweep(ctx); err != nil {
		return g.report, err
	}
	if err := g.catalog.shrink(ctx); err != nil {
		return g.report, err
	}
	g.report.After, err = s.Size()
	return g.report, err
}

// claimWork takes the lock that keeps gc and verify apart; ErrBusy if it is taken.
func (s *Store) claimWork(how int) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, workFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, writeError(err)
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(err, f.Close())
	}
	return func() error { return errors.Join(unlock(f), f.Close()) }, nil
}

// collector is the state of one gc.
type collector struct {
	store     *Store
	cfg       GCConfig
	catalog   *catalog
	inventory *inventory
	report    GCReport
	hot, cold segmentWriter // where extents are moved to
}

// decide finds out what goes, and deletes its rows, while nobody can look
// anything up.
func (g *collector) decide(ctx context.Context) error {
	held, release, err := aloneWith(ctx, g.store.dir)
	if err != nil {
		return err
	}
	defer release()
	g.report.Holders = others(held.holders)
	tx, err := g.catalog.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// The transaction keeps writers out; what is read beside it is as it is inside.
	inv := g.inventory
	if err := inv.readRecords(ctx, g.catalog, func(int, int) {}); err != nil {
		return err
	}
	now := g.store.now()
	if err := inv.settle(ctx, g.catalog, held, now); err != nil {
		return err
	}
	if g.cfg.Quota >= 0 {
		inv.shrink(g.cfg.Quota/100*fillAtMost, now)
	}
	g.report.Needed = inv.bytes
	if err := g.delete(ctx, tx); err != nil || g.cfg.DryRun {
		return err
	}
	if err := g.store.segment.faults.before("delete rows", nil); err != nil {
		return err
	}
	return tx.Commit()
}

// others are the holders but for this process.
func others(all []Holder) []Holder {
	list := slices.DeleteFunc(slices.Clone(all), func(h Holder) bool { return h.PID == os.Getpid() })
	return append([]Holder{}, list...)
}

// delete deletes the rows of what goes and counts them.
func (g *collector) delete(ctx context.Context, tx *sql.Tx) error {
	inv := g.inventory
	for _, s := range inv.snapshots {
		switch {
		case s.gone:
			g.report.Snapshots++
			if _, err := tx.ExecContext(ctx, "DELETE FROM snapshot WHERE seq = ?", s.seq); err != nil {
				return err
			}
		case s.kept && !inv.complete(s.state):
			if _, err := tx.ExecContext(ctx, "UPDATE snapshot SET kept = 0 WHERE seq = ?", s.seq); err != nil {
				return err
			}
		}
	}
	for _, t := range inv.traces {
		query := "UPDATE trace SET kept = 0 WHERE seq = ?"
		switch {
		case t.gone:
			g.report.Traces++
			query = "DELETE FROM trace WHERE seq = ?"
		case t.emptied:
			g.report.States++
		default:
			continue
		}
		if _, err := tx.ExecContext(ctx, query, t.seq); err != nil {
			return err
		}
	}
	// Memos that only save time and come without end.
	_, err := tx.ExecContext(ctx, `DELETE FROM memo WHERE kind IN ('file', 'parts', 'sound') AND
		(SELECT count(*) FROM memo WHERE kind IN ('file', 'parts', 'sound')) > ?`, manyMemos)
	if err != nil {
		return err
	}
	for id, b := range inv.blobs {
		if b.users > 0 {
			continue
		}
		g.report.Blobs++
		for _, query := range []string{"DELETE FROM part WHERE blob = ?", "DELETE FROM blob_run WHERE blob = ?", "DELETE FROM blob WHERE id = ?"} {
			if _, err := tx.ExecContext(ctx, query, id[:]); err != nil {
				return err
			}
		}
	}
	for id, r := range inv.runs {
		if r.users > 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM run WHERE id = ?", id[:]); err != nil {
			return err
		}
	}
	for id, e := range inv.extents {
		if e.users > 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM extent WHERE id = ?", id[:]); err != nil {
			return err
		}
	}
	return nil
}

// Size is the bytes that the store takes on the disk.
func (s *Store) Size() (int64, error) { return folderSize(s.dir) }

// folderSize is what the segments and the catalog of a store take.
func folderSize(dir string) (int64, error) {
	var total int64
	for _, pattern := range []string{filepath.Join(segmentFolder, "*"+segmentExt), catalogFile + "*"} {
		paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		if err != nil {
			return 0, err
		}
		for _, path := range paths {
			var st unix.Stat_t
			if err := unix.Stat(path, &st); errors.Is(err, unix.ENOENT) {
				continue
			} else if err != nil {
				return 0, fmt.Errorf("size of %s: %w", path, err)
			}
			total += st.Blocks * 512
		}
	}
	return total, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Pin keeps gc from a snapshot and all that it needs. It may be pinned again.
func (s *Store) Pin(ctx context.Context, id cellgraph.Digest) error {
	err := s.lease.during(func() error {
		snapshot, err := s.Snapshot(ctx, id)
		if err != nil {
			return err
		}
		if snapshot.StateGone {
			return fmt.Errorf("its values and files are gone: %w", ErrNotFound)
		}
		return s.setPin(ctx, id, true)
	}, hold{holdSnapshot, id})
	if err != nil {
		return fmt.Errorf("pin %s: %w", id, err)
	}
	return nil
}

// Unpin lets gc have a snapshot again.
func (s *Store) Unpin(ctx context.Context, id cellgraph.Digest) error {
	if err := s.setPin(ctx, id, false); err != nil {
		return fmt.Errorf("unpin %s: %w", id, err)
	}
	return nil
}

const insertPin = "INSERT INTO pin VALUES (?, ?) ON CONFLICT DO NOTHING"

func (s *Store) setPin(ctx context.Context, id cellgraph.Digest, pinned bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	j := &journal{Pins: []journalPin{{id, pinned}}}
	if pinned { // the journal may lack the snapshot
		rows, err := s.catalog.journalRows(ctx, "WHERE id = ?", id.String())
		if err != nil {
			return err
		}
		j.Snapshots = rows
	}
	at, err := s.journal(j)
	if err != nil {
		return err
	}
	return s.catalog.inTransaction(ctx, func(tx *sql.Tx) error {
		if err := insertPlace(ctx, tx, at); err != nil {
			return err
		}
		if !pinned {
			_, err := tx.ExecContext(ctx, "DELETE FROM pin WHERE snapshot = ?", id.String())
			return err
		}
		_, err := tx.ExecContext(ctx, insertPin, id.String(), s.now().UnixNano())
		return err
	})
}

// Pins are the snapshots that are pinned.
func (s *Store) Pins(ctx context.Context) ([]cellgraph.Digest, error) {
	pinned, err := s.catalog.pins(ctx)
	list := []cellgraph.Digest{}
	for id := range pinned {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b cellgraph.Digest) int { return slices.Compare(a[:], b[:]) })
	return list, err
}
