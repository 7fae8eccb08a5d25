package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kedge/kernel"
	"kedge/web"
)

// labextension is the name of our extension of JupyterLab, and of its folder among the labextensions.
const labextension = "kedge-lab"

// installLabextension puts the extension beside a folder of kernelspecs, in the place of an earlier one of ours, and
// returns where it is.
func installLabextension(kernels string) (at string, err error) {
	dir := filepath.Join(filepath.Dir(kernels), "labextensions")
	at = filepath.Join(dir, labextension)
	if _, err := os.Lstat(at); err == nil && !isOurLabextension(at) {
		return "", fmt.Errorf("%s: %w: something else is there", at, errUnusable)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	fresh, err := os.MkdirTemp(dir, ".kedge-lab-*") // Jupyter passes over names with a dot
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	defer os.RemoveAll(fresh)
	err = os.Chmod(fresh, 0o755)
	if err == nil {
		err = os.CopyFS(fresh, web.Labextension())
	}
	if err == nil {
		err = os.RemoveAll(at)
	}
	if err == nil {
		err = os.Rename(fresh, at)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	return at, nil
}

// removeLabextension removes the extension beside a folder of kernelspecs, if it is there.
func removeLabextension(kernels string) error {
	at := filepath.Join(filepath.Dir(kernels), "labextensions", labextension)
	if !isOurLabextension(at) {
		return nil
	}
	if err := os.RemoveAll(at); err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return nil
}

// isOurLabextension says whether the folder holds our extension. A link, which a developer has made, is not ours.
func isOurLabextension(at string) bool {
	info, err := os.Lstat(at)
	if err != nil || !info.IsDir() {
		return false
	}
	var about struct {
		Name string `json:"name"`
	}
	data, err := os.ReadFile(filepath.Join(at, "package.json"))
	return err == nil && json.Unmarshal(data, &about) == nil && about.Name == labextension
}

// checkLabextension looks for the extension where Jupyter does.
func checkLabextension(env []string) finding {
	const name = "JupyterLab extension"
	const fix = "run `kedge install` as when the kernel was added, and reload the page"
	for _, dir := range kernel.DataDirs(env) {
		at := filepath.Join(dir, "labextensions", labextension)
		have, err := os.ReadFile(filepath.Join(at, "sources.sha256"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		ours, ourErr := fs.ReadFile(web.Labextension(), "sources.sha256")
		if err := errors.Join(err, ourErr); err != nil {
			return finding{name, "warning", err.Error(), fix}
		}
		if string(have) != string(ours) {
			return finding{name, "warning", at + " is of another kedge", fix}
		}
		return finding{name, "ok", at, ""}
	}
	return finding{name, "warning", "not installed: notebooks in JupyterLab show no badges", fix}
}
