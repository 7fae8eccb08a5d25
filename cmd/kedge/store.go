package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kedge/snapshotter"
)

const storeUsage = `usage: kedge store stats|verify|saved [--json]
       kedge store gc [--dry-run] [--quota SIZE] [--json]
       kedge store rebuild [--json]
       kedge store pin|unpin|delete SNAPSHOT
       kedge store cat DIGEST

stats   counts what the store holds.
verify  reads everything again, checks it, and prints what is damaged; exits 0
        only if every snapshot can be restored bit for bit.
gc      removes what nobody needs any more, then what saves the least time per
        byte until the store is within its quota: first the values and files of
        old and cheap cells, later their outputs. What has not been used for a
        week is compressed. What an open notebook uses, what is pinned and what
        a restore has saved of your files stays. gc runs by itself when the
        quota is reached.
rebuild makes the catalog again from the segments, which it reads and checks,
        and prints what they no longer hold. Close the notebooks that use the
        store first.
pin     keeps a snapshot, with all its values and files; unpin gives it free.
delete  forgets a snapshot and the run it is of: its cell runs again where nothing
        else that is stored fits. Its space comes back with the next gc.
saved   lists the files of yours that were in no snapshot when a restore
        replaced them; cat prints the content of one.

  --dry-run     say what would go, and change nothing
  --quota SIZE  such as 20GB or 500MiB, or none; without it $KEDGE_QUOTA, else
                "quota" in ~/.config/kedge/config.json, else 20 % of what is
                free, at most 50 GB

The store is in $KEDGE_HOME, by default ~/.local/share/kedge.

examples:
  kedge store stats
  kedge store verify
  kedge store gc --dry-run --quota 10GB
  kedge store pin analysis.ipynb@train
  kedge store cat 5f70bf18a0860070… >trips.csv
  kedge store verify --json | jq '.problems | length'
`

// errDamaged says that the store does not hold what it should.
var errDamaged = errors.New("the store is damaged")

// verifyReport is the output of kedge store verify --json.
type verifyReport struct {
	OK       bool                  `json:"ok"`
	Problems []snapshotter.Problem `json:"problems"`
}

func storeCommand() command {
	return command{name: "store", short: "count, verify or clean what is stored", usage: storeUsage, run: runStore}
}

// storeFlags are those of kedge store.
type storeFlags struct {
	json, dryRun bool
	quota        string
	errOut       io.Writer
}

// storeVerb does one thing with the store; arg is the one argument, "" if it takes none.
type storeVerb struct {
	takes string // what the argument is, "" if there is none
	run   func(ctx context.Context, out io.Writer, store *snapshotter.Store, arg string, f storeFlags) error
}

func storeVerbs() map[string]storeVerb {
	return map[string]storeVerb{
		"stats": {"", storeStats}, "verify": {"", storeVerify}, "saved": {"", storeSaved}, "gc": {"", storeGC},
		"pin": {"a snapshot", storePin}, "unpin": {"a snapshot", storeUnpin}, "delete": {"a snapshot", storeDelete}, "cat": {"a digest", storeCat},
	}
}

func runStore(ctx context.Context, out, errOut io.Writer, args []string) error {
	f := storeFlags{errOut: errOut}
	fs := flag.NewFlagSet("store", flag.ContinueOnError)
	fs.BoolVar(&f.json, "json", false, "")
	fs.BoolVar(&f.dryRun, "dry-run", false, "")
	fs.StringVar(&f.quota, "quota", "", "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) == 1 && args[0] == "rebuild" && !f.dryRun && f.quota == "" {
		return storeRebuild(ctx, out, f) // what it is for cannot be opened
	}
	verbs := storeVerbs()
	if len(args) == 0 || verbs[args[0]].run == nil {
		return fmt.Errorf("%w: store takes one of %s", errUsage, strings.Join(slices.Sorted(maps.Keys(verbs)), ", ")+", rebuild")
	}
	verb, arg := verbs[args[0]], ""
	switch {
	case verb.takes == "" && len(args) > 1:
		return fmt.Errorf("%w: store %s takes no argument", errUsage, args[0])
	case verb.takes != "" && len(args) != 2:
		return fmt.Errorf("%w: store %s takes %s", errUsage, args[0], verb.takes)
	case verb.takes != "":
		arg = args[1]
	}
	if args[0] != "gc" && (f.dryRun || f.quota != "") {
		return fmt.Errorf("%w: --dry-run and --quota are for store gc", errUsage)
	}
	store, err := openStore(ctx)
	if err != nil {
		return err
	}
	return errors.Join(verb.run(ctx, out, store, arg, f), store.Close())
}

func storeGC(ctx context.Context, out io.Writer, store *snapshotter.Store, _ string, f storeFlags) (err error) {
	cfg := snapshotter.GCConfig{DryRun: f.dryRun}
	if f.quota == "" {
		cfg.Quota, err = store.Quota()
	} else if cfg.Quota, err = parseQuota(f.quota); err != nil {
		err = fmt.Errorf("%w: --quota: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	bar := newBar(f.errOut, "cleaning the store")
	cfg.Progress = bar.update
	report, err := store.GC(ctx, cfg)
	bar.close()
	if err != nil {
		return err
	}
	if f.json {
		return writeJSON(out, report)
	}
	return writeGC(out, report)
}

func writeGC(out io.Writer, r snapshotter.GCReport) error {
	verb, now := "removed", "now"
	if r.DryRun {
		verb, now = "would remove", "then about"
	}
	limit := "no limit"
	if r.Quota >= 0 {
		limit = "of " + formatBytes(r.Quota)
	}
	fmt.Fprintf(out, "%s %d snapshots, %d traces, the values of %d more, and %d blobs that nobody needed\n", verb, r.Snapshots, r.Traces, r.States, r.Blobs)
	if r.Squeezed > 0 {
		fmt.Fprintf(out, "compressing what is cold saved %s\n", formatBytes(r.Squeezed))
	}
	if r.Damaged > 0 {
		fmt.Fprintf(out, "%d segments are damaged and were left as they are; kedge store verify names them\n", r.Damaged)
	}
	_, err := fmt.Fprintf(out, "the store took %s, %s %s, %s\n", formatBytes(r.Before), now, formatBytes(r.After), limit)
	if !r.Within() {
		fmt.Fprintln(out, "what is left is held by open notebooks, pinned, or saved files of yours")
		for _, h := range r.Holders {
			fmt.Fprintf(out, "  process %d: %s, since %s\n", h.PID, h.Command, h.Opened.Local().Format(time.DateTime))
		}
	}
	return err
}

func storeRebuild(ctx context.Context, out io.Writer, f storeFlags) error {
	cfg, err := storeConfig(snapshotter.DefaultDir())
	if err != nil {
		return err
	}
	bar := newBar(f.errOut, "rebuilding the catalog")
	r, err := snapshotter.Rebuild(ctx, cfg, bar.update)
	bar.close()
	if err != nil {
		return err
	}
	if f.json {
		if err := writeJSON(out, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d snapshots, %d traces, %d blobs and %d saved files are in the catalog, from %d segments\n", r.Snapshots, r.Traces, r.Blobs, r.Saved, r.Segments)
		for _, lost := range r.Lost {
			fmt.Fprintf(out, "lost: %s\n", lost)
		}
		if r.Old != "" {
			fmt.Fprintf(out, "the catalog as it was is %s; remove it when all is well\n", r.Old)
		}
	}
	if len(r.Lost) > 0 {
		return fmt.Errorf("%w: %d things are lost; their cells run again", errDamaged, len(r.Lost))
	}
	return nil
}

func storePin(ctx context.Context, out io.Writer, store *snapshotter.Store, arg string, _ storeFlags) error {
	s, err := findSnapshot(ctx, store, arg)
	if err != nil {
		return err
	}
	if err := store.Pin(ctx, s.ID); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is kept until kedge store unpin %s\n", s.ID, s.ID.String()[:shownDigits])
	return err
}

func storeUnpin(ctx context.Context, _ io.Writer, store *snapshotter.Store, arg string, _ storeFlags) error {
	s, err := findSnapshot(ctx, store, arg)
	if err != nil {
		return err
	}
	return store.Unpin(ctx, s.ID)
}

func storeDelete(ctx context.Context, out io.Writer, store *snapshotter.Store, arg string, _ storeFlags) error {
	s, err := findSnapshot(ctx, store, arg)
	if err != nil {
		return err
	}
	if err := store.Delete(ctx, s.ID); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is forgotten; kedge store gc gives its space back\n", s.ID)
	return err
}

func storeStats(ctx context.Context, out io.Writer, store *snapshotter.Store, _ string, f storeFlags) error {
	st, err := store.Stats(ctx)
	if err != nil {
		return err
	}
	if f.json {
		return writeJSON(out, st)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "snapshots\t%d\ntraces\t%d\nblobs\t%d\nextents\t%d\nsegments\t%d\n", st.Snapshots, st.Traces, st.Blobs, st.Extents, st.Segments)
	fmt.Fprintf(w, "stored\t%s\nif each snapshot were whole\t%s\n", formatBytes(st.Bytes), formatBytes(st.LogicalBytes))
	return w.Flush() // reports the failures of the writes before it
}

// storeVerify writes what is wrong with a store; errDamaged if anything is.
func storeVerify(ctx context.Context, out io.Writer, store *snapshotter.Store, _ string, f storeFlags) error {
	bar := newBar(f.errOut, "verifying")
	problems, err := store.Verify(ctx, bar.update)
	bar.close()
	if err != nil {
		return err
	}
	if f.json {
		report := verifyReport{OK: len(problems) == 0, Problems: append([]snapshotter.Problem{}, problems...)}
		if err := writeJSON(out, report); err != nil {
			return err
		}
	} else if err := writeProblems(out, problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %d problems; run with --no-cache the notebooks whose snapshots are named", errDamaged, len(problems))
	}
	return nil
}

func writeProblems(out io.Writer, problems []snapshotter.Problem) error {
	if len(problems) == 0 {
		_, err := fmt.Fprintln(out, "every snapshot can be restored")
		return err
	}
	for _, p := range problems {
		if _, err := fmt.Fprintf(out, "%s %s: %s\n", p.Kind, p.ID, p.Detail); err != nil {
			return err
		}
	}
	return nil
}
