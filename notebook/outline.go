package notebook

import "slices"

// firstStep holds the untagged cells above the first step.
const firstStep = "start"

// Outline is how a notebook's code cells form steps.
type Outline struct {
	Steps []Step // by first cell; empty if the notebook has no step tags
	Cells []CodeCell
}

// Step is a named group of cells.
type Step struct {
	Name  string
	Cells []string // ids, in notebook order
	Prev  []string // declared upstream steps; they form no cycle
	Settings
}

// CodeCell is a cell and what its own tags say of it.
type CodeCell struct {
	Cell
	Step            string // "" if it is in none
	Skip            bool
	RaisesException bool
	Settings
}

// Outline reads the tags. With auto, in a notebook without step tags (papermill's own apart) every untagged
// cell is a step named by its id. The error is a *TagError.
func (d *Document) Outline(auto bool) (*Outline, error) {
	return outlineOf(d.CodeCells(), auto)
}

// OutlineOf is the outline of cells that are in no document, all of them code, in their order. Blank ones are left out.
func OutlineOf(cells []Cell, auto bool) (*Outline, error) {
	var list []*Cell
	for _, cell := range cells {
		if !blank(cell.Source) {
			list = append(list, &cell)
		}
	}
	return outlineOf(list, auto)
}

func outlineOf(cells []*Cell, auto bool) (*Outline, error) {
	tags := make([]cellTags, len(cells))
	tagged, ours := false, false
	for i, cell := range cells {
		var err error
		if tags[i], err = readTags(cell); err != nil {
			return nil, err
		}
		if !tags[i].skip && tags[i].step != "" {
			tagged = true
			ours = ours || tags[i].step != tagParameters || !tags[i].special
		}
	}
	b := builder{places: map[string]int{}, auto: auto && !ours}
	for i, cell := range cells {
		name := ""
		if tagged || b.auto {
			name = b.stepOf(cell, tags[i])
		}
		if err := b.add(cell, tags[i], name); err != nil {
			return nil, err
		}
	}
	return &b.outline, nil
}

// LooseCell is a code cell that is in no document: its step is what its own tags say. Its Index is that of no cell.
// The error is a *TagError.
func LooseCell(id, source string, tags []string) (CodeCell, error) {
	cell := Cell{ID: id, Index: -1, Source: source, Tags: tags}
	t, err := readTags(&cell)
	if t.skip {
		t.step = ""
	}
	return CodeCell{Cell: cell, Step: t.step, Skip: t.skip, RaisesException: t.raises, Settings: t.Settings}, err
}

type builder struct {
	outline    Outline
	places     map[string]int // step name to place in outline.Steps
	auto       bool
	current    string // the step that an untagged cell joins
	parameters string // the nearest parameters step above
}

// stepOf names the step of the next cell. Injected and skipped cells never change where the cells below
// them belong.
func (b *builder) stepOf(cell *Cell, t cellTags) string {
	switch {
	case t.skip:
		return ""
	case t.injected:
		if b.parameters != "" {
			return b.parameters
		}
		return tagParameters
	case t.step != "":
		b.current = t.step
		if t.special && (t.step == tagParameters || t.step == tagPipelineParameters) {
			b.parameters = t.step
		}
	case b.auto:
		return cell.ID
	case b.current == "":
		b.current = firstStep
	}
	return b.current
}

func (b *builder) add(cell *Cell, t cellTags, name string) error {
	b.outline.Cells = append(b.outline.Cells, CodeCell{
		Cell: *cell, Step: name, Skip: t.skip, RaisesException: t.raises, Settings: t.Settings,
	})
	if name == "" {
		return nil
	}
	place, known := b.places[name]
	if !known {
		place = len(b.outline.Steps)
		b.places[name] = place
		b.outline.Steps = append(b.outline.Steps, Step{Name: name})
	}
	step := &b.outline.Steps[place]
	step.Cells = append(step.Cells, cell.ID)
	step.add(t.Settings)
	for _, prev := range t.prev {
		if problem := b.cannotFollow(name, prev); problem != "" {
			return &TagError{cell.ID, "prev:" + prev, problem}
		}
		if !slices.Contains(step.Prev, prev) {
			step.Prev = append(step.Prev, prev)
		}
	}
	return nil
}

// cannotFollow says why a step must not depend on prev, "" if it may.
func (b *builder) cannotFollow(name, prev string) string {
	switch _, known := b.places[prev]; {
	case prev == name:
		return "a step cannot come after itself"
	case !known:
		return "no step of that name comes before this cell"
	case b.depends(prev, name):
		return "step " + prev + " already depends on step " + name
	}
	return ""
}

// depends reports whether step a declares, directly or not, to come after on.
func (b *builder) depends(a, on string) bool {
	todo, seen := []string{a}, map[string]bool{a: true}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, prev := range b.outline.Steps[b.places[name]].Prev {
			if prev == on {
				return true
			}
			if !seen[prev] {
				seen[prev] = true
				todo = append(todo, prev)
			}
		}
	}
	return false
}
