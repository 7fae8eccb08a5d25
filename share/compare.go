package share

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"kedge/cellgraph"
	"kedge/notebook"
)

// Contents are what can be seen of a snapshot without unpickling anything.
type Contents struct {
	Cells       []CellText // of the notebook, in its order
	Variables   []Variable
	Files       []File
	Environment map[string]string
	Notebook    string // which of Files is the notebook, if it is there
}

// CellText is a cell of a notebook.
type CellText struct {
	ID      string // "" before nbformat 4.5
	Kind    string // code, markdown or raw
	Source  string
	Outputs cellgraph.Digest
}

// Difference is what is otherwise in one snapshot than in another.
type Difference struct {
	Cells       []CellDifference     `json:"cells"`
	Variables   []VariableDifference `json:"variables"`
	Files       []FileDifference     `json:"files"`
	Environment []VersionDifference  `json:"environment"`
	// Unknown are names that are there in both and have no captured form.
	Unknown []string `json:"unknown"`
}

// What may differ.
const (
	Added   = "added"
	Removed = "removed"
	Altered = "changed"
	Shows   = "outputs" // of a cell: what it shows, and no more
)

// CellDifference is a cell that differs, with the lines that do.
type CellDifference struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	What  string `json:"what"`
	Lines []Line `json:"lines"`
}

// VariableDifference is a name that holds something else. Was and Is have no previews.
type VariableDifference struct {
	Name  string           `json:"name"`
	What  string           `json:"what"`
	Was   *Variable        `json:"was,omitempty"`
	Is    *Variable        `json:"is,omitempty"`
	Frame *FrameDifference `json:"frame,omitempty"`
}

// FrameDifference is what of the columns of a frame, or of an array, differs.
type FrameDifference struct {
	Rows    [2]int64     `json:"rows"` // before and after
	Added   []string     `json:"added"`
	Removed []string     `json:"removed"`
	Types   []TypeChange `json:"types"`
	Changed []string     `json:"changed"` // columns in which values differ
	// Sampled says that of columns that are not named only a sample was compared, or nothing.
	Sampled bool `json:"sampled"`
}

// TypeChange is a column whose type differs.
type TypeChange struct {
	Name string `json:"name"`
	Was  string `json:"was"`
	Is   string `json:"is"`
}

// FileDifference is a file that differs; of texts with the lines that do.
type FileDifference struct {
	Path  string `json:"path"`
	What  string `json:"what"`
	Was   *File  `json:"was,omitempty"`
	Is    *File  `json:"is,omitempty"`
	Lines []Line `json:"lines"`
}

// VersionDifference is a package whose version differs; "" is none.
type VersionDifference struct {
	Name string `json:"name"`
	Was  string `json:"was"`
	Is   string `json:"is"`
}

// Seen is what a manifest and its notebook show.
func (m *Manifest) Seen(document []byte) Contents {
	return Contents{ReadCells(document), m.Variables, m.Files, m.Environment, m.Notebook}
}

// After is what its cells had left after the one of that number, values and
// written files: the manifest says what each changed. False: it does not.
func (m *Manifest) After(cell int) (Contents, bool) {
	c := Contents{Environment: m.Environment, Notebook: m.Notebook}
	if cell < 0 || cell >= len(m.Cells) {
		return c, false
	}
	variables, files := map[string]Variable{}, map[string]File{}
	for _, one := range m.Cells[:cell+1] {
		if one.Changed == nil {
			return c, false
		}
		for _, v := range one.Changed.Variables {
			variables[v.Name] = v
		}
		for _, name := range one.Changed.Deleted {
			delete(variables, name)
		}
		for _, f := range one.Changed.Files {
			files[f.Path] = f
		}
		for _, path := range one.Changed.Removed {
			delete(files, path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		c.Variables = append(c.Variables, variables[name])
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		c.Files = append(c.Files, files[path])
	}
	return c, true
}

// ReadCells are the cells of a notebook; none of what is none.
func ReadCells(document []byte) []CellText {
	var doc struct {
		Cells []struct {
			ID      string          `json:"id"`
			Kind    string          `json:"cell_type"`
			Source  json.RawMessage `json:"source"`
			Outputs json.RawMessage `json:"outputs"`
		} `json:"cells"`
	}
	if json.Unmarshal(document, &doc) != nil {
		return nil
	}
	cells := []CellText{}
	for _, c := range doc.Cells {
		one := CellText{ID: c.ID, Kind: c.Kind, Source: notebook.Text(c.Source)}
		var outputs bytes.Buffer
		if json.Compact(&outputs, c.Outputs) == nil {
			one.Outputs = cellgraph.Sum(outputs.Bytes())
		}
		cells = append(cells, one)
	}
	return cells
}

// Compare says what is otherwise in one than in what was. read gives the text
// of a file, and false for what is none or too long; nil reads none.
func Compare(was, is Contents, read func(File) (string, bool)) Difference {
	d := Difference{Cells: compareCells(was.Cells, is.Cells), Environment: []VersionDifference{}, Unknown: []string{}}
	d.Variables, d.Unknown = compareVariables(was.Variables, is.Variables)
	d.Files = compareFiles(was, is, read)
	versions := maps.Clone(was.Environment)
	if versions == nil {
		versions = map[string]string{}
	}
	maps.Copy(versions, is.Environment)
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		if was.Environment[name] != is.Environment[name] {
			d.Environment = append(d.Environment, VersionDifference{name, was.Environment[name], is.Environment[name]})
		}
	}
	return d
}

func compareCells(was, is []CellText) []CellDifference {
	all := []CellDifference{}
	for _, e := range pairs(was, is) {
		switch {
		case e.is < 0:
			c := was[e.was]
			all = append(all, CellDifference{c.ID, c.Kind, Removed, told(compareLines(c.Source, ""), "-")})
		case e.was < 0:
			c := is[e.is]
			all = append(all, CellDifference{c.ID, c.Kind, Added, told(compareLines("", c.Source), "+")})
		default:
			a, b := was[e.was], is[e.is]
			if lines := compareLines(a.Source, b.Source); lines != nil || a.Kind != b.Kind {
				all = append(all, CellDifference{b.ID, b.Kind, Altered, append([]Line{}, lines...)})
			} else if a.Outputs != b.Outputs {
				all = append(all, CellDifference{b.ID, b.Kind, Shows, []Line{}})
			}
		}
	}
	return all
}

// told are those of lines that are of one side: an empty text has an empty line.
func told(lines []Line, op string) []Line {
	return append([]Line{}, slices.DeleteFunc(lines, func(l Line) bool { return l.Op != op && l.Op != "…" })...)
}

// pairs says which cells are the same, by their ids if all have one, else by what stands in them.
func pairs(was, is []CellText) []edit {
	named := func(cells []CellText) ([]string, bool) {
		names, seen := make([]string, len(cells)), map[string]bool{}
		for i, c := range cells {
			if c.ID == "" || seen[c.ID] {
				return nil, false
			}
			names[i], seen[c.ID] = c.ID, true
		}
		return names, true
	}
	a, known := named(was)
	b, both := named(is)
	if !known || !both {
		a, b = sources(was), sources(is)
		return matched(edits(a, b))
	}
	at, now, met := map[string]int{}, map[string]bool{}, map[int]bool{}
	for i, id := range a {
		at[id] = i
	}
	for _, id := range b {
		now[id] = true
	}
	var all []edit
	gone := func(i int) { // those behind it that are no longer there
		for ; i < len(a) && !now[a[i]]; i++ {
			if !met[i] {
				met[i] = true
				all = append(all, edit{i, -1})
			}
		}
	}
	gone(0)
	for i, id := range b {
		if j, ok := at[id]; ok {
			all = append(all, edit{j, i})
			gone(j + 1)
		} else {
			all = append(all, edit{-1, i})
		}
	}
	return all
}

func sources(cells []CellText) []string {
	all := make([]string, len(cells))
	for i, c := range cells {
		all[i] = c.Kind + "\n" + c.Source
	}
	return all
}

// matched takes what was taken out and what came in at the same place for one that changed.
func matched(all []edit) []edit {
	var joined []edit
	for i := 0; i < len(all); {
		var out, in []int
		for ; i < len(all) && (all[i].was < 0 || all[i].is < 0); i++ {
			if all[i].is < 0 {
				out = append(out, all[i].was)
			} else {
				in = append(in, all[i].is)
			}
		}
		for n := range max(len(out), len(in)) {
			e := edit{-1, -1}
			if n < len(out) {
				e.was = out[n]
			}
			if n < len(in) {
				e.is = in[n]
			}
			joined = append(joined, e)
		}
		if i < len(all) {
			joined = append(joined, all[i])
			i++
		}
	}
	return joined
}

func compareVariables(was, is []Variable) (all []VariableDifference, unknown []string) {
	all, unknown = []VariableDifference{}, []string{}
	before := map[string]Variable{}
	for _, v := range was {
		before[v.Name] = v
	}
	for _, v := range is {
		old, there := before[v.Name]
		delete(before, v.Name)
		switch {
		case !there:
			all = append(all, VariableDifference{Name: v.Name, What: Added, Is: unseen(v)})
		case v.Reason != "" && old.Reason != "":
			unknown = append(unknown, v.Name)
		case v.Digest != old.Digest || v.Reason != old.Reason:
			all = append(all, VariableDifference{v.Name, Altered, unseen(old), unseen(v), compareFrames(old, v)})
		}
	}
	for _, old := range before {
		all = append(all, VariableDifference{Name: old.Name, What: Removed, Was: unseen(old)})
	}
	slices.SortFunc(all, func(a, b VariableDifference) int { return cmp.Compare(a.Name, b.Name) })
	return all, unknown
}

func unseen(v Variable) *Variable {
	v.Preview = nil
	return &v
}

// compareFrames compares what was written of columns when they were captured;
// nil if that is not known.
func compareFrames(was, is Variable) *FrameDifference {
	if was.Preview == nil || is.Preview == nil || len(was.Preview.Sketches) == 0 || len(is.Preview.Sketches) == 0 || was.Type != is.Type {
		return nil
	}
	d := &FrameDifference{Added: []string{}, Removed: []string{}, Types: []TypeChange{}, Changed: []string{}}
	type column struct {
		name string
		nth  int
	}
	before, times := map[column]int{}, map[string]int{}
	for i, s := range was.Preview.Sketches {
		before[column{s.Name, times[s.Name]}] = i
		times[s.Name]++
	}
	clear(times)
	for _, s := range is.Preview.Sketches {
		at := column{s.Name, times[s.Name]}
		times[s.Name]++
		i, there := before[at]
		delete(before, at)
		if !there {
			d.Added = append(d.Added, s.Name)
			continue
		}
		old := was.Preview.Sketches[i]
		if old.Type != s.Type {
			d.Types = append(d.Types, TypeChange{s.Name, old.Type, s.Type})
		}
		if old.Sum != s.Sum || old.Of != s.Of {
			d.Changed = append(d.Changed, s.Name)
		} else if s.Sum == "" || strings.HasPrefix(s.Sum, "~") {
			d.Sampled = true
		}
	}
	left := slices.Sorted(maps.Values(before))
	for _, i := range left {
		d.Removed = append(d.Removed, was.Preview.Sketches[i].Name)
	}
	d.Rows = [2]int64{rows(was), rows(is)}
	d.Sampled = d.Sampled || len(is.Shape) > 1 && is.Type == "DataFrame" && len(is.Preview.Sketches) < is.Shape[1]
	return d
}

func rows(v Variable) int64 {
	if len(v.Shape) > 0 {
		return int64(v.Shape[0])
	}
	return v.Preview.Sketches[0].Of
}

func compareFiles(was, is Contents, read func(File) (string, bool)) []FileDifference {
	all := []FileDifference{}
	before := map[string]File{}
	for _, f := range was.Files {
		if f.Path != was.Notebook {
			before[f.Path] = f
		}
	}
	lines := func(was, is File) []Line {
		if read == nil || was.Type != typeFile || is.Type != typeFile || was.Content == is.Content {
			return []Line{}
		}
		a, ok := read(was)
		b, too := read(is)
		if !ok || !too || !utf8.ValidString(a) || !utf8.ValidString(b) || strings.ContainsRune(a+b, 0) {
			return []Line{}
		}
		return append([]Line{}, compareLines(a, b)...)
	}
	for _, f := range is.Files {
		if f.Path == is.Notebook {
			continue
		}
		old, there := before[f.Path]
		delete(before, f.Path)
		old.Read = f.Read // who reads it does not change it
		if !there {
			all = append(all, FileDifference{f.Path, Added, nil, &f, []Line{}})
		} else if old != f {
			all = append(all, FileDifference{f.Path, Altered, &old, &f, lines(old, f)})
		}
	}
	for _, old := range before {
		all = append(all, FileDifference{old.Path, Removed, &old, nil, []Line{}})
	}
	slices.SortFunc(all, func(a, b FileDifference) int { return cmp.Compare(a.Path, b.Path) })
	return all
}
