package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// outcome is what one call of the binary gave.
type outcome struct {
	stdout, stderr string
	code           int
}

// report decodes stdout.
func (o outcome) report(t *testing.T) report {
	t.Helper()
	var r report
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("stdout is not JSON: %v\n%s\nstderr: %s", err, o.stdout, o.stderr)
	}
	return r
}

// plainLab is a lab whose notebook is content.
func plainLab(t *testing.T, content string) *lab {
	t.Helper()
	l := newLab(t, "../examples/iris.ipynb")
	l.write(content)
	return l
}

// call runs the binary in the notebook's folder, without --python.
func (l *lab) call(args ...string) outcome { l.t.Helper(); return l.callWith(nil, args...) }

// callWith may change the command before it starts.
func (l *lab) callWith(change func(*exec.Cmd), args ...string) outcome {
	l.t.Helper()
	cmd := exec.Command(l.kedge, args...)
	cmd.Dir, cmd.Env = l.dir, append(os.Environ(), "KEDGE_HOME="+l.home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if change != nil {
		change(cmd)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// runTo is `kedge run --json` in the lab's Python, writing out.ipynb.
func (l *lab) runTo(args ...string) outcome {
	l.t.Helper()
	return l.call(append([]string{"run", "nb.ipynb", "-o", "out.ipynb", "--json", "--python", l.python}, args...)...)
}

// script writes an executable shell script beside the notebook.
func (l *lab) script(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// kernelspec installs a kernel in a Jupyter folder of its own and returns that.
func (l *lab) kernelspec(name, language string, argv ...string) string {
	l.t.Helper()
	dir := l.t.TempDir()
	at := filepath.Join(dir, "kernels", name)
	spec, err := json.Marshal(map[string]any{"argv": argv, "display_name": name, "language": language})
	if err == nil {
		err = os.MkdirAll(at, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(at, "kernel.json"), spec, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return dir
}

// fails checks an exit status, the one line on stderr, and with --json the object on stdout.
func (o outcome) fails(t *testing.T, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit %d, want %d: %s", o.code, code, o.stderr)
	}
	message := strings.TrimSpace(o.stderr)
	if message == "" || strings.Contains(message, "\n") {
		t.Errorf("stderr is not one line: %q", message)
	}
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("no %q in %q", word, message)
		}
	}
	r := o.report(t)
	if r.OK || r.Error == nil || r.Error.EValue == "" {
		t.Errorf("the report has no error: %s", o.stdout)
	}
}

func TestBadInputIsOneLineThatSaysWhatToDo(t *testing.T) {
	good := cells("x = 1")
	for _, test := range []struct {
		name, content string
		args          func(l *lab) []string
		words         []string
	}{
		{"BrokenJSON", "{", nil, []string{"not a notebook", "line 1", "repair it"}},
		{"NoNotebook", `[1]`, nil, []string{"not a notebook", "name a file"}},
		{"Empty", "", nil, []string{"not a notebook", "an earlier copy"}},
		{"Nbformat3", `{"worksheets":[{"cells":[]}],"metadata":{},"nbformat":3,"nbformat_minor":0}`, nil, []string{"nbformat 3.0", "jupyter nbconvert"}},
		{"Nbformat4.6", strings.Replace(good, `"nbformat_minor":5`, `"nbformat_minor":6`, 1), nil, []string{"nbformat 4.6", "newer kedge"}},
		{"MissingPython", good, func(*lab) []string { return []string{"--python", "/nowhere/python"} }, []string{"/nowhere/python", "--python"}},
		{"MissingKernel", good, func(*lab) []string { return []string{"--kernel", "nosuch"} }, []string{`"nosuch"`, "installed: fortran", "pip install ipykernel"}},
		{"OtherLanguage", good, func(*lab) []string { return []string{"--kernel", "fortran"} }, []string{"fortran", "did not start", "--kernel"}},
		{"OldPython", good, func(l *lab) []string {
			return []string{"--python", l.script("old", "case \"$*\" in *packages_distributions*) echo AttributeError >&2; exit 1;; esac\necho 3.8\n")}
		}, []string{"Python 3.8", "3.10"}},
		{"NoPythonAtAll", good, func(l *lab) []string { return []string{"--python", l.script("broken", "echo sad >&2; exit 9\n")} }, []string{"sad"}},
		{"WithoutIpykernel", good, func(l *lab) []string {
			if out, err := exec.Command("python3", "-m", "venv", "--without-pip", filepath.Join(l.dir, "bare")).CombinedOutput(); err != nil {
				l.t.Skipf("no venv can be made: %v: %s", err, out)
			}
			return []string{"--python", filepath.Join(l.dir, "bare", "bin", "python")}
		}, []string{"no ipykernel", "-m pip install ipykernel"}},
		{"KernelDiesOnStart", good, func(l *lab) []string {
			return []string{"--python", l.script("dying", "case \"$*\" in *connection*) echo no luck today >&2; exit 7;; esac\nexec "+l.python+" \"$@\"\n")}
		}, []string{"did not start", "exit status 7", "no luck today"}},
		{"MissingFolder", good, func(*lab) []string { return []string{"-o", "no/such/out.ipynb"} }, []string{"out.ipynb", "-o"}},
		{"FolderAsOut", good, func(*lab) []string { return []string{"-o", "/tmp"} }, []string{"/tmp", "-o"}},
		{"ReadOnlyFolder", good, func(*lab) []string { return []string{"-o", "/proc/out.ipynb"} }, []string{"/proc/out.ipynb", "-o"}},
		{"BadPrev", strings.ReplaceAll(good, `"step:a"`, `"step:a","prev:zz"`), nil, []string{"prev:zz", "cell a"}},
		{"TwoSteps", strings.ReplaceAll(good, `"step:a"`, `"step:a","step:b"`), nil, []string{"step:b", "cell a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := plainLab(t, test.content)
			t.Setenv("JUPYTER_PATH", l.kernelspec("fortran", "R", "R", "{connection_file}"))
			args := []string{"run", "nb.ipynb", "--json"}
			if test.args == nil {
				args = append(args, "--python", l.python)
			} else {
				extra := test.args(l)
				if extra[0] == "-o" {
					extra = append(extra, "--python", l.python)
				}
				args = append(args, extra...)
			}
			l.call(args...).fails(t, 3, test.words...)
			if data, err := os.ReadFile(l.path); err != nil || string(data) != test.content {
				t.Errorf("the notebook was changed: %v", err)
			}
		})
	}
}

func TestKernelDeathIsExplained(t *testing.T) {
	for name, test := range map[string]struct{ source, word string }{
		"Exit": {"import os\nprint('before', flush=True)\nos._exit(3)", "exit status 3"},
		"Kill": {"import os, signal\nprint('before', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)", "memory"},
	} {
		t.Run(name, func(t *testing.T) {
			l := plainLab(t, cells("k = 1", test.source, "z = 1"))
			o := l.runTo()
			r := o.report(t)
			if o.code != 1 || r.Error == nil || r.Error.EName != "KernelDied" || *r.Error.Cell != "b" || !strings.Contains(r.Error.EValue, test.word) || strings.Contains(r.Error.EValue, "\n") {
				t.Fatalf("exit %d: %+v", o.code, r.Error)
			}
			if m := statuses(t, r); m["a"] != "ran" || m["b"] != "failed" || m["c"] != "not_run" {
				t.Errorf("statuses are %v", m)
			}
			if out, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb")); !bytes.Contains(out, []byte("before")) {
				t.Error("what the cell printed before it died is lost")
			}
		})
	}
}

func TestUnusableStoreCostsOnlyTime(t *testing.T) {
	for name, home := range map[string]func(l *lab) string{
		"ReadOnly": func(*lab) string { return "/proc/kedge" },
		"AFile": func(l *lab) string {
			path := filepath.Join(l.dir, "data.bin")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				l.t.Fatal(err)
			}
			return path
		},
		"GarbageCatalog": func(l *lab) string {
			if o := l.runTo(); o.code != 0 {
				l.t.Fatal(o.stderr)
			}
			if err := os.WriteFile(filepath.Join(l.home, "catalog.db"), bytes.Repeat([]byte("garbage "), 4096), 0o600); err != nil {
				l.t.Fatal(err)
			}
			return l.home
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := plainLab(t, cells("x = 41", "print(x + 1)"))
			l.home = home(l)
			o := l.runTo()
			if r := o.report(t); o.code != 0 || !all(statuses(t, r), "ran") {
				t.Fatalf("exit %d: %s %s", o.code, o.stderr, o.stdout)
			}
			if message := strings.TrimSpace(o.stderr); strings.Contains(message, "\n") || !strings.Contains(message, "KEDGE_HOME") {
				t.Errorf("stderr is %q", message)
			}
			if out, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb")); !bytes.Contains(out, []byte("42")) {
				t.Error("the notebook lacks its output")
			}
			if o := l.call("plan", "nb.ipynb", "--json", "--python", l.python); o.code != 0 {
				t.Errorf("plan: exit %d: %s", o.code, o.stderr)
			}
		})
	}
}

func TestDamagedStoreNeverGivesWrongOutputs(t *testing.T) {
	l := plainLab(t, cells("import numpy as np\nx = np.arange(100000) * 7", "y = x + 1\nprint(y.sum())", "print(x.sum(), y[:3])"))
	if o := l.runTo(); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if o := l.call("store", "verify"); o.code != 0 {
		t.Fatalf("verify of a sound store: exit %d: %s", o.code, o.stderr)
	}
	want, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb"))
	segments, err := filepath.Glob(filepath.Join(l.home, "segments", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segments", err)
	}
	sound, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		damaged := bytes.Clone(sound)
		at := len(sound) * (2*i + 1) / 16
		damaged[at] ^= 1
		if err := os.WriteFile(segments[0], damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if o := l.call("store", "verify"); o.code == 0 {
			t.Errorf("verify does not see byte %d flipped", at)
		}
		l.edit("y[:3]", "y[:3] ")
		o := l.runTo()
		got, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb"))
		if o.code != 0 || outputsOf(t, string(got)) != outputsOf(t, string(want)) {
			t.Errorf("byte %d flipped: exit %d: %s\n%s", at, o.code, o.stderr, outputsOf(t, string(got)))
		}
	}
}

// outputsOf are the outputs and counts of all cells.
func outputsOf(t *testing.T, nb string) string {
	t.Helper()
	var doc struct {
		Cells []struct {
			Outputs any
			Count   any `json:"execution_count"`
		}
	}
	if err := json.Unmarshal([]byte(nb), &doc); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(doc.Cells)
}

func TestTwoRunsAtOnceBothFinish(t *testing.T) {
	l := plainLab(t, cells("x = sum(range(10))", "print(x)"))
	results := make([]outcome, 2)
	var both sync.WaitGroup
	for i := range results {
		both.Go(func() { results[i] = l.call("run", "nb.ipynb", "--json", "--python", l.python) })
	}
	both.Wait()
	for _, o := range results {
		if r := o.report(t); o.code != 0 || !r.OK {
			t.Errorf("exit %d: %s", o.code, o.stderr)
		}
	}
	data, err := os.ReadFile(l.path)
	if err != nil || !strings.Contains(outputsOf(t, string(data)), "45") {
		t.Errorf("the notebook is not whole: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(l.dir, ".kedge-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInterruptKeepsWhatWasDone(t *testing.T) {
	l := plainLab(t, cells("print('one')", "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nos.mkfifo('never')\nprint('two', flush=True)\nopen('started', 'w').close()\nopen('ready', 'w').close()\ntime.sleep(600)", "print('three')"))
	ready := filepath.Join(l.dir, "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(l.kedge, "run", "nb.ipynb", "-o", "out.ipynb", "--json", "--python", l.python)
	cmd.Dir, cmd.Env = l.dir, append(os.Environ(), "KEDGE_HOME="+l.home)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(ready); err != nil { // returns when the cell opened and closed the pipe
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	r := outcome{stdout: stdout.String()}.report(t)
	if code := cmd.ProcessState.ExitCode(); code != 4 || r.OK || r.Error == nil || r.Error.Cell == nil || *r.Error.Cell != "b" {
		t.Errorf("exit %d: %+v", code, r.Error)
	}
	if m := statuses(t, r); m["a"] != "ran" || m["b"] != "failed" || m["c"] != "not_run" {
		t.Errorf("statuses are %v", m)
	}
	data, err := os.ReadFile(filepath.Join(l.dir, "out.ipynb"))
	if text := outputsOf(t, string(data)); err != nil || !strings.Contains(text, "one") || !strings.Contains(text, "two") {
		t.Errorf("the notebook lacks outputs: %v %s", err, text)
	}
	pid, err := os.ReadFile(filepath.Join(l.dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + string(pid)); err == nil {
		t.Errorf("the kernel %s still runs", pid)
	}
}
