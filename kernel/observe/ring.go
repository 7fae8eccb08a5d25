package observe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout shared with preload/ring.c; change version with it.
const (
	magic       = 0x315642534f47444b
	version     = 3
	capacity    = 64 << 20
	dataOffset  = 4096
	atHead      = 64
	atTail      = 128
	atDropped   = 192
	atCell      = 256
	atEpoch     = 320
	recordBytes = 72
	padBit      = 1 << 63
	commitWait  = 200 * time.Millisecond
)

// ErrClosed is returned by a Ring that was closed.
var ErrClosed = errors.New("observation ring is closed")

// Op says what a record's process did.
type Op string

// The operations that are recorded.
const (
	OpHello    Op = "hello" // the library was loaded; Path is the program
	OpOpen     Op = "open"
	OpStat     Op = "stat"
	OpAccess   Op = "access"
	OpList     Op = "list"
	OpReadlink Op = "readlink"
	OpMkdir    Op = "mkdir"
	OpRename   Op = "rename" // from Path to Path2
	OpUnlink   Op = "unlink"
	OpRmdir    Op = "rmdir"
	OpLink     Op = "link" // Path2 is the new name
	OpSymlink  Op = "symlink"
	OpTruncate Op = "truncate"
	OpChmod    Op = "chmod"
	OpUtime    Op = "utime"
	OpConnect  Op = "connect" // Path is unix:…, inet:…, inet6:…, name:… or other
	OpBind     Op = "bind"    // Path as of OpConnect
	OpAccept   Op = "accept"  // Path is our end
	OpExec     Op = "exec"    // with Errno 0 it is about to happen, or a child did it; Flags is a Blocked
	OpGetenv   Op = "getenv"  // Path is the variable
	OpSetenv   Op = "setenv"  // Path is the variable
	OpEscape   Op = "escape"  // Path is what was called: paths may mean something else from here on
	OpFork     Op = "fork"    // by the new process
	OpFact     Op = "fact"    // Path is one of the facts of a machine
)

// Blocked says why a program cannot be observed; 0 if it can.
type Blocked uint32

// The library recognises these before it lets them start, and leaves itself
// out of their environment.
const (
	BlockedStatic Blocked = 1 + iota
	BlockedGo
	BlockedMusl
	BlockedForeign
	BlockedSetuid
	BlockedSanitizer
)

func (b Blocked) String() string {
	reasons := [...]string{"", "a static program", "a Go program", "linked to musl", "made for another processor",
		"setuid", "built with a sanitizer"}
	if int(b) < len(reasons) {
		return reasons[b]
	}
	return "of an unknown kind"
}

func opOf(n uint32) (Op, bool) {
	ops := [...]Op{1: OpHello, OpOpen, OpStat, OpAccess, OpList, OpReadlink, OpMkdir, OpRename, OpUnlink,
		OpRmdir, OpLink, OpSymlink, OpTruncate, OpChmod, OpUtime, OpConnect, OpBind, OpAccept, OpExec, OpGetenv,
		OpSetenv, OpEscape, OpFork, OpFact}
	if n == 0 || n >= uint32(len(ops)) {
		return "", false
	}
	return ops[n], true
}

// Bits of a record's Flags beside O_*.
const (
	FlagExisted = 1 << 31 // of an OpOpen with O_CREAT: the file was there before
	FlagSpecial = 1 << 30 // of an OpOpen: neither a regular file nor a folder
	FlagSubtree = 1 << 29 // of an OpList: everything below, too
	FlagChain   = 1 << 28 // of an OpReadlink: every link on the way
	ourFlags    = FlagExisted | FlagSpecial | FlagSubtree | FlagChain
)

// Ident is what a regular file was when it was opened; zero if that is not known.
type Ident struct {
	Inode uint64
	Size  int64
	MTime int64 // nanoseconds
}

// Record is one access. Paths are absolute, not resolved.
type Record struct {
	Seq      uint64 // total order; not dense
	PID, TID int
	Cell     uint64
	Op       Op
	Errno    unix.Errno // 0 for success
	Flags    uint32     // O_* of an open, RENAME_* of a rename, and our bits
	Child    int        // of an OpExec: the process that became the program; 0 for PID
	Ident    Ident      // of an OpOpen
	Path     string
	Path2    string
}

// Ring is the memory that observed processes write to. Its methods may be
// called from any goroutine.
type Ring struct {
	path string
	mu   sync.Mutex
	mem  []byte // nil once closed
}

// Create makes a ring in a new file in dir, best on tmpfs (/dev/shm).
func Create(dir string) (*Ring, error) { return create(dir, capacity) }

func create(dir string, size int) (*Ring, error) {
	f, err := os.CreateTemp(dir, "kedge-observe-*.ring")
	if err != nil {
		return nil, fmt.Errorf("create ring: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(int64(dataOffset + size)); err != nil {
		return nil, errors.Join(fmt.Errorf("size ring: %w", err), os.Remove(f.Name()))
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, dataOffset+size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map ring: %w", err), os.Remove(f.Name()))
	}
	path, err := filepath.Abs(f.Name())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ring path: %w", err), unix.Munmap(mem), os.Remove(f.Name()))
	}
	binary.NativeEndian.PutUint64(mem[8:], version)
	binary.NativeEndian.PutUint64(mem[16:], uint64(size))
	binary.NativeEndian.PutUint64(mem, magic)
	return &Ring{path: path, mem: mem}, nil
}

func (r *Ring) word(at uint64) *uint64 { return (*uint64)(unsafe.Pointer(&r.mem[at])) }

// Env returns environ (as of [os.Environ]) with what makes a program started
// with it load library and write to r. A preload of the user's own stays, after ours.
func (r *Ring) Env(library string, environ []string) []string {
	preload := "LD_PRELOAD=" + library
	env := make([]string, 0, len(environ)+2)
	for _, e := range environ {
		if own, ok := strings.CutPrefix(e, "LD_PRELOAD="); ok {
			if own != "" {
				preload += ":" + own
			}
			continue
		}
		if !strings.HasPrefix(e, "KEDGE_OBSERVE_RING=") {
			env = append(env, e)
		}
	}
	return append(env, preload, "KEDGE_OBSERVE_RING="+r.path)
}

// Mark says that records from now on belong to cell; 0 is "between cells".
func (r *Ring) Mark(cell uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		return
	}
	atomic.StoreUint64(r.word(atCell), cell)
	atomic.AddUint64(r.word(atEpoch), 1)
}

// Read returns the records since the last Read. lost says that some are
// missing, so that nothing may be concluded from an absence. It waits at most
// a moment for a record being written.
func (r *Ring) Read() (records []Record, lost bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		return nil, false, ErrClosed
	}
	// The caches of the writers are forgotten first: what they leave out from here on is in this Read.
	atomic.AddUint64(r.word(atEpoch), 1)
	head := atomic.LoadUint64(r.word(atHead))
	tail := atomic.LoadUint64(r.word(atTail))
	size := uint64(len(r.mem) - dataOffset)
	if head < tail || head-tail > size || head%8 != 0 {
		return nil, true, fmt.Errorf("observation ring is damaged: head %d, tail %d", head, tail)
	}
	start, deadline := tail, time.Now().Add(commitWait)
	for tail < head {
		pos := dataOffset + tail%size
		left := size - tail%size
		commit := atomic.LoadUint64(r.word(pos))
		if commit == (tail+1)|padBit {
			tail += left
			continue
		}
		if commit != tail+1 {
			if time.Now().Before(deadline) {
				time.Sleep(50 * time.Microsecond)
				continue
			}
			lost, tail = true, head // its writer died; where the next one starts is unknown
			break
		}
		rec, n, ok := decode(r.mem[pos:pos+min(left, head-tail)], tail)
		if !ok {
			lost, tail = true, head
			break
		}
		records = append(records, rec)
		tail += n
	}
	tail = min(tail, head)
	r.wipe(start, tail, size)
	atomic.StoreUint64(r.word(atTail), tail)
	if atomic.SwapUint64(r.word(atDropped), 0) > 0 {
		lost = true
	}
	return records, lost, nil
}

// wipe zeroes the ring between two logical offsets, so that no old commit word is left.
func (r *Ring) wipe(from, to, size uint64) {
	data := r.mem[dataOffset:]
	for from < to {
		n := min(to-from, size-from%size)
		clear(data[from%size : from%size+n])
		from += n
	}
}

func decode(b []byte, seq uint64) (Record, uint64, bool) {
	if len(b) < recordBytes {
		return Record{}, 0, false
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
	n, n1, n2 := int(u32(8)), int(binary.NativeEndian.Uint16(b[40:])), int(binary.NativeEndian.Uint16(b[42:]))
	op, ok := opOf(u32(12))
	if !ok || n > len(b) || n%8 != 0 || recordBytes+n1+n2 > n {
		return Record{}, 0, false
	}
	return Record{
		Seq: seq, Op: op, Errno: unix.Errno(u32(16)), Flags: u32(20), PID: int(u32(24)), TID: int(u32(28)),
		Cell: u64(32), Child: int(u32(44)), Ident: Ident{u64(48), int64(u64(56)), int64(u64(64))},
		Path: string(b[recordBytes : recordBytes+n1]), Path2: string(b[recordBytes+n1 : recordBytes+n1+n2]),
	}, uint64(n), true
}

// Reset forgets what has been recorded and not read.
func (r *Ring) Reset() error {
	_, _, err := r.Read()
	return err
}

// Close removes the ring. Processes that still write to it do no harm. It may be called again.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(r.mem), os.Remove(r.path))
	r.mem = nil
	return err
}
