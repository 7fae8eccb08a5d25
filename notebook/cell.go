package notebook

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Cell is a code cell as it was when CodeCells read it.
type Cell struct {
	ID     string // unique in the document: nbformat's id, or cell-<Index> where there is none
	Index  int    // place among all cells of the notebook, from 0
	Source string // lines joined
	Tags   []string

	node *value
}

// Metadata returns the cell's metadata at a path as compact JSON, and whether it is there. It reads the
// document as it now stands.
func (c Cell) Metadata(path ...string) (json.RawMessage, bool) {
	return metadata(c.node, path)
}

// CodeCells returns the code cells that are not blank, in order. A repeated id gets -2, -3, … here; the
// file keeps what it has.
func (d *Document) CodeCells() []*Cell {
	ids := d.ids()
	var cells []*Cell
	for i, node := range d.cells() {
		source, _ := joined(node.get("source"))
		if !isCode(node) || blank(source) {
			continue
		}
		cells = append(cells, &Cell{ID: ids[i], Index: i, Source: source, Tags: tagsOf(node), node: node})
	}
	return cells
}

// SetCell replaces the source and the tags of the code cell at index. It changes nothing on an error, which wraps
// ErrNoCell.
func (d *Document) SetCell(index int, source string, tags []string) error {
	cell, err := d.code(index)
	if err != nil {
		return err
	}
	cell.set("source", lineList(source))
	setTags(cell, tags)
	return nil
}

// Lay puts code cells into the notebook that it lacks, or has as blank ones or as text, each below the one that comes
// before it in cells, and gives those that it has the tags that they have there. Blank cells, and sources of code that it
// has, count for nothing.
func (d *Document) Lay(cells []Cell) {
	next, ids := 0, d.ids()
	list := d.root.get("cells")
	for _, c := range cells {
		if blank(c.Source) {
			continue
		}
		at := slices.Index(ids, c.ID)
		switch {
		case at < 0:
			at = next
			ids = slices.Insert(ids, at, c.ID)
			list.items = slices.Insert(list.items, at, d.newCode(c.ID, c.Source, c.Tags))
		case !isCode(list.items[at]):
			list.items[at] = d.newCode(c.ID, c.Source, c.Tags)
		default:
			node := list.items[at]
			if source, _ := joined(node.get("source")); blank(source) {
				node.set("source", lineList(c.Source))
			}
			if !slices.Equal(tagsOf(node), c.Tags) {
				setTags(node, c.Tags)
			}
		}
		next = at + 1
	}
}

// newCode is a code cell that has not run.
func (d *Document) newCode(id, source string, tags []string) *value {
	cell := newObject(
		field("cell_type", newString("code")),
		field("execution_count", null()),
		field("metadata", newObject()),
		field("outputs", newArray()),
		field("source", lineList(source)),
	)
	if d.minor >= 5 {
		cell.set("id", newString(id))
	}
	setTags(cell, tags)
	return cell
}

func setTags(cell *value, tags []string) {
	if len(tags) == 0 && cell.at("metadata", "tags") == nil {
		return
	}
	list := newArray()
	for _, tag := range tags {
		list.items = append(list.items, newString(tag))
	}
	cell.object("metadata").set("tags", list)
}

func isCode(node *value) bool {
	t, _ := node.get("cell_type").text()
	return t == "code"
}

// tagsOf returns the cell's tags; what is not a string is no tag.
func tagsOf(node *value) []string {
	list := node.at("metadata", "tags")
	if list == nil {
		return nil
	}
	var tags []string
	for _, item := range list.items {
		if tag, ok := item.text(); ok {
			tags = append(tags, tag)
		}
	}
	return tags
}

// ids returns one unique id per cell of the notebook. A suffix never takes an id that the file itself uses.
func (d *Document) ids() []string {
	cells := d.cells()
	ids := make([]string, len(cells))
	own := make(map[string]bool, len(cells))
	for i, node := range cells {
		if d.minor >= 5 {
			ids[i], _ = node.get("id").text()
		}
		if ids[i] == "" {
			ids[i] = "cell-" + strconv.Itoa(i)
		}
		own[ids[i]] = true
	}
	seen := make(map[string]bool, len(cells))
	for i, id := range ids {
		unique := id
		for n := 2; seen[unique] || unique != id && own[unique]; n++ {
			unique = id + "-" + strconv.Itoa(n)
		}
		ids[i], seen[unique] = unique, true
	}
	return ids
}
