package observe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a process that is alive. Two with the same PID and Start are one.
type Process struct {
	PID   int
	Start uint64 // clock ticks since boot
	Args  []string
}

// Adopt makes this process the new parent of those below it whose own parent
// ends, so that [Descendants] finds them. It holds until this process ends.
func Adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	return nil
}

// Descendants lists the processes below root, and those of started that this
// process has adopted, with all below them. Zombies are not alive; adopted ones are reaped.
func Descendants(root int, started []int) ([]Process, error) {
	below := childrenOf
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%[1]d/children", root)); err != nil {
		all, err := everyChild() // a kernel built without these files
		if err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		below = func(pid int) []child { return all[pid] }
	}
	me := os.Getpid()
	queue := below(root)
	for _, p := range below(me) {
		if p.PID != root && (slices.Contains(started, p.PID) || p.group == root) { // it may not have said yet that it is there
			queue = append(queue, p)
		}
	}
	var alive []Process
	for len(queue) > 0 {
		p := queue[0]
		queue = append(queue[1:], below(p.PID)...)
		if !p.zombie {
			alive = append(alive, Process{PID: p.PID, Start: p.Start, Args: arguments(p.PID)})
		} else if p.parent == me && p.PID != root {
			_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG, nil) // ours by adoption only: no one else waits
		}
	}
	return append(alive, overlooked(started, alive, me)...), nil
}

// overlooked are processes of started that live and that a walk has not met:
// the list of a process's children leaves some out while others of them end.
func overlooked(started []int, met []Process, me int) []Process {
	var more []Process
	for _, pid := range started {
		if slices.ContainsFunc(met, func(p Process) bool { return p.PID == pid }) {
			continue
		}
		p, ok := readStat(fmt.Sprintf("/proc/%d/stat", pid))
		if ok && !p.zombie && (p.parent == me || p.parent == 1) {
			more = append(more, Process{PID: pid, Start: p.Start, Args: arguments(pid)})
		}
	}
	return more
}

// Alive are those of pids that are alive, whoever their parent is; a number may have passed on to another process.
func Alive(pids []int) (alive []Process) {
	for _, pid := range pids {
		if p, ok := readStat(fmt.Sprintf("/proc/%d/stat", pid)); ok && !p.zombie {
			alive = append(alive, Process{PID: pid, Start: p.Start, Args: arguments(pid)})
		}
	}
	return alive
}

type child struct {
	PID, parent int
	group       int
	Start       uint64
	zombie      bool
}

// childrenOf lists the children of one process, those of all its threads.
func childrenOf(pid int) []child {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	var list []child
	for _, path := range threads {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended, and its children have another parent
		}
		for name := range strings.FieldsSeq(string(data)) {
			if c, ok := readStat("/proc/" + name + "/stat"); ok {
				list = append(list, c)
			}
		}
	}
	return list
}

// everyChild lists the children of all processes that are visible, by parent.
func everyChild() (map[int][]child, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	below := map[int][]child{}
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		if c, ok := readStat("/proc/" + name + "/stat"); ok {
			below[c.parent] = append(below[c.parent], c)
		}
	}
	return below, nil
}

// readStat reads one /proc/PID/stat; ok is false if the process is gone.
func readStat(path string) (c child, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, false
	}
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')') // the name may hold anything
	if open < 1 || end < 0 {
		return c, false
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 {
		return c, false
	}
	c.PID, _ = strconv.Atoi(strings.TrimSpace(string(data[:open])))
	c.parent, _ = strconv.Atoi(fields[1])
	c.group, _ = strconv.Atoi(fields[2])
	c.Start, err = strconv.ParseUint(fields[19], 10, 64)
	c.zombie = fields[0] == "Z" || fields[0] == "X"
	return c, err == nil
}

func arguments(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
}

// LibraryWorker reports whether a process is a helper that libraries keep for
// later: workers of joblib's loky and of multiprocessing, and what looks after
// their resources. Between calls they wait.
func (p Process) LibraryWorker() bool {
	line := strings.Join(p.Args, " ")
	for _, mark := range []string{"joblib.externals.loky.backend", "loky.backend", "multiprocessing.resource_tracker",
		"multiprocessing.forkserver", "--multiprocessing-fork"} {
		if strings.Contains(line, mark) {
			return true
		}
	}
	return false
}

// HeldFile is a regular file that a process has open or mapped.
type HeldFile struct {
	Path        string
	Read, Write bool
	Mapped      bool // writably and shared, so that a write leaves no trace in its times
}

// Held is what a process holds open.
type Held struct {
	Files   []HeldFile
	Sockets map[int]string // descriptor → "socket:[INODE]"
	URing   bool           // an io_uring, whose work no one sees
}

// Holds lists the regular files, sockets and rings that process pid has open,
// and the files that it has mapped other than as programs.
func Holds(pid int) (Held, error) {
	h := Held{Sockets: map[int]string{}}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return h, fmt.Errorf("list open files: %w", err)
	}
	files := map[string]HeldFile{}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed since
		}
		fd, _ := strconv.Atoi(e.Name())
		switch {
		case strings.HasPrefix(target, "socket:"):
			h.Sockets[fd] = target
		case target == "anon_inode:[io_uring]":
			h.URing = true
		case strings.HasPrefix(target, "/"):
			info, err := os.Stat(filepath.Join(dir, e.Name()))
			if err != nil || !info.Mode().IsRegular() || strings.HasSuffix(target, " (deleted)") {
				continue
			}
			f := files[target]
			read, write := openedFor(pid, e.Name())
			f.Path, f.Read, f.Write = target, f.Read || read, f.Write || write
			files[target] = f
		}
	}
	if err := addMaps(pid, files); err != nil {
		return h, err
	}
	for _, f := range files {
		h.Files = append(h.Files, f)
	}
	slices.SortFunc(h.Files, func(a, b HeldFile) int { return strings.Compare(a.Path, b.Path) })
	return h, nil
}

// openedFor says what a descriptor allows; both if that cannot be told.
func openedFor(pid int, fd string) (read, write bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd))
	if err != nil {
		return true, true
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(value), 8, 64)
			mode := int(flags) & unix.O_ACCMODE
			return err != nil || mode != unix.O_WRONLY, err != nil || mode != unix.O_RDONLY
		}
	}
	return true, true
}

// addMaps adds what is mapped from a file: no programs and libraries, whose
// maps cannot be written to, and nothing that has no name any more.
func addMaps(pid int, files map[string]HeldFile) error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return fmt.Errorf("list maps: %w", err)
	}
	code := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		_, rest, _ := strings.Cut(line, " ")
		at := strings.IndexByte(line, '/')
		if at < 0 || len(rest) < 4 {
			continue
		}
		path, mode := strings.TrimSuffix(line[at:], "\n"), rest[:4]
		if strings.HasSuffix(path, " (deleted)") || strings.Contains(path, ".so") {
			continue
		}
		if mode[2] == 'x' {
			code[path] = true
		}
		f := files[path]
		f.Path, f.Read = path, true
		if mode[3] == 's' && mode[1] == 'w' {
			f.Write, f.Mapped = true, true
		}
		files[path] = f
	}
	for path := range code {
		if !files[path].Write {
			delete(files, path)
		}
	}
	return nil
}

// copySocket takes a copy of the socket that process pid has as descriptor fd.
func copySocket(pid, fd int) (int, error) {
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(p)
	copied, err := unix.PidfdGetfd(p, fd, 0)
	return copied, err
}

// Traffic says how many bytes have passed so far through the connection that
// process pid has as descriptor fd. local: it is a socket between processes of
// this machine, which is not counted. ok is false where neither can be told.
func Traffic(pid, fd int) (bytes uint64, local, ok bool) {
	s, err := copySocket(pid, fd)
	if err != nil {
		return 0, false, false
	}
	defer unix.Close(s)
	family, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, false, false
	}
	if family == unix.AF_UNIX || family == unix.AF_NETLINK {
		return 0, true, true
	}
	info, err := unix.GetsockoptTCPInfo(s, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false, false
	}
	return info.Bytes_received + info.Bytes_sent, false, true
}
