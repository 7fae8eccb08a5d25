package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"kedge/cellgraph"
	"kedge/share"
	"kedge/snapshotter"
)

const openUsage = `usage: kedge open LINK|FILE.kedge [--into DIR] [--no-state] [--lab] [--dry-run] [--yes] [--json]

Opens what kedge share made: fetches what this home lacks, checks every piece,
and places the notebook and its files in DIR, which must be new or empty.
Running the notebook there restores what was restored where it was shared.
Restoring runs its author's code, so her key has to be trusted first (kedge
trust): else nothing is opened, and the status is 5. The notebook and the files
of anybody can be looked at with --no-state. What was cut off goes on when the
same is opened again.

  --into DIR  by default a new folder with the notebook's name
  --no-state  the notebook and the files only, also of an author who is not trusted
  --lab       then start JupyterLab there; its page restores up to the snapshot, so that the next cell goes on from it
  --dry-run   say how many bytes would move, and change nothing
  --yes       do not ask; that an author is trusted is never taken for granted
  --json      print one JSON object

exit status: 5 its author is not trusted, 6 it has expired, was revoked or does not let you in, 7 it is not what was signed

examples:
  kedge open 'https://host.example.org:8750/s/1f0a9c3be2d47756#eyJ…'
  kedge open trained.kedge
  kedge open trained.kedge --into /tmp/look --no-state
`

// errUntrusted says that an author's state may not be restored here.
var errUntrusted = errors.New("its author is not trusted")

// opened is the output of kedge open --json.
type opened struct {
	Dir         string `json:"dir"`
	Notebook    string `json:"notebook"` // its path
	Snapshot    string `json:"snapshot"`
	Total       int64  `json:"bytes_total"`
	Transferred int64  `json:"bytes_transferred"` // of a dry run: would be
	Trusted     bool   `json:"trusted"`           // its author
	State       bool   `json:"state"`             // cells can be restored from it
	Author      string `json:"author"`            // her key
	// Differs is what keeps steps from being restored here; empty where no values were opened.
	Differs []difference `json:"differs"`
	Lock    string       `json:"lock,omitempty"` // path of the requirements that make the author's environment again, if something differs
}

func openCommand() command {
	return command{name: "open", short: "open what a teammate has shared", usage: openUsage, run: runOpen}
}

type openFlags struct {
	into                            string
	noState, lab, dryRun, yes, json bool
}

func runOpen(ctx context.Context, out, errOut io.Writer, args []string) error {
	var f openFlags
	fs := flag.NewFlagSet("open", flag.ContinueOnError)
	fs.StringVar(&f.into, "into", "", "")
	fs.BoolVar(&f.noState, "no-state", false, "")
	fs.BoolVar(&f.lab, "lab", false, "")
	fs.BoolVar(&f.dryRun, "dry-run", false, "")
	fs.BoolVar(&f.yes, "yes", false, "")
	fs.BoolVar(&f.json, "json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return fmt.Errorf("%w: open takes one link or file", errUsage)
	}
	o := &opening{flags: f, errOut: errOut}
	closing, err := o.find(ctx, args[0])
	if err != nil {
		return err
	}
	defer closing()
	result, err := o.run(ctx)
	if err != nil {
		return err
	}
	if f.json {
		err = writeJSON(out, result)
	} else {
		err = o.say(out, result)
	}
	if err == nil && f.lab && !f.dryRun {
		cell := ""
		if n := len(o.m.Cells); n > 0 && result.State {
			cell = o.m.Cells[n-1].ID
		}
		err = startLab(ctx, errOut, result.Notebook, cell, rand.Text())
	}
	return err
}

// opening is one kedge open, wherever it comes from.
type opening struct {
	sealed share.Sealed
	m      *share.Manifest
	from   share.Source
	flags  openFlags
	errOut io.Writer
	home   *home
	// packages are those here, by the name that is imported, where that is another.
	packages map[string]string
}

// find opens a link or a bundle.
func (o *opening) find(ctx context.Context, arg string) (closing func() error, err error) {
	if strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") {
		link, err := share.ParseLink(arg)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		var signer share.Signer // only a link for one key asks for ours
		if _, ok := link.Audience(); ok {
			if signer, err = share.LoadSigner(keyPath(snapshotter.DefaultDir())); err != nil {
				return nil, err
			}
		}
		r, err := share.OpenLink(ctx, link, signer)
		if err != nil {
			return nil, err
		}
		o.sealed, o.m, o.from = r.Sealed, r.Manifest, r
		return r.Close, nil
	}
	b, err := share.OpenBundle(arg)
	if err != nil {
		return nil, err
	}
	o.sealed, o.m, o.from = b.Sealed, b.Manifest, b
	return b.Close, nil
}

func (o *opening) run(ctx context.Context) (result opened, err error) {
	if o.m.Expired(time.Now()) {
		return result, fmt.Errorf("on %s: %w; ask its author for another", o.m.Expires.Format(time.RFC3339), share.ErrExpired)
	}
	if o.home, err = openHome(ctx); err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, o.home.close()) }()
	name := strings.TrimSuffix(filepath.Base(o.m.Notebook), ".ipynb")
	dir, err := filepath.Abs(cmp.Or(o.flags.into, name+"-"+o.m.Snapshot.String()[:minDigits]))
	if err != nil {
		return result, fmt.Errorf("%w: %w", errUnusable, err)
	}
	result = opened{Dir: dir, Notebook: filepath.Join(dir, filepath.FromSlash(o.m.Notebook)), Snapshot: o.m.Snapshot.String(), Total: o.m.Bytes(),
		Trusted: o.home.vouched(o.sealed.Author), State: o.m.State != nil && !o.flags.noState, Author: share.KeyText(o.sealed.Author), Differs: []difference{}}
	var blobs []cellgraph.Digest // nil: all
	if o.flags.noState {
		blobs = o.m.Contents()
		result.Total = share.Size(o.m, blobs)
	}
	if o.flags.dryRun {
		result.Transferred, err = share.Moves(ctx, o.home.cache.store, o.m, o.from, blobs)
		return result, err
	}
	if result.State && !result.Trusted {
		if err := o.askTrust(ctx); err != nil {
			return result, err
		}
		result.Trusted = true
	}
	if result.Transferred, err = o.take(ctx, dir, blobs); err == nil && result.State {
		result.Differs = o.compare(ctx, result.Notebook)
		if len(result.Differs) > 0 {
			result.Lock, err = writeLock(o.m, o.packages, result.Notebook)
		}
		warnOf(o.errOut, o.m, result)
	}
	return result, err
}

// take fetches and places, and then lets cells be restored from what came.
func (o *opening) take(ctx context.Context, dir string, blobs []cellgraph.Digest) (moved int64, err error) {
	store := o.home.cache.store
	if err := errors.Join(share.CheckFolder(dir, o.sealed), share.CheckSpace(dir, o.m)); err != nil {
		return 0, err
	}
	here, err := share.Here(ctx, store, o.m)
	if err != nil {
		return 0, err
	}
	bar := newBar(o.errOut, "opening")
	moved, err = share.Fetch(ctx, store, o.m, o.from, blobs, func(done, total int64) { bar.update(int(done), int(total)) })
	bar.close()
	if err != nil {
		return moved, err
	}
	if err := share.Place(ctx, store, o.sealed, o.m, dir); err != nil || o.flags.noState {
		return moved, err
	}
	own := o.sealed.Author == o.home.signer.Public()
	return moved, share.Adopt(ctx, store, o.sealed.Author, own, o.m, here, o.home)
}

// askTrust refuses state of an author who is not trusted, with what it would
// run, unless somebody at the terminal says otherwise.
func (o *opening) askTrust(ctx context.Context) error {
	imports, err := share.LookInto(ctx, o.m, o.from)
	if err != nil {
		return err
	}
	key := share.KeyText(o.sealed.Author)
	who := printable(o.m.Author)
	fmt.Fprintf(o.errOut, "kedge: this was signed by %s, who calls herself %q.\n", key, who)
	fmt.Fprintf(o.errOut, "  Restoring it runs her code here. Its values name: %s\n", listed(len(imports), func(i int) string { return imports[i] }))
	if ok, asked := ask(o.errOut, "Trust this key from now on?"); asked && ok {
		return o.home.trust.Add(o.sealed.Author, o.m.Author, time.Now())
	}
	return fmt.Errorf("%w: kedge trust %s lets it be restored; --no-state opens the notebook and the files, which can be run anew", errUntrusted, key)
}

func (o *opening) say(out io.Writer, r opened) error {
	if o.flags.dryRun {
		trust := "its author is trusted"
		if !r.Trusted {
			trust = "its author is not trusted: " + r.Author
		}
		_, err := fmt.Fprintf(out, "%s of %s would move into %s; %s\n", formatBytes(r.Transferred), formatBytes(r.Total), r.Dir, trust)
		return err
	}
	next := "kedge run " + r.Notebook + " restores its steps"
	if !r.State {
		next = "no values were opened: kedge run " + r.Notebook + " runs its author's code"
	}
	_, err := fmt.Fprintf(out, "%s\n%s of %s moved, %s were here; %s\n", r.Notebook, formatBytes(r.Transferred), formatBytes(r.Total),
		formatBytes(max(0, r.Total-r.Transferred)), next)
	return err
}
