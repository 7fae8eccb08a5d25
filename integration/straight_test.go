package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// nondeterministic matches what two plain runs of the examples differ in: the
// address in a default repr, and the random id that pandas gives to a Styler.
var nondeterministic = regexp.MustCompile(`\bat 0x[0-9a-f]+|\bT_[0-9a-f]{5}`)

// replacement is an edit of a notebook's source; old must be there.
type replacement struct{ old, new string }

// TestStraight holds `kedge run` to its promise on the examples: the executed
// notebook and the files are those of `jupyter execute` in a fresh folder,
// whether cells ran or were restored.
func TestStraight(t *testing.T) {
	small := []replacement{
		{"trips_count = 5_000_000", "trips_count = 20_000"},
		{"sample_size = 400_000", "sample_size = 10_000"},
		{"trees = 80", "trees = 8"},
	}
	for _, test := range []struct {
		name    string
		prepare []replacement
		edit    replacement
	}{
		{"taxi", small, replacement{`cmap=\"viridis\"`, `cmap=\"magma\"`}},
		{"iris", nil, replacement{"SVC(C=C)", "SVC(C=C, gamma=0.2)"}},
		{"plain", nil, replacement{"spread[:5]", "spread[:6]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, filepath.Join("..", "examples", test.name+".ipynb"))
			for _, r := range test.prepare {
				l.edit(r.old, r.new)
			}
			want := l.plain()
			l.compare("cold", want)
			l.compare("warm", want)

			here := l.path
			l.moveTo(t.TempDir())
			l.compare("warm in a fresh folder", want)

			l.path, l.dir = here, filepath.Dir(here)
			l.edit(test.edit.old, test.edit.new)
			edited := l.plain()
			if reflect.DeepEqual(edited, want) {
				t.Fatal("the edit changes nothing")
			}
			l.compare("edited", edited)
			l.compare("edited, warm", edited)
		})
	}
}

// moveTo goes on with a copy of the notebook alone in another folder.
func (l *lab) moveTo(dir string) {
	l.t.Helper()
	data, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	l.dir, l.path = dir, filepath.Join(dir, filepath.Base(l.path))
	l.write(string(data))
}

// result is what a run leaves: the executed notebook, made comparable, and the
// content and mode of every other file by its path.
type result struct {
	Notebook map[string]any
	Files    map[string]string
}

// plain executes the notebook without its skip cells with `jupyter execute`,
// in a fresh folder.
func (l *lab) plain() result {
	l.t.Helper()
	dir := l.t.TempDir()
	path := filepath.Join(dir, filepath.Base(l.path))
	source, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	data, err := json.Marshal(withoutSkipped(l.t, source))
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		l.t.Fatal(err)
	}
	out := filepath.Join(l.t.TempDir(), "out.ipynb")
	cmd := exec.Command(l.python, "-m", "jupyter", "execute", path, "--output="+out)
	cmd.Env = os.Environ()
	if log, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("jupyter execute: %v\n%s", err, log)
	}
	return collect(l.t, out, dir, path)
}

// compare runs the notebook and fails for each thing that is not as wanted.
func (l *lab) compare(phase string, want result) {
	l.t.Helper()
	r, _, code := l.run()
	if code != 0 {
		l.t.Fatalf("%s: exit %d: %+v", phase, code, r.Error)
	}
	out := filepath.Join(l.dir, "out.ipynb")
	got := collect(l.t, out, l.dir, l.path)
	for _, d := range append(differences("notebook", got.Notebook, want.Notebook), differences("files", got.Files, want.Files)...) {
		l.t.Errorf("%s: %s", phase, d)
	}
}

// collect reads what a run left in dir.
func collect(t *testing.T, out, dir, source string) result {
	t.Helper()
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	doc := withoutSkipped(t, nondeterministic.ReplaceAll(data, []byte("RANDOM")))
	for _, c := range doc["cells"].([]any) {
		if metadata, ok := c.(map[string]any)["metadata"].(map[string]any); ok {
			delete(metadata, "execution")
		}
	}
	files := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == out || path == source || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := []byte(nil)
		if d.Type().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		name, err := filepath.Rel(dir, path)
		files[name] = fmt.Sprintf("%s %s", info.Mode(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return result{Notebook: doc, Files: files}
}

// withoutSkipped decodes a notebook and removes its skip cells.
func withoutSkipped(t testing.TB, data []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var doc map[string]any
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	cells, _ := doc["cells"].([]any)
	doc["cells"] = slices.DeleteFunc(cells, func(c any) bool {
		metadata, _ := c.(map[string]any)["metadata"].(map[string]any)
		tags, _ := metadata["tags"].([]any)
		return slices.Contains(tags, any("skip"))
	})
	return doc
}

// differences lists where two JSON values or maps differ, by path.
func differences(path string, got, want any) []string {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	var list []string
	switch {
	case g.Kind() != w.Kind() || !g.IsValid():
	case g.Kind() == reflect.Map:
		keys := append(g.MapKeys(), w.MapKeys()...)
		seen := map[string]bool{}
		for _, k := range keys {
			if seen[k.String()] {
				continue
			}
			seen[k.String()] = true
			list = append(list, differences(path+"/"+k.String(), at(g, k), at(w, k))...)
		}
		return list
	case g.Kind() == reflect.Slice && g.Len() == w.Len():
		for i := range g.Len() {
			list = append(list, differences(fmt.Sprintf("%s/%d", path, i), g.Index(i).Interface(), w.Index(i).Interface())...)
		}
		return list
	}
	return []string{fmt.Sprintf("%s is %s, want %s", path, brief(got), brief(want))}
}

// at is the value of a map's key, or nil.
func at(m, key reflect.Value) any {
	if v := m.MapIndex(key); v.IsValid() {
		return v.Interface()
	}
	return nil
}

func brief(v any) string {
	text := strings.ToValidUTF8(fmt.Sprintf("%q", fmt.Sprint(v)), "?")
	if len(text) > 300 {
		text = fmt.Sprintf("%s… (%d bytes)", text[:300], len(text))
	}
	return text
}
