package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/live"
	"kedge/snapshotter"
)

const kernelUsage = `usage: kedge kernel -f CONNECTION_FILE (--kernel NAME | --python PATH)

Stands between Jupyter and a kernel. Jupyter starts it by a kernelspec that
kedge install has written; by hand it serves as any kernel does.

  -f FILE         connection file: the sockets to bind, and the key
  --kernel NAME   run this kernelspec
  --python PATH   run ipykernel in this interpreter
  --Class.trait…  a setting of the kernel's, passed on to it

Cells of the notebook's steps are restored where nothing has changed. Which
notebook it is says KEDGE_NOTEBOOK, the front end, or the command line of the
program that starts the kernel; %kedge status shows it.

exit status: 0 after a shutdown request, else that of the kernel (128 and the
signal's number if a signal ended it); 2 usage, 3 cannot be started

example:
  kedge kernel -f /tmp/kernel.json --python .venv/bin/python &
  jupyter console --existing /tmp/kernel.json`

// serverRate, with what live lets go at once, stays well below what jupyter_server lets through by default, 1 MB/s over
// 3 s: a busy server sees what has waited for it at once.
const serverRate = 500_000

func kernelCommand() command {
	return command{name: "kernel", short: "be a Jupyter kernel, in front of another one", usage: kernelUsage, run: runKernel}
}

func runKernel(ctx context.Context, _, errOut io.Writer, args []string) error {
	fs := flag.NewFlagSet("kernel", flag.ContinueOnError)
	file := fs.String("f", "", "")
	name := fs.String("kernel", "", "")
	python := fs.String("python", "", "")
	settings, args := kernelSettings(args)
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 || *file == "" || (*name == "") == (*python == "") {
		return fmt.Errorf("%w: kedge kernel -f CONNECTION_FILE (--kernel NAME | --python PATH)", errUsage)
	}
	ignoreTerminal()
	goOn := continues()
	conn, err := kernel.ReadConnection(ctx, *file)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	spec, err := wrappedSpec(kernel.Wrapped{Kernel: *name, Python: *python})
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn}))
	parent, _ := strconv.Atoi(os.Getenv("JPY_PARENT_PID")) // as ipykernel: none, no watching
	memory := slices.Contains(settings, historyInMemory)
	spec.Argv = append(spec.Argv, slices.DeleteFunc(settings, func(s string) bool { return s == historyInMemory })...)
	guard, err := kernel.StartGuard()
	if err != nil {
		logger.Warn("processes of the notebook may outlive us if we are killed", "error", err)
	}
	defer guard.Close()
	cfg, nb, scratch := child(spec, guard, goOn, logger)
	if memory {
		cfg.Argv = append(cfg.Argv, historyInMemory)
	}
	defer func() {
		err := nb.Close()
		if scratch != "" {
			err = errors.Join(err, os.RemoveAll(scratch))
		}
		if err != nil {
			logger.Warn("close the store", "error", err)
		}
	}()
	p, err := kernel.OpenProxy(kernel.ProxyConfig{
		Connection: conn, Child: cfg, Signals: spec.InterruptMode != "message", Parent: parent, Logger: logger, Session: nb,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return p.Run(ctx)
}

// historyInMemory is what nbclient adds to the command of each kernel that is called python3. No cell sees it.
const historyInMemory = "--HistoryManager.hist_file=:memory:"

var setting = regexp.MustCompile(`^--[A-Z]\w*\.\w`)

// kernelSettings takes from args the settings of traits, which are the kernel's.
func kernelSettings(args []string) (settings, rest []string) {
	for _, arg := range args {
		if setting.MatchString(arg) {
			settings = append(settings, arg)
		} else {
			rest = append(rest, arg)
		}
	}
	return settings, rest
}

// ignoreTerminal keeps interrupts of a terminal, or of a front end that signals all its descendants, from ending us.
// They are caught, not ignored, so that the kernel does not inherit it.
func ignoreTerminal() {
	caught := make(chan os.Signal, 1) // nobody receives: what does not fit is dropped
	signal.Ignore(os.Interrupt)       // takes it from main's context, without a moment in which it would end us
	signal.Notify(caught, os.Interrupt, syscall.SIGHUP)
}

// wrappedSpec is the kernelspec of the kernel that is run.
func wrappedSpec(w kernel.Wrapped) (kernel.Spec, error) {
	if w.Kernel != "" {
		return kernel.FindSpec(w.Kernel, os.Environ())
	}
	path, err := exec.LookPath(w.Python)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return kernel.Spec{}, fmt.Errorf("python %s: %w: %w; name an interpreter that has ipykernel", w.Python, errUnusable, err)
	}
	return kernel.SpecForPython(path), nil
}

// child says how to start the kernel, and gives the notebook that it is started for, and the folder of its rings, "" if
// there is none. A kernel that is ipykernel gets the agent, so that its state can be captured; if that cannot be
// installed it runs without.
func child(spec kernel.Spec, guard *kernel.Guard, goOn live.Continue, logger *slog.Logger) (cfg kernel.Config, notebook *live.Notebook, scratch string) {
	cfg = kernel.Config{Argv: spec.Argv, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Guard: guard}
	env := spec.Environment(os.LookupEnv)
	for key, value := range env {
		cfg.Env = append(cfg.Env, key+"="+value)
	}
	command, args := ipykernel(spec)
	if command == nil {
		return cfg, live.New(live.Config{Language: spec.Language, Logger: logger}), ""
	}
	launcher, err := agent.Install(filepath.Join(snapshotter.DefaultDir(), "agent"))
	if err != nil {
		logger.Warn("nothing is restored or kept", "error", err)
		return cfg, live.New(live.Config{Logger: logger}), ""
	}
	cfg.Argv = slices.Concat(command, []string{launcher}, args)
	cfg.Env = append(cfg.Env, hashSeed(env)...)
	nb := live.Config{Path: live.Find(os.LookupEnv, os.Getppid()), Agent: true, Version: thisBuild().Version, Archive: archive{}, Publisher: archive{}, Continue: goOn, Logger: logger}
	if os.Getenv("JPY_SESSION_NAME") != "" {
		nb.StreamRate = serverRate
	}
	if nb.Path != "" || os.Getenv("VSCODE_PID") != "" {
		if scratch, err = observed(&cfg, &nb, launcher, spec); err != nil {
			logger.Warn("nothing is restored or kept", "error", err)
		}
	}
	return cfg, live.New(nb), scratch
}

// checkKernels starts each kernelspec of ours as Jupyter would.
func checkKernels(ctx context.Context, env []string) []finding {
	var all []finding
	seen := map[string]bool{}
	for _, spec := range kernel.FindSpecs(env) {
		w, ours := spec.Wrapped()
		if ours && !seen[spec.Name] {
			all = append(all, checkKernel(ctx, spec, w))
		}
		seen[spec.Name] = true
	}
	if len(all) == 0 {
		all = append(all, finding{"kernels", "warning", "Jupyter has no Kedge kernel", "run `kedge install`"})
	}
	return all
}

func checkKernel(ctx context.Context, spec kernel.Spec, w kernel.Wrapped) finding {
	name := "kernel " + spec.Name
	ctx, cancel := context.WithTimeout(ctx, pythonTimeout)
	defer cancel()
	k, err := kernel.Start(ctx, kernel.Config{Argv: spec.Argv})
	if err != nil {
		fix := fmt.Sprintf("see that %s works without Kedge, then run `kedge install` again", cmp.Or(w.Kernel, w.Python))
		return finding{name, "problem", oneLine(err.Error()), fix}
	}
	detail := fmt.Sprintf("%s in front of %s, answers", spec.Dir, cmp.Or(w.Kernel, w.Python))
	if strings.EqualFold(spec.Language, "python") {
		r, err := k.Execute(ctx, kernel.Request{Code: "6*7"})
		if err == nil && (len(r.Outputs) != 1 || !strings.Contains(string(r.Outputs[0]), "42")) {
			err = errors.New("6*7 is not 42 there")
		}
		if err != nil {
			return finding{name, "problem", oneLine(errors.Join(err, k.Shutdown(ctx)).Error()), ""}
		}
	} else {
		detail += "; no snapshots for language " + spec.Language + " yet"
	}
	if err := k.Shutdown(ctx); err != nil {
		return finding{name, "warning", err.Error(), ""}
	}
	return finding{name, "ok", detail, ""}
}
