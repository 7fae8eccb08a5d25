// Command kedge runs notebooks and restores what has not changed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"kedge/kernel"
	"kedge/notebook"
	"kedge/share"
	"kedge/snapshotter"
)

// Exit statuses, part of the contract with scripts.
const (
	exitOK          = 0
	exitFailed      = 1 // a cell raised, or the kernel died in a cell
	exitUsage       = 2
	exitUnusable    = 3 // the notebook, its kernel or a folder cannot be used
	exitInterrupted = 4
	exitUntrusted   = 5 // of kedge open: its author is not trusted
	exitClosed      = 6 // what was shared has expired, was revoked, or is for somebody else
	exitDamaged     = 7 // what was shared is not what its author signed
)

var (
	errUsage    = errors.New("usage")
	errUnusable = errors.New("cannot be used")
	errFailed   = errors.New("the notebook failed")

	errInterrupted = errors.New("interrupted")
)

// command is one subcommand. run gets the arguments after its name.
type command struct {
	name, short, usage string
	run                func(ctx context.Context, out, err io.Writer, args []string) error
}

func commands() []command {
	return []command{runCommand(), planCommand(), graphCommand(), logCommand(), showCommand(), diffCommand(), restoreCommand(),
		shareCommand(), openCommand(), trustCommand(), sharesCommand(), revokeCommand(), serveCommand(),
		storeCommand(), kernelCommand(), installCommand(), uninstallCommand(), doctorCommand(), completionCommand(), versionCommand()}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	context.AfterFunc(ctx, stop) // a second interrupt ends us at once
	err := dispatch(ctx, os.Stdout, os.Stderr, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && interrupted && !errors.Is(err, errFailed) {
		err = errInterrupted
	}
	code := exitCode(err)
	if err != nil && !errors.Is(err, errFailed) && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "kedge: %s\n", oneLine(err.Error()))
	}
	os.Exit(code)
}

// endings are the signals that interrupt a run. One that whoever started us has
// us ignore, as nohup does, stays ignored.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// exitCode is the one table from errors to exit statuses.
func exitCode(err error) int {
	var died *kernel.ExitError
	switch {
	case errors.As(err, &died) && !errors.Is(err, errUnusable):
		return died.Code
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage), errors.Is(err, notebook.ErrParameter):
		return exitUsage
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errUntrusted):
		return exitUntrusted
	case errors.Is(err, share.ErrExpired), errors.Is(err, share.ErrRefused):
		return exitClosed
	case errors.Is(err, share.ErrDamaged), errors.Is(err, share.ErrHostile):
		return exitDamaged
	case errors.Is(err, errFailed), errors.Is(err, errDamaged), errors.Is(err, errProblems):
		return exitFailed
	}
	return exitUnusable
}

func dispatch(ctx context.Context, out, errOut io.Writer, args []string) error {
	if len(args) == 0 {
		return errors.Join(writeOverview(out), fmt.Errorf("%w: name a command", errUsage))
	}
	if slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		return runHelp(out, args[1:])
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		if slices.Contains(args[1:], "--help") || slices.Contains(args[1:], "-h") {
			fmt.Fprintln(out, c.usage)
			return nil
		}
		return c.run(ctx, out, errOut, args[1:])
	}
	return fmt.Errorf("%w: no command %q; kedge help lists them", errUsage, args[0])
}

// parse reads flags before, between and after the positional arguments.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	fs.SetOutput(io.Discard)
	var positional []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		if fs.NArg() == 0 {
			return positional, nil
		}
		positional = append(positional, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// oneLine joins the lines of a message.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// openStore opens the user's store.
func openStore(ctx context.Context) (*snapshotter.Store, error) {
	cfg, err := storeConfig(snapshotter.DefaultDir())
	if err != nil {
		return nil, err
	}
	store, err := snapshotter.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, storeRemedy(err))
	}
	return store, nil
}
