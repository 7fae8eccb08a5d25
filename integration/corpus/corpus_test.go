// Package corpus holds thirty notebooks as people write them, two hundred
// named edits of them, and the test that no edit makes a cell run that need not.
package corpus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// examples are the project's own; taxi takes a minute for each edit near its top.
var examples = []string{"iris", "taxi"}

// sample is what `make test` runs of the corpus; KEDGE_CORPUS=all, or the names
// of notebooks with commas between them, chooses otherwise.
const sample = "plain,etl"

func TestCorpus(t *testing.T) {
	edits, err := readEdits()
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob("notebooks/*")
	if err != nil {
		t.Fatal(err)
	}
	folders = append(folders, examples...)
	chosen := os.Getenv("KEDGE_CORPUS")
	if chosen == "" {
		chosen = sample
	}
	for _, folder := range folders {
		name := filepath.Base(folder)
		if edits[name] == nil {
			t.Errorf("notebook %s has no edits", name)
		}
		if chosen != "all" && !slices.Contains(strings.Split(chosen, ","), name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			work(t, name, edits[name])
		})
	}
}

// work goes through the life of a notebook: run, run again, edited, moved, and opened in JupyterLab.
func work(t *testing.T, name string, edits []edit) {
	l := newLab(t, name)
	none := edit{Name: "cold"}
	v := l.edit(none)
	all := []string{}
	for _, c := range v.cells {
		if c.id != "" && !slices.Contains(c.tags, "skip") {
			all = append(all, c.id)
		}
	}
	l.check(edit{Name: "cold", Runs: all})
	l.check(edit{Name: "warm"})
	for _, e := range edits {
		l.check(e)
	}
	moved := filepath.Join(t.TempDir(), "elsewhere")
	l.edit(none)
	if err := os.Rename(l.dir, moved); err != nil {
		t.Fatal(err)
	}
	l.dir = moved
	l.check(edit{Name: "moved"})
	lab := edit{Name: "in JupyterLab"}
	for _, pair := range jupyter {
		key, value, _ := strings.Cut(pair, "=")
		lab.Do = append(lab.Do, change{Env: key, Value: value})
	}
	l.check(lab)
}

// jupyter is what JupyterLab and VS Code set for the kernels that they start.
var jupyter = []string{
	"JPY_PARENT_PID=4711", "JPY_SESSION_NAME=/home/ada/work/nb.ipynb", "JUPYTER_PREFER_ENV_PATH=1", "JUPYTERHUB_USER=ada",
	"VSCODE_PID=4712", "VSCODE_CWD=/home/ada", "ELECTRON_RUN_AS_NODE=1", "TERM=xterm-color", "COLUMNS=211", "LINES=50",
	"CLICOLOR=1", "FORCE_COLOR=1", "CLICOLOR_FORCE=1", "PAGER=cat", "GIT_PAGER=cat", "PYDEVD_USE_FRAME_EVAL=NO",
	"MPLBACKEND=module://matplotlib_inline.backend_inline", "SHLVL=3", "SSH_CONNECTION=10.0.0.1 50000 10.0.0.2 22", "XDG_SESSION_ID=7",
}

// sameSubject reports whether a difference is about the same cell or file as s.
func sameSubject(s string) func(string) bool {
	subject := func(s string) []string { return strings.Fields(s)[:2] }
	return func(other string) bool { return slices.Equal(subject(s), subject(other)) }
}

// check makes an edit, runs the notebook, and compares the cells that ran with
// those that must, and what there is to see with a straight run.
func (l *lab) check(e edit) {
	t := l.t
	t.Helper()
	v := l.edit(e)
	stood := filepath.Join(t.TempDir(), "work")
	if err := os.CopyFS(stood, os.DirFS(l.dir)); err != nil {
		t.Fatal(err)
	}
	got, cells := l.run(l.dir, l.home, v)
	var needless, why []string
	wider := 0
	missing := slices.Clone(e.Runs)
	for _, c := range cells {
		if slices.Contains(e.Wider, c.id) {
			t.Logf("%s: %s: wider: %s: %s", l.name, e.Name, c.id, c.why)
			wider++
			continue
		}
		if i := slices.Index(missing, c.id); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			continue
		}
		needless, why = append(needless, c.id), append(why, c.id+": "+c.why)
	}
	t.Logf("%-14s %-50s ran %d of %d, needless %d, wider %d", l.name, e.Name, len(cells), len(e.Runs), len(needless), wider)
	if len(needless) > 0 {
		t.Errorf("%s: %s: needless runs: %s", l.name, e.Name, strings.Join(why, "; "))
	}
	if len(missing) > 0 {
		t.Errorf("%s: %s: restored, though they had to run: %s", l.name, e.Name, strings.Join(missing, ", "))
	}
	if os.Getenv("KEDGE_CORPUS_STRAIGHT") == "0" { // to find needless runs in half the time
		return
	}
	list := differences(got, l.straight(e))
	if len(list) > 0 { // a cell that ran may have seen leftovers of the runs before
		leftovers, _ := l.run(stood, t.TempDir(), v, "--no-cache")
		also := differences(got, leftovers)
		list = slices.DeleteFunc(list, func(s string) bool { return !slices.ContainsFunc(also, sameSubject(s)) })
	}
	if len(list) > 0 {
		t.Errorf("%s: %s: not as in a straight run:\n\t%s", l.name, e.Name, strings.Join(list, "\n\t"))
	}
}
