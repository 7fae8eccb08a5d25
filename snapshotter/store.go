// Package snapshotter keeps snapshots on the local disk: content-addressed
// blobs in append-only segment files, and a SQLite catalog of blobs, traces,
// snapshots and memos. Several processes may use one store at once. FORMAT.md
// describes what is on the disk.
package snapshotter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

// What the errors of this package wrap.
var (
	ErrNotFound    = errors.New("not in the store")
	ErrCorrupt     = errors.New("stored data is damaged")
	ErrAmbiguous   = errors.New("matches more than one snapshot")
	ErrReadOnly    = errors.New("the store cannot be written")
	ErrNetworkFS   = errors.New("the store is on a network file system")
	ErrNewerFormat = errors.New("the store was written by a newer kedge")
	ErrClosed      = errors.New("the store is closed")
)

const (
	formatVersion  = 3
	journalVersion = 2 // since then segments have a journal
	versionFile    = "VERSION"
	lockFile       = "lock"
	catalogFile    = "catalog.db"
	segmentFolder  = "segments"
)

// Config says where a store is and what it uses.
type Config struct {
	Dir    string           // DefaultDir() if empty
	Logger *slog.Logger     // silent if nil
	Now    func() time.Time // time.Now if nil

	// Quota is the most bytes that the store should take; 0: DefaultQuota; negative: no limit.
	Quota int64
	// Background lets the handle run gc by itself when it has stored much and the store is beyond its quota.
	Background bool
	// AnyFileSystem allows the store to lie on a network file system. One machine at a time may use it there.
	AnyFileSystem bool
	// Trusts says whether the user trusts an author now: what came from others is not restored. nil: nobody is trusted.
	Trusts func(Author) bool

	faults faults
}

// Store is one handle on a store. Its methods may be called from any goroutine.
type Store struct {
	dir     string
	log     *slog.Logger
	now     func() time.Time
	catalog *catalog
	lease   *lease

	quota      int64
	background bool
	tidy       sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	segment segmentWriter
	pending pending
	unowned int64        // bytes of extents committed since the last trace
	unsaid  []journalRow // snapshots that the journal is to have with its next entry
	own     map[cellgraph.Digest]ownBlob

	untidy   int64 // bytes committed since the last look at the quota
	tidying  bool
	stopTidy context.CancelFunc // nil before the first Tidy beside us
}

// DefaultDir is $KEDGE_HOME, else $XDG_DATA_HOME/kedge, else ~/.local/share/kedge.
func DefaultDir() string {
	if dir := os.Getenv("KEDGE_HOME"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kedge")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = string(filepath.Separator)
	}
	return filepath.Join(home, ".local", "share", "kedge")
}

// Open opens the store in cfg.Dir and creates it if there is none. It fails
// with [ErrReadOnly], [ErrNetworkFS] or [ErrNewerFormat] where those apply.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		cfg.Dir = DefaultDir()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Trusts == nil {
		cfg.Trusts = func(Author) bool { return false }
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", cfg.Dir, err)
	}
	c, version, err := prepare(ctx, dir, cfg.AnyFileSystem)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	c.trusts = cfg.Trusts
	l, err := openLease(dir, cfg.Now())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), c.close())
	}
	s := &Store{dir: dir, log: cfg.Logger, now: cfg.Now, catalog: c, lease: l, pending: newPending(), own: map[cellgraph.Digest]ownBlob{},
		quota: cfg.Quota, background: cfg.Background}
	s.segment = segmentWriter{folder: filepath.Join(dir, segmentFolder), limit: segmentBytes, lease: l, faults: cfg.faults}
	if version < formatVersion {
		if err := s.upgrade(ctx, version); err != nil {
			return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), s.Close())
		}
	}
	s.log.Debug("store opened", "dir", dir)
	return s, nil
}

// prepare makes the folder a store of this format, one process at a time.
func prepare(ctx context.Context, dir string, anyFileSystem bool) (c *catalog, version int, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, writeError(err)
	}
	if err := checkFileSystem(dir, anyFileSystem); err != nil {
		return nil, 0, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, writeError(err)
	}
	defer lock.Close()
	if err := lockFileExclusive(ctx, lock); err != nil {
		return nil, 0, err
	}
	if version, err = checkVersion(dir); err != nil {
		return nil, 0, err
	}
	if err := os.MkdirAll(filepath.Join(dir, segmentFolder), 0o700); err != nil {
		return nil, 0, writeError(err)
	}
	if err := checkCatalog(dir); err != nil {
		return nil, 0, err
	}
	c, err = openCatalog(ctx, filepath.Join(dir, catalogFile))
	return c, version, err
}

// checkCatalog refuses a store that has lost its catalog: a new one would know
// none of the segments, and gc would remove them.
func checkCatalog(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, catalogFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(dir, segmentFolder))
	if err != nil || len(entries) == 0 {
		return err
	}
	return fmt.Errorf("%s is missing and there are segments; kedge store rebuild makes it again: %w", catalogFile, ErrCorrupt)
}

// lockFileExclusive waits for the lock that Open holds while it creates or migrates.
func lockFileExclusive(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// checkVersion reads VERSION, and writes it where there is none.
func checkVersion(dir string) (int, error) {
	path := filepath.Join(dir, versionFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return formatVersion, writeVersion(path)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is not a version: %w", path, ErrCorrupt)
	}
	if n > formatVersion {
		return n, fmt.Errorf("format %d, this kedge knows %d; %w; get a newer kedge",
			n, formatVersion, ErrNewerFormat)
	}
	return n, nil
}

// upgrade makes a store of an older format one of this. Format 2 knew no runs:
// all that it has is as it was.
func (s *Store) upgrade(ctx context.Context, version int) error {
	if version < journalVersion {
		if err := s.firstJournal(ctx); err != nil {
			return err
		}
	}
	return writeVersion(filepath.Join(s.dir, versionFile))
}

// firstJournal writes a journal for what a store of format 1 holds, which had none.
func (s *Store) firstJournal(ctx context.Context) error {
	inv := newInventory(s)
	if err := inv.readLayouts(ctx, s.catalog); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	j := &journal{}
	for id, e := range inv.extents {
		j.extent(id, e.location)
	}
	sizes, err := collect(ctx, s.catalog.db, func(rows *sql.Rows) (b journalBlob, err error) {
		var id []byte
		err = rows.Scan(&id, &b.Size)
		copy(b.ID[:], id)
		return b, err
	}, "SELECT id, size FROM blob")
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	ids, err := s.catalog.blobExtents(ctx)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	for _, b := range sizes {
		b.Extents = ids[b.ID]
		j.Blobs = append(j.Blobs, b)
	}
	if err := s.upgradeRecords(ctx, j); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	return nil
}

// upgradeRecords adds what stands in rows to an entry and writes it.
func (s *Store) upgradeRecords(ctx context.Context, j *journal) error {
	traces, err := s.catalog.allTraces(ctx)
	if err != nil {
		return err
	}
	for _, t := range traces {
		j.Traces = append(j.Traces, journalRow{Body: string(t.body)})
	}
	if j.Snapshots, err = s.catalog.journalRows(ctx, ""); err != nil {
		return err
	}
	if j.Saved, err = s.Saved(ctx, ""); err != nil {
		return err
	}
	j.Memos, err = collect(ctx, s.catalog.db, func(rows *sql.Rows) (m journalMemo, err error) {
		var key []byte
		err = rows.Scan(&m.Kind, &key, &m.Value)
		copy(m.Key[:], key)
		return m, err
	}, "SELECT kind, key, value FROM memo WHERE kind IN ('background', 'unrepeatable')")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := s.journal(j)
	if err != nil {
		return err
	}
	return s.catalog.inTransaction(ctx, func(tx *sql.Tx) error { return insertPlace(ctx, tx, at) })
}

func writeVersion(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), versionFile+".*")
	if err != nil {
		return writeError(err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, formatVersion)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return writeError(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return writeError(err)
	}
	return syncFolder(filepath.Dir(path))
}

// writeError adds [ErrReadOnly] to an error that says that writing is not allowed.
func writeError(err error) error {
	if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

// Close releases the handle. Blobs that were not flushed are forgotten. It may
// be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.pending = newPending()
	err := s.sayRest()
	if err := s.rememberOwn(); err != nil {
		s.log.Warn("what was written is not known to be sound", "err", err) // it is checked when it is read
	}
	if s.stopTidy != nil {
		s.stopTidy()
	}
	s.mu.Unlock()
	s.tidy.Wait()
	return errors.Join(err, s.segment.close(), s.catalog.close(), s.lease.close())
}

// sayRest writes the snapshots that the journal lacks, if there is a segment
// anyway. The caller holds s.mu.
func (s *Store) sayRest() error {
	if len(s.unsaid) == 0 || s.segment.file == nil {
		return nil
	}
	at, err := s.journal(&journal{Snapshots: s.unsaid})
	if err != nil {
		return err
	}
	return s.catalog.inTransaction(context.Background(), func(tx *sql.Tx) error { return insertPlace(context.Background(), tx, at) })
}

// Flush makes the blobs written so far durable and visible to other handles.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.commit(ctx, nil); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// commit syncs the segment and then writes all pending rows, and those of rec
// unless it is nil, in one transaction. The caller holds s.mu.
func (s *Store) commit(ctx context.Context, rec *record) error {
	if err := s.writable(); err != nil {
		return err
	}
	at, err := s.note(ctx, rec)
	if err != nil {
		return err
	}
	if err := s.segment.faults.before("commit", nil); err != nil {
		return err
	}
	fresh, err := s.catalog.commit(ctx, &s.pending, rec, s.unowned, at)
	if err != nil {
		return err
	}
	s.pending = newPending()
	if at.segment != "" {
		s.unsaid = nil
	}
	s.unowned += fresh
	s.watchQuota(fresh)
	if rec != nil {
		s.unowned = 0
	}
	return nil
}

// note writes a journal entry of what is to be committed, and syncs it with the
// extents; the zero place if there is nothing. The caller holds s.mu.
func (s *Store) note(ctx context.Context, rec *record) (place, error) {
	var j journal
	if err := s.noteBlobs(ctx, &j); err != nil {
		return place{}, err
	}
	if rec != nil {
		known, err := s.catalog.hasTrace(ctx, rec.traceID)
		if err != nil {
			return place{}, err
		}
		if !known {
			j.Traces = append(j.Traces, journalRow{Body: string(rec.traceBody)})
		}
		if rec.bare {
			if len(j.Traces) > 0 {
				return s.journal(&j)
			}
			return place{}, nil
		}
		row := journalRow{Body: string(rec.snapshotBody), Trace: rec.traceID, Unique: s.unowned}
		if j.empty() && len(s.pending.extents) == 0 {
			s.unsaid = append(s.unsaid, row)
			return place{}, nil // nothing new was stored: this is not worth an fsync
		}
		j.Snapshots = append(j.Snapshots, row)
	}
	if j.empty() && len(s.pending.extents) == 0 {
		return place{}, nil
	}
	j.Snapshots = append(j.Snapshots, s.unsaid...)
	for id, at := range s.pending.extents {
		j.extent(id, at)
	}
	return s.journal(&j)
}

// journal appends an entry to the segment and syncs it. The caller holds s.mu.
func (s *Store) journal(j *journal) (place, error) {
	if j.empty() {
		return place{}, nil
	}
	return s.segment.entry(j)
}

// move commits the new places of extents, which have been written to the
// segment. The caller holds s.mu.
func (s *Store) move(ctx context.Context, moved map[cellgraph.Digest]location) error {
	var j journal
	for id, at := range moved {
		j.extent(id, at)
	}
	at, err := s.journal(&j)
	if err != nil {
		return err
	}
	return s.catalog.move(ctx, moved, at)
}

// writable reports why nothing may be written. The caller holds s.mu.
func (s *Store) writable() error {
	if s.closed {
		return ErrClosed
	}
	return nil
}

// Memo is the value last remembered under kind and key, and whether there is one.
func (s *Store) Memo(ctx context.Context, kind string, key cellgraph.Digest) ([]byte, bool, error) {
	return s.catalog.memo(ctx, kind, key)
}

// PutMemo remembers value under kind and key in place of what was there.
func (s *Store) PutMemo(ctx context.Context, kind string, key cellgraph.Digest, value []byte) error {
	if lasting(kind) {
		return s.putLasting(ctx, journalMemo{kind, key, value})
	}
	return s.catalog.putMemo(ctx, kind, key, value)
}

// putLasting is PutMemo for what has to be known also after a rebuild.
func (s *Store) putLasting(ctx context.Context, m journalMemo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return fmt.Errorf("write memo %s: %w", m.Kind, err)
	}
	at, err := s.journal(&journal{Memos: []journalMemo{m}})
	if err == nil {
		err = s.catalog.inTransaction(ctx, func(tx *sql.Tx) error { return insertPlace(ctx, tx, at) })
	}
	if err == nil {
		err = s.catalog.putMemo(ctx, m.Kind, m.Key, m.Value)
	}
	if err != nil {
		return fmt.Errorf("write memo %s: %w", m.Kind, err)
	}
	return nil
}

// Stats are totals over the store.
type Stats struct {
	Blobs        int64 `json:"blobs"`
	Extents      int64 `json:"extents"`
	Bytes        int64 `json:"bytes"`         // of the extents
	LogicalBytes int64 `json:"logical_bytes"` // of all snapshots, as if each were stored whole
	Snapshots    int64 `json:"snapshots"`
	Traces       int64 `json:"traces"`
	Segments     int64 `json:"segments"`
}

// Stats counts what is committed.
func (s *Store) Stats(ctx context.Context) (Stats, error) { return s.catalog.stats(ctx) }
