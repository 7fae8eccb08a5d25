package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// storeSaved lists the files that were saved before a restore replaced them, newest first.
func storeSaved(ctx context.Context, out io.Writer, store *snapshotter.Store, _ string, f storeFlags) error {
	files, err := store.Saved(ctx, "")
	if err != nil {
		return err
	}
	if f.json {
		return writeJSON(out, files)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(files) > 0 {
		fmt.Fprintln(t, "SAVED\tFILE\tCONTENT")
	}
	for _, file := range files {
		fmt.Fprintf(t, "%s\t%s\t%s\n", file.Saved.Format(time.RFC3339), file.Path, file.Content)
	}
	return t.Flush()
}

// storeCat prints a blob.
func storeCat(ctx context.Context, out io.Writer, store *snapshotter.Store, digest string, _ storeFlags) error {
	id, err := cellgraph.ParseDigest(digest)
	if err != nil {
		return fmt.Errorf("%w: %q is not a digest: %w", errUsage, digest, err)
	}
	r, _, err := store.OpenBlob(ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(out, r)
	return err
}
