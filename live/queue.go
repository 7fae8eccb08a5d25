package live

import (
	"slices"
	"strings"

	"kedge/kernel"
	"kedge/notebook"
)

// found is the cell that a request asks for, as it was looked up when it came up or, behind another, waited.
type found struct {
	request *kernel.ShellRequest
	doc     *notebook.Document // in which it is, nil if that could not be read
	cell    notebook.CodeCell
	outline *notebook.Outline
	step    bool // it is a cell of a step
}

// cell is the cell that a request asks for. It answers false if that is not one that may be restored or kept.
func (n *Notebook) cell(r *kernel.ShellRequest, a asked) (notebook.CodeCell, bool) {
	f := n.lookUp(r, a)
	n.found = n.found[slices.IndexFunc(n.found, func(f found) bool { return f.request == r })+1:]
	n.nb.Know(f.doc, f.outline)
	return f.cell, f.step && !n.off && a.visible() && len(a.Expressions) == 0
}

// lookUp finds the cell of a request, once.
func (n *Notebook) lookUp(r *kernel.ShellRequest, a asked) found {
	if i := slices.IndexFunc(n.found, func(f found) bool { return f.request == r }); i >= 0 {
		return n.found[i]
	}
	f := found{request: r}
	f.cell, f.outline, f.step = n.file.find(a, n.desk.around(a.meta.CellID))
	f.doc = n.file.doc
	n.found = append(n.found, f)
	return f
}

// queue gives the cells that wait behind c, one a call, up to the first that may not be restored.
func (n *Notebook) queue(c *kernel.Cell) func() (notebook.CodeCell, bool) {
	next, doc := 0, n.file.doc
	return func() (none notebook.CodeCell, ok bool) {
		waiting := c.Waiting()
		if next >= len(waiting) || waiting[next].Header.MsgType != "execute_request" {
			return none, false
		}
		r := waiting[next]
		next++
		a, ok := ask(r)
		if !ok || isMagic(a) || strings.TrimSpace(a.Code) == "" || !a.visible() || len(a.Expressions) > 0 {
			return none, false
		}
		f := n.lookUp(r, a)
		if n.file.doc != doc { // the file was saved meanwhile: cells before have other places there
			return none, false
		}
		n.nb.Know(doc, f.outline)
		return f.cell, f.step && f.cell.ID != n.again
	}
}
