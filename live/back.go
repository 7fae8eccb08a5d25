package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/session"
)

// back makes the kernel and the folder what they are after the cells of the
// notebook up to the end of a step, or as far as nothing has changed, in a
// fresh kernel, and returns what is to be told of it. If that cannot be done
// all stays as it is.
func (n *Notebook) back(ctx context.Context, a asked, step string, c *kernel.Cell) string {
	if !n.prepared(ctx, a, c) {
		return n.nowhere() + "\n"
	}
	b, _, why := n.goBack(ctx, c, func(ctx context.Context) (*session.Back, error) { return n.nb.Back(ctx, step) }, step != "")
	if why != "" {
		return why + "\n"
	}
	text := fmt.Sprintf("%d cells are restored, in a fresh kernel\n", b.Cells())
	if b.Next != "" {
		text += fmt.Sprintf("the next is cell %s: %s\n", b.Next, b.Why)
	}
	return text
}

// prepared opens the session if the notebook has steps, and reports whether it is possible to go back.
func (n *Notebook) prepared(ctx context.Context, a asked, c *kernel.Cell) bool {
	n.mu.Lock()
	n.active = n.active || n.hasSteps(a)
	active := n.active
	n.mu.Unlock()
	return active && n.open(ctx, c) && n.cfg.Spawn != nil
}

// goBack goes where look finds the way to, or all the way if it has to be whole. why says why that was not possible, and
// what was done instead: nothing.
func (n *Notebook) goBack(ctx context.Context, c *kernel.Cell, look func(context.Context) (*session.Back, error), whole bool) (b *session.Back, answers []session.Answer, why string) {
	const same = "; nothing was done"
	outline, err := n.file.outline()
	if err != nil {
		return nil, nil, err.Error() + same
	}
	n.nb.Know(n.file.doc, outline)
	b, err = look(context.WithoutCancel(ctx))
	switch {
	case err != nil:
		return nil, nil, err.Error() + same
	case whole && b.Next != "":
		return b, nil, fmt.Sprintf("cell %s has to run: %s%s", b.Next, b.Why, same)
	case ctx.Err() != nil:
		return nil, nil, "interrupted" + same
	}
	if answers, err = n.swap(ctx, b, c); err != nil {
		switch n.cfg.Logger.Warn("going back", "error", err); {
		case errors.Is(err, session.ErrFiles):
			return nil, nil, err.Error() + "; the kernel goes on as it was"
		case ctx.Err() != nil:
			return nil, nil, "interrupted" + same
		}
		return nil, nil, err.Error() + same
	}
	return b, answers, ""
}

// swap puts a fresh kernel in which b has been taken in the place of the
// present one. That stands still meanwhile, so that none of its threads writes
// to the folder, and is killed at the end: what it has buffered is of later
// cells. If swap fails, or ctx ends first, it goes on.
func (n *Notebook) swap(ctx context.Context, b *session.Back, c *kernel.Cell) (answers []session.Answer, err error) {
	n.mu.Lock()
	debug := n.debug
	n.mu.Unlock()
	if debug {
		return nil, errors.New("a debugger is attached")
	}
	ours := context.WithoutCancel(ctx)
	comms, err := openComms(ours, c)
	if err != nil {
		return nil, err
	}
	f, err := n.spare.take(ctx, c.Starter(), b.Fits)
	if err != nil {
		return nil, err
	}
	old, ring := c.Kernel(), n.ring
	if err := takeOver(ctx, old, f.Kernel); err != nil {
		return nil, errors.Join(err, f.end())
	}
	if err := old.Pause(); err != nil {
		return nil, errors.Join(err, f.end())
	}
	nb, answers, err := b.Take(ctx, f.Kernel, f.ring, f.Dir())
	if err == nil {
		if err = c.Swap(ctx, f.Kernel); err != nil {
			err = errors.Join(err, nb.TakeFilesBack(ours))
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.end(), old.Resume())
	}
	old.Kill()
	n.nb, n.ring = nb, f.ring
	n.mu.Lock()
	n.beside, n.ran = "", false
	n.mu.Unlock()
	for _, a := range answers {
		c.Shows(a.DisplayIDs)
	}
	n.reopen(comms, answers, c)
	n.desk.anew(restored(b, answers))
	return answers, ring.Close()
}

// restored is what has become of the cells of b.
func restored(b *session.Back, answers []session.Answer) (list []outcome) {
	for i, cell := range b.Way() {
		o := outcome{cell.ID, cell.Step, cell.Source, answers[i], false}
		o.answer.Outputs = nil
		list = append(list, o)
	}
	return list
}

// reopen tells front ends which comms the fresh kernel has in place of those of the former.
func (n *Notebook) reopen(comms map[string]json.RawMessage, answers []session.Answer, c *kernel.Cell) {
	for _, a := range answers {
		for i := range a.Widgets {
			w := &a.Widgets[i]
			if _, known := comms[w.ID]; known && !w.Closed {
				delete(comms, w.ID)
			} else if !w.Closed {
				content, buffers := w.Open()
				c.Publish("comm_open", content, w.Metadata, buffers)
			}
		}
	}
	for id := range comms {
		c.Publish("comm_close", map[string]any{"comm_id": id, "data": struct{}{}}, nil, nil)
	}
}

// openComms are the comms that the kernel has open.
func openComms(ctx context.Context, c *kernel.Cell) (map[string]json.RawMessage, error) {
	raw, _, err := c.Call(ctx, "shell", "comm_info_request", struct{}{}, nil)
	if err != nil {
		return nil, err
	}
	var reply struct{ Comms map[string]json.RawMessage }
	return reply.Comms, json.Unmarshal(raw, &reply)
}

// takeOver makes a fresh kernel the one that clients know, with the subshells
// that they have.
func takeOver(ctx context.Context, old, fresh *kernel.Kernel) error {
	var subshells []string
	if strings.Contains(string(old.Info()), "kernel subshells") {
		raw, _, err := old.Call(ctx, "control", "list_subshell_request", struct{}{}, nil)
		if err != nil {
			return err
		}
		var reply struct {
			IDs []string `json:"subshell_id"`
		}
		if err := json.Unmarshal(raw, &reply); err != nil {
			return err
		}
		subshells = reply.IDs
	}
	if err := agent.NewClient(fresh).TakeOver(ctx, old.Session(), old.Name(), subshells); err != nil {
		return err
	}
	for range subshells {
		if _, _, err := fresh.Call(ctx, "control", "create_subshell_request", struct{}{}, nil); err != nil {
			return err
		}
	}
	return nil
}
