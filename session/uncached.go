package session

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/observe"
)

// uncached says why the trace of a cell may never hit, or "".
func (s *Session) uncached(o *seen) string {
	for _, reason := range []func(*seen) string{s.forbidden, leftRunning, refused, s.wroteElsewhere, s.unknownBefore} {
		if why := reason(o); why != "" {
			return why
		}
	}
	return ""
}

// forbidden is what the tags, the outputs or the process tree rule out.
func (s *Session) forbidden(o *seen) string {
	cache := s.step(o.cell.Step).Cache
	switch {
	case cache == "disabled":
		return "cache:disabled"
	case o.result.UsedStdin:
		return "asked for input: not cached"
	case len(o.result.Displays) > 0:
		return "updated the output of an earlier cell: not cached"
	case o.result.Comms:
		return "talked to the front end (a widget): not cached"
	case o.access.Lost:
		return "did more file accesses than could be recorded: not cached"
	case len(o.access.Connect) > 0 && cache != "enabled":
		return "connected to " + o.access.Connect[0] + ": not cached"
	}
	if i := slices.IndexFunc(o.access.Exec, foreign); i >= 0 {
		return "started " + filepath.Base(o.access.Exec[i]) + ": not cached"
	}
	return ""
}

// foreign reports whether a program that a cell started can do more than describe the machine.
func foreign(program string) bool { return !observe.MachineProgram(program) }

// leftRunning is what goes on after the cell.
func leftRunning(o *seen) string {
	if len(o.captured.Running) > 0 {
		return "left " + o.captured.Running[0] + " running: not cached"
	}
	return ""
}

// refused is what the agent saw the cell do that restoring would not do again.
func refused(o *seen) string {
	if len(o.captured.Refused) > 0 {
		return o.captured.Refused[0] + ": not cached"
	}
	return ""
}

// wroteElsewhere is a write that restoring the volume would not do again.
// Temporary files count only if a value still names them.
func (s *Session) wroteElsewhere(o *seen) string {
	for _, path := range slices.Concat(o.access.Written, o.access.Deleted) {
		name := s.volume.name(path)
		if s.volume.holds(name) || within(path, os.TempDir()) && !named(o, path) {
			continue
		}
		return "wrote " + name + ", which is not in the notebook's folder: not cached"
	}
	return ""
}

// named reports whether a captured value shows a path.
func named(o *seen, path string) bool {
	for _, g := range o.captured.Groups {
		for _, v := range g.Vars {
			if strings.Contains(v.Shown, filepath.Base(path)) {
				return true
			}
		}
	}
	return false
}

// unknownBefore is a file whose content when the cell began is not known any
// more, though the cell read it: it has changed it since.
func (s *Session) unknownBefore(o *seen) string {
	for _, path := range o.access.Read {
		name := s.volume.name(path)
		was, there := o.before[name]
		if _, overlaid := s.state.File(name); o.wrote(name) && there && !overlaid && was.Mode.IsRegular() {
			return "changed " + name + ", which it also read: not cached"
		}
	}
	return ""
}

// needsHistory reports whether a cell reads what restored cells would have
// left in IPython's history.
func needsHistory(reads map[string]bool) bool {
	for name := range reads {
		if cellgraph.IsHistory(name) {
			return true
		}
	}
	return false
}
