package live

import (
	"context"

	"kedge/kernel"
	"kedge/session"
)

// do runs an errand of a page's and answers it. A front end is shown that the kernel is busy meanwhile.
func (n *Notebook) do(ctx context.Context, comm string, s said, c *kernel.Cell) {
	done := map[string]any{"type": "done", "id": s.ID, "ok": true, "reason": ""}
	fail := func(why string) { done["ok"], done["reason"] = false, why }
	switch s.Type {
	case "again":
		n.again = s.Cell
	case "back":
		c.Status("busy")
		n.pageBack(ctx, comm, s, c, done, fail)
		c.Status("idle")
	case "branch":
		folder, name, why := "", "", n.unsaved(comm)
		if why != "" {
			done["unsaved"] = true
		} else {
			folder, name, why = n.branch(ctx, s.Cell, c)
		}
		done["folder"], done["notebook"] = folder, name
		if why != "" {
			fail(why)
		}
	case "copy":
		folder, name, err := n.copySnapshot(ctx, s.Snapshot, c)
		done["folder"], done["notebook"] = folder, name
		if err != nil {
			fail(err.Error())
		}
	}
	n.desk.answer(comm, done)
}

// pageBack goes back to just after a cell, or as far as nothing has changed, and tells the page what the cells show.
func (n *Notebook) pageBack(ctx context.Context, comm string, s said, c *kernel.Cell, done map[string]any, fail func(string)) {
	if !n.prepared(ctx, asked{}, c) {
		fail(n.nowhere())
		return
	}
	if why := n.unsaved(comm); why != "" {
		done["unsaved"] = true
		fail(why)
		return
	}
	look := func(ctx context.Context) (*session.Back, error) { return n.nb.BackTo(ctx, s.Cell) }
	if s.Cell == "" {
		look = func(ctx context.Context) (*session.Back, error) { return n.nb.Back(ctx, "") }
	}
	b, answers, why := n.goBack(ctx, c, look, s.Cell != "")
	if b != nil {
		done["next"], done["next_reason"] = b.Next, b.Why
	}
	if why != "" {
		fail(why)
		return
	}
	restored := []string{}
	for i, cell := range b.Way() {
		restored = append(restored, cell.ID)
		n.desk.answer(comm, map[string]any{"type": "output", "id": s.ID, "cell": cell.ID,
			"count": answers[i].Count, "outputs": answers[i].Outputs})
	}
	done["restored"] = restored
}

// unsaved says that the file has other code than a page has; "" if it has not. We go by the file, the person by the page.
func (n *Notebook) unsaved(comm string) string {
	outline, err := n.file.outline()
	if err != nil {
		return err.Error()
	}
	page := n.desk.cells(comm)
	for _, cell := range outline.Cells {
		if c, ok := page[cell.ID]; !ok || !same(c.Source, cell.Source) {
			return "the notebook's file is not what the page shows; save the notebook, or reload it"
		}
	}
	return ""
}
