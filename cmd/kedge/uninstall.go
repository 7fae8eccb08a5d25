package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

const uninstallUsage = `usage: kedge uninstall [--sys-prefix | --user | --prefix DIR] [--papermill] [NAME…]

Removes the Kedge kernels of that place from Jupyter, or those named, and with
the last of them the extension of JupyterLab. Kernels that kedge install has
not written are never touched. With --papermill the
engine kedge is taken from papermill too, in the Python on PATH.

examples:
  kedge uninstall
  kedge uninstall --sys-prefix python3`

func uninstallCommand() command {
	return command{name: "uninstall", short: "remove Kedge kernels from Jupyter", usage: uninstallUsage, run: runUninstall}
}

func runUninstall(ctx context.Context, out, _ io.Writer, args []string) error {
	var p place
	fs := flag.NewFlagSet("uninstall", flag.ContinueOnError)
	p.register(fs)
	papermill := fs.Bool("papermill", false, "")
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	dir, err := p.folder(ctx)
	if err != nil {
		return err
	}
	if *papermill {
		packages, err := p.packages(ctx, "python3")
		if err == nil {
			err = removeEngine(packages)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errUnusable, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	removed, left := []string{}, false
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if !isOurs(at) {
			continue
		}
		if len(names) > 0 && !slices.Contains(names, e.Name()) {
			left = true
			continue
		}
		if err := removeSpec(at); err != nil {
			return err
		}
		removed = append(removed, e.Name())
		fmt.Fprintln(out, at)
	}
	for _, name := range names {
		if !slices.Contains(removed, name) {
			return fmt.Errorf("%w: %s holds no Kedge kernel %s", errUnusable, dir, name)
		}
	}
	if left {
		return nil
	}
	return removeLabextension(dir)
}
