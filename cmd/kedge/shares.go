package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"kedge/share"
	"kedge/snapshotter"
)

const sharesUsage = `usage: kedge shares [--json]

Lists the links of this home: what they open, until when, and whether they were
revoked.

examples:
  kedge shares
  kedge shares --json | jq -r '.[] | select(.status == "open") | .link'
`

const revokeUsage = `usage: kedge revoke ID|LINK

Ends a link: nobody opens it from then on. What was fetched through it before
stays where it is. kedge shares has the ids.

examples:
  kedge revoke 1f0a9c3be2d47756
`

// listedShare is an entry of kedge shares --json.
type listedShare struct {
	share.Shared
	Status string `json:"status"` // open, expired or revoked
	Link   string `json:"link"`   // "" unless it is open
}

func sharesCommand() command {
	return command{name: "shares", short: "list the links of this home", usage: sharesUsage, run: runShares}
}

func revokeCommand() command {
	return command{name: "revoke", short: "end a link", usage: revokeUsage, run: runRevoke}
}

func runShares(_ context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("shares", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("%w: shares takes no arguments", errUsage)
	}
	dir := snapshotter.DefaultDir()
	all, err := registryOf(dir).List()
	if err != nil {
		return err
	}
	list := []listedShare{}
	for _, s := range all {
		one := listedShare{Shared: s, Status: "open"}
		switch err := s.Open(time.Now()); {
		case errors.Is(err, share.ErrExpired):
			one.Status = "expired"
		case err != nil:
			one.Status = "revoked"
		default:
			if one.Link, err = linkOf(dir, s); err != nil {
				return err
			}
		}
		list = append(list, one)
	}
	if *asJSON {
		return writeJSON(out, list)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(list) > 0 {
		fmt.Fprintln(w, "ID\tNOTEBOOK\tSNAPSHOT\tSTATUS\tEXPIRES\tSIZE\tFOR")
	}
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, filepath.Base(s.Notebook), s.Snapshot.String()[:shownDigits], s.Status, s.Expires.Format(time.RFC3339), formatBytes(s.Bytes), cmp.Or(s.For[:min(len(s.For), shownDigits)], "anyone"))
	}
	return w.Flush()
}

// linkOf is the link to a share, as the server of this home was last reached.
func linkOf(dir string, s share.Shared) (string, error) {
	signer, err := share.LoadSigner(keyPath(dir))
	if err != nil {
		return "", err
	}
	token, err := signer.Token(s.Capability())
	if err != nil {
		return "", err
	}
	at, err := readServing(dir)
	if err != nil {
		return "", nil // it was never reached
	}
	return share.Link{Base: at.Base, Share: s.ID, Token: token}.String(), nil
}

func runRevoke(ctx context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("revoke", flag.ContinueOnError)
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return fmt.Errorf("%w: revoke takes one id or link", errUsage)
	}
	id := args[0]
	if link, err := share.ParseLink(id); err == nil {
		id = link.Share
	} else if !share.IsShareID(id) {
		return fmt.Errorf("%w: %q is no id of a link; kedge shares lists them", errUsage, id)
	}
	store, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	s, err := registryOf(snapshotter.DefaultDir()).Revoke(ctx, store, id, time.Now())
	if errors.Is(err, share.ErrRefused) {
		return fmt.Errorf("share %s: %w; kedge shares lists them", id, snapshotter.ErrNotFound)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s of %s is revoked\n", s.ID, filepath.Base(s.Notebook))
	return err
}
