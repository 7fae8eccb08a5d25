package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"kedge/snapshotter"
)

const logUsage = `usage: kedge log [NB.ipynb] [--json]

Lists the snapshots of a notebook, or of all notebooks, newest first.

Unique bytes are those that this snapshot was the first to store. Below the
snapshots stand the files of yours that a restore has replaced and that can be
had back; kedge store saved --json lists them for programs.

examples:
  kedge log
  kedge log analysis.ipynb
  kedge log analysis.ipynb --json | jq -r '.[0].snapshot'
`

// shownDigits are the digits of a snapshot's id that people get to see.
const shownDigits = 12

// logEntry is one snapshot in the output of kedge log --json.
type logEntry struct {
	Snapshot     string    `json:"snapshot"`
	Notebook     string    `json:"notebook"`
	Step         string    `json:"step"`
	Cell         string    `json:"cell"`
	Created      time.Time `json:"created"`
	Seconds      float64   `json:"seconds"`
	Status       string    `json:"status"`
	LogicalBytes int64     `json:"logical_bytes"`
	UniqueBytes  int64     `json:"unique_bytes"`
}

func logCommand() command {
	return command{name: "log", short: "list snapshots", usage: logUsage, run: runLog}
}

func runLog(ctx context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("log", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		return fmt.Errorf("%w: log takes at most one notebook", errUsage)
	}
	notebook := ""
	if len(args) == 1 {
		if notebook, err = notebookPath(args[0]); err != nil {
			return err
		}
	}
	store, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	snapshots, err := store.Snapshots(ctx, notebook)
	if err != nil {
		return err
	}
	entries := logEntries(snapshots)
	if *asJSON {
		return writeJSON(out, entries)
	}
	saved, err := store.Saved(ctx, notebook)
	if err != nil {
		return err
	}
	return errors.Join(writeLog(out, entries), writeSaved(out, saved))
}

// writeSaved says which files of the user's a restore has replaced, and how to get them back.
func writeSaved(out io.Writer, files []snapshotter.SavedFile) error {
	if len(files) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nfiles that were in no snapshot when a restore replaced them, kept in the store:")
	for _, f := range files {
		fmt.Fprintf(w, "%s\t%s\tkedge store cat %s\n", f.Saved.Local().Format(time.DateTime), f.Path, f.Content)
	}
	return w.Flush() // reports the failures of the writes before it
}

// logEntries is never nil, so that JSON has an array.
func logEntries(snapshots []snapshotter.Snapshot) []logEntry {
	entries := make([]logEntry, 0, len(snapshots))
	for _, s := range snapshots {
		entries = append(entries, logEntry{
			Snapshot: s.ID.String(), Notebook: s.Notebook, Step: s.Step, Cell: s.Cell,
			Created: s.Created.UTC(), Seconds: s.Seconds, Status: s.Status,
			LogicalBytes: s.LogicalBytes, UniqueBytes: s.UniqueBytes,
		})
	}
	return entries
}

func writeLog(out io.Writer, entries []logEntry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(out, "no snapshots yet; kedge run NB.ipynb makes them")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SNAPSHOT\tCREATED\tNOTEBOOK\tSTEP\tCELL\tSTATUS\tSECONDS\tSIZE\tUNIQUE")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%s\t%s\n", e.Snapshot[:shownDigits],
			e.Created.Local().Format(time.DateTime), filepath.Base(e.Notebook), orDash(e.Step), orDash(e.Cell),
			orDash(e.Status), e.Seconds, formatBytes(e.LogicalBytes), formatBytes(e.UniqueBytes))
	}
	return w.Flush() // reports the failures of the writes before it
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// formatBytes writes n bytes for people, in units of 1024.
func formatBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}
