package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"kedge/share"
	"kedge/snapshotter"
)

const trustUsage = `usage: kedge trust [KEY] [--remove] [--yes] [--json]

Lets what KEY has signed be restored here: its author's code runs then, as that
of any notebook of hers that you run. Ask her for the key (kedge doctor --json
has it) by another way than the one by which the snapshot came. Without KEY:
who is trusted.

  --remove  no longer; what came from her is not restored from then on
  --yes     do not ask
  --json    print JSON

examples:
  kedge trust 5b1cf1c8e3f9d0a7f2ab6b2cd3c1e0a49c1d3b7785c6a1b0e5f4d3c2b1a09f8e
  kedge trust
`

func trustCommand() command {
	return command{name: "trust", short: "let an author's snapshots be restored", usage: trustUsage, run: runTrust}
}

func runTrust(_ context.Context, out, errOut io.Writer, args []string) error {
	fs := flag.NewFlagSet("trust", flag.ContinueOnError)
	remove, yes, asJSON := fs.Bool("remove", false, ""), fs.Bool("yes", false, ""), fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	trust := trustOf(snapshotter.DefaultDir())
	if len(args) == 0 && !*remove {
		return listTrusted(out, trust, *asJSON)
	}
	if len(args) != 1 {
		return fmt.Errorf("%w: trust takes one key", errUsage)
	}
	key, err := share.ParseKey(args[0])
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if *remove {
		was, err := trust.Remove(key)
		if err == nil && !was {
			err = fmt.Errorf("%s is not trusted: %w", share.KeyText(key), snapshotter.ErrNotFound)
		}
		return err
	}
	if !*yes {
		if ok, asked := ask(errOut, "Let what "+share.KeyText(key)+" signs run code here?"); !asked || !ok {
			return fmt.Errorf("%w: not trusted; --yes answers the question", errUsage)
		}
	}
	if _, err := share.LoadSigner(keyPath(snapshotter.DefaultDir())); err != nil { // makes the folder
		return err
	}
	if err := trust.Add(key, "", time.Now()); err != nil {
		return err
	}
	if *asJSON {
		return listTrusted(out, trust, true)
	}
	_, err = fmt.Fprintf(out, "%s is trusted\n", share.KeyText(key))
	return err
}

func listTrusted(out io.Writer, trust share.Trust, asJSON bool) error {
	list, err := trust.List()
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(out, list)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, one := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\n", one.Key, one.Since.Format(time.RFC3339), printable(one.Name))
	}
	return w.Flush()
}
