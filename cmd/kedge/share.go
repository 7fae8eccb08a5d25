package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kedge/share"
	"kedge/snapshotter"
)

const shareUsage = `usage: kedge share SNAPSHOT|NB.ipynb[@STEP] [--file OUT.kedge] [--expires TIME] [--for KEY] [--no-state] [--yes] [--json]

Prints a link, or writes one file, with which a teammate opens a snapshot (kedge
open) and goes on from there: the notebook with its outputs, the files that its
cells wrote or read in its folder, and what its cells left, so that running it
restores them. It is signed by this home's key. What will leave the machine is
said first. SNAPSHOT is a unique prefix of its id, at least 8 digits; NB.ipynb
is the newest snapshot of a notebook, NB.ipynb@STEP that of a step.
Whoever has the link can read it, until it expires or is revoked (kedge shares,
kedge revoke), where this machine can be reached (kedge serve).

  --file OUT      write a bundle there that mail or a shared folder can carry
  --expires TIME  it cannot be opened after that time from now, such as 12h; a link by default 7d, a file never
  --for KEY       the link opens only to whoever has that key (hers is in kedge doctor --json), by kedge open, not in a browser
  --no-state      the notebook, its outputs and the files only
  --yes           do not ask
  --json          print one JSON object

examples:
  kedge share analysis.ipynb
  kedge share analysis.ipynb@train --file trained.kedge
  kedge share analysis.ipynb --for 9c1f…e2 --expires 1d
  kedge share 3f2a9c01 --file look.kedge --no-state --expires 7d --yes
`

// shared is the output of kedge share --json.
type shared struct {
	Link     string         `json:"link"` // what kedge open takes
	Snapshot string         `json:"snapshot"`
	Expires  *time.Time     `json:"expires"`      // null: never
	Bytes    int64          `json:"bytes"`        // of the bundle, or that the link opens
	Left     []share.Left   `json:"left"`         // files that cells used and that are not in it
	Secrets  []share.Secret `json:"secrets"`      // what looks like one, and where
	ID       string         `json:"id,omitempty"` // of a link, for kedge revoke
}

func shareCommand() command {
	return command{name: "share", short: "make a link to a snapshot, or a file of it, for a teammate", usage: shareUsage, run: runShare}
}

type shareFlags struct {
	file, expires, to  string
	noState, yes, json bool
}

func runShare(ctx context.Context, out, errOut io.Writer, args []string) error {
	var f shareFlags
	fs := flag.NewFlagSet("share", flag.ContinueOnError)
	fs.StringVar(&f.file, "file", "", "")
	fs.StringVar(&f.expires, "expires", "", "")
	fs.StringVar(&f.to, "for", "", "")
	fs.BoolVar(&f.noState, "no-state", false, "")
	fs.BoolVar(&f.yes, "yes", false, "")
	fs.BoolVar(&f.json, "json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return fmt.Errorf("%w: share takes one snapshot", errUsage)
	}
	if f.expires == "" && f.file == "" {
		f.expires = "7d"
	}
	var expires time.Time
	if f.expires != "" {
		d, err := parseLifetime(f.expires)
		if err != nil {
			return fmt.Errorf("%w: --expires: %w", errUsage, err)
		}
		expires = time.Now().Add(d)
	}
	reader, err := f.reader()
	if err != nil {
		return err
	}
	h, err := openHome(ctx)
	if err != nil {
		return err
	}
	defer h.close()
	snapshot, err := findShared(ctx, h.cache.store, args[0])
	if err != nil {
		return err
	}
	p, err := consider(ctx, h, snapshot, f.noState)
	if err != nil {
		return err
	}
	p.until(expires)
	p.reader = reader
	if err := agree(errOut, p, f.yes); err != nil {
		return err
	}
	said := shared{Snapshot: p.m.Snapshot.String(), Bytes: p.m.Bytes(), Left: append([]share.Left{}, p.left...), Secrets: p.secrets}
	if !p.m.Expires.IsZero() {
		said.Expires = &p.m.Expires
	}
	if f.file == "" {
		return linkShared(ctx, out, errOut, p, said, f)
	}
	return writeShared(ctx, out, errOut, p, said, f)
}

// reader is the key of --for, nil without it.
func (f shareFlags) reader() (*share.Key, error) {
	if f.to == "" {
		return nil, nil
	}
	if f.file != "" {
		return nil, fmt.Errorf("%w: a file cannot be for one key, for it is not encrypted: whoever has it can read it; leave --for out, or make a link", errUsage)
	}
	k, err := share.ParseKey(f.to)
	if err != nil {
		return nil, fmt.Errorf("%w: --for: %w", errUsage, err)
	}
	return &k, nil
}

// linkShared prints the link to what is published.
func linkShared(ctx context.Context, out, errOut io.Writer, p *publication, said shared, f shareFlags) error {
	link, err := p.link(ctx)
	if err != nil {
		return err
	}
	if link.started {
		fmt.Fprintln(errOut, "kedge: a server was started for the link; kedge serve --stop ends it")
	}
	if link.Local() {
		fmt.Fprintln(errOut, "kedge: the link can be reached from this machine only; kedge serve --addr or --public-url changes that, --file needs no network")
	}
	if f.json {
		said.Link, said.ID = link.String(), link.one.ID
		return writeJSON(out, said)
	}
	_, err = fmt.Fprintln(out, link)
	return err
}

func writeShared(ctx context.Context, out, errOut io.Writer, p *publication, said shared, f shareFlags) error {
	to, err := filepath.Abs(f.file)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	sealed, err := p.home.signer.Seal(p.m)
	if err != nil {
		return err
	}
	bar := newBar(errOut, "sharing")
	n, err := share.WriteBundle(ctx, p.home.cache.store, sealed, p.m, to, func(done, total int64) { bar.update(int(done), int(total)) })
	bar.close()
	if err != nil {
		return err
	}
	if f.json {
		said.Link, said.Bytes = to, n
		return writeJSON(out, said)
	}
	_, err = fmt.Fprintf(out, "%s: %s; a teammate opens it with: kedge open %s\n", f.file, formatBytes(n), filepath.Base(f.file))
	return err
}

// findShared is the snapshot that an argument means: as in kedge show, or the
// newest of a notebook.
func findShared(ctx context.Context, store *snapshotter.Store, arg string) (snapshotter.Snapshot, error) {
	if strings.Contains(arg, "@") || filepath.Ext(arg) != ".ipynb" {
		return findSnapshot(ctx, store, arg)
	}
	path, err := notebookPath(arg)
	if err != nil {
		return snapshotter.Snapshot{}, err
	}
	all, err := store.Snapshots(ctx, path)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("snapshots of %s: %w; run it first: kedge run %s", arg, snapshotter.ErrNotFound, arg)
	}
	if err != nil {
		return snapshotter.Snapshot{}, err
	}
	return store.Snapshot(ctx, all[0].ID)
}

// agree says what will leave the machine, and asks.
func agree(errOut io.Writer, p *publication, yes bool) error {
	m, left, secrets := p.m, p.left, p.secrets
	fmt.Fprintf(errOut, "kedge: this will leave the machine: %s of %s\n", formatBytes(m.Bytes()), m.Notebook)
	if p.reader != nil {
		fmt.Fprintf(errOut, "  for the key %s only\n", share.KeyText(*p.reader))
	}
	if m.State != nil {
		fmt.Fprintf(errOut, "  %d variables: %s\n", len(m.Variables), listed(len(m.Variables), func(i int) string { return m.Variables[i].Name }))
	} else {
		fmt.Fprintln(errOut, "  no variables")
	}
	fmt.Fprintf(errOut, "  %d files and folders: %s\n", len(m.Files), listed(len(m.Files), func(i int) string { return m.Files[i].Path }))
	for _, l := range left {
		fmt.Fprintf(errOut, "  left out: %s: %s; cells that read it will run where this is opened\n", printable(l.Path), printable(l.Why))
	}
	for _, s := range secrets {
		fmt.Fprintf(errOut, "  looks like a secret: %s in %s\n", s.Rule, printable(s.Where))
	}
	if yes {
		return nil
	}
	question := "Share it?"
	if len(secrets) > 0 {
		question = "Share it, with what looks like secrets?"
	}
	ok, asked := ask(errOut, question)
	switch {
	case !asked:
		return fmt.Errorf("%w: nobody is there to ask; --yes shares it", errUsage)
	case !ok:
		return errors.New("nothing was shared")
	}
	return nil
}

// listed joins the first names of a list.
func listed(n int, name func(int) string) string {
	const most = 12
	var names []string
	for i := range min(n, most) {
		names = append(names, printable(name(i)))
	}
	if n > most {
		names = append(names, fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(names, ", ")
}

// parseLifetime reads a time from now, such as 90s, 12h or 7d.
func parseLifetime(text string) (d time.Duration, err error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, parseErr := strconv.ParseFloat(days, 64)
		d, err = time.Duration(n*24*float64(time.Hour)), parseErr
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 || d > 100*365*24*time.Hour {
		return 0, fmt.Errorf("%q is no time such as 12h or 7d", text)
	}
	return d, nil
}
