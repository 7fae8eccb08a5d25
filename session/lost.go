package session

import (
	"context"

	"kedge/cellgraph"
	"kedge/notebook"
)

// noteLost remembers that a cell has run, with its present code, and left no
// trace: a plan must not call it unknown.
func (s *Session) noteLost(ctx context.Context, cell notebook.CodeCell, c *CellReport) {
	if cell.Step == "" || c.snapshot != "" || c.Status == NotRun {
		return
	}
	why := "its last run could not be recorded"
	if c.Status == Failed {
		why = "its last run failed"
	}
	// Also after an interrupt; a lost memo costs a word of the plan.
	_ = s.cfg.Store.PutMemo(context.WithoutCancel(ctx), "lost", s.lostKey(cell), []byte(why))
}

// lostWhy says why a run of a cell with its present code left no trace, "" if none is known.
func (s *Session) lostWhy(ctx context.Context, cell notebook.CodeCell) string {
	why, _, err := s.cfg.Store.Memo(ctx, "lost", s.lostKey(cell))
	if err != nil {
		return ""
	}
	return string(why)
}

func (s *Session) lostKey(cell notebook.CodeCell) cellgraph.Digest {
	return cellgraph.Combine("lost", s.key(cell.ID).String(), s.code(cell).String())
}
