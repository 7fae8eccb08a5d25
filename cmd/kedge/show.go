package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/snapshotter"
)

const showUsage = `usage: kedge show SNAPSHOT [--json]

Shows what a snapshot holds: variables, files, outputs and the environment.
Nothing is unpickled. SNAPSHOT is a unique prefix of its id, at least 8 digits,
or NB.ipynb@STEP for the newest snapshot of a step.

examples:
  kedge show 3f2a9c01
  kedge show analysis.ipynb@train
  kedge show analysis.ipynb@train --json | jq '.variables[] | select(.captured | not)'
`

// minDigits is how much of a snapshot's id an argument gives at least.
const minDigits = 8

// snapshotDetails is the output of kedge show --json.
type snapshotDetails struct {
	Snapshot     string            `json:"snapshot"`
	Parent       *string           `json:"parent"` // null for the first
	Notebook     string            `json:"notebook"`
	Step         string            `json:"step"`
	Cell         string            `json:"cell"`
	Created      time.Time         `json:"created"`
	Seconds      float64           `json:"seconds"`
	Status       string            `json:"status"`
	LogicalBytes int64             `json:"logical_bytes"`
	UniqueBytes  int64             `json:"unique_bytes"`
	Changed      changeDetails     `json:"changed"`
	Variables    []variableDetails `json:"variables"` // by name
	Files        []fileDetails     `json:"files"`
	Outputs      []outputDetails   `json:"outputs"` // by cell
	Environment  map[string]string `json:"environment"`
}

// changeDetails is what differs from the parent, by name; all of it where that is not there.
type changeDetails struct {
	Variables []string `json:"variables"` // new, or with another value
	Deleted   []string `json:"deleted"`   // variables
	Files     []string `json:"files"`
}

// variableDetails is one name. Where Captured is false only Name and Reason are set.
type variableDetails struct {
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"`
	Size     int64  `json:"size"` // bytes
	Shape    []int  `json:"shape,omitempty"`
	Length   *int   `json:"length,omitempty"`
	Digest   string `json:"digest,omitempty"` // of the group that the name belongs to
	Captured bool   `json:"captured"`
	Reason   string `json:"reason,omitempty"`
	// Preview is the beginning of the value as it was seen when it was captured; nil if there is none.
	Preview *agent.Preview `json:"preview,omitempty"`
}

// fileDetails is one file of the volume that cells wrote or deleted.
type fileDetails struct {
	Path   string `json:"path"`
	Type   string `json:"type"` // file, folder, link or deleted
	Size   int64  `json:"size"` // bytes
	Mode   string `json:"mode,omitempty"`
	Digest string `json:"digest,omitempty"`
	Target string `json:"target,omitempty"` // of a link
}

type outputDetails struct {
	Cell   string `json:"cell"`
	Digest string `json:"digest"` // blob: JSON array of nbformat outputs
}

func showCommand() command {
	return command{name: "show", short: "show what a snapshot holds", usage: showUsage, run: runShow}
}

func runShow(ctx context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("show", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return fmt.Errorf("%w: show takes one snapshot", errUsage)
	}
	store, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	snapshot, err := findSnapshot(ctx, store, args[0])
	if err != nil {
		return err
	}
	details := detailsOf(ctx, store, snapshot)
	if *asJSON {
		return writeJSON(out, details)
	}
	return writeDetails(out, details)
}

// findSnapshot is the snapshot that a command line argument means: a unique
// prefix of its id, at least 8 digits, or NB.ipynb@STEP. Anything else is
// errUsage; else [snapshotter.ErrNotFound], [snapshotter.ErrAmbiguous].
func findSnapshot(ctx context.Context, store *snapshotter.Store, arg string) (snapshotter.Snapshot, error) {
	if at := strings.LastIndexByte(arg, '@'); at >= 0 {
		notebook, step := arg[:at], arg[at+1:]
		if notebook == "" || step == "" {
			return snapshotter.Snapshot{}, fmt.Errorf("%w: %q is not NB.ipynb@STEP", errUsage, arg)
		}
		path, err := notebookPath(notebook)
		if err != nil {
			return snapshotter.Snapshot{}, err
		}
		snapshot, err := store.LatestSnapshot(ctx, path, step)
		return snapshot, seeLog(err)
	}
	if len(arg) < minDigits || len(arg) > 64 || strings.Trim(strings.ToLower(arg), "0123456789abcdef") != "" {
		return snapshotter.Snapshot{}, fmt.Errorf("%w: %q is neither %d or more hexadecimal digits of a snapshot's id nor NB.ipynb@STEP",
			errUsage, arg, minDigits)
	}
	snapshot, err := store.FindSnapshot(ctx, arg)
	return snapshot, seeLog(err)
}

// notebookPath is the name under which the store knows the notebook of an argument.
func notebookPath(arg string) (string, error) {
	path, err := filepath.Abs(arg)
	if err != nil {
		return "", fmt.Errorf("find notebook: %w", err)
	}
	return path, nil
}

func seeLog(err error) error {
	if err != nil {
		return fmt.Errorf("%w (kedge log --json lists the snapshots)", err)
	}
	return nil
}

// detailsOf has no nil slices or maps, so that JSON has no null for them.
func detailsOf(ctx context.Context, store *snapshotter.Store, s snapshotter.Snapshot) snapshotDetails {
	d := snapshotDetails{
		Snapshot: s.ID.String(), Notebook: s.Notebook, Step: s.Step, Cell: s.Cell,
		Created: s.Created.UTC(), Seconds: s.Seconds, Status: s.Status,
		LogicalBytes: s.LogicalBytes, UniqueBytes: s.UniqueBytes,
		Changed: changes(ctx, store, s), Variables: describeVariables(ctx, store, s), Files: []fileDetails{}, Outputs: []outputDetails{}, Environment: map[string]string{},
	}
	if !s.Parent.IsZero() {
		parent := s.Parent.String()
		d.Parent = &parent
	}
	for _, f := range s.Files {
		d.Files = append(d.Files, describeFile(f))
	}
	for _, cell := range slices.Sorted(maps.Keys(s.Outputs)) {
		d.Outputs = append(d.Outputs, outputDetails{cell, s.Outputs[cell].String()})
	}
	maps.Copy(d.Environment, s.Environment)
	return d
}

// changes compares a snapshot with its parent.
func changes(ctx context.Context, store *snapshotter.Store, s snapshotter.Snapshot) changeDetails {
	var before snapshotter.Snapshot
	if !s.Parent.IsZero() {
		before, _ = store.Snapshot(ctx, s.Parent) // one that was deleted is as none
	}
	c := changeDetails{Variables: []string{}, Deleted: []string{}, Files: []string{}}
	was, is := before.Values(), s.Values()
	for name, value := range is {
		if was[name] != value {
			c.Variables = append(c.Variables, name)
		}
	}
	for name := range was {
		if _, there := is[name]; !there {
			c.Deleted = append(c.Deleted, name)
		}
	}
	files := map[string]cellgraph.FileChange{}
	for _, f := range before.Files {
		files[f.Path] = f
	}
	for _, f := range s.Files {
		if files[f.Path] != f {
			c.Files = append(c.Files, f.Path)
		}
	}
	slices.Sort(c.Variables)
	slices.Sort(c.Deleted)
	slices.Sort(c.Files)
	return c
}

func describeVariables(ctx context.Context, store *snapshotter.Store, s snapshotter.Snapshot) []variableDetails {
	list := []variableDetails{}
	opaque := map[string]bool{}
	for _, u := range s.Opaque {
		opaque[u.Name] = true
		list = append(list, variableDetails{Name: u.Name, Reason: u.Reason})
	}
	for _, g := range s.Groups {
		known := map[string]cellgraph.Variable{}
		for _, v := range g.Vars {
			known[v.Name] = v
		}
		previews := previewsOf(ctx, store, g)
		for _, name := range g.Names {
			if opaque[name] { // bound anew since the group was captured
				continue
			}
			v := known[name]
			list = append(list, variableDetails{Name: name, Type: v.Type, Size: v.Size, Shape: v.Shape,
				Length: v.Length, Digest: g.ID.String(), Captured: true, Preview: previews[name]})
		}
	}
	slices.SortStableFunc(list, func(a, b variableDetails) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// previewsOf are those of a group's variables, by name; none where they cannot be read.
func previewsOf(ctx context.Context, store *snapshotter.Store, g cellgraph.Group) map[string]*agent.Preview {
	all := map[string]*agent.Preview{}
	if data, err := store.Blob(ctx, g.Payload); err == nil {
		if payload, err := agent.DecodePayload(data); err == nil {
			for name, p := range payload.Previews {
				all[name] = &p
			}
		}
	}
	for _, v := range g.Vars {
		if v.Shown != "" {
			all[v.Name] = &agent.Preview{Text: v.Shown}
		}
	}
	return all
}

func describeFile(f cellgraph.FileChange) fileDetails {
	d := fileDetails{Path: f.Path}
	switch {
	case f.Deleted:
		d.Type = "deleted"
		return d
	case f.Dir:
		d.Type = "folder"
	case f.Link != "":
		d.Type, d.Target = "link", f.Link
		return d
	default:
		d.Type, d.Size, d.Digest = "file", f.Size, f.Content.String()
	}
	d.Mode = fmt.Sprintf("%04o", f.Mode&0o777)
	return d
}

func writeDetails(out io.Writer, d snapshotDetails) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	parent := "-"
	if d.Parent != nil {
		parent = *d.Parent
	}
	fmt.Fprintf(w, "snapshot\t%s\nparent\t%s\nnotebook\t%s\nstep\t%s\ncell\t%s\n", d.Snapshot, parent, d.Notebook, orDash(d.Step), d.Cell)
	fmt.Fprintf(w, "created\t%s\nseconds\t%.2f\nstatus\t%s\n", d.Created.Format(time.RFC3339), d.Seconds, d.Status)
	fmt.Fprintf(w, "size\t%s, for which %s were written\n", formatBytes(d.LogicalBytes), formatBytes(d.UniqueBytes))
	for _, c := range []struct {
		what  string
		names []string
	}{{"changed", d.Changed.Variables}, {"deleted", d.Changed.Deleted}, {"files", d.Changed.Files}} {
		if len(c.names) > 0 {
			fmt.Fprintf(w, "%s\t%s\n", c.what, strings.Join(c.names, ", "))
		}
	}
	fmt.Fprintf(w, "outputs\tof %d cells\n", len(d.Outputs))
	for _, name := range slices.Sorted(maps.Keys(d.Environment)) {
		fmt.Fprintf(w, "%s\t%s\n", name, d.Environment[name])
	}
	if len(d.Variables) > 0 {
		fmt.Fprint(w, "\nVARIABLE\tTYPE\tSHAPE\tSIZE\tDIGEST\tVALUE\n")
	}
	for _, v := range d.Variables {
		if !v.Captured {
			fmt.Fprintf(w, "%s\tnot captured: %s\n", v.Name, v.Reason)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, orDash(v.Type), extentOf(v), formatBytes(v.Size), v.Digest[:shownDigits], glimpse(v.Preview))
	}
	if len(d.Files) > 0 {
		fmt.Fprint(w, "\nFILE\tTYPE\tMODE\tSIZE\n")
	}
	for _, f := range d.Files {
		kind := f.Type
		if f.Target != "" {
			kind += " to " + f.Target
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Path, kind, orDash(f.Mode), formatBytes(f.Size))
	}
	return w.Flush() // reports the failures of the writes before it
}

// glimpse is a preview in one short line: a text, or the columns of a frame.
func glimpse(p *agent.Preview) string {
	if p == nil {
		return "-"
	}
	text := p.Text
	if text == "" {
		text = strings.TrimSpace(strings.Join(p.Columns, " "))
	}
	if short := []rune(text); len(short) > glimpsed {
		text = string(short[:glimpsed-1]) + "…"
	}
	return orDash(text)
}

// glimpsed is how many characters of a value are shown.
const glimpsed = 48

// extentOf is the shape of a variable, else its length, else a dash.
func extentOf(v variableDetails) string {
	switch {
	case len(v.Shape) > 0:
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(v.Shape), "[]"), " ", "×")
	case v.Length != nil:
		return fmt.Sprint(*v.Length)
	}
	return "-"
}
