package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"kedge/notebook"
	"kedge/session"
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
	auto, json                    bool
	straight                      string // why every cell runs; "" if cells may be restored
	params                        []notebook.Parameter
}

func (f *runFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.python, "python", "", "")
	fs.StringVar(&f.kernel, "kernel", "", "")
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

// choose settles which kernel is meant: a flag before the environment.
func (f *runFlags) choose() error {
	if f.python != "" && f.kernel != "" {
		return fmt.Errorf("%w: --python and --kernel exclude each other", errUsage)
	}
	if f.python == "" && f.kernel == "" {
		if f.python = os.Getenv("KEDGE_PYTHON"); f.python == "" {
			f.kernel = os.Getenv("KEDGE_KERNEL")
		}
	}
	return nil
}

// job is a notebook with all that is needed to run or plan it.
type job struct {
	path     string
	data     []byte
	doc      *notebook.Document
	outline  *notebook.Outline
	cache    *cache
	env      *environment
	sources  map[string]session.Source
	settings settings
	out      string // the file to write, absolute; "" if none is
}

// prepare reads a notebook and finds its environment. No kernel is started.
// What the cache cannot do is said on errOut.
func prepare(ctx context.Context, errOut io.Writer, path string, f runFlags) (*job, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errUnusable, err)
	}
	j := &job{path: abs}
	var failed *os.PathError
	if j.doc, j.data, err = notebook.ReadFile(ctx, abs); errors.As(err, &failed) {
		return nil, fmt.Errorf("the notebook %w: %w; check its path and permissions", errUnusable, err)
	}
	if err != nil {
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
	if j.settings, err = readSettings(); err != nil {
		return nil, err
	}
	if j.cache, err = openCache(ctx, errOut); err != nil {
		return nil, err
	}
	if j.env, err = findEnvironment(ctx, j.cache.store, j.doc, f.python, f.kernel); err == nil {
		j.sources, err = j.env.sources(ctx, j.cache.store, j.cache.launcher, j.outline.Cells)
	}
	if err != nil {
		return nil, errors.Join(err, j.cache.close())
	}
	return j, nil
}

func hasStep(o *notebook.Outline, name string) bool {
	for _, s := range o.Steps {
		if s.Name == name {
			return true
		}
	}
	return false
}

func (j *job) config(f runFlags, runtime string) session.Config {
	return session.Config{Store: j.cache.store, Path: j.path, Document: j.doc, Outline: j.outline, Sources: j.sources,
		Modules: j.env.modules(), Library: j.env.Prefixes, Launch: j.env.launch(j.cache.launcher, filepath.Dir(j.path), runtime), Runtime: runtime,
		Out: j.out, Secret: j.cache.secret, Stateless: j.settings.Stateless, KernelID: j.env.Python, From: f.from, To: f.to, Straight: f.straight,
		Env: j.env.env, Blind: j.env.blind()}
}

func runRun(ctx context.Context, out, errOut io.Writer, args []string) error {
	var f runFlags
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	f.register(fs)
	fs.StringVar(&f.out, "o", "", "")
	noCache := fs.Bool("no-cache", false, "")
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return fmt.Errorf("%w: kedge run takes one notebook", errUsage)
	}
	if err := f.choose(); err != nil {
		return err
	}
	if *noCache {
		f.straight = "--no-cache"
	}
	if len(f.params) > 0 && f.out == "" {
		return fmt.Errorf("%w: -p changes the notebook: name the file to write with -o", errUsage)
	}
	report, err := run(ctx, errOut, names[0], f)
	if exitCode(err) == exitUsage {
		return err
	}
	switch {
	case f.json:
		return errors.Join(err, writeReport(out, report))
	case len(report.Cells) > 0: // else nothing has run, and the error says why
		table(out, report)
	}
	return err
}

func writeReport(out io.Writer, report *session.Report) error {
	if err := writeJSON(out, report); err != nil {
		return fmt.Errorf("%w: write the report: %w", errUnusable, err)
	}
	return nil
}

// run prepares, executes and writes. The report is never nil.
func run(ctx context.Context, errOut io.Writer, path string, f runFlags) (*session.Report, error) {
	began := time.Now()
	report, err := attempt(ctx, errOut, path, f)
	if report == nil {
		report = emptyReport(path)
	}
	report.Seconds = time.Since(began).Seconds()
	if err == nil && !report.OK {
		err = errFailed
	}
	blame(report, err)
	return report, err
}

// emptyReport is that of a notebook of which nothing was executed.
func emptyReport(path string) *session.Report {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return &session.Report{Notebook: path, Steps: []session.StepReport{}, Cells: []session.CellReport{}}
}

// blame puts what ended a run, if no cell did, into its report.
func blame(report *session.Report, err error) {
	report.OK = err == nil
	if err == nil || report.Error != nil {
		return
	}
	report.Error = &session.RunError{EName: "KedgeError", EValue: err.Error()}
	if exitCode(err) != exitInterrupted {
		return
	}
	report.Error.EName, report.Error.EValue = "Interrupted", "the run was interrupted; the outputs so far are kept"
	for _, c := range report.Cells {
		if c.Status == session.Failed {
			report.Error.Cell = &c.ID
		}
	}
}

// attempt is run without the account of errors; the report is nil if nothing was executed.
func attempt(ctx context.Context, errOut io.Writer, path string, f runFlags) (*session.Report, error) {
	out, err := openTarget(cmp.Or(f.out, path))
	if err != nil {
		return nil, err
	}
	j, err := prepare(ctx, errOut, path, f)
	if err != nil {
		return nil, err
	}
	defer j.cache.close()
	j.out = out.path
	runtime, err := os.MkdirTemp("", "kedge-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w; set TMPDIR to a folder that you may write", errUnusable, err)
	}
	defer os.RemoveAll(runtime)
	report, err := j.execute(ctx, errOut, f, runtime)
	if errors.Is(err, session.ErrRestore) && ctx.Err() == nil {
		fmt.Fprintf(errOut, "kedge: %s; running straight\n", oneLine(err.Error()))
		f.straight = oneLine(err.Error())
		if err := j.reread(f); err != nil {
			return nil, err
		}
		report, err = j.execute(ctx, errOut, f, runtime)
	}
	if report == nil || err != nil && !report.Touched() {
		return report, err
	}
	data, writeErr := j.doc.Bytes()
	if writeErr == nil {
		writeErr = out.write(data)
	}
	if writeErr != nil {
		return report, fmt.Errorf("write %s: %w: %w", out.path, errUnusable, writeErr)
	}
	j.cache.tidy(ctx, errOut)
	return report, err
}

// reread takes the document back to what it was before a run.
func (j *job) reread(f runFlags) error {
	doc, err := notebook.Parse(j.data)
	if err != nil {
		return err
	}
	j.doc = doc
	return j.doc.Inject(f.params)
}

func (j *job) execute(ctx context.Context, errOut io.Writer, f runFlags, runtime string) (*session.Report, error) {
	cfg := j.config(f, runtime)
	if file, ok := errOut.(*os.File); ok && isTerminal(file) {
		p := newProgress(file, j.outline.Cells)
		defer p.close()
		cfg.Progress = p.update
	}
	s, err := session.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	report, err := s.Run(ctx)
	for _, fault := range s.Faults() {
		fmt.Fprintf(errOut, "kedge: cache: %s\n", oneLine(fault))
	}
	if ctx.Err() != nil && (err != nil || !report.OK) {
		err = errInterrupted
	}
	return report, err
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
