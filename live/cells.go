package live

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"kedge/kernel"
	"kedge/notebook"
)

// asked is an execute_request, as far as we care.
type asked struct {
	Code        string                     `json:"code"`
	Silent      bool                       `json:"silent"`
	Store       *bool                      `json:"store_history"`
	Expressions map[string]json.RawMessage `json:"user_expressions"`
	meta        struct {
		CellID string   `json:"cellId"`
		Tags   []string `json:"tags"`
	}
}

func ask(r *kernel.ShellRequest) (asked, bool) {
	var a asked
	if json.Unmarshal(r.Content, &a) != nil {
		return a, false
	}
	_ = json.Unmarshal(r.Metadata, &a.meta) // what is not of this shape says nothing
	return a, true
}

// visible says whether the request is one that a person sees in the history.
func (a asked) visible() bool { return !a.Silent && (a.Store == nil || *a.Store) }

// expressions are the sources of the expressions that the request has evaluated after its code.
func (a asked) expressions() map[string]string {
	found := map[string]string{}
	for name, raw := range a.Expressions {
		var source string
		if json.Unmarshal(raw, &source) == nil {
			found[name] = source
		}
	}
	return found
}

// file is the notebook as it was last read, with what requests have told since.
type file struct {
	path  string
	stat  os.FileInfo
	doc   *notebook.Document // nil if it could not be read
	cells []*notebook.Cell
	auto  bool
	steps bool              // it has steps
	why   string            // why it has none that could be used
	next  int               // place in cells after that of the last request that was found by its text
	uris  map[string]string // ids of cells by VS Code's addresses of them
}

func newFile(path string) *file { return &file{path: path, uris: map[string]string{}} }

// read reads the file again if it has changed. Of one that is being written it leaves what was read before, if something
// was and whole is false: who runs a cell need not wait for a save to end.
func (f *file) read(whole bool) {
	info, err := os.Stat(f.path)
	if err != nil || f.stat != nil && info.Size() == f.stat.Size() && info.ModTime().Equal(f.stat.ModTime()) {
		return
	}
	patience, cancel := context.WithCancel(context.Background())
	defer cancel()
	if f.doc != nil && !whole {
		cancel()
	}
	doc, _, err := notebook.ReadFile(patience, f.path)
	if errors.Is(err, context.Canceled) || errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		f.why = err.Error()
		return
	}
	f.stat, f.doc, f.cells, f.why = info, doc, doc.CodeCells(), ""
	auto, _ := doc.Metadata("kedge", "auto")
	f.auto = string(auto) == "true"
	outline, err := doc.Outline(f.auto)
	if err != nil {
		f.steps, f.why = false, err.Error()
		return
	}
	f.steps = len(outline.Steps) > 0
}

// outline are the notebook's steps as it now is.
func (f *file) outline() (*notebook.Outline, error) {
	if _, err := os.Stat(f.path); errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the notebook's file is gone; if it was renamed or moved, restart the kernel, which then knows where it is")
	}
	f.read(true)
	if f.doc == nil {
		return nil, errors.New("the notebook cannot be read")
	}
	return f.doc.Outline(f.auto)
}

// tagged says whether the notebook has steps, as far as its file or the tags that came with a request tell.
func (f *file) tagged(a asked) bool {
	f.read(false)
	if f.steps {
		return true
	}
	loose, err := notebook.LooseCell("", a.Code, a.meta.Tags)
	return err == nil && loose.Step != ""
}

// find is the cell that a request asks for, in the notebook as it then is; page are the cells of the page that has
// it, if one has. It answers false if that is no cell of a step.
func (f *file) find(a asked, page []notebook.Cell) (notebook.CodeCell, *notebook.Outline, bool) {
	f.read(false)
	if f.doc == nil {
		cell, ok := loose(a)
		return cell, &notebook.Outline{}, ok
	}
	address := inURI(a.meta.CellID) != ""
	id := a.meta.CellID
	if met, ok := f.uris[id]; address && ok {
		id = met
	}
	place := f.place(id)
	if place < 0 && f.lay(page) {
		place = f.place(id)
	}
	known := place >= 0 || address
	if place < 0 {
		place = f.byText(a.Code)
	}
	if id = ""; place >= 0 {
		cell := f.cells[place]
		id, f.next = cell.ID, place+1
		if address {
			f.uris[a.meta.CellID] = id
		}
		tags := cell.Tags
		if known || a.meta.Tags != nil {
			tags = a.meta.Tags
		}
		_ = f.doc.SetCell(cell.Index, a.Code, tags) // it is there
		f.cells = f.doc.CodeCells()
	}
	outline, err := f.doc.Outline(f.auto)
	if err != nil {
		f.why = err.Error()
		return notebook.CodeCell{}, &notebook.Outline{}, false
	}
	f.why = ""
	if place < 0 {
		cell, ok := loose(a)
		return cell, outline, ok
	}
	for _, cell := range outline.Cells {
		if cell.ID == id {
			return cell, outline, cell.Step != "" && !cell.Skip
		}
	}
	return notebook.CodeCell{}, outline, false
}

// place is where in cells the one with this id is, -1 if none has it.
func (f *file) place(id string) int {
	return slices.IndexFunc(f.cells, func(c *notebook.Cell) bool { return id != "" && c.ID == id })
}

// lay puts the cells of a page that the file does not have yet where the page has them, and says whether it could. A
// page none of whose cells the file has tells nothing of their places: files before nbformat 4.5 keep no ids.
func (f *file) lay(page []notebook.Cell) bool {
	if !slices.ContainsFunc(page, func(c notebook.Cell) bool { return f.place(c.ID) >= 0 }) {
		return false
	}
	f.doc = f.doc.Clone() // places are others now: to whom that matters it is another document, as it is when it was saved
	f.doc.Lay(page)
	f.cells = f.doc.CodeCells()
	return true
}

// loose is a cell that the file does not have yet; it has a step if its own tags say so.
func loose(a asked) (notebook.CodeCell, bool) {
	id := a.meta.CellID
	if id == "" {
		id = "cell"
	}
	cell, err := notebook.LooseCell(id, a.Code, a.meta.Tags)
	return cell, err == nil && cell.Step != ""
}

// byText is the place of the next cell with this source, seen from the last that was found, one that no address is
// known of if there is one; -1 if no cell has it.
func (f *file) byText(code string) int {
	met := -1
	for i := range f.cells {
		at := (f.next + i) % len(f.cells)
		if !same(f.cells[at].Source, code) {
			continue
		}
		if !slices.Contains(slices.Collect(maps.Values(f.uris)), f.cells[at].ID) {
			return at
		}
		if met < 0 {
			met = at
		}
	}
	return met
}

// same compares sources as front ends send them: some take the end of the last line away.
func same(a, b string) bool { return strings.TrimRight(a, "\n") == strings.TrimRight(b, "\n") }
