package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"kedge/share"
)

// What a lock file names is a package and a version as they are written in a
// requirements file, and nothing that says more: options, addresses, paths.
var (
	requirementName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$`)
	requirementVersion = regexp.MustCompile(`^[0-9][A-Za-z0-9.!+_-]{0,98}$`)
	pythonNumber       = regexp.MustCompile(`^3\.[0-9]{1,3}(\.[0-9]{1,3})?`)
)

// otherNames are packages that many have, by the name that is imported.
var otherNames = map[string]string{"PIL": "pillow", "bs4": "beautifulsoup4", "cv2": "opencv-python", "dateutil": "python-dateutil", "skimage": "scikit-image",
	"sklearn": "scikit-learn", "yaml": "PyYAML"}

// lockFile is the environment of a shared snapshot as a requirements file with
// exact versions, of what its cells were seen to use; here are the names of
// packages in the environment here. "" if nothing of it is known.
func lockFile(m *share.Manifest, here map[string]string, path string) string {
	pins := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(m.Environment)) {
		version := m.Environment[name]
		if name == "python" || !requirementVersion.MatchString(version) {
			continue // of several packages, or none
		}
		name = cmp.Or(m.Packages[name], here[name], otherNames[name], name)
		if requirementName.MatchString(name) {
			pins[name+"=="+version] = true
		}
	}
	python := pythonNumber.FindString(m.Environment["python"])
	if len(pins) == 0 && python == "" {
		return ""
	}
	lines := []string{"# What the cells of " + filepath.Base(m.Notebook) + " were seen to use where snapshot " + m.Snapshot.String()[:shownDigits] + " was made. To make that again:"}
	lines = append(lines, "#   "+recreate(python, filepath.Base(path)))
	lines = append(lines, slices.Sorted(maps.Keys(pins))...)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "ipykernel==") }) {
		lines = append(lines, "ipykernel")
	}
	return strings.Join(lines, "\n") + "\n"
}

// recreate is the command that makes an environment of a lock file, beside it.
func recreate(python, lock string) string {
	if python == "" {
		return fmt.Sprintf("python3 -m venv env && env/bin/pip install -r %s", shellWord(lock))
	}
	return fmt.Sprintf("uv venv --python %s env && uv pip install --python env/bin/python -r %s", python, shellWord(lock))
}

// writeLock writes the lock file beside a notebook and returns its path, "" if
// there is nothing to write, or something else is there.
func writeLock(m *share.Manifest, here map[string]string, notebook string) (string, error) {
	path := strings.TrimSuffix(notebook, ".ipynb") + ".requirements.txt"
	text := lockFile(m, here, path)
	if text == "" {
		return "", nil
	}
	if found, err := os.ReadFile(path); err == nil && string(found) == text {
		return path, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, errors.Join(err, os.Remove(path)))
	}
	return path, nil
}
