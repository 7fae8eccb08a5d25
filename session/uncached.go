package session

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"kedge/cellgraph"
	"kedge/kernel/observe"
)

// uncached says why the trace of a cell may never hit, or ""; hazard says what files tell only at its end.
func (s *Session) uncached(o *seen) string {
	return first(o, s.unseen, s.forbidden, escaped, leftRunning, refused, s.unwritable, s.wroteElsewhere)
}

func (s *Session) hazard(o *seen) string {
	return first(o, s.wroteLinked, s.changedByOthers, s.unknownBefore)
}

// first is what the first of reasons says that says something.
func first(o *seen, reasons ...func(*seen) string) string {
	for _, reason := range reasons {
		if why := reason(o); why != "" {
			return why
		}
	}
	return ""
}

// unseen is that the kernel itself runs without the library.
func (s *Session) unseen(*seen) string {
	if s.watch.unseen != nil {
		return "the kernel's " + s.watch.unseen.Error() + ": not cached"
	}
	return ""
}

// forbidden is what the tags, the outputs or the process tree rule out.
func (s *Session) forbidden(o *seen) string {
	cache := o.cache
	switch {
	case cache == "disabled":
		return "cache:disabled"
	case o.result.Status == "error" && !o.cell.RaisesException:
		return "raised " + o.result.EName + ": not cached"
	case o.result.UsedStdin:
		return "asked for input: not cached"
	case len(o.result.Displays) > 0:
		return "updated the output of an earlier cell: not cached"
	case o.result.StrayUpdate:
		return "updated an output that no cell had: not cached"
	case o.result.Comms && o.result.Models == nil:
		return "talked to the front end (a widget): not cached"
	case o.result.Comms && len(o.captured.Uncaptured) > 0:
		return "made a widget and left " + o.captured.Uncaptured[0].Name + ", which may reach it: not cached"
	case o.access.Lost:
		return "did more file accesses than could be recorded: not cached"
	case len(o.access.Connect) > 0 && cache != "enabled":
		return "connected to " + peer(o.access.Connect[0]) + ": not cached"
	}
	if o.strange != "" && cache != "enabled" {
		return o.strange + ": not cached"
	}
	return ""
}

// peer is an address for people, without the family of those that look like one.
func peer(address string) string {
	return strings.Replace(strings.Replace(address, "inet6:", "", 1), "inet:", "", 1)
}

// escaped is what the cell did out of sight.
func escaped(o *seen) string {
	switch a := o.access; {
	case len(a.Unseen) > 0:
		return "started " + a.Unseen[0] + ": not cached"
	case len(a.Escaped) > 0:
		return "called " + a.Escaped[0] + ", after which paths may mean something else: not cached"
	case len(a.Special) > 0:
		return "opened " + a.Special[0] + ", which is no file: not cached"
	}
	return ""
}

// leftRunning is what goes on after the cell.
func leftRunning(o *seen) string {
	if len(o.captured.Running) > 0 {
		return "left " + o.captured.Running[0] + " running: not cached"
	}
	if len(o.left) > 0 {
		return "left " + o.left[0] + " running: not cached"
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

// unwritable is a path, or where a link leads, that no record can hold: a
// record is text, and other bytes would come back as another name.
func (s *Session) unwritable(o *seen) string {
	a := o.access
	for _, paths := range [][]string{a.Written, a.Deleted, a.Read, a.Missing, a.Stat, a.Listed, a.Searched, a.Programs} {
		for _, path := range paths {
			if !utf8.ValidString(path) {
				return fmt.Sprintf("touched %q, whose name is no text: not cached", s.volume.name(path))
			}
		}
	}
	for _, path := range a.Written {
		if e, ok := o.after[s.volume.name(path)]; ok && e.Mode&fs.ModeSymlink != 0 {
			if to, err := os.Readlink(path); err == nil && !utf8.ValidString(to) {
				return fmt.Sprintf("made %s, a link to %q, which is no text: not cached", s.volume.name(path), to)
			}
		}
	}
	return ""
}

// wroteElsewhere is a write that restoring the volume would not do again.
// Temporary files count only if a value still names them.
func (s *Session) wroteElsewhere(o *seen) string {
	for _, path := range slices.Concat(o.access.Written, o.access.Deleted) {
		name := s.volume.name(path)
		if s.volume.holds(name) {
			if e, ok := o.after[name]; ok && !e.Mode.IsRegular() && !e.Mode.IsDir() && e.Mode&fs.ModeSymlink == 0 {
				return "made " + name + ", which is no file: not cached"
			}
			continue
		}
		if s.temporary(path) && !named(o, path) || madeByImport(o, path) {
			continue
		}
		return "wrote " + name + ", which is in no volume: not cached"
	}
	return ""
}

// madeByImport reports whether path is a folder that an import made for its library, with the first of these: a kernel
// in which the library is restored has imported it, and made them.
func madeByImport(o *seen, path string) bool {
	home, err := os.UserHomeDir()
	folders := observe.LibraryFolders(home)
	return err == nil && slices.Contains(folders, path) && slices.Contains(o.access.Written, folders[0]) &&
		!slices.ContainsFunc(o.access.Deleted, func(p string) bool { return slices.Contains(folders, p) })
}

// wroteLinked is a file that has another name, which restoring would take from it.
func (s *Session) wroteLinked(o *seen) string {
	for _, path := range o.access.Written {
		if name := s.volume.name(path); s.volume.holds(name) && s.world.linked(name) {
			return "wrote " + name + ", which has another name too: not cached"
		}
	}
	return ""
}

// temporary reports whether path lies in the temporary folder, and not with a notebook that lies there too.
func (s *Session) temporary(path string) bool {
	return within(path, os.TempDir()) && !within(path, s.volume.base) && !s.volume.holds(s.volume.name(path))
}

// named reports whether the cell's code or a captured value shows where in the
// temporary folder a path lies: the name there, which may be a made-up one.
func named(o *seen, path string) bool {
	below, err := filepath.Rel(os.TempDir(), path)
	if err != nil {
		return true
	}
	top, _, _ := strings.Cut(below, "/")
	if strings.Contains(o.cell.Source, top) {
		return true
	}
	for _, g := range o.captured.Groups {
		for _, v := range g.Vars {
			if strings.Contains(v.Shown, top) {
				return true
			}
		}
	}
	return false
}

// changedByOthers is a file that the cell read and that somebody else changed
// while it ran: which content it saw is not known.
func (s *Session) changedByOthers(o *seen) string {
	if len(o.access.Torn) > 0 {
		return s.volume.name(o.access.Torn[0]) + " changed while the cell ran: not cached"
	}
	foreign := changed(o.before, o.after)
	for _, path := range o.access.Read {
		name := s.volume.name(path)
		if o.wrote(name) {
			continue
		}
		_, differs := slices.BinarySearch(foreign, name)
		if was := o.access.Opened[path]; was != (observe.Ident{}) && !differs {
			info, err := os.Stat(path)
			differs = err != nil || info.Size() != was.Size || info.ModTime().UnixNano() != was.MTime
		}
		if differs {
			return name + " changed while the cell ran: not cached"
		}
	}
	return ""
}

// unknownBefore is a path whose state when the cell began is not known any
// more, though the cell asked for it: it has changed it since.
func (s *Session) unknownBefore(o *seen) (why string) {
	s.eachFile(o, func(obs cellgraph.Observation, known bool) {
		if !known && why == "" {
			why = "changed " + obs.Name + ", which it also read: not cached"
		}
	})
	return why
}

// needsHistory reports whether a cell reads what restored cells would have
// left in IPython's history.
func (s *Session) needsHistory(reads map[string]bool) bool {
	for name := range reads {
		if cellgraph.IsHistory(name) && (name != cellgraph.Under || !s.state.Taken()) {
			return true
		}
	}
	return false
}
