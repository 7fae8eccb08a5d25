package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"

	"kedge/session"
)

func planCommand() command {
	return command{name: "plan", short: "say what a run would restore and what it would run", run: runPlan, usage: `usage: kedge plan NB.ipynb [-p name=value]… [--python PATH | --kernel NAME] [--from STEP] [--to STEP] [--auto] [--json]

Says for each step whether it is fresh (would be restored), stale (would
run, and why) or unknown (has never run). Starts no kernel.

examples:
  kedge plan train.ipynb
  kedge plan train.ipynb -p depth=4 --json`}
}

func runPlan(ctx context.Context, out, errOut io.Writer, args []string) error {
	var f runFlags
	fs := flag.NewFlagSet("plan", flag.ContinueOnError)
	f.register(fs)
	path, err := planArgs(fs, &f, args)
	if err != nil {
		return err
	}
	report := emptyReport(path)
	s, done, err := openPlan(ctx, errOut, path, f)
	if err == nil {
		defer done()
		report = s.Plan(ctx)
		for _, fault := range s.Faults() {
			fmt.Fprintf(errOut, "kedge: cache: %s\n", oneLine(fault))
		}
	}
	if f.json && exitCode(err) != exitUsage {
		blame(report, err)
		return errors.Join(err, writeReport(out, report))
	}
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STEP\tSTATUS\tSECONDS\tWHY")
	for _, step := range report.Steps {
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%s\n", step.Name, step.Status, step.Seconds, step.Why)
	}
	return t.Flush()
}

// planArgs reads the arguments of a command that plans: its flags and one notebook.
func planArgs(fs *flag.FlagSet, f *runFlags, args []string) (path string, err error) {
	names, err := parse(fs, args)
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		return "", fmt.Errorf("%w: kedge %s takes one notebook", errUsage, fs.Name())
	}
	return names[0], f.choose()
}

// openPlan opens a session that will start no kernel.
func openPlan(ctx context.Context, errOut io.Writer, path string, f runFlags) (*session.Session, func(), error) {
	j, err := prepare(ctx, errOut, path, f)
	if err != nil {
		return nil, nil, err
	}
	s, err := session.Open(ctx, j.config(f, ""))
	if err != nil {
		j.cache.close()
		return nil, nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return s, func() { j.cache.close() }, nil
}
