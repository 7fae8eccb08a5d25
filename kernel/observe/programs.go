package observe

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// programs follows which processes ran what, and whether the library was in
// each: every run must be followed by a HELLO of its process.
type programs struct {
	kernel int
	procs  map[int]*proc
	order  []int
	files  []string
	absent set
	env    set
	unseen []string
}

type proc struct {
	runs   []string // programs that it became, in order
	hellos int
	forked bool   // by the kernel's own code or by another program, which goes on in it
	set    set    // variables that it changed
	is     string // the program that it has become
}

func newPrograms(kernel int) *programs {
	return &programs{kernel: kernel, procs: map[int]*proc{}, absent: set{}, env: set{}}
}

func (p *programs) proc(pid int) *proc {
	if p.procs[pid] == nil {
		p.procs[pid] = &proc{set: set{}}
		p.order = append(p.order, pid)
	}
	return p.procs[pid]
}

// add takes a record, and reports false if it is about something else.
func (p *programs) add(r Record) bool {
	this := p.proc(r.PID)
	switch r.Op {
	case OpHello:
		this.hellos++
		this.is = r.Path
		if r.PID != p.kernel {
			p.start(r.Path)
		}
	case OpFork:
		this.forked = true
	case OpExec:
		p.exec(r, this)
	case OpGetenv:
		if !this.set.has(r.Path) && !this.set.has("*") {
			p.env[r.Path] = struct{}{}
		}
	case OpSetenv:
		this.set[r.Path] = struct{}{}
	default:
		return false
	}
	return true
}

func (p *programs) exec(r Record, by *proc) {
	path := filepath.Clean(r.Path)
	if r.Errno != 0 {
		if n := len(by.runs); n > 0 && by.runs[n-1] == path && by.hellos < n {
			by.runs = by.runs[:n-1] // announced, and did not happen
			p.files = slices.DeleteFunc(p.files, func(f string) bool { return f == path })
		}
		if r.Errno == unix.ENOENT || r.Errno == unix.ENOTDIR {
			p.absent[path] = struct{}{}
		} else {
			p.files = append(p.files, path)
		}
		return
	}
	if r.Child != 0 {
		by = p.proc(r.Child)
	}
	by.runs = append(by.runs, path)
	if r.Flags != 0 {
		p.unseen = append(p.unseen, fmt.Sprintf("%s (%s)", filepath.Base(path), Blocked(r.Flags)))
		by.hellos++ // none is expected
	}
	p.start(path)
}

func (p *programs) start(path string) {
	p.files = append(p.files, path)
	if !readsByName(path) {
		p.env["*"] = struct{}{}
	}
}

func (p *programs) into(a *Access) {
	for _, pid := range p.order {
		this := p.procs[pid]
		if pid != p.kernel {
			a.Started = append(a.Started, pid)
		}
		if this.forked && len(this.runs) == 0 {
			p.env["*"] = struct{}{} // what it read in its copy of os.environ is not known
		}
		if this.hellos < len(this.runs) {
			p.unseen = append(p.unseen, filepath.Base(this.runs[this.hellos])+" (it runs without the observing library)")
			a.Unsettled = append(a.Unsettled, pid)
		}
	}
	files := set{}
	for _, f := range p.files {
		files[f] = struct{}{}
	}
	a.Programs, a.Searched, a.Unseen = files.sorted(), p.absent.sorted(), p.unseen
	a.Env = slices.DeleteFunc(slices.Sorted(maps.Keys(p.env)), func(name string) bool { return p.env.has("*") && name != "*" })
}

// sizing reports whether a process only tells libraries what there is on the
// machine, so that who it asks about is of no account.
func (p *programs) sizing(pid int) bool {
	return p.procs[pid] != nil && MachineProgram(p.procs[pid].is) && filepath.Base(p.procs[pid].is) != "uname"
}

// readsByName reports whether a program asks for single variables only, by
// getenv, and passes the rest on untouched. It is a reviewed list; shells and
// interpreters take in the whole environment, and so may what is not known.
func readsByName(path string) bool {
	switch filepath.Base(path) {
	case "cat", "cp", "mv", "rm", "ls", "mkdir", "rmdir", "ln", "touch", "chmod", "chown", "stat", "head", "tail", "wc",
		"sort", "uniq", "cut", "tr", "tee", "echo", "printf", "true", "false", "test", "[", "sleep", "date", "seq", "du", "df",
		"find", "grep", "egrep", "fgrep", "sed", "diff", "cmp", "file", "tar", "gzip", "gunzip", "zcat", "bzip2", "xz",
		"zip", "unzip", "md5sum", "sha1sum", "sha256sum", "base64", "od", "xxd", "basename", "dirname", "realpath",
		"readlink", "mktemp", "uname", "hostname", "whoami", "id", "nproc", "pwd", "tree", "sqlite3", "lscpu", "ldconfig",
		"fc-list", "which":
		return true
	}
	return strings.HasPrefix(path, "/proc/")
}
