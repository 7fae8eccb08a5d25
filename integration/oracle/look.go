package oracle

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"kedge/notebook"
)

// What differs between any two runs: addresses, process ids, times, and the
// names of temporary files.
var chance = []struct {
	match *regexp.Regexp
	stand string
}{
	{regexp.MustCompile(`\b(0x|at )[0-9a-f]{6,}`), "$1…"},
	{regexp.MustCompile(`ipykernel_\d+`), "ipykernel"},
	{regexp.MustCompile(`(CPU times|Wall time).*`), "$1"},
	{regexp.MustCompile(`[\d.]+ (ns|μs|ms|s) ± .* per loop`), "per loop"},
	{regexp.MustCompile(`\btmp[a-z0-9_]{8}\b`), "tmp"},
}

func steady(text string) string {
	for _, c := range chance {
		text = c.match.ReplaceAllString(text, c.stand)
	}
	return text
}

// readable is what a reader of the executed notebook sees of a cell's outputs,
// times, addresses and tracebacks apart.
func readable(outputs []json.RawMessage) string {
	var lines []string
	for _, raw := range outputs {
		var o map[string]any
		if err := json.Unmarshal(raw, &o); err != nil {
			lines = append(lines, string(raw))
			continue
		}
		delete(o, "traceback")
		for key, value := range o {
			if text, ok := value.([]any); ok { // nbformat's list of lines
				joined := ""
				for _, t := range text {
					joined += fmt.Sprint(t)
				}
				o[key] = joined
			}
		}
		data, err := json.Marshal(o) // in order of keys
		if err != nil {
			data = raw
		}
		text := strings.ReplaceAll(string(data), `\n`, "\n")
		lines = append(lines, steady(text))
	}
	return strings.Join(lines, "\n")
}

// counts reads the execution counts of the cells from the document.
func counts(doc *notebook.Document, outline *notebook.Outline, cells []CellRun) error {
	data, err := doc.Bytes()
	if err != nil {
		return err
	}
	var nb struct {
		Cells []struct {
			ID    string
			Count *int `json:"execution_count"`
		}
	}
	if err := json.Unmarshal(data, &nb); err != nil {
		return err
	}
	for i := range cells {
		if count := nb.Cells[outline.Cells[i].Index].Count; count != nil {
			cells[i].Count = *count
		}
	}
	return nil
}

// tree is path → mode and content of all that lies in dir, notebooks and caches apart.
func tree(dir string) (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if d.Name() == "__pycache__" {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".ipynb") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + target
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + steady(string(data)) // a program may write what an object's repr is
		}
		found[name] = text
		return nil
	})
	return found, err
}

// Lay writes files into dir, which it makes.
func Lay(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// placed is where the memory of an array lies in a description: at a path that begins with the name of a variable.
var placed = regexp.MustCompile(` at (\w+)[^ :]*:`)

// Differences says in what a run differs from a straight one, as far as can be
// told, in threes: what differs, the straight run's and got's; empty if in
// nothing. Files that only got has are leftovers.
func Differences(got, want Run) []string {
	var lines []string
	add := func(what, a, b string) {
		if a != b {
			lines = append(lines, what, "  - "+clip(b, a), "  + "+clip(a, b))
		}
	}
	if got.OK != want.OK {
		add("ok", fmt.Sprint(got.OK), fmt.Sprint(want.OK))
	}
	for i, w := range want.Cells {
		g := CellRun{}
		if i < len(got.Cells) {
			g = got.Cells[i]
		}
		add(fmt.Sprintf("outputs of %s (%s)", w.ID, g.Status), g.Outputs, w.Outputs)
		add(fmt.Sprintf("execution count of %s (%s)", w.ID, g.Status), fmt.Sprint(g.Count), fmt.Sprint(w.Count))
	}
	for _, name := range slices.Sorted(maps.Keys(want.Files)) {
		add("file "+name, got.Files[name], want.Files[name])
	}
	if got.Sight == nil || want.Sight == nil {
		return lines
	}
	for _, part := range []struct {
		what string
		a, b map[string]string
	}{{"variable ", got.Sight.Names, want.Sight.Names}, {"", got.Sight.Ambient, want.Sight.Ambient}} {
		all := maps.Clone(part.a)
		maps.Copy(all, part.b)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if _, held := part.a[name]; !held && got.Absent[name] {
				continue // brought about again only when a cell needs it
			}
			a, b := steady(part.a[name]), steady(part.b[name])
			if lies := placed.FindStringSubmatch(b); lies != nil && got.Absent[lies[1]] && part.a[lies[1]] == "" {
				// It shares memory with what is not held, which was described first.
				a, b = placed.ReplaceAllString(a, " at :"), placed.ReplaceAllString(b, " at :")
			}
			add(part.what+name, a, b)
		}
	}
	return lines
}

// clip shows the part of a text that begins where another differs from it.
func clip(s, other string) string {
	if s == "" {
		return "(none)"
	}
	const most = 160
	at := 0
	for at < len(s) && at < len(other) && s[at] == other[at] {
		at++
	}
	at = max(0, at-60)
	s = s[at:]
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ReplaceAll(s, "\n", "⏎")
}
