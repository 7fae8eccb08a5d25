package snapshotter

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"kedge/cellgraph"
)

// migrations are applied in order, one transaction each; user_version counts
// those applied. An entry is never changed once released.
func migrations() []string {
	return []string{`
CREATE TABLE segment (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE extent (
	id BLOB PRIMARY KEY, segment INTEGER NOT NULL REFERENCES segment(id),
	offset INTEGER NOT NULL, length INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE blob (id BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE blob_extent (
	blob BLOB NOT NULL REFERENCES blob(id), seq INTEGER NOT NULL,
	extent BLOB NOT NULL REFERENCES extent(id), PRIMARY KEY (blob, seq)) WITHOUT ROWID;
CREATE TABLE trace (
	seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, code BLOB NOT NULL, created INTEGER NOT NULL,
	seconds REAL NOT NULL, uncached INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX trace_code ON trace (code, created);
CREATE TABLE snapshot (
	seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, trace BLOB NOT NULL REFERENCES trace(id),
	notebook TEXT NOT NULL, step TEXT NOT NULL, created INTEGER NOT NULL,
	logical_bytes INTEGER NOT NULL, unique_bytes INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX snapshot_notebook ON snapshot (notebook, created);
CREATE TABLE memo (kind TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
`, `
CREATE TABLE saved (
	seq INTEGER PRIMARY KEY, notebook TEXT NOT NULL, path TEXT NOT NULL, content BLOB NOT NULL REFERENCES blob(id),
	saved INTEGER NOT NULL);
CREATE INDEX saved_notebook ON saved (notebook, saved);
`, `
ALTER TABLE extent ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE extent ADD COLUMN codec INTEGER NOT NULL DEFAULT 0;
UPDATE extent SET stored = length;
ALTER TABLE segment ADD COLUMN squeezed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trace ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trace ADD COLUMN kept INTEGER NOT NULL DEFAULT 1;
UPDATE trace SET used = created;
ALTER TABLE snapshot ADD COLUMN kept INTEGER NOT NULL DEFAULT 1;
CREATE TABLE pin (snapshot TEXT PRIMARY KEY, pinned INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE record (
	segment INTEGER NOT NULL REFERENCES segment(id), offset INTEGER NOT NULL, length INTEGER NOT NULL,
	PRIMARY KEY (segment, offset)) WITHOUT ROWID;
`, `
ALTER TABLE blob_extent RENAME TO part; -- a gc of before that does not know runs fails, and takes nothing
CREATE TABLE run (id BLOB PRIMARY KEY, extents BLOB NOT NULL) WITHOUT ROWID; -- the digests in one: rows would be many pages
CREATE TABLE blob_run (blob BLOB PRIMARY KEY REFERENCES blob(id), runs BLOB NOT NULL) WITHOUT ROWID;
`}
}

// catalog is the SQLite database of a store.
type catalog struct {
	db     *sql.DB
	trusts func(Author) bool // see Config
}

func openCatalog(ctx context.Context, path string) (*catalog, error) {
	c, err := connect(path, true)
	if err != nil {
		return nil, err
	}
	if err := c.migrate(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// connect opens the database; foreignKeys says whether references are checked.
func connect(path string, foreignKeys bool) (*catalog, error) {
	check := "off"
	if foreignKeys {
		check = "on"
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_journal_mode": {"WAL"},
		"_busy_timeout": {"30000"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {check},
		"_txlock":       {"immediate"},

		"_stmt_cache_size": {"32"},
	}.Encode()}
	db, err := sql.Open("sqlite3", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return &catalog{db, func(Author) bool { return false }}, nil
}

func (c *catalog) migrate(ctx context.Context) error {
	steps := migrations()
	var version int
	if err := c.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("open catalog: %w", err)
	}
	if version > len(steps) {
		return fmt.Errorf("catalog version %d, this kedge knows %d; update kedge: %w", version, len(steps), ErrNewerFormat)
	}
	for n := version; n < len(steps); n++ {
		err := c.inTransaction(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, steps[n]+fmt.Sprintf("PRAGMA user_version = %d;", n+1))
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate catalog to %d: %w", n+1, err)
		}
	}
	return nil
}

func (c *catalog) close() error { return c.db.Close() }

func (c *catalog) inTransaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// record is a trace with its snapshot, ready to insert.
type record struct {
	traceID, snapshotID     cellgraph.Digest
	trace                   cellgraph.Trace
	snapshot                Snapshot
	traceBody, snapshotBody []byte
	adopted                 bool // from elsewhere, with all that it needs
	bare                    bool // the trace alone
}

// commit inserts what is pending and rec, if any, in one transaction. It
// returns the bytes of the extents that no other handle had inserted before;
// unowned is added to them for the snapshot's unique bytes; at is the journal
// entry that says the same.
func (c *catalog) commit(ctx context.Context, p *pending, rec *record, unowned int64, at place) (fresh int64, err error) {
	if len(p.extents)+len(p.blobs) == 0 && rec == nil {
		return 0, nil
	}
	err = c.inTransaction(ctx, func(tx *sql.Tx) error {
		if err := insertPlace(ctx, tx, at); err != nil {
			return err
		}
		if fresh, err = insertExtents(ctx, tx, p.extents); err != nil {
			return fmt.Errorf("insert extents: %w", err)
		}
		if err := insertBlobs(ctx, tx, p.blobs); err != nil {
			return fmt.Errorf("insert blobs: %w", err)
		}
		if rec == nil {
			return nil
		}
		return insertRecord(ctx, tx, rec, fresh+unowned)
	})
	return fresh, err
}

func insertExtents(ctx context.Context, tx *sql.Tx, extents map[cellgraph.Digest]location) (fresh int64, err error) {
	if len(extents) == 0 {
		return 0, nil
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO extent (id, segment, offset, length, stored, codec)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return 0, err
	}
	defer insert.Close()
	segments := map[string]int64{}
	for id, at := range extents {
		segment, ok := segments[at.segment]
		if !ok {
			if segment, err = segmentRow(ctx, tx, at.segment); err != nil {
				return 0, err
			}
			segments[at.segment] = segment
		}
		result, err := insert.ExecContext(ctx, id[:], segment, at.offset, at.length, at.stored, at.codec)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		fresh += n * at.length
	}
	return fresh, nil
}

// move changes where extents lie.
func (c *catalog) move(ctx context.Context, moved map[cellgraph.Digest]location, at place) error {
	return c.inTransaction(ctx, func(tx *sql.Tx) error {
		if err := insertPlace(ctx, tx, at); err != nil {
			return err
		}
		for id, to := range moved {
			segment, err := segmentRow(ctx, tx, to.segment)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "UPDATE extent SET segment = ?, offset = ?, stored = ?, codec = ? WHERE id = ?",
				segment, to.offset, to.stored, to.codec, id[:])
			if err != nil {
				return fmt.Errorf("move extent %s: %w", id, err)
			}
		}
		return nil
	})
}

// segmentRow is the row of a segment, which it makes if there is none.
func segmentRow(ctx context.Context, tx *sql.Tx, name string) (id int64, err error) {
	if _, err := tx.ExecContext(ctx, "INSERT INTO segment (name) VALUES (?) ON CONFLICT DO NOTHING", name); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, "SELECT id FROM segment WHERE name = ?", name).Scan(&id)
	return id, err
}

func insertBlobs(ctx context.Context, tx *sql.Tx, blobs map[cellgraph.Digest]layout) error {
	for id, l := range blobs {
		result, err := tx.ExecContext(ctx, "INSERT INTO blob VALUES (?, ?) ON CONFLICT DO NOTHING", id[:], l.size)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			continue
		}
		if cut := l.runs(); cut != nil {
			if err := insertRuns(ctx, tx, id, cut); err != nil {
				return err
			}
			continue
		}
		for seq, e := range l.extents {
			if _, err := tx.ExecContext(ctx, "INSERT INTO part VALUES (?, ?, ?)", id[:], seq, e.id[:]); err != nil {
				return err
			}
		}
	}
	return nil
}

func insertRecord(ctx context.Context, tx *sql.Tx, r *record, unique int64) error {
	t, s := &r.trace, &r.snapshot
	_, err := tx.ExecContext(ctx, `INSERT INTO trace (id, code, created, seconds, uncached, body, used)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = max(used, excluded.used)`,
		r.traceID[:], t.Code[:], t.Created.UnixNano(), t.Seconds, t.Uncached != "", r.traceBody, s.Created.UnixNano())
	if err != nil {
		return fmt.Errorf("insert trace: %w", err)
	}
	if r.adopted {
		if _, err := tx.ExecContext(ctx, "UPDATE trace SET kept = 1 WHERE id = ?", r.traceID[:]); err != nil {
			return fmt.Errorf("insert trace: %w", err)
		}
	}
	if r.bare {
		return nil
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO snapshot
		(id, trace, notebook, step, created, logical_bytes, unique_bytes, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		r.snapshotID.String(), r.traceID[:], s.Notebook, s.Step, s.Created.UnixNano(), s.LogicalBytes, unique, r.snapshotBody)
	if err != nil {
		return fmt.Errorf("insert snapshot: %w", err)
	}
	return nil
}

func (c *catalog) hasBlob(ctx context.Context, id cellgraph.Digest) (bool, error) {
	return c.has(ctx, "blob", id)
}

func (c *catalog) hasTrace(ctx context.Context, id cellgraph.Digest) (bool, error) {
	return c.has(ctx, "trace", id)
}

func (c *catalog) hasRun(ctx context.Context, id cellgraph.Digest) (bool, error) {
	return c.has(ctx, "run", id)
}

// has reports whether a table has a row with this id.
func (c *catalog) has(ctx context.Context, table string, id cellgraph.Digest) (has bool, err error) {
	err = c.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+table+" WHERE id = ?)", id[:]).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("look up %s %s: %w", table, id, err)
	}
	return has, nil
}

func (c *catalog) extent(ctx context.Context, id cellgraph.Digest) (at location, err error) {
	err = c.db.QueryRowContext(ctx, `SELECT s.name, e.offset, e.length, e.stored, e.codec
		FROM extent e JOIN segment s ON s.id = e.segment WHERE e.id = ?`, id[:]).
		Scan(&at.segment, &at.offset, &at.length, &at.stored, &at.codec)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return at, err
}

func (c *catalog) layout(ctx context.Context, id cellgraph.Digest) (layout, error) {
	var l layout
	err := c.db.QueryRowContext(ctx, "SELECT size FROM blob WHERE id = ?", id[:]).Scan(&l.size)
	if errors.Is(err, sql.ErrNoRows) {
		return l, ErrNotFound
	}
	if err != nil {
		return l, err
	}
	l.extents, err = c.extents(ctx, `SELECT e.id, s.name, e.offset, e.length, e.stored, e.codec FROM part b
		JOIN extent e ON e.id = b.extent JOIN segment s ON s.id = e.segment WHERE b.blob = ? ORDER BY b.seq`, id[:])
	if err != nil || len(l.extents) > 0 {
		return l, err
	}
	l.extents, err = c.runExtents(ctx, id)
	return l, err
}

// allExtents lists every extent in the order in which it lies on the disk.
func (c *catalog) allExtents(ctx context.Context) ([]extent, error) {
	return c.extents(ctx, `SELECT e.id, s.name, e.offset, e.length, e.stored, e.codec FROM extent e
		JOIN segment s ON s.id = e.segment ORDER BY e.segment, e.offset`)
}

func (c *catalog) extents(ctx context.Context, query string, args ...any) ([]extent, error) {
	return collect(ctx, c.db, func(rows *sql.Rows) (e extent, err error) {
		var id []byte
		err = rows.Scan(&id, &e.segment, &e.offset, &e.length, &e.stored, &e.codec)
		copy(e.id[:], id)
		return e, err
	}, query, args...)
}

func (c *catalog) allBlobs(ctx context.Context) ([]cellgraph.Digest, error) {
	return collect(ctx, c.db, func(rows *sql.Rows) (d cellgraph.Digest, err error) {
		var id []byte
		err = rows.Scan(&id)
		copy(d[:], id)
		return d, err
	}, "SELECT id FROM blob")
}

// blobExtents lists the extents of every blob whose list is not cut, in order.
func (c *catalog) blobExtents(ctx context.Context) (map[cellgraph.Digest][]cellgraph.Digest, error) {
	parts, err := collect(ctx, c.db, func(rows *sql.Rows) (pair [2]cellgraph.Digest, err error) {
		var blob, extent []byte
		err = rows.Scan(&blob, &extent)
		copy(pair[0][:], blob)
		copy(pair[1][:], extent)
		return pair, err
	}, "SELECT blob, extent FROM part ORDER BY blob, seq")
	all := map[cellgraph.Digest][]cellgraph.Digest{}
	for _, p := range parts {
		all[p[0]] = append(all[p[0]], p[1])
	}
	return all, err
}

// traceRow is a trace as the catalog has it.
type traceRow struct {
	seq  int64
	id   []byte
	body []byte
	used int64 // Unix ns of the last run that used it
	kept bool  // gc has not taken its state
}

// sound reports whether the body is the one that was written.
func (r traceRow) sound() bool {
	sum := cellgraph.Sum(r.body)
	return bytes.Equal(sum[:], r.id)
}

// traces are those of a cell's code whose state is there, newest first.
func (c *catalog) traces(ctx context.Context, code cellgraph.Digest, limit int) ([]traceRow, error) {
	return collect(ctx, c.db, scanTrace,
		"SELECT "+traceColumns+" FROM trace WHERE code = ? AND kept ORDER BY created DESC, seq DESC LIMIT ?", code[:], limit)
}

func (c *catalog) allTraces(ctx context.Context) ([]traceRow, error) {
	return collect(ctx, c.db, scanTrace, "SELECT "+traceColumns+" FROM trace ORDER BY seq")
}

const traceColumns = "seq, id, body, used, kept"

func scanTrace(rows *sql.Rows) (r traceRow, err error) {
	err = rows.Scan(&r.seq, &r.id, &r.body, &r.used, &r.kept)
	return r, err
}

// faults are what SQLite finds wrong with its own file.
func (c *catalog) faults(ctx context.Context) ([]string, error) {
	found, err := collect(ctx, c.db, func(rows *sql.Rows) (text string, err error) {
		err = rows.Scan(&text)
		return text, err
	}, "PRAGMA integrity_check")
	if len(found) == 1 && found[0] == "ok" {
		return nil, err
	}
	return found, err
}

// snapshotRow is a snapshot as the catalog has it.
type snapshotRow struct {
	seq    int64
	id     string
	unique int64
	body   []byte
	kept   bool // gc has not taken its state
}

// snapshots are the rows that where selects, newest first; limit -1 means all.
func (c *catalog) snapshots(ctx context.Context, where string, limit int, args ...any) ([]snapshotRow, error) {
	return collect(ctx, c.db, func(rows *sql.Rows) (r snapshotRow, err error) {
		err = rows.Scan(&r.seq, &r.id, &r.unique, &r.body, &r.kept)
		return r, err
	}, "SELECT seq, id, unique_bytes, body, kept FROM snapshot WHERE "+where+" ORDER BY created DESC, seq DESC LIMIT ?", append(args, limit)...)
}

func (c *catalog) memo(ctx context.Context, kind string, key cellgraph.Digest) (value []byte, ok bool, err error) {
	err = c.db.QueryRowContext(ctx, "SELECT value FROM memo WHERE kind = ? AND key = ?", kind, key[:]).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read memo %s: %w", kind, err)
	}
	return value, true, nil
}

func (c *catalog) putMemo(ctx context.Context, kind string, key cellgraph.Digest, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	_, err := c.db.ExecContext(ctx, `INSERT INTO memo VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value`, kind, key[:], value)
	if err != nil {
		return fmt.Errorf("write memo %s: %w", kind, err)
	}
	return nil
}

func (c *catalog) stats(ctx context.Context) (st Stats, err error) {
	err = c.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM blob), (SELECT count(*) FROM extent),
		(SELECT coalesce(sum(length), 0) FROM extent), (SELECT coalesce(sum(logical_bytes), 0) FROM snapshot),
		(SELECT count(*) FROM snapshot), (SELECT count(*) FROM trace), (SELECT count(*) FROM segment)`).
		Scan(&st.Blobs, &st.Extents, &st.Bytes, &st.LogicalBytes, &st.Snapshots, &st.Traces, &st.Segments)
	if err != nil {
		return Stats{}, fmt.Errorf("count: %w", err)
	}
	return st, nil
}

func collect[T any](ctx context.Context, db *sql.DB, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
