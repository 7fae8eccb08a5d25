package session

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"kedge/cellgraph"
)

// A file that is opened for writing keeps the permissions that it has; a new
// one has those that the umask leaves. A cell that writes a file so depends on
// them: two files that it would leave with the same are the same to it.

// mode is the permissions that a file which is written at name would keep;
// zero if there is none, or if they are those of a new one.
func (w *world) mode(name string) cellgraph.Digest {
	if w.linked(name) {
		return cellgraph.Combine("another name")
	}
	if f, ok := w.state.File(name); ok {
		if f.Deleted || f.Dir || f.Link != "" {
			return cellgraph.Digest{}
		}
		return w.permissions(fs.FileMode(f.Mode))
	}
	info, err := os.Stat(w.volume.path(name))
	if err != nil || !info.Mode().IsRegular() || w.isLeftover(name) {
		return cellgraph.Digest{}
	}
	return w.permissions(info.Mode().Perm())
}

// permissionsOf is those of the file at name; zero if there is none.
func (w *world) permissionsOf(name string) fs.FileMode {
	if f, ok := w.state.File(name); ok {
		return fs.FileMode(f.Mode)
	}
	info, err := os.Stat(w.volume.path(name))
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// linked reports whether a file has more names than one: what is written to it is written to all.
func (w *world) linked(name string) bool {
	info, err := os.Lstat(w.volume.path(name))
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

// permissions is what a file that is there with these brings to a write.
func (w *world) permissions(mode fs.FileMode) cellgraph.Digest {
	if mode == 0o666&^w.umask {
		return cellgraph.Digest{}
	}
	return cellgraph.Combine("mode", fmt.Sprint(uint32(mode)))
}

// modes observes the permissions of the files that the cell wrote and did not
// replace. A new one that has others than the umask leaves is observed as absent.
func (s *Session) modes(o *seen) []cellgraph.Observation {
	var list []cellgraph.Observation
	for _, path := range o.access.Written {
		name := s.volume.name(path)
		was, before := o.before[name]
		now, after := o.after[name]
		if !s.volume.holds(name) || !after || !now.Mode.IsRegular() || slices.Contains(o.access.Moved, path) {
			continue
		}
		obs := cellgraph.Observation{Kind: cellgraph.KindMode, Name: name}
		switch {
		case before && was.file() == now.file():
			obs.ID = s.world.permissions(was.Mode.Perm())
		case before:
			continue
		case !s.world.permissions(now.Mode.Perm()).IsZero():
			list = append(list, cellgraph.Observation{Kind: cellgraph.KindStat, Name: name})
		}
		list = append(list, obs)
	}
	return append(list, s.takenAway(o)...)
}

// takenAway observes what the cell took away under its name: that nothing was there,
// or the permissions of what it wrote there and moved elsewhere.
func (s *Session) takenAway(o *seen) []cellgraph.Observation {
	places := map[[2]uint64]string{}
	for name, e := range o.after {
		places[e.file()] = name
	}
	var list []cellgraph.Observation
	for _, path := range slices.Concat(o.access.Deleted, o.access.Moved) {
		name := s.volume.name(path)
		was, before := o.before[name]
		place, kept := places[was.file()]
		switch {
		case !s.volume.holds(name):
		case !before && slices.Contains(o.access.Deleted, path):
			list = append(list, cellgraph.Observation{Kind: cellgraph.KindStat, Name: name})
		case before && was.Mode.IsRegular() && kept && place != name:
			list = append(list, cellgraph.Observation{Kind: cellgraph.KindMode, Name: name, ID: s.world.permissions(was.Mode.Perm())})
		}
	}
	return list
}

// umask is the process's, which the kernel starts with.
func umask() fs.FileMode {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "Umask:"); ok {
			if mask, err := strconv.ParseUint(strings.TrimSpace(text), 8, 32); err == nil {
				return fs.FileMode(mask)
			}
		}
	}
	return 0o022
}
