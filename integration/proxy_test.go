package integration

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// front is Jupyter with the Kedge kernel kedge-python3, in folders of its own.
type front struct {
	t                   *testing.T
	kedge, python, home string
	env                 []string
}

func newFront(t *testing.T) *front {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, home: t.TempDir(),
		kedge:  cmp.Or(os.Getenv("KEDGE_TEST_BINARY"), filepath.Join(root, "bin", "kedge")),
		python: cmp.Or(os.Getenv("KEDGE_TEST_PYTHON"), filepath.Join(root, ".venv", "bin", "python"))}
	for _, path := range []string{f.kedge, f.python} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is missing: run `make test`, which builds it", path)
		}
	}
	f.env = append(os.Environ(), "KEDGE_HOME="+filepath.Join(f.home, "kedge"), "IPYTHONDIR="+filepath.Join(f.home, "ipython"),
		"JUPYTER_PATH="+filepath.Join(f.home, "share", "jupyter"), "JUPYTER_DATA_DIR="+filepath.Join(f.home, "data"),
		"PATH="+filepath.Dir(f.python)+":"+os.Getenv("PATH"))
	f.install("--python", f.python)
	return f
}

// install adds a Kedge kernel to this Jupyter.
func (f *front) install(args ...string) {
	f.t.Helper()
	if out, err := f.command(time.Minute, f.kedge, append([]string{"install", "--prefix", f.home}, args...)...); err != nil {
		f.t.Fatalf("install %v: %v\n%s", args, err, out)
	}
}

// command runs a program among this Jupyter's folders and returns what it printed.
func (f *front) command(limit time.Duration, name string, args ...string) (string, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = f.env, &out, &out, 5*time.Second
	err := cmd.Run()
	return out.String(), err
}

// script runs a program of testdata/proxy, which exits 0 if all is well.
func (f *front) script(args ...string) {
	f.t.Helper()
	args[0] = filepath.Join("testdata", "proxy", args[0])
	if out, err := f.command(3*time.Minute, f.python, args...); err != nil {
		f.t.Errorf("%v: %v\n%s", args, err, out[max(0, len(out)-6000):])
	}
}

func TestProxyPassesWhatThePlainKernelSays(t *testing.T) {
	f := newFront(t)
	const document = `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
{"cell_type": "code", "id": "a", "metadata": {%s}, "outputs": [], "execution_count": null, "source": "never asked for"}]}`
	for test, tags := range map[string]string{"NoNotebook": "", "NotebookWithoutSteps": `"tags": ["other"]`, "NoCellsOfItsSteps": `"tags": ["step:one"]`} {
		t.Run(test, func(t *testing.T) {
			g := f.with(t)
			if tags != "" {
				nb := filepath.Join(t.TempDir(), "nb.ipynb")
				if err := os.WriteFile(nb, fmt.Appendf(nil, document, tags), 0o600); err != nil {
					t.Fatal(err)
				}
				g.env = append(g.env, "KEDGE_NOTEBOOK="+nb)
			}
			g.script("record.py", g.kedge, g.python)
		})
	}
}

func TestProxyWithRealClients(t *testing.T) {
	f := newFront(t)
	const name = "kedge-python3"
	for test, args := range map[string][]string{
		"InterruptRestartShutdownOverTCP": {"lifecycle", name, "tcp"},
		"InterruptRestartShutdownOverIPC": {"lifecycle", name, "ipc"},
		"KernelKilled":                    {"killed", name, "kernel"},
		"ProxyKilled":                     {"killed", name, "proxy"},
		"JupyterKilled":                   {"orphan", name},
		"SeveralClientsAndTheirQuestions": {"several", name},
		"NbclientWithWidgets":             {"notebook", name, "python3"},
		"JupyterConsole":                  {"console", name},
		"Debugger":                        {"debugger", name},
		"Subshell":                        {"subshell", name},
		"AProxyThatReadsLate":             {"burst", name},
	} {
		t.Run(test, func(t *testing.T) {
			g := *f
			g.t = t
			g.script(append([]string{"clients.py"}, args...)...)
		})
	}
}

// verdict is a line of pytest's about one test.
var verdict = regexp.MustCompile(`(?m)^\S+::(\S+) (PASSED|FAILED|SKIPPED|SUB\w+)|^(SUBFAILED\S*) `)

func TestProxyPassesTheKernelTestsThatThePlainKernelPasses(t *testing.T) {
	f := newFront(t)
	results := map[string][]string{}
	for _, name := range []string{"python3", "kedge-python3"} {
		f.env = append(f.env, "KERNEL="+name)
		// It fails where the plain kernel fails: only the comparison counts.
		out, _ := f.command(3*time.Minute, f.python, "-m", "pytest", "-v", "-p", "no:cacheprovider", "testdata/proxy/kernel_test_suite.py")
		for _, m := range verdict.FindAllStringSubmatch(out, -1) {
			results[name] = append(results[name], strings.Join(m[1:], " "))
		}
		if len(results[name]) < 14 {
			t.Fatalf("%s: %d results\n%s", name, len(results[name]), out)
		}
	}
	if plain, proxied := results["python3"], results["kedge-python3"]; !slices.Equal(plain, proxied) {
		t.Errorf("plain:\n%s\nproxied:\n%s", strings.Join(plain, "\n"), strings.Join(proxied, "\n"))
	}
}

func TestProxyInFrontOfOtherKernels(t *testing.T) {
	f := newFront(t)
	for _, k := range []struct{ name, code, want, long, install string }{
		{"bash", "echo $((6*7))", "42", "sleep 100", "bash_kernel.install"},
		{"ir", "cat(6*7)", "42", "Sys.sleep(100)", ""},
	} {
		t.Run(k.name, func(t *testing.T) {
			g := *f
			g.t = t
			if k.install != "" {
				if out, err := g.command(time.Minute, g.python, "-m", k.install, "--prefix", g.home); err != nil {
					t.Skipf("%s is not installed here: %s", k.name, out)
				}
			} else if out, err := g.command(time.Minute, g.kedge, "install", "--prefix", g.home, "--kernel", k.name); err != nil {
				t.Skipf("%s is not installed here: %s", k.name, out)
			}
			g.install("--kernel", k.name)
			g.script("clients.py", "foreign", "kedge-"+k.name, k.code, k.want, k.long)
			if out, _ := g.command(time.Minute, g.kedge, "doctor"); !strings.Contains(out, "no snapshots for language") {
				t.Errorf("doctor does not say that it takes no snapshots there:\n%s", out)
			}
		})
	}
}

func TestInstallAndUninstall(t *testing.T) {
	f := newFront(t)
	f.install("--python", f.python, "--as", "python3")
	kernels := filepath.Join(f.home, "share", "jupyter", "kernels")
	for _, name := range []string{"kedge-python3", "python3"} {
		for _, file := range []string{"kernel.json", "logo-svg.svg", "logo-64x64.png", "logo-32x32.png"} {
			if _, err := os.Stat(filepath.Join(kernels, name, file)); err != nil {
				t.Error(err)
			}
		}
	}
	out, err := f.command(2*time.Minute, f.kedge, "doctor")
	if err != nil || strings.Count(out, "answers") != 2 {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	// The plain kernel is hidden by one of ours, and still the one that is wrapped and that kedge run uses.
	f.install("--kernel", "python3", "--as", "again")
	f.script("clients.py", "subshell", "again")
	other := filepath.Join(kernels, "other")
	if err := os.MkdirAll(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "kernel.json"), []byte(`{"argv":["x"],"display_name":"x","language":"x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := f.command(time.Minute, f.kedge, "install", "--prefix", f.home, "--python", f.python, "--as", "other"); err == nil {
		t.Errorf("another kernelspec was replaced: %s", out)
	}
	if out, err := f.command(time.Minute, f.kedge, "uninstall", "--prefix", f.home, "other"); err == nil {
		t.Errorf("another kernelspec was removed: %s", out)
	}
	if out, err := f.command(time.Minute, f.kedge, "uninstall", "--prefix", f.home); err != nil {
		t.Errorf("uninstall: %v\n%s", err, out)
	}
	left, err := os.ReadDir(kernels)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v, %v", left, err)
	}
}
