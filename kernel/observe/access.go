package observe

import (
	"io/fs"
	"maps"
	"os"
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
	// KernelPID is the process whose own environment reads and start are known otherwise.
	KernelPID int
}

// Access is what a cell did, each list sorted and without repeats. Paths are
// absolute, and no component of them but the last is a link: each link on the
// way is in Stat. What the cell wrote before it read it is an output only.
type Access struct {
	Read    []string // contents that came from before the cell
	Missing []string // looked for and absent
	Stat    []string // looked at, there, and neither read nor listed by the look itself
	Listed  []string
	Written []string // written, created, renamed to, chmodded; there at the end, so far as the records tell
	Deleted []string // gone at the end
	Moved   []string // renamed, by the old and by the new name: what lies below moved along
	Torn    []string // opened twice and changed in between, not by the cell
	Special []string // devices and pipes that were opened
	Connect []string // outside of the process tree
	Escaped []string // calls after which paths may mean something else
	Env     []string // variables that native code and child processes read; "*" stands for all
	Facts   []string // of the machine that were asked for, see [Fact]

	Programs  []string // files that were run, and the interpreters of scripts; as named, links and all
	Searched  []string // files that were to be run and are not there
	Unseen    []string // programs that ran without being observed, with the reason
	Started   []int    // processes
	Unsettled []int    // those of them that have not said yet whether they are observed

	Opened map[string]Ident // the files of Read as they were when they were first opened
	Lost   bool             // records are missing: the lists are not complete
}

// Summarize folds records, in the order of their Seq, into what was accessed.
// Lost is left to the caller, who has it from [Ring.Read]; it is set here only
// if a whole folder was walked that has too much in it.
func Summarize(records []Record, opt Options) Access {
	s := newSummary(opt)
	for _, r := range slices.SortedFunc(slices.Values(records), bySeq) {
		if !s.programs.add(r) && !s.peers.add(r) {
			s.add(r)
		}
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

func (s set) has(name string) bool {
	_, ok := s[name]
	return ok
}

type summary struct {
	opt      Options
	library  []string // of opt, and the same without links
	links    *links
	programs *programs
	peers    *peers

	read, missing, stat, listed, written, deleted, moved, torn, special, escaped, facts set

	made   set // paths whose state is the cell's own doing
	opened map[string]Ident
	lost   bool
}

func newSummary(opt Options) *summary {
	s := &summary{opt: opt, links: newLinks(), programs: newPrograms(opt.KernelPID), peers: newPeers(opt.IgnoreConnect),
		read: set{}, missing: set{}, stat: set{}, listed: set{}, written: set{}, deleted: set{}, moved: set{}, torn: set{},
		special: set{}, escaped: set{}, facts: set{}, made: set{}, opened: map[string]Ident{}}
	for _, folder := range opt.Library {
		s.library = append(s.library, folder)
		if real := s.links.follow(folder).path; real != folder {
			s.library = append(s.library, real)
		}
	}
	return s
}

func (s *summary) access() Access {
	a := Access{Read: s.read.sorted(), Missing: s.missing.sorted(), Stat: s.stat.sorted(), Listed: s.listed.sorted(),
		Written: s.written.sorted(), Deleted: s.deleted.sorted(), Moved: s.moved.sorted(), Torn: s.torn.sorted(),
		Special: s.special.sorted(), Escaped: s.escaped.sorted(), Facts: s.facts.sorted(), Connect: s.peers.outside(), Opened: s.opened, Lost: s.lost}
	s.programs.into(&a)
	return a
}

func (s *summary) add(r Record) {
	if r.Op == OpEscape {
		s.escaped[r.Path] = struct{}{}
		return
	}
	fact := factOf(filepath.Clean(r.Path))
	if r.Op == OpFact {
		fact = r.Path
	}
	if fact != "" && !s.programs.sizing(r.PID) {
		s.facts[fact] = struct{}{}
	}
	if r.Op == OpFact {
		return
	}
	if s.ignored(filepath.Clean(r.Path)) && r.Op != OpRename && r.Op != OpLink {
		return
	}
	path := s.resolve(r)
	if r.Errno != 0 {
		s.failed(r, path)
		return
	}
	switch r.Op {
	case OpOpen:
		s.open(r, path)
	case OpStat, OpAccess, OpReadlink:
		s.look(path)
	case OpList:
		s.list(path, r.Flags&FlagSubtree != 0)
	case OpMkdir, OpSymlink:
		s.enter(path)
		s.input(s.missing, path) // it could only be made because it was absent
		s.write(path)
	case OpTruncate, OpChmod, OpUtime:
		s.input(s.read, path)
		s.write(path)
	case OpUnlink, OpRmdir:
		s.input(s.stat, path)
		if r.Op == OpRmdir { // it had to be empty
			s.input(s.listed, path)
		}
		s.remove(path)
	case OpRename:
		to := s.links.parent(r.Path2).path
		s.input(s.read, path)
		s.enter(to)
		if info, err := os.Lstat(to); err == nil && info.IsDir() { // what lay there had to be empty
			s.input(s.listed, to)
		}
		s.rename(path, to)
		if r.Flags&unix.RENAME_EXCHANGE != 0 {
			s.input(s.read, to)
			s.write(path)
		}
	case OpLink:
		s.input(s.read, path)
		s.enter(s.links.parent(r.Path2).path)
		s.write(s.links.parent(r.Path2).path)
	}
}

// resolve follows the links of a record's path, the last one too if the
// operation does, and notes those that were passed.
func (s *summary) resolve(r Record) string {
	found := s.links.parent(r.Path)
	switch r.Op {
	case OpOpen, OpTruncate, OpChmod, OpUtime, OpList:
		if r.Flags&unix.O_NOFOLLOW == 0 {
			found = s.links.follow(r.Path)
		}
	case OpReadlink:
		if r.Flags&FlagChain != 0 {
			found = s.links.follow(r.Path)
		}
	}
	if !s.ignored(found.path) && !under(found.path, s.library...) {
		for _, link := range found.passed {
			s.look(link)
		}
	}
	return found.path
}

func (s *summary) failed(r Record, path string) {
	switch r.Errno {
	case unix.ENOENT, unix.ENOTDIR:
		s.input(s.missing, path)
		switch {
		case r.Op == OpMkdir, r.Op == OpSymlink, r.Op == OpOpen && r.Flags&unix.O_CREAT != 0:
			s.enter(path)
		case r.Op == OpRename, r.Op == OpLink:
			s.enter(s.links.parent(r.Path2).path)
		}
	case unix.EBADF, unix.EFAULT, unix.EINTR:
	case unix.ENOTEMPTY:
		s.input(s.stat, path)
		if r.Op == OpRename {
			path = s.links.parent(r.Path2).path
		}
		s.input(s.listed, path)
	default: // it is there, or may be: the answer depends on it
		s.input(s.stat, path)
	}
}

func (s *summary) open(r Record, path string) {
	flags := int(r.Flags &^ ourFlags)
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		return // has no name
	}
	mode := flags & unix.O_ACCMODE
	switch {
	case r.Flags&FlagSpecial != 0:
		s.input(s.special, path)
		return
	case flags&unix.O_PATH != 0 || mode == unix.O_RDONLY && flags&unix.O_DIRECTORY != 0:
		s.look(path)
		return
	case mode == unix.O_RDONLY && flags&(unix.O_TRUNC|unix.O_CREAT) == 0:
		s.contents(path, r.Ident)
		return
	}
	existed := flags&unix.O_CREAT == 0 || r.Flags&FlagExisted != 0
	switch {
	case flags&unix.O_TRUNC != 0: // what was there does not matter
	case existed:
		s.contents(path, r.Ident) // the rest of the file stays, or is read
	default:
		s.input(s.missing, path)
	}
	if mode != unix.O_RDONLY || flags&unix.O_TRUNC != 0 || !existed {
		s.enter(path)
		s.write(path)
	}
}

// contents notes that what lies at path was read, and what it was then.
func (s *summary) contents(path string, now Ident) {
	if !s.counts(path) {
		return
	}
	s.read[path] = struct{}{}
	if was, ok := s.opened[path]; ok && now != was && now != (Ident{}) && was != (Ident{}) {
		s.torn[path] = struct{}{}
	} else if !ok {
		s.opened[path] = now
	}
}

// look notes that path was asked about: not if it only leads to where everything is.
func (s *summary) look(path string) {
	if !above(path, s.opt.Volume) && !above(path, s.library...) {
		s.input(s.stat, path)
	}
}

// enter notes that something was to be made at path, in a folder of the
// notebook's that has to be there.
func (s *summary) enter(path string) {
	if folder := filepath.Dir(path); under(folder, s.opt.Volume) {
		s.look(folder)
	}
}

// list notes a listing, and with below one of each folder in it and a look at all that these hold.
func (s *summary) list(path string, below bool) {
	s.input(s.listed, path)
	if !below {
		return
	}
	const most = 50_000
	n := 0
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if n++; n > most {
			s.lost = true
			return fs.SkipAll
		}
		if d != nil && d.IsDir() {
			s.input(s.listed, p)
		} else {
			s.input(s.stat, p)
		}
		return nil // what cannot be read was not read by the cell either
	})
}

func (s *summary) ignored(path string) bool { return s.opt.Ignore != nil && s.opt.Ignore(path) }

// counts reports whether what is at path came from before the cell and matters.
func (s *summary) counts(path string) bool {
	return !s.ignored(path) && !s.made.has(path) && !under(path, s.library...)
}

// input puts path into to unless its state is the cell's own doing.
func (s *summary) input(to set, path string) {
	if s.counts(path) {
		to[path] = struct{}{}
	}
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
	s.links.forget()
	if !s.ignored(from) || !s.ignored(to) {
		s.moved[from], s.moved[to] = struct{}{}, struct{}{}
	}
}
