// Package snapshotter keeps snapshots on the local disk: content-addressed
// blobs in append-only segment files, and a SQLite catalog of blobs, traces,
// snapshots and memos. Several processes may use one store at once. FORMAT.md
// describes what is on the disk.
package snapshotter

import (
	"context"
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
	formatVersion = 1
	versionFile   = "VERSION"
	lockFile      = "lock"
	catalogFile   = "catalog.db"
	segmentFolder = "segments"
)

// Config says where a store is and what it uses.
type Config struct {
	Dir    string           // DefaultDir() if empty
	Logger *slog.Logger     // silent if nil
	Now    func() time.Time // time.Now if nil
}

// Store is one handle on a store. Its methods may be called from any goroutine.
type Store struct {
	dir     string
	log     *slog.Logger
	now     func() time.Time
	catalog *catalog

	mu      sync.Mutex // guards what follows
	closed  bool
	segment segmentWriter
	pending pending
	unowned int64 // bytes of extents committed since the last trace
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
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", cfg.Dir, err)
	}
	c, err := prepare(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := &Store{dir: dir, log: cfg.Logger, now: cfg.Now, catalog: c, pending: newPending()}
	s.segment = segmentWriter{folder: filepath.Join(dir, segmentFolder), limit: segmentBytes}
	s.log.Debug("store opened", "dir", dir)
	return s, nil
}

// prepare makes the folder a store of this format, one process at a time.
func prepare(ctx context.Context, dir string) (*catalog, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, writeError(err)
	}
	if err := checkFileSystem(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, writeError(err)
	}
	defer lock.Close()
	if err := lockFileExclusive(ctx, lock); err != nil {
		return nil, err
	}
	if err := checkVersion(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, segmentFolder), 0o700); err != nil {
		return nil, writeError(err)
	}
	return openCatalog(ctx, filepath.Join(dir, catalogFile))
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
func checkVersion(dir string) error {
	path := filepath.Join(dir, versionFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeVersion(path)
	}
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return fmt.Errorf("%s is not a version: %w", path, ErrCorrupt)
	}
	if n > formatVersion {
		return fmt.Errorf("format %d, this kedge knows %d; %w; get a newer kedge",
			n, formatVersion, ErrNewerFormat)
	}
	return nil
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

// checkFileSystem refuses file systems on which SQLite's WAL does not work.
func checkFileSystem(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("%w: it is mounted read-only", ErrReadOnly)
	}
	if name := networkFileSystem(uint32(st.Type)); name != "" {
		return fmt.Errorf("%s is on %s: %w", dir, name, ErrNetworkFS)
	}
	return nil
}

// networkFileSystem names the network file system with that statfs magic, or "".
func networkFileSystem(magic uint32) string {
	switch magic {
	case 0x6969:
		return "NFS"
	case 0x517b, 0xff534d42, 0xfe534d42:
		return "SMB"
	case 0x5346414f, 0x6b414653:
		return "AFS"
	case 0x73757245:
		return "Coda"
	case 0x00c36400:
		return "Ceph"
	case 0x0bd00bd0:
		return "Lustre"
	}
	return ""
}

// Close releases the handle. Blobs that were not flushed are forgotten. It may
// be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.pending = newPending()
	return errors.Join(s.segment.close(), s.catalog.close())
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
	if len(s.pending.extents) > 0 {
		if err := s.segment.sync(); err != nil {
			return err
		}
	}
	fresh, err := s.catalog.commit(ctx, &s.pending, rec, s.unowned)
	if err != nil {
		return err
	}
	s.pending = newPending()
	s.unowned += fresh
	if rec != nil {
		s.unowned = 0
	}
	return nil
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
	return s.catalog.putMemo(ctx, kind, key, value)
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
