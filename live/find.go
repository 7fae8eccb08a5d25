package live

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Find is the absolute path of the notebook that a kernel is started for: what
// $KEDGE_NOTEBOOK or $JPY_SESSION_NAME names, else the first notebook on the
// command line of parent. It returns "" if there is none.
func Find(lookup func(name string) (string, bool), parent int) string {
	for _, name := range []string{"KEDGE_NOTEBOOK", "JPY_SESSION_NAME"} {
		if path, ok := lookup(name); ok && path != "" {
			return existing(path, "")
		}
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", parent))
	if err != nil || parent <= 1 {
		return ""
	}
	dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", parent))
	for arg := range strings.SplitSeq(string(line), "\x00") {
		if path := existing(arg, dir); path != "" {
			return path
		}
	}
	return ""
}

// existing is the absolute path of a notebook file named relative to dir, "" if it is none.
func existing(path, dir string) string {
	if !strings.HasSuffix(path, ".ipynb") {
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return path
}

// told is what the start-up code of VS Code sets to the path of the notebook.
var told = regexp.MustCompile(`__vsc_ipynb_file__\s*=\s*r?["']([^"'\n]+)["']`)

// inRequest is the notebook that a request names, "" if it names none: VS Code's
// code before the first cell does, and its ids of cells.
func inRequest(a asked) string {
	if m := told.FindStringSubmatch(a.Code); a.Silent && m != nil {
		return existing(m[1], "")
	}
	return inURI(a.meta.CellID)
}

// inURI is the notebook that VS Code's id of a cell names, "" for any other id.
func inURI(cellID string) string {
	u, err := url.Parse(cellID)
	if err != nil || !strings.HasPrefix(u.Scheme, "vscode-notebook-cell") {
		return ""
	}
	return existing(u.Path, "")
}
