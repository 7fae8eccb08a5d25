package session

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"kedge/cellgraph"
	"kedge/kernel/observe"
)

// Bounds of what is read before a cell only because the cell may change it:
// of a file that it reads and then rewrites, the old content must be known.
const (
	learnFile  = 1 << 20  // bytes of one file
	learnTotal = 16 << 20 // bytes before one cell
	learnCount = 2000     // files before one cell
	heldFile   = 64 << 20 // bytes of a file that is held open for writing
)

// learn makes known what the small files of the volume hold before a cell.
func (s *Session) learn(o *seen) {
	o.was = map[string]cellgraph.Digest{}
	bytes, count := int64(0), 0
	for _, name := range slices.Sorted(maps.Keys(o.before)) {
		e := o.before[name]
		if !e.Mode.IsRegular() || e.Size > learnFile || count >= learnCount {
			continue
		}
		if _, known := s.world.known[e]; known {
			continue
		}
		if f, overlaid := s.state.File(name); overlaid && f.Size == e.Size {
			continue // what a cell wrote
		}
		count++
		if bytes += e.Size; bytes > learnTotal {
			return
		}
		// Reading a small file costs no more than asking the store for a memo of it.
		d, err := digestFile(s.volume.path(name))
		if err != nil {
			continue
		}
		if info, err := os.Stat(s.volume.path(name)); err != nil || statEntry(info) != e {
			continue
		}
		o.was[name] = d
		if e.settled(s.world.now()) {
			s.world.known.put(e, d)
		}
	}
}

// content is what a file held before the cell, if that is known.
func (s *Session) content(o *seen, name string) (cellgraph.Digest, bool) {
	if d, ok := o.was[name]; ok {
		return d, true
	}
	e, there := o.before[name]
	if !there {
		return cellgraph.Digest{}, s.volume.holds(name)
	}
	if d, ok := s.world.recall(e); ok {
		return d, true
	}
	if f, overlaid := s.state.File(name); overlaid && f.Size == e.Size {
		return f.Content, true
	}
	return cellgraph.Digest{}, false
}

// before observes a path as it was before the cell; false if that is not known any more.
func (s *Session) before(kind cellgraph.Kind, name string, o *seen) (cellgraph.Observation, bool) {
	obs := cellgraph.Observation{Kind: kind, Name: name}
	if _, overlaid := s.state.File(name); overlaid && kind != cellgraph.KindList {
		return s.world.Observe(kind, name), true
	}
	if kind == cellgraph.KindList {
		if _, there := o.before[filepath.Clean(name)]; !there && s.volume.holds(name) && filepath.Clean(name) != "." {
			return obs, true
		}
		standing := *s.world
		standing.leftover = nil
		obs.ID = standing.listing(name, func(entries map[string]bool) bool { return s.undo(name, entries, o) })
		return obs, true
	}
	if !o.wrote(name) {
		return s.world.Standing(kind, name), true
	}
	e, there := o.before[name]
	if !there {
		return obs, true
	}
	if !e.Mode.IsRegular() {
		if kind == cellgraph.KindStat && e.Mode.IsDir() {
			obs.ID = s.world.folder(e.Mode.Perm())
		}
		return obs, e.Mode.IsDir() // where a link led is not known
	}
	d, known := s.content(o, name)
	if kind == cellgraph.KindFile {
		obs.ID = d
		return obs, known
	}
	obs.ID = statOfFile(d, e.Mode)
	return obs, known
}

// wasLeftover reports whether the cell found at name what an earlier run had
// left there. Of a file whose content then is not known, that is assumed if one did.
func (s *Session) wasLeftover(o *seen, name string) bool {
	left := s.world.leftover[name]
	if left == nil {
		return false
	}
	d, known := s.content(o, name)
	return !known || left[d] || !o.before[name].Mode.IsRegular()
}

// undo takes what the cell made out of a listing, and puts back what it
// removed. It reports whether the cell found the folder in the volume.
func (s *Session) undo(folder string, entries map[string]bool, o *seen) bool {
	for _, name := range o.changed {
		if filepath.Dir(name) == filepath.Clean(folder) {
			_, there := o.before[name]
			entries[filepath.Base(name)] = there
		}
	}
	return o.before[filepath.Clean(folder)].Mode.IsDir()
}

// touched are the names in the volume that the cell changed: those that its
// processes wrote, and what moved along with a folder. What else differs now was changed by
// somebody else while it ran.
func (s *Session) touched(o *seen) []string {
	if o.access.Lost {
		return changed(o.before, o.after)
	}
	names := map[string]bool{}
	inodes := map[[2]uint64]bool{}
	for _, path := range slices.Concat(o.access.Written, o.access.Deleted) {
		name := s.volume.name(path)
		if !s.volume.holds(name) || name == "." {
			continue
		}
		was, before := o.before[name]
		now, after := o.after[name]
		inodes[now.file()] = after && now.Mode.IsRegular()
		switch {
		case !before && !after:
		case before && after && was.Mode.IsDir() && now.Mode == was.Mode:
		case before && after && was == now && s.unmodified(o, name):
		default:
			names[name] = true
		}
	}
	for _, name := range changed(o.before, o.after) {
		now := o.after[name]
		if inodes[now.file()] || slices.ContainsFunc(o.access.Moved, func(m string) bool { return within(s.volume.path(name), m) }) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// unmodified reports whether a file whose stat is the same as before the cell,
// and that was opened for writing, also holds the same.
func (s *Session) unmodified(o *seen, name string) bool {
	e := o.before[name]
	if e.settled(o.began) && !s.watch.mapped[name] {
		return true
	}
	was, known := s.content(o, name)
	return known && was == s.world.onDisk(name)
}

// held is a file that was open when the cell began.
type held struct {
	observe.HeldFile
	name  string
	entry entry
}

// hold notes the files that a cell finds open, and what those that it can
// write to through them hold.
func (s *Session) hold(o *seen, now observe.Held) {
	opt := s.summary()
	s.watch.mapped = map[string]bool{}
	for _, f := range now.Files {
		if slices.ContainsFunc(s.watch.baseline.Files, func(b observe.HeldFile) bool { return b.Path == f.Path }) || opt.Ignore(f.Path) ||
			slices.ContainsFunc(opt.Library, func(l string) bool { return within(f.Path, l) }) {
			continue
		}
		info, err := os.Stat(f.Path)
		if err != nil {
			continue // it has no name any more
		}
		h := held{f, s.volume.name(f.Path), statEntry(info)}
		o.held = append(o.held, h)
		s.watch.mapped[h.name] = f.Mapped
	}
	s.world.mapped = s.watch.mapped
	for _, h := range o.held {
		switch {
		case !h.Write:
		case h.entry.Size <= heldFile:
			o.was[h.name] = s.world.onDisk(h.name)
		case h.Mapped:
			o.strange = "found " + h.name + " mapped for writing, which is too large to compare"
		}
	}
}

// release adds to what the cell accessed what it could do without opening a
// file again: it reads what is open for reading, and wrote what differs.
func (s *Session) release(o *seen) {
	for _, h := range o.held {
		info, err := os.Stat(h.Path)
		if err != nil {
			continue // deleted, which is on record
		}
		modified := statEntry(info) != h.entry
		if was, ok := o.was[h.name]; !modified && h.Write && ok && (h.Mapped || !h.entry.settled(o.began)) {
			modified = was != s.world.onDisk(h.name)
		}
		if modified && h.Write && !slices.Contains(o.access.Written, h.Path) {
			o.access.Written = append(o.access.Written, h.Path)
		}
		if (h.Read || modified) && !slices.Contains(o.access.Read, h.Path) {
			o.access.Read = append(o.access.Read, h.Path)
		}
	}
	slices.Sort(o.access.Read)
	slices.Sort(o.access.Written)
}

func statOfFile(content cellgraph.Digest, mode fs.FileMode) cellgraph.Digest {
	return cellgraph.Combine("file", content.String(), fmt.Sprint(uint32(mode.Perm())))
}
