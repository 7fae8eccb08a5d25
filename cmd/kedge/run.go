package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"kedge/kernel/agent"
	"kedge/notebook"
	"kedge/session"
	"kedge/snapshotter"
)

func runCommand() command {
	return command{name: "run", short: "run a notebook, restoring the steps that have not changed", run: runRun, usage: `usage: kedge run NB.ipynb [-o OUT.ipynb] [-p name=value]… [--python PATH | --kernel NAME]
                 [--from STEP] [--to STEP] [--auto] [--no-cache] [--json]

Executes the notebook top to bottom. Steps whose code and inputs have not
changed are restored, outputs and files included. Without -o the notebook
is written in place.

  -o OUT          write the executed notebook there
  -p name=value   inject a parameter, as papermill does (needs -o)
  --python PATH   run in this interpreter (it needs ipykernel)
  --kernel NAME   run with this kernelspec
  --from STEP     really run STEP and everything after it
  --to STEP       stop after STEP
  --auto          make every untagged code cell a step
  --no-cache      run everything
  --json          print one JSON object

exit status: 0 ok, 1 a cell failed, 2 usage, 3 the notebook or kernel cannot be used, 4 interrupted

examples:
  kedge run train.ipynb
  kedge run train.ipynb -o out.ipynb -p depth=4 --json | jq '[.steps[].status]'`}
}

// runFlags are the flags that run, plan and graph share.
type runFlags struct {
	out, python, kernel, from, to string
	auto, noCache, json           bool
	params                        []notebook.Parameter
}

func (f *runFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.python, "python", os.Getenv("KEDGE_PYTHON"), "")
	fs.StringVar(&f.kernel, "kernel", os.Getenv("KEDGE_KERNEL"), "")
	fs.StringVar(&f.from, "from", "", "")
	fs.StringVar(&f.to, "to", "", "")
	fs.BoolVar(&f.auto, "auto", false, "")
	fs.BoolVar(&f.json, "json", false, "")
	fs.Func("p", "", func(text string) error {
		p, err := notebook.ParseParameter(text)
		f.params = append(f.params, p)
		return err
	})
}

// job is a notebook with all that is needed to run or plan it.
type job struct {
	path     string
	data     []byte
	doc      *notebook.Document
	outline  *notebook.Outline
	store    *snapshotter.Store
	env      *environment
	launcher string
	sources  map[string]session.Source
	secret   []byte
}

// prepare reads a notebook and finds its environment. No kernel is started.
func prepare(ctx context.Context, path string, f runFlags) (*job, error) {
	if f.python != "" && f.kernel != "" {
		return nil, fmt.Errorf("%w: --python and --kernel exclude each other", errUsage)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errUnusable, err)
	}
	j := &job{path: abs}
	if j.data, err = os.ReadFile(abs); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if j.doc, err = notebook.Parse(j.data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := j.doc.Inject(f.params); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if j.outline, err = j.doc.Outline(f.auto); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, step := range []string{f.from, f.to} {
		if step != "" && !hasStep(j.outline, step) {
			return nil, fmt.Errorf("%w: the notebook has no step %q", errUsage, step)
		}
	}
	if j.store, err = openStore(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if err := j.complete(ctx, f); err != nil {
		j.store.Close()
		return nil, err
	}
	return j, nil
}

func (j *job) complete(ctx context.Context, f runFlags) (err error) {
	if j.launcher, err = agent.Install(filepath.Join(snapshotter.DefaultDir(), "agent")); err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	if j.env, err = findEnvironment(ctx, j.store, j.doc, f.python, f.kernel); err != nil {
		return err
	}
	if j.secret, err = secret(filepath.Join(snapshotter.DefaultDir(), "secret")); err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	j.sources, err = j.env.sources(ctx, j.store, j.launcher, j.outline.Cells)
	return err
}

func hasStep(o *notebook.Outline, name string) bool {
	for _, s := range o.Steps {
		if s.Name == name {
			return true
		}
	}
	return false
}

// secret is the key of the digests of environment values, made at first use.
func secret(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == 32 {
		return key, nil
	}
	key = make([]byte, 32)
	rand.Read(key)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(key); err != nil {
		f.Close()
		return nil, err
	}
	return key, f.Close()
}

func (j *job) config(f runFlags, runtime string) session.Config {
	return session.Config{Store: j.store, Path: j.path, Document: j.doc, Outline: j.outline, Sources: j.sources,
		Modules: j.env.modules(), Library: j.env.Prefixes, Launch: j.env.launch(j.launcher, filepath.Dir(j.path), runtime), Runtime: runtime,
		Secret: j.secret, KernelID: j.env.Python, From: f.from, To: f.to, NoCache: f.noCache}
}

func runRun(ctx context.Context, out, errOut io.Writer, args []string) error {
	var f runFlags
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	f.register(fs)
	fs.StringVar(&f.out, "o", "", "")
	fs.BoolVar(&f.noCache, "no-cache", false, "")
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return fmt.Errorf("%w: kedge run takes one notebook", errUsage)
	}
	if len(f.params) > 0 && f.out == "" {
		return fmt.Errorf("%w: -p changes the notebook: name the file to write with -o", errUsage)
	}
	report, err := run(ctx, errOut, names[0], f)
	if exitCode(err) == exitUsage {
		return err
	}
	if f.json {
		return errors.Join(writeJSON(out, report), err)
	}
	table(out, report)
	return err
}

// run prepares, executes and writes. The report is never nil.
func run(ctx context.Context, errOut io.Writer, path string, f runFlags) (*session.Report, error) {
	empty := &session.Report{Notebook: path, Steps: []session.StepReport{}, Cells: []session.CellReport{}}
	fail := func(err error) (*session.Report, error) {
		empty.Error = &session.RunError{EName: "KedgeError", EValue: err.Error()}
		return empty, err
	}
	target := f.out
	if target == "" {
		target = path
	}
	target, err := filepath.Abs(target)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", errUnusable, err))
	}
	probe, err := os.CreateTemp(filepath.Dir(target), ".kedge-*")
	if err != nil {
		return fail(fmt.Errorf("cannot write %s: %w: %w", target, errUnusable, err))
	}
	probe.Close()
	os.Remove(probe.Name())
	j, err := prepare(ctx, path, f)
	if err != nil {
		return fail(err)
	}
	defer j.store.Close()
	runtime, err := os.MkdirTemp("", "kedge-")
	if err != nil {
		return fail(fmt.Errorf("%w: %w", errUnusable, err))
	}
	defer os.RemoveAll(runtime)
	report, err := j.execute(ctx, errOut, f, runtime)
	if errors.Is(err, session.ErrRestore) {
		fmt.Fprintf(errOut, "kedge: %v; running straight\n", err)
		f.noCache = true
		if j.doc, err = notebook.Parse(j.data); err == nil {
			err = j.doc.Inject(f.params)
		}
		if err != nil {
			return fail(err)
		}
		report, err = j.execute(ctx, errOut, f, runtime)
	}
	if report == nil {
		return fail(err)
	}
	if err != nil && report.Error == nil {
		report.Error = &session.RunError{EName: "KedgeError", EValue: err.Error()}
	}
	data, writeErr := j.doc.Bytes()
	if writeErr == nil {
		writeErr = session.WriteFile(target, data, 0o644)
	}
	if writeErr != nil {
		return report, fmt.Errorf("write %s: %w: %w", target, errUnusable, writeErr)
	}
	if err == nil && !report.OK {
		err = errFailed
	}
	return report, err
}

func (j *job) execute(ctx context.Context, errOut io.Writer, f runFlags, runtime string) (*session.Report, error) {
	cfg := j.config(f, runtime)
	if file, ok := errOut.(*os.File); ok && isTerminal(file) {
		cfg.Progress = func(done, total int, cell, status string) {
			fmt.Fprintf(file, "\r\x1b[K%d/%d %s %s", done, total, cell, status)
			if done == total {
				fmt.Fprint(file, "\r\x1b[K")
			}
		}
	}
	s, err := session.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	report, err := s.Run(ctx)
	for _, fault := range s.Faults() {
		fmt.Fprintf(errOut, "kedge: cache: %s\n", fault)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return report, err
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// table shows a report to people.
func table(w io.Writer, r *session.Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Steps) > 0 {
		fmt.Fprintln(t, "STEP\tSTATUS\tSECONDS\tSAVED\tWHY")
	}
	for _, s := range r.Steps {
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f\t%s\n", s.Name, s.Status, s.Seconds, s.SavedSeconds, s.Why)
	}
	t.Flush()
	fmt.Fprintf(w, "%.2f s, %.2f s saved\n", r.Seconds, r.SavedSeconds)
	if r.Error != nil {
		where := ""
		if r.Error.Cell != nil {
			where = " in cell " + *r.Error.Cell
		}
		fmt.Fprintf(w, "failed%s: %s: %s\n", where, r.Error.EName, strings.TrimSpace(r.Error.EValue))
	}
}
