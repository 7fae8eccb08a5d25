package corpus

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// lab is one notebook of the corpus in a folder where someone works on it, with a store of its own.
type lab struct {
	t             *testing.T
	name          string
	kedge, python string
	dir, home     string
	cells         []cell
	files         map[string][]byte // what lies beside the notebook in the corpus
	extra         []string          // files that the last edit added
}

func newLab(t *testing.T, name string) *lab {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, name: name, dir: filepath.Join(t.TempDir(), "work"), home: t.TempDir(),
		kedge:  cmp.Or(os.Getenv("KEDGE_TEST_BINARY"), filepath.Join(root, "bin", "kedge")),
		python: cmp.Or(os.Getenv("KEDGE_TEST_PYTHON"), filepath.Join(root, ".venv", "bin", "python"))}
	for _, path := range []string{l.kedge, l.python} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is missing: run `make test`, which builds it", path)
		}
	}
	if slices.Contains(examples, name) {
		if l.cells, err = readExample(filepath.Join(root, "examples", name+".ipynb")); err != nil {
			t.Fatal(err)
		}
		return l
	}
	source := filepath.Join("notebooks", name)
	if l.cells, err = readNotebook(filepath.Join(source, name+".ipy")); err != nil {
		t.Fatal(err)
	}
	if l.files, err = readFiles(source); err != nil {
		t.Fatal(err)
	}
	delete(l.files, name+".ipy")
	return l
}

// readFiles reads every regular file under dir, by its path there.
func readFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if strings.Contains(path, "__pycache__") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[name] = data
		return err
	})
	return files, err
}

// lay puts the corpus' own files into dir, and only those differ afterwards that were changed.
func (l *lab) lay(dir string) {
	l.t.Helper()
	for name, content := range l.files {
		path := filepath.Join(dir, name)
		if data, err := os.ReadFile(path); err == nil && bytes.Equal(data, content) {
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			l.t.Fatal(err)
		}
	}
}

// edit lays an edit over the working folder, after taking back the one before.
func (l *lab) edit(e edit) variant {
	l.t.Helper()
	for _, name := range l.extra {
		if err := os.RemoveAll(filepath.Join(l.dir, name)); err != nil {
			l.t.Fatal(err)
		}
	}
	l.extra = nil
	v := l.make(l.dir, e)
	for _, c := range e.Do {
		if c.Text != "" && c.File != "" {
			l.extra = append(l.extra, c.File)
		}
	}
	return v
}

// make puts the notebook with an edit into dir.
func (l *lab) make(dir string, e edit) variant {
	l.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.lay(dir)
	v, err := e.apply(l.cells, dir)
	if err == nil {
		err = writeNotebook(l.notebook(dir), v.cells)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return v
}

func (l *lab) notebook(dir string) string { return filepath.Join(dir, l.name+".ipynb") }

// ran is a cell that ran, and why.
type ran struct{ id, why string }

// result is what a run leaves.
type result struct {
	Cells map[string]string // outputs by cell id, made comparable
	Files map[string][]byte // content of the files beside the notebook
}

// run runs the notebook in dir and returns what it left and the cells that really ran.
func (l *lab) run(dir, home string, v variant, args ...string) (result, []ran) {
	l.t.Helper()
	out := filepath.Join(l.t.TempDir(), "out.ipynb")
	args = append([]string{"run", l.notebook(dir), "-o", out, "--json", "--python", l.python}, append(args, v.params...)...)
	if l.name == "plain" {
		args = append(args, "--auto")
	}
	cmd := exec.Command(l.kedge, args...)
	cmd.Env = append(append(os.Environ(), v.env...), "KEDGE_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var report struct {
		OK    bool
		Cells []struct{ ID, Status, Why string }
		Error any
	}
	if json.Unmarshal(stdout.Bytes(), &report) != nil || err != nil || !report.OK {
		l.t.Fatalf("kedge run: %v: %v\n%s", err, report.Error, stderr.String())
	}
	if stderr.Len() > 0 {
		l.t.Logf("stderr: %s", stderr.String())
	}
	var cells []ran
	for _, c := range report.Cells {
		if c.Status != "restored" && c.Why != "skip" {
			cells = append(cells, ran{l.known(v, c.ID), c.Why})
		}
	}
	return l.collect(dir, out, v), cells
}

// known is the id of a cell, "injected" for one that is not in the notebook.
func (l *lab) known(v variant, id string) string {
	if v.find(id) < 0 {
		return "injected"
	}
	return id
}

// varying matches what two plain runs of a notebook differ in: addresses, process ids, the
// random ids of stylers and widgets, times, and the progress bars that show them.
var varying = regexp.MustCompile(`0x[0-9a-f]+|\bx[0-9a-f]{8,}|ipykernel_[0-9]+|\b[0-9a-f]{32}\b|\bT_[0-9a-f]{5}|(CPU times|Wall time): [^\\"]*|[^"\\\r]*(it/s|s/it|\?it)[^"\\\r]*`)

// collect reads the executed notebook and the files of dir.
func (l *lab) collect(dir, out string, v variant) result {
	l.t.Helper()
	data, err := os.ReadFile(out)
	if err != nil {
		l.t.Fatal(err)
	}
	var doc struct {
		Cells []struct {
			ID      string
			Outputs []map[string]any
			Count   *int `json:"execution_count"`
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		l.t.Fatal(err)
	}
	r := result{Cells: map[string]string{}}
	for _, c := range doc.Cells {
		text, err := json.Marshal(c.Outputs)
		if err != nil {
			l.t.Fatal(err)
		}
		if c.Count != nil {
			r.Cells[l.known(v, c.ID)] = fmt.Sprint(*c.Count, " ", varying.ReplaceAllString(string(text), "…"))
		}
	}
	if r.Files, err = readFiles(dir); err != nil {
		l.t.Fatal(err)
	}
	delete(r.Files, filepath.Base(l.notebook(dir)))
	return r
}

// straight is what a run without the cache leaves in a fresh folder. With
// KEDGE_CORPUS_MEMO=DIR it is remembered there from one run of the test to the next.
func (l *lab) straight(e edit) result {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "work")
	v := l.make(dir, e)
	memo := os.Getenv("KEDGE_CORPUS_MEMO")
	if memo == "" {
		r, _ := l.run(dir, l.t.TempDir(), v, "--no-cache")
		return r
	}
	files, err := readFiles(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	key, err := json.Marshal([]any{files, v.env, v.params, varying.String()})
	if err != nil {
		l.t.Fatal(err)
	}
	path := filepath.Join(memo, fmt.Sprintf("%x", sha256.Sum256(key)))
	var r result
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &r) == nil {
		return r
	}
	r, _ = l.run(dir, l.t.TempDir(), v, "--no-cache")
	data, err := json.Marshal(r)
	if err := errors.Join(err, os.WriteFile(path, data, 0o644)); err != nil {
		l.t.Fatal(err)
	}
	return r
}

// differences names the cells and files in which got is not as wanted. Files
// that only got has are leftovers of runs before.
func differences(got, want result) []string {
	var list []string
	for id, text := range want.Cells {
		if got.Cells[id] != text {
			list = append(list, fmt.Sprintf("cell %s shows %s, want %s", id, brief(got.Cells[id]), brief(text)))
		}
	}
	for name, content := range want.Files {
		if data, ok := got.Files[name]; !ok || !bytes.Equal(data, content) {
			list = append(list, fmt.Sprintf("file %s holds %s, want %s", name, brief(string(data)), brief(string(content))))
		}
	}
	slices.Sort(list)
	return list
}

func brief(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}
