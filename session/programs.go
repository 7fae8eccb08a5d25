package session

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/observe"
)

// programs observes the files that a cell ran, and those that it looked for:
// what is found through PATH by name, the rest by path.
func (s *Session) programs(o *seen) []cellgraph.Observation {
	kernel := s.interpreter()
	names := map[string]bool{}
	for _, path := range o.access.Programs {
		real, err := filepath.EvalSymlinks(path)
		if err != nil || real == kernel || observe.MachineProgram(path) || o.made(real) {
			continue
		}
		names[s.programName(path, real)] = true
	}
	for _, path := range slices.Concat(o.access.Searched, o.access.Missing, o.access.Stat) {
		if s.looksForProgram(path) {
			names[filepath.Base(path)] = true
		}
	}
	for _, path := range o.access.Searched {
		if !s.looksForProgram(path) {
			names[byPath(s.volume.name(path))] = true
		}
	}
	var list []cellgraph.Observation
	for name := range names {
		list = append(list, s.world.Observe(cellgraph.KindProgram, name))
	}
	slices.SortFunc(list, func(a, b cellgraph.Observation) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// looksForProgram reports whether path lies in a folder that PATH names and
// that holds programs only: a look at it is part of finding one.
func (s *Session) looksForProgram(path string) bool {
	dir := filepath.Dir(path)
	return s.world.inPath(dir) && !within(dir, s.volume.base) && !observe.MachineProgram(path)
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
	return byPath(s.volume.name(path))
}

// byPath is a name with a folder: without one it would be looked for through PATH.
func byPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return "./" + name
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
	if len(o.access.Programs) > 0 || slices.ContainsFunc(slices.Concat(o.access.Searched, o.access.Missing, o.access.Stat), s.looksForProgram) {
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
	if s.shows(o, s.volume.base) || o.captured.Folder && slices.ContainsFunc(components(s.volume.base), func(name string) bool { return s.shows(o, name) }) {
		list = append(list, s.world.Observe(cellgraph.KindPlace, "."))
	}
	slices.SortFunc(list, func(a, b cellgraph.Observation) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// shows reports whether an output or a value of the cell contains a path, or a part of one.
func (s *Session) shows(o *seen, path string) bool {
	if path == "" || path == "/" {
		return false
	}
	if slices.Contains(o.holds, path) {
		return true
	}
	for _, out := range o.result.Outputs {
		if strings.Contains(string(out), path) {
			return true
		}
	}
	return false
}

// components are the names of the folders in an absolute path.
func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// paths are the paths of the notebook's folder and home that stand in a captured value; if the cell asked where the
// folder lies, also the names in it.
func (s *Session) paths(o *seen, spool string) (found []string, err error) {
	groups := o.captured.Groups
	if o.captured.Result != nil && o.captured.Result.Group != nil {
		groups = append(slices.Clone(groups), *o.captured.Result.Group)
	}
	if len(groups) == 0 {
		return nil, nil
	}
	wanted := []string{s.volume.base, s.volume.home}
	if o.captured.Folder {
		wanted = append(wanted, components(s.volume.base)...)
	}
	f, err := os.Open(spool)
	if err != nil {
		return nil, fmt.Errorf("read the capture: %w", err)
	}
	defer f.Close()
	for _, g := range groups {
		stream := make([]byte, g.Stream[1])
		if _, err := f.ReadAt(stream, g.Stream[0]); err != nil {
			return nil, fmt.Errorf("read the capture: %w", err)
		}
		for _, path := range wanted {
			if path != "" && path != "/" && bytes.Contains(stream, []byte(path)) && !slices.Contains(found, path) {
				found = append(found, path)
			}
		}
	}
	return found, nil
}
