package live

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"kedge/kernel"
)

const magicUsage = `usage: %kedge status | why | rerun | off | on | restore [STEP]

  status  which notebook this is, and what became of its cells
  why     why the last cell was restored or ran
  rerun   the next cell really runs
  off     cells run, and are neither restored nor kept
  on      the rule applies again
  restore the kernel, a fresh one, and the folder are what they are after the
          cells up to the end of STEP, or up to the first that would have to run
`

// isMagic says whether a request is one line of %kedge.
func isMagic(a asked) bool {
	line := strings.TrimSpace(a.Code)
	rest, ok := strings.CutPrefix(line, "%kedge")
	return ok && (rest == "" || rest[0] == ' ') && !strings.Contains(line, "\n") && a.visible()
}

// magic answers %kedge. It counts as a cell that was run.
func (n *Notebook) magic(ctx context.Context, a asked, c *kernel.Cell) error {
	word := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(a.Code), "%kedge"))
	text := ""
	if step, ok := strings.CutPrefix(word+" ", "restore "); ok {
		text = n.back(ctx, a, strings.TrimSpace(step), c)
	}
	count, err := n.enter(ctx, a.Code, c)
	if err != nil {
		return err // the proxy forwards it: the kernel says what it thinks of it
	}
	if text == "" {
		text = n.say(word)
	}
	answer(c, a.Code, count, func() {
		c.Publish("stream", map[string]string{"name": "stdout", "text": text}, nil, nil)
	}, nil, nil)
	return nil
}

// say does what a word of %kedge asks for and returns what it prints.
func (n *Notebook) say(word string) string {
	switch word {
	case "status":
		return n.status()
	case "why":
		past := n.outcomes()
		if len(past) == 0 {
			return "no cell of a step was asked for yet\n"
		}
		o := past[len(past)-1]
		return fmt.Sprintf("cell %s (step %s) %s: %s\n", o.id, o.step, o.answer.Status, o.answer.Why)
	case "rerun":
		if n.nb == nil {
			return n.nowhere() + "\n"
		}
		n.nb.Rerun()
		return "the next cell of a step really runs\n"
	case "off", "on":
		n.off = word == "off"
		return map[bool]string{true: "cells are neither restored nor kept from here on\n", false: "cells are restored and kept from here on\n"}[n.off]
	}
	return magicUsage
}

// notice says why cells are neither restored nor kept, "" if they are.
func (n *Notebook) notice() string {
	path := n.path()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.cfg.Language != "":
		return fmt.Sprintf("no snapshots for language %s yet", n.cfg.Language)
	case !n.cfg.Agent:
		return "nothing is restored or kept: the agent could not be installed"
	case path == "":
		return "no notebook file is known for this kernel; KEDGE_NOTEBOOK names it"
	case n.file.why != "":
		return n.file.why
	case n.why != "":
		return n.why
	case n.off:
		return "off: cells are neither restored nor kept"
	case n.active && n.nb != nil:
		return n.nb.Blind()
	}
	return ""
}

// nowhere says why there is nothing to go back to, and what to do about it.
func (n *Notebook) nowhere() string {
	return "nothing is restored here: " + cmp.Or(n.notice(), "the notebook has no steps yet; tag a cell as one, or make every cell a step, and run it")
}

// status describes the notebook and what became of its cells.
func (n *Notebook) status() string {
	var b strings.Builder
	path := n.path()
	if n.cfg.Language != "" || !n.cfg.Agent || path == "" {
		return n.notice() + "\n"
	}
	fmt.Fprintf(&b, "notebook %s\n", path)
	n.mu.Lock()
	active := n.active
	n.mu.Unlock()
	if notice := n.notice(); notice != "" {
		fmt.Fprintln(&b, notice)
	} else if !active {
		fmt.Fprintln(&b, "it has no step tags: every cell runs")
	}
	if past := n.outcomes(); len(past) > 0 {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CELL\tSTEP\tCOUNT\tSTATUS\tSAVED\tWHY")
		for _, o := range past {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%.2f\t%s\n", o.id, o.step, o.answer.Count, o.answer.Status, o.answer.SavedSeconds, o.answer.Why)
		}
		t.Flush()
	}
	if n.nb != nil {
		for _, fault := range n.nb.Faults() {
			fmt.Fprintln(&b, "fault:", fault)
		}
	}
	return b.String()
}
