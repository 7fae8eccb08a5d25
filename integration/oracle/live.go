package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"kedge/integration/oracle/shell"
	"kedge/kernel"
	"kedge/kernel/observe"
	"kedge/notebook"
	"kedge/session"
)

// Live asks a kernel behind Kedge for the cells one by one, as a person does
// through a front end, from the start of the kernel to its end. A cell may be
// asked for more than once, each time with its text as it then is. If queued,
// all that the kernel is asked for waits there from the start.
func (l *Lab) Live(ctx context.Context, requests []Cell, queued bool) (run Run, err error) {
	runtime, err := os.MkdirTemp(filepath.Join(l.root, "runtime"), "live-")
	if err != nil {
		return run, err
	}
	defer os.RemoveAll(runtime)
	ring, err := observe.Create(runtime)
	if err != nil {
		return run, err
	}
	defer ring.Close()
	sh, err := l.fork(ring)
	if err != nil {
		return run, err
	}
	defer func() { _ = sh.Shutdown(ctx) }()
	doc, outline, err := document(notebookOf(requests), nil)
	if err != nil {
		return run, err
	}
	nb, err := session.OpenInteractive(ctx, l.config(doc, outline, runtime), sh, ring)
	if err != nil {
		return run, err
	}
	var writing errgroup.Group
	writing.Go(func() error { nb.Run(ctx); return nil })
	err = l.requests(ctx, nb, sh, requests, queued, &run)
	nb.Close()
	err = errors.Join(err, writing.Wait())
	if sight, lookErr := sh.Look(ctx); lookErr == nil {
		run.Sight = &sight
	}
	run.OK, run.Faults, run.Absent = true, nb.Faults(), map[string]bool{}
	files, treeErr := tree(l.Folder())
	run.Files = files
	return run, errors.Join(err, treeErr)
}

// notebookOf is the notebook whose cells are asked for: each as it is last.
func notebookOf(requests []Cell) []Cell {
	var cells []Cell
	for _, r := range requests {
		i := slices.IndexFunc(cells, func(c Cell) bool { return c.ID == r.ID })
		switch {
		case r.Foreign, r.Past:
		case i < 0:
			cells = append(cells, r)
		default:
			cells[i] = r
		}
	}
	return cells
}

func (l *Lab) requests(ctx context.Context, nb *session.Interactive, sh *shell.Shell, requests []Cell, queued bool, run *Run) error {
	var shown []string // display ids that a front end has from restored cells
	past, err := unwatched(ctx, sh, requests, run)
	if err != nil {
		return err
	}
	if past > 0 {
		nb.Past(ctx, sources(requests[:past]), nil)
	}
	known := 0 // requests of which the front end has told
	var cells []Cell
	var outline *notebook.Outline
	for n, r := range requests {
		if r.Past {
			continue
		}
		if r.Foreign {
			nb.Foreign(ctx, r.Source)
			res, err := sh.Execute(ctx, kernel.Request{Code: r.Source, Shown: shown})
			if err != nil {
				return fmt.Errorf("request %d: %w", n, err)
			}
			nb.EndForeign()
			run.Cells = append(run.Cells, answered(r, session.Ran, "is no cell of a step", res))
			continue
		}
		if n >= known {
			known = n + 1
			if queued {
				known = n + together(requests[n:])
			}
			if cells, outline, err = tell(nb, requests[:known]); err != nil {
				return err
			}
		}
		at, waiting := place(cells, r), requests[n+1:known]
		answer, err := nb.Begin(ctx, outline.Cells[at], func() (next notebook.CodeCell, ok bool) {
			if len(waiting) == 0 {
				return next, false
			}
			next, waiting = outline.Cells[place(cells, waiting[0])], waiting[1:]
			return next, true
		})
		if err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
		res := kernel.Result{Outputs: answer.Outputs, DisplayIDs: answer.DisplayIDs, ExecutionCount: answer.Count}
		if answer.Status != session.Restored {
			if res, err = sh.Execute(ctx, kernel.Request{Code: r.Source, Shown: shown}); err != nil {
				return fmt.Errorf("request %d: %w", n, err)
			}
			nb.End(ctx, res)
		} else {
			shown = slices.AppendSeq(shown, maps.Values(answer.DisplayIDs))
		}
		run.Cells = append(run.Cells, answered(r, answer.Status, answer.Why, res))
	}
	return nil
}

// tell tells nb of the notebook whose cells are asked for.
func tell(nb *session.Interactive, requests []Cell) ([]Cell, *notebook.Outline, error) {
	cells := notebookOf(requests)
	doc, outline, err := document(cells, nil)
	if err == nil {
		nb.Know(doc, outline)
	}
	return cells, outline, err
}

func place(cells []Cell, r Cell) int {
	return slices.IndexFunc(cells, func(c Cell) bool { return c.ID == r.ID })
}

// together is how many of the first requests are of cells, and of none in two versions.
func together(requests []Cell) int {
	source := map[string]string{}
	for i, r := range requests {
		if was, asked := source[r.ID]; r.Foreign || asked && was != r.Source {
			return i
		}
		source[r.ID] = r.Source
	}
	return len(requests)
}

// unwatched runs what comes before the notebook has steps, and returns how many requests that were.
func unwatched(ctx context.Context, sh *shell.Shell, requests []Cell, run *Run) (n int, err error) {
	n = len(requests)
	if i := slices.IndexFunc(requests, func(r Cell) bool { return !r.Past }); i >= 0 {
		n = i
	}
	if n > 0 {
		if err := sh.Begin(ctx); err != nil {
			return 0, err
		}
	}
	for _, r := range requests[:n] {
		res, err := sh.Execute(ctx, kernel.Request{Code: r.Source})
		if err != nil {
			return 0, err
		}
		run.Cells = append(run.Cells, answered(r, session.Ran, "comes before the steps", res))
	}
	return n, nil
}

func sources(cells []Cell) (all []string) {
	for _, c := range cells {
		all = append(all, c.Source)
	}
	return all
}

// answered is what a front end gets for a request: outputs, display ids, updates of earlier outputs.
func answered(r Cell, status, why string, res kernel.Result) CellRun {
	shown := readable(res.Outputs)
	updates := slices.DeleteFunc(slices.Clone(res.Displays), func(u kernel.Update) bool {
		return slices.Contains(slices.Collect(maps.Values(res.DisplayIDs)), u.DisplayID) // a front end does that by itself
	})
	if len(res.DisplayIDs)+len(updates) > 0 {
		more, err := json.Marshal([]any{res.DisplayIDs, append([]kernel.Update{}, updates...)})
		shown += "\n" + string(more) + fmt.Sprint(err)
	}
	return CellRun{ID: r.ID, Status: status, Why: why, Count: res.ExecutionCount, Outputs: shown}
}

// LivePlain makes the same requests to a plain kernel, at the same path, in a
// folder that lay fills.
func (l *Lab) LivePlain(ctx context.Context, requests []Cell, lay func(dir string) error) (run Run, err error) {
	return l.aside(ctx, lay, func(sh *shell.Shell, run *Run) error {
		run.OK = true
		for n, r := range requests {
			res, err := sh.Execute(ctx, kernel.Request{Code: r.Source})
			if err != nil {
				return fmt.Errorf("plain request %d: %w", n, err)
			}
			run.Cells = append(run.Cells, answered(r, session.Ran, "", res))
		}
		return nil
	})
}
