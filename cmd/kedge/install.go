package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"kedge/kernel"
)

//go:embed logo
var logos embed.FS

const installUsage = `usage: kedge install [--sys-prefix | --user | --prefix DIR] [--kernel NAME | --python PATH] [--as NAME] [--papermill]

Adds a kernel to Jupyter that runs another one behind Kedge, and the extension
of JupyterLab and Notebook 7 that shows how its cells stand. Without flags: for
you, the kernel python3 of the Python on PATH, as kedge-python3.

  --user          in your Jupyter data folder (the default)
  --sys-prefix    in the environment of the Python on PATH
  --prefix DIR    in DIR/share/jupyter
  --kernel NAME   wrap this kernelspec
  --python PATH   wrap ipykernel in this interpreter
  --as NAME       name of the new kernelspec; the name of a plain one hides
                  that, so that notebooks need no change
  --papermill     also add the engine kedge to papermill, for
                  papermill --engine kedge, in the Python that is wrapped or
                  on PATH

examples:
  kedge install
  kedge install --sys-prefix --as python3
  kedge install --kernel ir
  kedge install --papermill && papermill --engine kedge in.ipynb out.ipynb`

// specName is what Jupyter accepts as a name.
var specName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func installCommand() command {
	return command{name: "install", short: "add a Kedge kernel to Jupyter", usage: installUsage, run: runInstall}
}

// place is where a kernelspec is installed.
type place struct {
	user, sysPrefix bool
	prefix          string
}

func (p *place) register(fs *flag.FlagSet) {
	fs.BoolVar(&p.user, "user", false, "")
	fs.BoolVar(&p.sysPrefix, "sys-prefix", false, "")
	fs.StringVar(&p.prefix, "prefix", "", "")
}

// folder is the kernels folder meant by the flags.
func (p *place) folder(ctx context.Context) (string, error) {
	n := 0
	for _, set := range []bool{p.user, p.sysPrefix, p.prefix != ""} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		return "", fmt.Errorf("%w: --user, --sys-prefix and --prefix exclude each other", errUsage)
	case p.sysPrefix:
		prefix, err := exec.CommandContext(ctx, "python3", "-c", "import sys; print(sys.prefix)").Output()
		if err != nil {
			return "", fmt.Errorf("python3: %w: %w; give --prefix DIR", errUnusable, err)
		}
		return filepath.Join(strings.TrimSpace(string(prefix)), "share", "jupyter", "kernels"), nil
	case p.prefix != "":
		dir, err := filepath.Abs(filepath.Join(p.prefix, "share", "jupyter", "kernels"))
		if err != nil {
			return "", fmt.Errorf("%w: %w", errUnusable, err)
		}
		return dir, nil
	}
	dir := kernel.UserDataDir(os.Environ())
	if dir == "" {
		return "", fmt.Errorf("%w: HOME is not set; give --prefix DIR", errUnusable)
	}
	return filepath.Join(dir, "kernels"), nil
}

func runInstall(ctx context.Context, out, _ io.Writer, args []string) error {
	var p place
	var w kernel.Wrapped
	fs := flag.NewFlagSet("install", flag.ContinueOnError)
	p.register(fs)
	fs.StringVar(&w.Kernel, "kernel", "", "")
	fs.StringVar(&w.Python, "python", "", "")
	as := fs.String("as", "", "")
	papermill := fs.Bool("papermill", false, "")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%w: install takes only flags", errUsage)
	case w.Kernel != "" && w.Python != "":
		return fmt.Errorf("%w: --kernel and --python exclude each other", errUsage)
	case *as != "" && !specName.MatchString(*as):
		return fmt.Errorf("%w: --as %q: a name is letters, digits and . _ -", errUsage, *as)
	case w == kernel.Wrapped{}:
		w.Python = "python3"
	}
	dir, err := p.folder(ctx)
	if err != nil {
		return err
	}
	spec, err := wrappedSpec(w)
	if err == nil && w.Python != "" {
		w.Python = spec.Argv[0]
		err = checkIpykernel(ctx, w.Python)
	}
	if err != nil {
		return err
	}
	if w.Kernel != "" {
		w.Kernel = spec.Name
	}
	at := filepath.Join(dir, cmp.Or(*as, "kedge-"+spec.Name))
	if err := writeSpec(at, spec, w); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", at)
	if at, err = installLabextension(dir); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", at)
	if !*papermill {
		return nil
	}
	packages, err := p.packages(ctx, cmp.Or(w.Python, "python3"))
	if err != nil {
		return err
	}
	module, err := installEngine(packages)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", module)
	return nil
}

func checkIpykernel(ctx context.Context, python string) error {
	if _, err := exec.CommandContext(ctx, python, "-c", "import ipykernel").Output(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("python %s: %w: it has no ipykernel; install it with: %s -m pip install ipykernel", python, errUnusable, python)
	}
	return nil
}

// writeSpec writes a kernelspec folder. It replaces one of ours, never another one.
func writeSpec(at string, spec kernel.Spec, w kernel.Wrapped) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	data, err := json.MarshalIndent(spec.Wrap(program, w), "", " ")
	if err != nil {
		return err
	}
	if _, err := os.Stat(at); err == nil && !isOurs(at) {
		return fmt.Errorf("%s: %w: another kernelspec is there; name one with --as, or another place", at, errUnusable)
	}
	files, err := logos.ReadDir("logo")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	for _, f := range files {
		logo, err := logos.ReadFile("logo/" + f.Name())
		if err == nil {
			err = os.WriteFile(filepath.Join(at, f.Name()), logo, 0o644)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errUnusable, err)
		}
	}
	t := target{filepath.Join(at, "kernel.json"), 0o644} // last: before, it is no kernelspec
	if err := t.write(append(data, '\n')); err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return nil
}

// isOurs says whether the folder holds a kernelspec that kedge install wrote.
func isOurs(dir string) bool {
	var spec kernel.Spec
	raw, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil || json.Unmarshal(raw, &spec) != nil {
		return false
	}
	_, ours := spec.Wrapped()
	return ours
}

// removeSpec removes a kernelspec folder of ours, and nothing that others put there.
func removeSpec(dir string) error {
	files, err := logos.ReadDir("logo")
	if err != nil {
		return err
	}
	err = os.Remove(filepath.Join(dir, "kernel.json"))
	for _, f := range files {
		if e := os.Remove(filepath.Join(dir, f.Name())); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err == nil {
		err = os.Remove(dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return nil
}
