package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"

	"kedge/snapshotter"
)

const storeUsage = `usage: kedge store stats|verify|saved [--json]
       kedge store cat DIGEST

stats   counts what the store holds.
saved   lists the files of yours that were in no snapshot when a restore
        replaced them; cat prints the content of one.
verify  reads everything again, checks it, and prints what is damaged; exits 0
        only if every snapshot can be restored bit for bit.

The store is in $KEDGE_HOME, by default ~/.local/share/kedge.

examples:
  kedge store stats
  kedge store verify
  kedge store saved
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
	return command{name: "store", short: "count or verify what is stored", usage: storeUsage, run: runStore}
}

func runStore(ctx context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("store", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	verbs := map[string]func(context.Context, io.Writer, *snapshotter.Store, bool) error{
		"stats": storeStats, "verify": storeVerify, "saved": storeSaved}
	cat := len(args) == 2 && args[0] == "cat"
	if !cat && (len(args) != 1 || verbs[args[0]] == nil) {
		return fmt.Errorf("%w: store takes stats, verify, saved, or cat and a digest", errUsage)
	}
	store, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if cat {
		return storeCat(ctx, out, store, args[1])
	}
	return verbs[args[0]](ctx, out, store, *asJSON)
}

func storeStats(ctx context.Context, out io.Writer, store *snapshotter.Store, asJSON bool) error {
	st, err := store.Stats(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(out, st)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "snapshots\t%d\ntraces\t%d\nblobs\t%d\nextents\t%d\nsegments\t%d\n", st.Snapshots, st.Traces, st.Blobs, st.Extents, st.Segments)
	fmt.Fprintf(w, "stored\t%s\nif each snapshot were whole\t%s\n", formatBytes(st.Bytes), formatBytes(st.LogicalBytes))
	return w.Flush() // reports the failures of the writes before it
}

// storeVerify writes what is wrong with a store; errDamaged if anything is.
func storeVerify(ctx context.Context, out io.Writer, store *snapshotter.Store, asJSON bool) error {
	problems, err := store.Verify(ctx, nil)
	if err != nil {
		return err
	}
	if asJSON {
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
