package observe

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Options of [Summarize].
type Options struct {
	// Volume, if set, is the folder the notebook works in: looking at it or at
	// a folder above it (as resolving any path does) is no observation.
	Volume string
	// Ignore, if set, says of an absolute path that it is no observation.
	Ignore func(path string) bool
	// Library are the folders that the interpreter and its packages are
	// installed in: what is read there follows from the packages' versions. A
	// look at a folder above them is no observation either; a write is one.
	Library []string
	// IgnoreConnect, if set, says of a peer ("unix:/path") that it is the kernel's own.
	IgnoreConnect func(peer string) bool
	// KernelPID, if set, makes the start of any other process count in Exec,
	// even if what started it was not recorded.
	KernelPID int
}

// Access is what a cell did, each list sorted and without repeats. Paths are
// absolute and clean; links are not resolved. What the cell wrote before it
// read it is an output only.
type Access struct {
	Read    []string // contents that came from before the cell
	Missing []string // looked for and absent
	Stat    []string // looked at, there, and neither read nor listed by the look itself
	Listed  []string
	Written []string // written, created, renamed to, chmodded; there at the end, so far as the records tell
	Deleted []string // gone at the end
	Exec    []string
	Connect []string
	Lost    bool // records are missing: the lists are not complete
}

// Summarize folds records, in the order of their Seq, into what was accessed.
// Lost is left false: the caller has it from [Ring.Read].
func Summarize(records []Record, opt Options) Access {
	s := newSummary(opt)
	for _, r := range slices.SortedFunc(slices.Values(records), bySeq) {
		s.add(r)
	}
	return s.access()
}

func bySeq(a, b Record) int {
	switch {
	case a.Seq < b.Seq:
		return -1
	case a.Seq > b.Seq:
		return 1
	}
	return 0
}

type set map[string]struct{}

func (s set) sorted() []string { return slices.Sorted(maps.Keys(s)) }

type summary struct {
	opt                                           Options
	read, missing, stat, listed, written, deleted set
	exec, connect                                 set
	made                                          set // paths whose state is the cell's own doing
}

func newSummary(opt Options) *summary {
	return &summary{opt, set{}, set{}, set{}, set{}, set{}, set{}, set{}, set{}, set{}}
}

func (s *summary) access() Access {
	return Access{Read: s.read.sorted(), Missing: s.missing.sorted(), Stat: s.stat.sorted(), Listed: s.listed.sorted(),
		Written: s.written.sorted(), Deleted: s.deleted.sorted(), Exec: s.exec.sorted(), Connect: s.connect.sorted()}
}

func (s *summary) add(r Record) {
	switch r.Op {
	case OpHello:
		if s.opt.KernelPID != 0 && r.PID != s.opt.KernelPID {
			s.exec[filepath.Clean(r.Path)] = struct{}{}
		}
		return
	case OpConnect:
		if s.opt.IgnoreConnect == nil || !s.opt.IgnoreConnect(r.Path) {
			s.connect[r.Path] = struct{}{}
		}
		return
	case OpExec:
		if r.Errno == 0 {
			s.exec[filepath.Clean(r.Path)] = struct{}{}
		} else {
			s.failed(r, filepath.Clean(r.Path))
		}
		return
	}
	path := filepath.Clean(r.Path)
	if r.Errno != 0 {
		s.failed(r, path)
		return
	}
	switch r.Op {
	case OpOpen:
		s.open(r, path)
	case OpStat, OpAccess, OpReadlink:
		if !above(path, s.opt.Volume) && !above(path, s.opt.Library...) {
			s.input(s.stat, path)
		}
	case OpList:
		s.input(s.listed, path)
	case OpMkdir, OpSymlink:
		s.input(s.missing, path) // it could only be made because it was absent
		s.write(path)
	case OpTruncate:
		s.input(s.read, path)
		s.write(path)
	case OpChmod, OpUtime:
		s.input(s.read, path)
		s.write(path)
	case OpUnlink, OpRmdir:
		s.input(s.stat, path)
		s.remove(path)
	case OpRename:
		to := filepath.Clean(r.Path2)
		s.input(s.read, path)
		s.rename(path, to)
		if r.Flags&unix.RENAME_EXCHANGE != 0 {
			s.write(path)
		}
	case OpLink:
		s.input(s.read, path)
		s.write(filepath.Clean(r.Path2))
	}
}

func (s *summary) failed(r Record, path string) {
	switch r.Errno {
	case unix.ENOENT, unix.ENOTDIR:
		s.input(s.missing, path)
	case unix.EBADF, unix.EFAULT, unix.EINTR:
	default: // it is there, or may be: the answer depends on it
		s.input(s.stat, path)
	}
}

func (s *summary) open(r Record, path string) {
	flags := int(r.Flags &^ FlagExisted)
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		return // has no name
	}
	mode := flags & unix.O_ACCMODE
	if flags&unix.O_PATH != 0 || (mode == unix.O_RDONLY && flags&unix.O_DIRECTORY != 0) {
		s.input(s.stat, path)
		return
	}
	if mode == unix.O_RDONLY && flags&(unix.O_TRUNC|unix.O_CREAT) == 0 {
		s.input(s.read, path)
		return
	}
	existed := flags&unix.O_CREAT == 0 || r.Flags&FlagExisted != 0
	switch {
	case flags&unix.O_TRUNC != 0: // what was there does not matter
	case existed:
		s.input(s.read, path) // the rest of the file stays, or is read
	default:
		s.input(s.missing, path)
	}
	if mode != unix.O_RDONLY || flags&unix.O_TRUNC != 0 || !existed {
		s.write(path)
	}
}

func (s *summary) ignored(path string) bool { return s.opt.Ignore != nil && s.opt.Ignore(path) }

// input puts path into to unless its state is the cell's own doing.
func (s *summary) input(to set, path string) {
	if s.ignored(path) || s.isMade(path) || under(path, s.opt.Library...) {
		return
	}
	to[path] = struct{}{}
}

func (s *summary) isMade(path string) bool {
	_, ok := s.made[path]
	return ok
}

func (s *summary) write(path string) {
	if s.ignored(path) {
		return
	}
	s.made[path], s.written[path] = struct{}{}, struct{}{}
	delete(s.deleted, path)
}

func (s *summary) remove(path string) {
	if s.ignored(path) {
		return
	}
	s.made[path], s.deleted[path] = struct{}{}, struct{}{}
	delete(s.written, path)
}

// rename moves what the cell wrote below from along with it.
func (s *summary) rename(from, to string) {
	for path := range maps.Clone(s.written) {
		if rest, ok := strings.CutPrefix(path, from+"/"); ok {
			s.remove(path)
			s.write(to + "/" + rest)
		}
	}
	s.remove(from)
	s.write(to)
}
