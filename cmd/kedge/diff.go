package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"kedge/cellgraph"
	"kedge/share"
	"kedge/snapshotter"
)

const diffUsage = `usage: kedge diff A [B] [--json]

Shows what is otherwise in snapshot B than in A: cells, by their lines; variables,
by name, of frames which columns; files; versions of packages. Without B: what A
has otherwise than the one before it. Nothing is unpickled: which columns differ
is told by what was written when they were captured, of large ones from a sample.
A and B are unique prefixes of ids, at least 8 digits, NB.ipynb for the newest
snapshot of a notebook, or NB.ipynb@STEP for that of a step.

examples:
  kedge diff analysis.ipynb@features analysis.ipynb@train
  kedge diff 3f2a9c01 analysis.ipynb
  kedge diff analysis.ipynb@train --json | jq '.variables[].name'
`

// maxDiffText is the size of files that are compared by their lines.
const maxDiffText = 256 << 10

// diffReport is the output of kedge diff --json.
type diffReport struct {
	Was *string `json:"was"` // snapshot; null: nothing was before
	Is  string  `json:"is"`
	share.Difference
}

func diffCommand() command {
	return command{name: "diff", short: "show what differs between two snapshots", usage: diffUsage, run: runDiff}
}

func runDiff(ctx context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("diff", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) != 1 && len(args) != 2 {
		return fmt.Errorf("%w: diff takes one or two snapshots", errUsage)
	}
	store, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	var both [2]snapshotter.Snapshot
	for i, arg := range args {
		if both[i], err = findShared(ctx, store, arg); err != nil {
			return err
		}
	}
	if len(args) == 1 {
		both[0], both[1] = snapshotter.Snapshot{}, both[0]
		if parent := both[1].Parent; !parent.IsZero() {
			if both[0], err = store.Snapshot(ctx, parent); err != nil {
				return fmt.Errorf("the one before it: %w", err)
			}
		}
	}
	r := diffReport{Is: both[1].ID.String(), Difference: share.Compare(contentsOf(ctx, store, both[0]), contentsOf(ctx, store, both[1]), textsOf(ctx, store))}
	if !both[0].ID.IsZero() {
		was := both[0].ID.String()
		r.Was = &was
	}
	if *asJSON {
		return writeJSON(out, r)
	}
	return writeDifference(out, r.Difference)
}

// contentsOf is what can be seen of a snapshot in the store; gc may have taken some.
func contentsOf(ctx context.Context, store *snapshotter.Store, s snapshotter.Snapshot) share.Contents {
	c := share.Contents{Environment: s.Environment, Variables: share.Described(s, func(id cellgraph.Digest) ([]byte, error) { return store.Blob(ctx, id) })}
	if document, err := store.Blob(ctx, s.Document); err == nil {
		c.Cells = share.ReadCells(document)
	}
	for _, f := range s.Files {
		if !f.Deleted {
			c.Files = append(c.Files, share.DescribeFile("", f, false))
		}
	}
	return c
}

// textsOf reads files that are compared by their lines.
func textsOf(ctx context.Context, store *snapshotter.Store) func(share.File) (string, bool) {
	return func(f share.File) (string, bool) {
		if f.Size > maxDiffText {
			return "", false
		}
		data, err := store.Blob(ctx, f.Content)
		return string(data), err == nil
	}
}

func writeDifference(out io.Writer, d share.Difference) error {
	var b strings.Builder
	for _, c := range d.Cells {
		if c.What == share.Shows {
			fmt.Fprintf(&b, "cell %s: its outputs differ\n", printable(c.ID))
			continue
		}
		fmt.Fprintf(&b, "cell %s %s\n", printable(c.ID), c.What)
		writeLines(&b, c.Lines)
	}
	for _, v := range d.Variables {
		fmt.Fprintf(&b, "variable %s %s: %s\n", printable(v.Name), v.What, whatChanged(v))
	}
	for _, name := range d.Unknown {
		fmt.Fprintf(&b, "variable %s is not captured, so it cannot be compared\n", printable(name))
	}
	for _, f := range d.Files {
		size := ""
		if f.Was != nil {
			size = formatBytes(f.Was.Size)
		}
		if f.Is != nil {
			size = strings.TrimPrefix(size+" → "+formatBytes(f.Is.Size), " → ")
		}
		fmt.Fprintf(&b, "file %s %s: %s\n", printable(f.Path), f.What, size)
		writeLines(&b, f.Lines)
	}
	for _, v := range d.Environment {
		fmt.Fprintf(&b, "%s: %s → %s\n", printable(v.Name), orDash(printable(v.Was)), orDash(printable(v.Is)))
	}
	if b.Len() == 0 {
		b.WriteString("nothing differs\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func writeLines(b *strings.Builder, lines []share.Line) {
	for _, l := range lines {
		fmt.Fprintf(b, "  %s %s\n", l.Op, printable(strings.ReplaceAll(l.Text, "\t", "    ")))
	}
}

// whatChanged says of a variable what it was and is, and which columns differ.
func whatChanged(v share.VariableDifference) string {
	var parts []string
	for _, side := range []*share.Variable{v.Was, v.Is} {
		if side == nil {
			continue
		}
		text := side.Type
		if e := extentOf(variableDetails{Shape: side.Shape, Length: side.Length}); e != "-" {
			text += " " + e
		}
		if side.Shown != "" {
			text = side.Shown
		}
		if side.Reason != "" {
			text = "not captured: " + side.Reason
		}
		if len(parts) == 0 || parts[0] != text {
			parts = append(parts, text)
		}
	}
	text := printable(strings.Join(parts, " → "))
	if f := v.Frame; f != nil {
		text += columnsChanged(f)
	}
	return text
}

func columnsChanged(f *share.FrameDifference) string {
	text := ""
	if f.Rows[0] != f.Rows[1] {
		text += fmt.Sprintf("; %d → %d rows", f.Rows[0], f.Rows[1])
	}
	name := func(what string, names []string) {
		if len(names) > 0 && names[0] != "" {
			text += "; " + what + " " + listed(len(names), func(i int) string { return names[i] })
		}
	}
	name("columns added:", f.Added)
	name("removed:", f.Removed)
	name("changed:", f.Changed)
	for _, t := range f.Types {
		text += printable(strings.TrimLeft(fmt.Sprintf("; %s is %s, was %s", t.Name, t.Is, t.Was), " "))
	}
	if f.Sampled {
		text += "; others seem equal, by a sample"
	}
	return text
}
