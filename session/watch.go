package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/observe"
)

// watch is what a session knows about the processes of its kernel from one cell to the next.
type watch struct {
	baseline  *observe.Held   // open before the first cell
	started   map[int]int     // process → cell (its place in Session.past) that started it
	connected bool            // a cell has connected to a socket of this machine, outside its own processes
	mapped    map[string]bool // names of files that are mapped writably: their times tell nothing
	greeted   bool            // the records of the kernel's start have been read
	unseen    error           // the kernel itself cannot be observed; wraps observe.ErrUnseen
	last      int             // place in Session.past of the last cell that ran; -1 if none did
	library   []string        // see Session.library
	traffic   map[string]flow // of connections that were open when the present cell began
	lent      map[string]bool // files of the store that the kernel was given to map
}

// flow is a connection and what had passed through it.
type flow struct {
	fd    int
	bytes uint64
	known bool
}

func newWatch() *watch {
	return &watch{started: map[int]int{}, mapped: map[string]bool{}, last: -1, lent: map[string]bool{}}
}

// watched runs a cell in the kernel and sees what its processes do. doubt says
// that something about it is not known; err is that of the kernel.
func (s *Session) watched(ctx context.Context, o *seen, count int) (doubt, err error) {
	doubt = s.beginWatch(ctx, o, count)
	began := time.Now()
	o.result, err = s.kernel.Execute(ctx, s.request(o.cell))
	s.counted = o.result.ExecutionCount
	o.seconds = time.Since(began).Seconds()
	return errors.Join(doubt, s.endWatch(o)), err
}

// beginWatch looks at what is open and alive before a cell, and closes the
// account of what went on between the cells.
func (s *Session) beginWatch(ctx context.Context, o *seen, count int) (err error) {
	o.place = len(s.past)
	if s.pending != nil {
		o.place++
	}
	o.alive, err = s.boundary(o)
	s.ring.Mark(uint64(count))
	between, lost, readErr := s.ring.Read()
	if !s.watch.greeted {
		s.watch.greeted, s.watch.unseen = true, observe.Observed(between, s.kernel.PID(), s.interpreter())
		readErr = errors.Join(readErr, observe.Adopt())
	}
	return errors.Join(err, readErr, s.background(ctx, between, lost))
}

// endWatch closes the account of a cell. The error says that something about it is not known.
func (s *Session) endWatch(o *seen) error {
	s.ring.Mark(0)
	records, lost, err := s.ring.Read()
	return errors.Join(err, s.account(o, records, lost))
}

// account says what became of the records of a cell, and what it has left open and running.
func (s *Session) account(o *seen, records []observe.Record, lost bool) error {
	o.access = observe.Summarize(records, s.summary())
	after, listErr := s.below(o.access.Started)
	if listErr == nil && slices.ContainsFunc(o.access.Unsettled, func(pid int) bool { return slices.ContainsFunc(after, is(pid)) }) {
		records, lost = s.settle(records, lost)
		o.access = observe.Summarize(records, s.summary())
	}
	o.access.Lost = o.access.Lost || lost
	for _, pid := range o.access.Started {
		if _, known := s.watch.started[pid]; !known {
			s.watch.started[pid] = o.place
		}
	}
	for _, p := range after {
		if !slices.ContainsFunc(o.alive, same(p)) && !p.LibraryWorker() {
			o.left = append(o.left, filepath.Base(append(p.Args, "a process")[0]))
		}
	}
	s.watch.last = o.place
	s.watch.connected = s.watch.connected || slices.ContainsFunc(o.access.Connect, func(peer string) bool { return strings.HasPrefix(peer, "unix:") })
	return errors.Join(listErr, s.stillHeld(o))
}

func is(pid int) func(observe.Process) bool {
	return func(p observe.Process) bool { return p.PID == pid }
}

func same(a observe.Process) func(observe.Process) bool {
	return func(b observe.Process) bool { return a.PID == b.PID && a.Start == b.Start }
}

// summary says which accesses are no observation.
func (s *Session) summary() observe.Options {
	home, _ := os.UserHomeDir()
	if s.watch.library == nil {
		s.watch.library = s.library()
	}
	return observe.Options{
		Volume:    s.volume.base,
		KernelPID: s.kernel.PID(),
		Library:   s.watch.library,
		Ignore: func(path string) bool {
			return observe.MachinePath(path) || observe.LibraryCache(path, home) || observe.MachineProgram(path) ||
				s.private(path) || shellHistory(path) || observe.PythonStart(path) && !within(path, s.volume.base)
		},
		IgnoreConnect: func(peer string) bool {
			path, unix := strings.CutPrefix(peer, "unix:")
			return unix && s.private(path)
		},
	}
}

// private reports whether path is one of ours, or of the sockets by which the kernel is reached.
func (s *Session) private(path string) bool {
	return within(path, s.cfg.Runtime) || s.watch.lent[path] || s.cfg.Sockets != "" && within(path, s.cfg.Sockets)
}

// library is where the interpreter, its packages and those of the machine lie:
// also the folder around the interpreter, if that is its own. What is held open
// is known by paths without links, so those of the folders are in it, too.
func (s *Session) library() []string {
	list := append(slices.Clone(s.cfg.Library), observe.SystemFolders()...)
	for _, folder := range s.cfg.Library {
		if real, err := filepath.EvalSymlinks(folder); err == nil && real != folder {
			list = append(list, real)
		}
	}
	if exe := s.interpreter(); exe != "" {
		prefix := filepath.Dir(filepath.Dir(exe))
		if !slices.Contains([]string{"/", "/usr", "/usr/local"}, prefix) && !within(s.volume.base, prefix) {
			list = append(list, prefix)
		}
	}
	return list
}

// interpreter is the program that the kernel runs in, "" if that cannot be told.
func (s *Session) interpreter() string {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.kernel.PID()))
	return exe
}

// settle waits for the HELLO of processes that were started just before the
// end of a cell, as pools of workers do. A program that has none in that time has none.
func (s *Session) settle(records []observe.Record, lost bool) ([]observe.Record, bool) {
	const most, step = 500 * time.Millisecond, 10 * time.Millisecond
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(step) {
		more, lostMore, err := s.ring.Read()
		records, lost = append(records, more...), lost || lostMore || err != nil
		if len(observe.Summarize(records, s.summary()).Unsettled) == 0 {
			break
		}
	}
	return records, lost
}

// below lists the processes below the kernel, also those whose own parent has ended.
func (s *Session) below(started []int) ([]observe.Process, error) {
	pids := slices.Clone(started)
	for pid := range s.watch.started {
		pids = append(pids, pid)
	}
	return observe.Descendants(s.kernel.PID(), pids)
}

// boundary looks at what is open and alive before a cell.
func (s *Session) boundary(o *seen) ([]observe.Process, error) {
	held, err := observe.Holds(s.kernel.PID())
	if err != nil {
		return nil, err
	}
	if s.watch.baseline == nil {
		s.watch.baseline = &held
	}
	s.hold(o, held)
	s.watch.traffic = map[string]flow{}
	for fd, inode := range held.Sockets {
		if s.isBaseline(inode) {
			continue
		}
		bytes, local, known := observe.Traffic(s.kernel.PID(), fd)
		if !local || s.watch.connected {
			s.watch.traffic[inode] = flow{fd, bytes, known && !local}
		}
	}
	return s.below(nil)
}

func (s *Session) isBaseline(inode string) bool {
	for _, known := range s.watch.baseline.Sockets {
		if known == inode {
			return true
		}
	}
	return false
}

// stillHeld compares what was open before a cell with what it is now.
func (s *Session) stillHeld(o *seen) error {
	held, err := observe.Holds(s.kernel.PID())
	if err != nil {
		return err
	}
	for _, was := range s.watch.traffic {
		now, _, known := observe.Traffic(s.kernel.PID(), was.fd)
		if !was.known || known && now != was.bytes {
			o.strange = "used a connection that an earlier cell opened"
		}
	}
	if held.URing {
		o.strange = "used io_uring, which cannot be observed"
	}
	s.release(o)
	return nil
}

// background looks at what happened between the cells. Whatever writes into the
// volume or connects then, other than the agent, goes on beside the cells: the
// one that began it may not be restored, and nothing more is.
func (s *Session) background(ctx context.Context, records []observe.Record, lost bool) error {
	var others []observe.Record
	for _, r := range records {
		if r.PID != s.kernel.PID() || r.TID != r.PID {
			others = append(others, r)
		}
	}
	a := observe.Summarize(others, s.summary())
	what := ""
	for _, path := range slices.Concat(a.Written, a.Deleted) {
		if name := s.volume.name(path); s.volume.holds(name) {
			what = "wrote " + name
		}
	}
	if len(a.Connect) > 0 {
		what = "connected to " + a.Connect[0]
	}
	if lost {
		what = "did more than could be recorded"
	}
	if what == "" || s.watch.last < 0 {
		return nil
	}
	if err := s.join(ctx); err != nil {
		return err
	}
	guilty := []int{s.watch.last}
	for _, r := range others {
		if cell, ok := s.watch.started[r.PID]; ok {
			guilty = append(guilty, cell)
		}
	}
	for _, i := range guilty {
		if i < len(s.past) {
			if err := s.cfg.Store.PutMemo(ctx, "background", s.past[i].trace.Key(), []byte(what)); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("something that an earlier cell left running %s between the cells", what)
}

// tainted says of a trace that what its cell left running did more after it; "" if it did not.
func (s *Session) tainted(ctx context.Context, t *cellgraph.Trace) string {
	what, ok, err := s.cfg.Store.Memo(ctx, "background", t.Key())
	if err != nil || ok {
		return "it left something running that " + string(what) + " later: not cached"
	}
	return ""
}

// shellHistory reports whether path is of the data base in which IPython keeps what was entered.
func shellHistory(path string) bool {
	return strings.HasPrefix(filepath.Base(path), "history.sqlite") && strings.HasPrefix(filepath.Base(filepath.Dir(path)), "profile_")
}
