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
	baseline  *observe.Held              // open before the first cell
	started   map[int]int                // process → cell (its place in Session.past) that started it
	connected bool                       // a cell has connected to something outside
	mapped    map[string]bool            // names of files that are mapped writably: their times tell nothing
	digests   map[entry]cellgraph.Digest // of files that are older than a tick
	last      int                        // place in Session.past of the last cell that ran; -1 if none did
	traffic   map[string]observedFlow    // of connections that were open when the present cell began
}

// observedFlow is a connection and what had passed through it.
type observedFlow struct {
	fd    int
	bytes uint64
	known bool
}

func newWatch() *watch {
	return &watch{started: map[int]int{}, mapped: map[string]bool{}, digests: map[entry]cellgraph.Digest{}, last: -1}
}

// watched runs a cell in the kernel and sees what its processes do. doubt says
// that something about it is not known; err is that of the kernel.
func (s *Session) watched(ctx context.Context, o *seen, count int) (doubt, err error) {
	place := len(s.past)
	alive, doubt := s.boundary(o)
	s.ring.Mark(uint64(count))
	between, lost, readErr := s.ring.Read()
	doubt = errors.Join(doubt, readErr, s.background(ctx, between, lost))
	began := time.Now()
	o.result, err = s.kernel.Execute(ctx, s.request(o.cell))
	o.seconds = time.Since(began).Seconds()
	s.ring.Mark(0)
	records, lost, readErr := s.ring.Read()
	doubt = errors.Join(doubt, readErr)
	if err != nil {
		return doubt, err
	}
	o.access = observe.Summarize(records, s.summary())
	after, listErr := s.below(o.access.Started)
	if listErr == nil && slices.ContainsFunc(o.access.Unsettled, func(pid int) bool { return slices.ContainsFunc(after, is(pid)) }) {
		records, lost = s.settle(records, lost)
		o.access = observe.Summarize(records, s.summary())
	}
	o.access.Lost = o.access.Lost || lost
	for _, pid := range o.access.Started {
		if _, known := s.watch.started[pid]; !known {
			s.watch.started[pid] = place
		}
	}
	for _, p := range after {
		if !slices.ContainsFunc(alive, same(p)) && !p.LibraryWorker() {
			o.left = append(o.left, filepath.Base(append(p.Args, "a process")[0]))
		}
	}
	s.watch.last = place
	s.watch.connected = s.watch.connected || len(o.access.Connect) > 0
	return errors.Join(doubt, listErr, s.stillHeld(o)), nil
}

func is(pid int) func(observe.Process) bool {
	return func(p observe.Process) bool { return p.PID == pid }
}

func same(a observe.Process) func(observe.Process) bool {
	return func(b observe.Process) bool { return a.PID == b.PID && a.Start == b.Start }
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
	s.watch.traffic = map[string]observedFlow{}
	for fd, inode := range held.Sockets {
		if s.isBaseline(inode) {
			continue
		}
		bytes, local, known := observe.Traffic(s.kernel.PID(), fd)
		if !local || s.watch.connected {
			s.watch.traffic[inode] = observedFlow{fd, bytes, known && !local}
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

// programs observes the files that a cell ran: those found through PATH by
// name, others by path.
func (s *Session) programs(o *seen) []cellgraph.Observation {
	kernel, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.kernel.PID())) // without it, the interpreter is observed twice
	names := map[string]bool{}
	for _, path := range o.access.Programs {
		real, err := filepath.EvalSymlinks(path)
		if err != nil || real == kernel || observe.MachineProgram(path) || o.made(real) {
			continue
		}
		names[s.programName(path, real)] = true
	}
	for _, path := range o.access.Searched {
		name := filepath.Base(path)
		if !s.world.inPath(filepath.Dir(path)) {
			name = s.volume.name(path)
		} else if s.world.which(name) != "" {
			continue // it was found, or would be, further on
		}
		names[name] = true
	}
	var list []cellgraph.Observation
	for name := range names {
		list = append(list, s.world.Observe(cellgraph.KindProgram, name))
	}
	slices.SortFunc(list, func(a, b cellgraph.Observation) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// programName is how a program is found again: by its own name, or by another
// that PATH gives for the same file, or by path.
func (s *Session) programName(path, real string) string {
	for _, name := range []string{filepath.Base(path), filepath.Base(real)} {
		if there := s.world.which(name); there != "" {
			if r, err := filepath.EvalSymlinks(there); err == nil && r == real {
				return name
			}
		}
	}
	return s.volume.name(path)
}

// variables observes the variables that were read, by Python and by native code.
func (s *Session) variables(o *seen) []cellgraph.Observation {
	names := map[string]bool{}
	for _, e := range o.captured.Env {
		names[e.Name] = true
	}
	for _, name := range o.access.Env {
		names[name] = true
	}
	if len(o.access.Programs)+len(o.access.Searched) > 0 {
		delete(names, "PATH") // it counts as the programs that were found through it
	}
	if s.shows(o, s.volume.home) {
		names["HOME"] = true
	}
	var list []cellgraph.Observation
	for name := range names {
		if name == "*" || !noise(name) {
			list = append(list, s.world.Observe(cellgraph.KindEnv, name))
		}
	}
	if s.shows(o, s.volume.base) {
		list = append(list, s.world.Observe(cellgraph.KindPlace, "."))
	}
	slices.SortFunc(list, func(a, b cellgraph.Observation) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// shows reports whether an output or a value of the cell contains a path.
func (s *Session) shows(o *seen, path string) bool {
	if len(path) < 2 {
		return false
	}
	for _, out := range o.result.Outputs {
		if strings.Contains(string(out), path) {
			return true
		}
	}
	for _, g := range o.captured.Groups {
		for _, v := range g.Vars {
			if strings.Contains(v.Shown, path) {
				return true
			}
		}
	}
	return false
}
