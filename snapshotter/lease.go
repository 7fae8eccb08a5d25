package snapshotter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

const (
	leaseFolder = "leases"
	leaseExt    = ".lease"
	gateFile    = "gate"
	turnFile    = "turn"
	holdBytes   = 1 + 32 // a hold: its kind and what it is on
)

// hold is something that a live handle relies on, so that gc may not take it away.
type hold struct {
	kind byte // one of the kinds below
	id   cellgraph.Digest
}

const (
	holdCode     = 'c' // all traces of a cell's code
	holdBlob     = 'b'
	holdExtent   = 'x'
	holdSnapshot = 's'
	holdSegment  = 'f' // the file: id is the digest of its name
)

func segmentHold(name string) hold { return hold{holdSegment, cellgraph.Sum([]byte(name))} }

// Holder is a process that has the store open.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Opened  time.Time `json:"opened"`
}

// gate is a flock(2) that everyone shares who looks something up and holds it,
// and that gc has alone while it decides what nobody holds. Shared use may
// nest. Who waits to have it alone holds the turn, so that nobody else comes in.
type gate struct {
	mu         sync.Mutex
	file, turn *os.File
	users      int
}

func openGate(dir string) (*gate, error) {
	file, err := os.OpenFile(filepath.Join(dir, gateFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, writeError(err)
	}
	turn, err := os.OpenFile(filepath.Join(dir, turnFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(writeError(err), file.Close())
	}
	return &gate{file: file, turn: turn}, nil
}

func (g *gate) close() error { return errors.Join(g.file.Close(), g.turn.Close()) }

// share waits until no gc decides. It takes some microseconds, as a rule.
func (g *gate) share() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users == 0 {
		if err := lockShared(g.turn); err != nil {
			return err
		}
		err := lockShared(g.file)
		if err = errors.Join(err, unlock(g.turn)); err != nil {
			return err
		}
	}
	g.users++
	return nil
}

func lockShared(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.users == 0 {
		_ = unix.Flock(int(g.file.Fd()), unix.LOCK_UN) // cannot fail on a file that is locked
	}
}

// lease is what one handle holds, in a file that is locked for as long as the
// process lives, however it ends.
type lease struct {
	mu   sync.Mutex
	gate *gate
	file *os.File
	held map[hold]bool
}

func openLease(dir string, now time.Time) (*lease, error) {
	folder := filepath.Join(dir, leaseFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, writeError(err)
	}
	g, err := openGate(dir)
	if err != nil {
		return nil, err
	}
	l := &lease{gate: g, held: map[hold]bool{}}
	if err := l.create(folder, now); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return l, nil
}

func (l *lease) create(folder string, now time.Time) error {
	head, err := json.Marshal(Holder{PID: os.Getpid(), Command: commandLine(), Opened: now.UTC()})
	if err != nil {
		return err
	}
	if err := l.gate.share(); err != nil { // else gc would take the file for that of a dead process
		return err
	}
	defer l.gate.leave()
	path := filepath.Join(folder, uuid.NewString()+leaseExt)
	if l.file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return writeError(err)
	}
	if err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("lock lease: %w", err), l.file.Close(), os.Remove(path))
	}
	if _, err := l.file.Write(append(head, '\n')); err != nil {
		return errors.Join(writeError(err), l.file.Close(), os.Remove(path))
	}
	return nil
}

// commandLine is how this process was called, for people.
func commandLine() string {
	words := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	line := strings.Join(words, " ")
	return line[:min(len(line), 200)]
}

// during holds things and calls do, which looks them up, before gc can decide
// about them: what do finds stays until the handle is closed.
func (l *lease) during(do func() error, holds ...hold) error {
	if err := l.gate.share(); err != nil {
		return err
	}
	defer l.gate.leave()
	if err := l.add(holds...); err != nil {
		return err
	}
	return do()
}

// add holds things. The caller shares the gate.
func (l *lease) add(holds ...hold) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var text []byte
	for _, h := range holds {
		if !l.held[h] {
			text = append(append(text, h.kind), h.id[:]...)
		}
	}
	if len(text) == 0 {
		return nil
	}
	if n, err := l.file.Write(text); err != nil {
		if n%holdBytes != 0 { // a torn record would shift those after it
			info, statErr := l.file.Stat()
			if statErr == nil {
				statErr = l.file.Truncate(info.Size() - int64(n%holdBytes))
			}
			err = errors.Join(err, statErr)
		}
		return fmt.Errorf("write lease: %w", err)
	}
	for _, h := range holds {
		l.held[h] = true
	}
	return nil
}

func (l *lease) close() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close(), l.gate.close())
}

// leases is what all live handles hold.
type leases struct {
	holders []Holder
	held    map[hold]bool
}

func (l leases) has(kind byte, id cellgraph.Digest) bool { return l.held[hold{kind, id}] }

func (l leases) segment(name string) bool { return l.held[segmentHold(name)] }

// readLeases reads the leases of live processes and removes those of dead ones.
// The caller has the gate alone: a lease that is being made is not locked yet,
// and would be taken for that of a dead process.
func readLeases(dir string) (leases, error) {
	all := leases{held: map[hold]bool{}}
	folder := filepath.Join(dir, leaseFolder)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != leaseExt {
			continue
		}
		path := filepath.Join(folder, e.Name())
		alive, err := leaseAlive(path)
		if err != nil {
			return all, err
		}
		if !alive {
			continue
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return all, err
		}
		all.add(data)
	}
	return all, nil
}

func (l *leases) add(data []byte) {
	head, rest, _ := bytes.Cut(data, []byte("\n"))
	var who Holder
	if json.Unmarshal(head, &who) == nil { // else it is being made, and holds nothing yet
		l.holders = append(l.holders, who)
	}
	for ; len(rest) >= holdBytes; rest = rest[holdBytes:] {
		l.held[hold{rest[0], cellgraph.Digest(rest[1:holdBytes])}] = true
	}
}

// leaseAlive tells by its lock whether the process of a lease lives; the file
// of one that does not is removed.
func leaseAlive(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("lock lease: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return false, nil
}

// alone waits for the gate and has it until release is called.
func alone(ctx context.Context, dir string) (release func() error, err error) {
	g, err := openGate(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range []*os.File{g.turn, g.file} {
		if err := lockFileExclusive(ctx, f); err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
	return func() error { return errors.Join(unlock(g.file), unlock(g.turn), g.close()) }, nil
}

// unlock gives a lock back that a child of ours, between fork and exec, would
// else keep for a moment.
func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// aloneWith is alone, with the leases as they are until release is called.
func aloneWith(ctx context.Context, dir string) (all leases, release func() error, err error) {
	if release, err = alone(ctx, dir); err != nil {
		return leases{}, nil, err
	}
	if all, err = readLeases(dir); err != nil {
		return leases{}, nil, errors.Join(err, release())
	}
	return all, release, nil
}

// leasesOf is readLeases for who does not have the gate.
func leasesOf(ctx context.Context, dir string) (leases, error) {
	all, release, err := aloneWith(ctx, dir)
	if err != nil {
		return leases{}, err
	}
	return all, release()
}

// Holders are the processes that have the store in dir open.
func Holders(dir string) ([]Holder, error) {
	all, err := leasesOf(context.Background(), dir)
	return all.holders, err
}
