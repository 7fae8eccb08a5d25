package share

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"kedge/cellgraph"
)

const (
	maxPath = 1024 // bytes
	maxName = 255  // bytes of one element
)

// reserved begins the names of our own files in a folder that is opened into.
const reserved = ".kedge-"

// private are names that no volume holds, and that other programs run or
// believe what they find under.
func private() []string {
	return []string{".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints"}
}

// checkPath refuses what is no plain relative path inside of a folder.
func checkPath(name string) error {
	hostile := func(why string) error { return fmt.Errorf("path %q %s: %w", name, why, ErrHostile) }
	switch {
	case len(name) > maxPath:
		return fmt.Errorf("a path of %d bytes: %w", len(name), ErrHostile)
	case path.IsAbs(name) || !filepath.IsLocal(name):
		return hostile("leaves the folder")
	case name != path.Clean(name) || name == ".":
		return hostile("is not in its plain form")
	case !utf8.ValidString(name):
		return hostile("is no text")
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > maxName {
			return hostile("has a name that is too long")
		}
		if strings.ContainsFunc(element, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
			return hostile("has characters that a name may not have")
		}
		if strings.HasPrefix(element, reserved) || slices.ContainsFunc(private(), func(p string) bool { return fold(p) == fold(element) }) {
			return hostile("is no part of a snapshot")
		}
	}
	return nil
}

// checkTarget refuses a link that leads out of the folder. ".." may stand only
// at its beginning, where it leaves folders that are none but folders: behind a
// name it would leave wherever that name leads.
func checkTarget(link, target string) error {
	hostile := fmt.Errorf("link %q leads to %q: %w", link, target, ErrHostile)
	if target == "" || path.IsAbs(target) || len(target) > maxPath || strings.ContainsRune(target, 0) || !utf8.ValidString(target) {
		return hostile
	}
	down := false
	for element := range strings.SplitSeq(target, "/") {
		if element == ".." && down {
			return hostile
		}
		down = down || element != ".." && element != "." && element != ""
	}
	if !filepath.IsLocal(path.Join(path.Dir(link), target)) {
		return hostile
	}
	return nil
}

// fold is a path as a file system sees it that does not tell cases apart.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

// checkFiles refuses files that could not lie in one folder side by side, or
// of which one would be written through another.
func checkFiles(files []File) error {
	types := map[string]string{}
	for _, f := range files {
		if err := checkPath(f.Path); err != nil {
			return err
		}
		key := fold(f.Path)
		if _, twice := types[key]; twice {
			return fmt.Errorf("path %q is there twice, but for case: %w", f.Path, ErrHostile)
		}
		types[key] = f.Type
		switch f.Type {
		case typeFile, typeFolder:
			if f.Mode&^0o777 != 0 || f.Target != "" {
				return fmt.Errorf("%q has mode %o: %w", f.Path, f.Mode, ErrHostile)
			}
		case typeLink:
			if err := checkTarget(f.Path, f.Target); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q is a %q: %w", f.Path, f.Type, ErrHostile)
		}
	}
	for key := range types {
		for parent := path.Dir(key); parent != "."; parent = path.Dir(parent) {
			if kind, there := types[parent]; there && kind != typeFolder {
				return fmt.Errorf("path %q lies in a %s: %w", key, kind, ErrHostile)
			}
		}
	}
	return nil
}

// checkChanges refuses what restoring a cell would do outside of the folder;
// home is the notebook's own folder in it.
func checkChanges(home string, changes []cellgraph.FileChange) error {
	for _, f := range changes {
		if path.IsAbs(f.Path) || strings.HasPrefix(f.Path, "~") {
			return fmt.Errorf("path %q leaves the folder: %w", f.Path, ErrHostile)
		}
		name := path.Join(home, f.Path)
		if name == "." { // the folder itself
			continue
		}
		if err := checkPath(name); err != nil {
			return err
		}
		if f.Link != "" {
			if err := checkTarget(name, f.Link); err != nil {
				return err
			}
		}
		if f.Mode&^0o777 != 0 {
			return fmt.Errorf("%q has mode %o: %w", f.Path, f.Mode, ErrHostile)
		}
	}
	return nil
}
