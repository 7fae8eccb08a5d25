package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tagged makes a notebook of nbformat 4.minor: tags (joined by commas), then code, cell by cell.
func tagged(minor int, tagsAndCode ...string) string {
	list := []map[string]any{}
	for i := 0; i < len(tagsAndCode); i += 2 {
		meta := map[string]any{}
		if tags := tagsAndCode[i]; tags != "" {
			meta["tags"] = strings.Split(tags, ",")
		}
		cell := map[string]any{"cell_type": "code", "metadata": meta, "source": tagsAndCode[i+1], "outputs": []any{}, "execution_count": nil}
		if minor >= 5 {
			cell["id"] = fmt.Sprintf("c%d", i/2)
		}
		list = append(list, cell)
	}
	data, _ := json.Marshal(map[string]any{"cells": list, "metadata": map[string]any{}, "nbformat": 4, "nbformat_minor": minor})
	return string(data)
}

// out is the executed notebook.
func (l *lab) out() string {
	l.t.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, "out.ipynb"))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(data)
}

// cellStatuses maps cells to statuses.
func cellStatuses(r report) map[string]string {
	m := map[string]string{}
	for _, c := range r.Cells {
		m[c.ID] = c.Status
	}
	return m
}

func keysOf(t *testing.T, raw any) []string {
	t.Helper()
	m, ok := raw.(map[string]any)
	if !ok {
		t.Fatalf("%v is no object", raw)
	}
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestReportHasEveryFieldAtEveryExit(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		code    int
	}{"OK": {cells("x = 1"), 0}, "Failed": {cells("1/0"), 1}, "Unusable": {"{", 3}} {
		t.Run(name, func(t *testing.T) {
			l := plainLab(t, test.content)
			o := l.runTo()
			var r map[string]any
			if err := json.Unmarshal([]byte(o.stdout), &r); err != nil || o.code != test.code {
				t.Fatalf("exit %d, %v", o.code, err)
			}
			want := []string{"cells", "error", "kernel", "notebook", "ok", "saved_seconds", "seconds", "steps"}
			if got := keysOf(t, r); !slices.Equal(got, want) {
				t.Errorf("fields %v", got)
			}
			if r["notebook"] != l.path || r["ok"] != (test.code == 0) || (r["error"] == nil) != (test.code == 0) {
				t.Errorf("notebook %v, ok %v, error %v", r["notebook"], r["ok"], r["error"])
			}
			if test.code == 3 {
				return
			}
			step, cell := r["steps"].([]any)[0], r["cells"].([]any)[0]
			if got := keysOf(t, step); !slices.Equal(got, []string{"cells", "name", "saved_seconds", "seconds", "snapshot", "status", "why"}) {
				t.Errorf("fields of a step %v", got)
			}
			if got := keysOf(t, cell); !slices.Equal(got, []string{"id", "seconds", "status", "step", "uncaptured", "why"}) {
				t.Errorf("fields of a cell %v", got)
			}
			if s, ok := step.(map[string]any)["snapshot"].(string); test.code == 0 && (!ok || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(s)) {
				t.Errorf("snapshot %v", s)
			}
		})
	}
}

func TestAFailedStepHasNoSnapshotAndIsStale(t *testing.T) {
	l := plainLab(t, strings.Replace(cells("x = 1", "1/0", "y = 1"), `"step:b"`, `"step:a"`, 1))
	r := l.runTo().report(t)
	if len(r.Steps) != 2 || r.Steps[0].Status != "failed" || r.Steps[0].Snapshot != nil {
		t.Errorf("steps %+v", r.Steps)
	}
	plan := l.call("plan", "nb.ipynb", "--json", "--python", l.python).report(t)
	want := map[string]string{"a": "fresh", "b": "stale", "c": "unknown"}
	if got := cellStatuses(plan); !reflect.DeepEqual(got, want) {
		t.Errorf("the plan is %v", got)
	}
}

func TestPlanOfNoNotebookIsAnObject(t *testing.T) {
	l := plainLab(t, "{")
	l.call("plan", "nb.ipynb", "--json").fails(t, 3, "not a notebook")
}

func TestUsageErrors(t *testing.T) {
	l := plainLab(t, cells("x = 1"))
	for _, args := range [][]string{
		{}, {"nosuch"}, {"run"}, {"run", "nb.ipynb", "other.ipynb"}, {"run", "--nosuch", "nb.ipynb"}, {"run", "nb.ipynb", "-p", "x=1"},
		{"run", "nb.ipynb", "-o", "out.ipynb", "-p", "no value"}, {"run", "nb.ipynb", "--from", "zz"}, {"run", "nb.ipynb", "--to", "zz"},
		{"run", "nb.ipynb", "--python", "a", "--kernel", "b"}, {"plan"}, {"plan", "nb.ipynb", "--to", "zz"}, {"graph", "nb.ipynb", "--python", l.python, "--format", "png"},
		{"show"}, {"show", "abc"}, {"diff"}, {"diff", "abc"}, {"diff", "12345678", "12345678", "12345678"}, {"restore", "12345678"}, {"store"}, {"log", "a", "b"},
	} {
		if o := l.call(args...); o.code != 2 || o.stderr == "" {
			t.Errorf("kedge %v: exit %d: %s", args, o.code, o.stderr)
		}
	}
}

func TestSnapshotsAreCompared(t *testing.T) {
	l := plainLab(t, cells("x = 1", "open('o.txt', 'w').write('one')"))
	l.runTo().report(t)
	var log []struct{ Snapshot string }
	if err := json.Unmarshal([]byte(l.call("log", "nb.ipynb", "--json").stdout), &log); err != nil {
		t.Fatal(err)
	}
	l.write(cells("x = [1, 2]", "open('o.txt', 'w').write('two')"))
	l.runTo().report(t)
	out := l.call("diff", log[0].Snapshot, "nb.ipynb")
	for _, line := range []string{"  - x = 1\n  + x = [1, 2]\n", "variable x changed: 1 → list 2\n", "file o.txt changed: 3 B → 3 B\n  - one\n  + two\n"} {
		if out.code != 0 || !strings.Contains(out.stdout, line) {
			t.Errorf("%q is not in %d %s%s", line, out.code, out.stdout, out.stderr)
		}
	}
	var d struct {
		Was, Is   string
		Variables []struct{ Name, What string }
		Files     []any
	}
	if err := json.Unmarshal([]byte(l.call("diff", "nb.ipynb", "--json").stdout), &d); err != nil || d.Was == "" || len(d.Files) != 1 || len(d.Variables) != 0 {
		t.Error(d, err)
	}
	if out := l.call("diff", "nb.ipynb", "nb.ipynb"); out.stdout != "nothing differs\n" {
		t.Error(out.stdout)
	}
}

func TestIDsBelow45AndDuplicates(t *testing.T) {
	for _, minor := range []int{0, 2, 4} {
		l := plainLab(t, tagged(minor, "step:a", "x = 1", "", " \n\t", "step:b", "print(x)"))
		r := l.runTo().report(t)
		if m := cellStatuses(r); len(m) != 2 || m["cell-0"] != "ran" || m["cell-2"] != "ran" {
			t.Errorf("4.%d: %v", minor, m)
		}
		if out := l.out(); !strings.Contains(out, fmt.Sprintf(`"nbformat_minor": %d`, minor)) || strings.Contains(out, `"id"`) {
			t.Errorf("4.%d was written as another version: %s", minor, out)
		}
	}
	l := plainLab(t, strings.NewReplacer(`"c1"`, `"c0"`, `"c2"`, `"c0"`).Replace(tagged(5, "step:a", "x = 1", "step:b", "y = 2", "step:c", "print(x, y)")))
	r := l.runTo().report(t)
	if m := cellStatuses(r); len(m) != 3 || m["c0"] == "" || m["c0-2"] == "" || m["c0-3"] == "" {
		t.Errorf("duplicates: %v", m)
	}
	if n := strings.Count(l.out(), `"c0"`); n != 3 {
		t.Errorf("the file's ids were touched: %d of 3 remain", n)
	}
}

func TestNoStepTagsRunsEveryCell(t *testing.T) {
	l := plainLab(t, tagged(5, "", "x = 1", "", "print(x)"))
	for range 2 {
		o := l.runTo()
		if r := o.report(t); len(r.Steps) != 0 || !all(cellStatuses(r), "ran") || !strings.Contains(o.stdout, `"step": null`) || !strings.Contains(o.stdout, `"steps": []`) {
			t.Fatalf("%s", o.stdout)
		}
	}
	if r := l.runTo("--auto").report(t); len(r.Steps) != 2 || r.Steps[0].Name != "c0" {
		t.Errorf("--auto: %+v", r.Steps)
	}
	if r := l.runTo("--auto").report(t); !all(statuses(t, r), "restored") {
		t.Errorf("--auto again: %+v", r.Steps)
	}
}

func TestFromAndTo(t *testing.T) {
	l := plainLab(t, tagged(5, "step:a", "x = 1", "step:b", "print(x)", "", "y = x", "step:c", "print(y)"))
	l.edit(`"id":"c3","metadata":{"tags":["step:c"]},"outputs":[]`, `"id":"c3","metadata":{"tags":["step:c"]},"outputs":[{"output_type":"stream","name":"stdout","text":["old\n"]}]`)
	r := l.runTo("--to", "b").report(t)
	if m := cellStatuses(r); m["c1"] != "ran" || m["c2"] != "ran" || m["c3"] != "not_run" || statuses(t, r)["c"] != "not_run" {
		t.Errorf("--to b: %v", m)
	}
	if !strings.Contains(l.out(), `old\n`) {
		t.Error("a cell that did not run lost its outputs")
	}
	if r := l.runTo().report(t); statuses(t, r)["c"] != "ran" {
		t.Errorf("all: %+v", r.Steps)
	}
	r = l.runTo("--from", "b").report(t)
	if m := statuses(t, r); m["a"] != "restored" || m["b"] != "ran" || m["c"] != "ran" {
		t.Errorf("--from b: %v", m)
	}
	r = l.runTo("--from", "b", "--to", "b").report(t)
	if m := statuses(t, r); m["a"] != "restored" || m["b"] != "ran" || m["c"] != "not_run" {
		t.Errorf("--from b --to b: %v", m)
	}
	l.edit("x = 1", "x = 7")
	if r := l.runTo("--from", "b").report(t); statuses(t, r)["a"] != "ran" || !strings.Contains(l.out(), `7\n`) {
		t.Errorf("a stale step before --from: %+v", r.Steps)
	}
}

func TestSkipAndSpecialTagsAndRaises(t *testing.T) {
	l := plainLab(t, tagged(5, "imports", "import os", "skip", "1/0", "functions", "def f(): return 2", "pipeline-parameters", "p = 1", "step:a,raises-exception", "1/0", "step:b", "print(f(), p)", "pipeline-metrics", "m = 3"))
	l.edit(`"id":"c1","metadata":{"tags":["skip"]},"outputs":[]`, `"id":"c1","metadata":{"tags":["skip"]},"outputs":[{"output_type":"stream","name":"stdout","text":["kept\n"]}]`)
	for _, status := range []string{"ran", "restored"} {
		o := l.runTo()
		r := o.report(t)
		var names []string
		for _, s := range r.Steps {
			names = append(names, s.Name)
		}
		if want := []string{"imports", "functions", "pipeline-parameters", "a", "b", "pipeline-metrics"}; o.code != 0 || !slices.Equal(names, want) || !all(statuses(t, r), status) {
			t.Fatalf("exit %d, want all %s: %+v %s", o.code, status, r.Steps, o.stderr)
		}
		if cellStatuses(r)["c1"] != "not_run" || !strings.Contains(l.out(), `kept\n`) || !strings.Contains(l.out(), "ZeroDivisionError") {
			t.Error("skip or raises-exception")
		}
	}
}

func TestOutIsReplacedAtOnceKeepingItsMode(t *testing.T) {
	l := plainLab(t, cells("print('seen')", "1/0"))
	target := filepath.Join(l.dir, "out.ipynb")
	if err := os.WriteFile(target, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(target, 0o604); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if o := l.runTo(); o.code != 1 {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	info, err := os.Stat(target)
	if err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	old := make([]byte, 8)
	if n, _ := held.Read(old); string(old[:n]) != "old" {
		t.Error("the old file was overwritten, not replaced")
	}
	if out := l.out(); !strings.Contains(out, "seen") || !strings.Contains(out, "ZeroDivisionError") {
		t.Error("the output of the failed run was not written")
	}
}

func TestFoldersOfKernelAndOut(t *testing.T) {
	l := plainLab(t, cells("import os\nprint(os.getcwd())"))
	elsewhere := t.TempDir()
	o := l.callWith(func(c *exec.Cmd) { c.Dir = elsewhere }, "run", l.path, "-o", "mine.ipynb", "--json", "--python", l.python)
	data, err := os.ReadFile(filepath.Join(elsewhere, "mine.ipynb"))
	if o.code != 0 || err != nil {
		t.Fatalf("exit %d: %s %v", o.code, o.stderr, err)
	}
	if !strings.Contains(string(data), l.dir) {
		t.Error("the kernel did not run in the notebook's folder")
	}
}

func TestReadOnlyNotebookFolder(t *testing.T) {
	l := plainLab(t, cells("x = 6", "print(x * 7)"))
	outDir := t.TempDir()
	// A bind mount is read-only for root too.
	mount := func(c *exec.Cmd) {
		inner := strings.Join(c.Args, "' '")
		c.Path, c.Args = "/bin/sh", []string{"sh", "-c", "mount --bind '" + l.dir + "' '" + l.dir + "' && mount -o remount,bind,ro '" + l.dir + "' && cd / && exec '" + inner + "'"}
		if unshare, err := exec.LookPath("unshare"); err == nil {
			c.Path, c.Args = unshare, append([]string{"unshare", "--map-root-user", "--mount"}, c.Args...)
		}
	}
	if o := l.callWith(func(c *exec.Cmd) { c.Args = []string{"true"}; mount(c) }); o.code != 0 {
		t.Skipf("this machine mounts nothing for us: %s", o.stderr)
	}
	for _, status := range []string{"ran", "restored"} {
		o := l.callWith(mount, "run", l.path, "-o", filepath.Join(outDir, "out.ipynb"), "--json", "--python", l.python)
		if r := o.report(t); o.code != 0 || !all(statuses(t, r), status) {
			t.Fatalf("exit %d: %+v %s", o.code, r.Steps, o.stderr)
		}
	}
	o := l.callWith(mount, "run", l.path, "--json", "--python", l.python)
	o.fails(t, 3, l.path, "-o")
}

func TestPlanForecastsWithoutAKernel(t *testing.T) {
	l := plainLab(t, cells("x = 1", "print(x)", "z = 3"))
	starts := filepath.Join(l.dir, "starts")
	wrapper := l.script("python", "case \"$*\" in *connection*) echo start >> '"+starts+"';; esac\nexec "+l.python+" \"$@\"\n")
	plan := func(args ...string) report {
		t.Helper()
		o := l.call(append([]string{"plan", "nb.ipynb", "--json", "--python", wrapper}, args...)...)
		if o.code != 0 || o.stderr != "" {
			t.Fatalf("exit %d: %s", o.code, o.stderr)
		}
		return o.report(t)
	}
	if m := statuses(t, plan()); !all(m, "unknown") {
		t.Errorf("before any run: %v", m)
	}
	if _, err := os.Stat(starts); err == nil {
		t.Error("plan started a kernel")
	}
	if o := l.call("run", "nb.ipynb", "-o", "out.ipynb", "--python", wrapper); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if _, err := os.Stat(starts); err != nil {
		t.Fatal("this test does not see kernels start")
	}
	os.Remove(starts)
	if m := statuses(t, plan()); !all(m, "fresh") {
		t.Errorf("after a run: %v", m)
	}
	l.edit("x = 1", "x = 2")
	if m := statuses(t, plan()); m["a"] != "stale" || m["b"] != "stale" || m["c"] != "fresh" {
		t.Errorf("after an edit: %v", m)
	}
	if m := statuses(t, plan("--to", "b")); m["c"] != "not_run" {
		t.Errorf("--to b: %v", m)
	}
	if _, err := os.Stat(starts); err == nil {
		t.Error("plan started a kernel")
	}
}

func TestInjectionIsPapermills(t *testing.T) {
	for name, content := range map[string]string{
		"AfterParameters": tagged(5, "imports", "import os", "parameters", "a = 1", "step:b", "print(a)"),
		"AtTheTop":        tagged(5, "step:b", "print(2)"),
		"Again":           tagged(5, "parameters", "a = 1", "injected-parameters", "a = 3", "step:b", "print(a)"),
		"Below45":         tagged(4, "parameters", "a = 1", "step:b", "print(a)"),
	} {
		t.Run(name, func(t *testing.T) {
			l := plainLab(t, content)
			params := [][2]string{{"a", "5"}, {"f", "1e3"}, {"s", `x "y" é`}, {"t", "True"}, {"n", "None"}, {"k", "1_0"}, {"i", "nan"}}
			code := "import sys, json\nfrom papermill.iorw import load_notebook_node\nfrom papermill.parameterize import parameterize_notebook\nfrom papermill.cli import _resolve_type\n" +
				"nb = parameterize_notebook(load_notebook_node('nb.ipynb'), {k: _resolve_type(v) for k, v in json.loads(sys.argv[1])}, kernel_name='python3', language='python')\n" +
				"print(json.dumps([[c.source, c.metadata.get('tags', [])] for c in nb.cells]))"
			list, err := json.Marshal(params)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(l.python, "-W", "ignore", "-c", code, string(list))
			cmd.Dir = l.dir
			want, err := cmd.Output()
			if err != nil {
				t.Skipf("papermill does not work here: %v", err)
			}
			var args []string
			for _, p := range params {
				args = append(args, "-p", p[0]+"="+p[1])
			}
			if o := l.runTo(args...); o.code != 0 {
				t.Fatalf("exit %d: %s", o.code, o.stdout)
			}
			got, err := exec.Command(l.python, "-c", "import json, sys, nbformat\nnb = nbformat.read(sys.argv[1], 4)\nnbformat.validate(nb)\nprint(json.dumps([[c.source, c.metadata.get('tags', [])] for c in nb.cells]))", filepath.Join(l.dir, "out.ipynb")).Output()
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v\ngot  %swant %s", err, got, want)
			}
			if source, _ := os.ReadFile(l.path); string(source) != content {
				t.Error("the source was changed")
			}
		})
	}
}

// probes is a notebook with outputs of every kind.
var probes = []string{
	"step:a", "import sys\nfor i in range(6):\n    print(i, flush=True, file=(sys.stdout, sys.stderr)[i % 2])",
	"step:b", "from IPython.display import display, clear_output, update_display, HTML, Image\ndisplay('one', display_id='d1')\ndisplay('two', display_id='d2')\nupdate_display('deux', display_id='d2')\nprint('kept')",
	"step:c", "update_display('uno', display_id='d1')\nprint('x')\nclear_output(wait=True)\nprint('y')",
	"step:d", "print('gone')\nclear_output()\nprint('z')\nHTML('<b>&amp;</b>')",
	"step:e", "class R:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n        return {'application/json': {'a': [1, '<']}, 'text/plain': 'r\\ns', 'image/svg+xml': '<svg>\\n</svg>', 'text/html': '<p>\\n</p>', 'image/png': 'aGk=\\n'}, {'image/png': {'width': 3}}\nR()",
	"step:f,raises-exception", "def g():\n    raise ValueError('two\\nlines')\ng()",
	"step:h", "display('again', display_id='d1')\ndisplay('again2', display_id='d1')\nNone",
	"step:i", "x = 5\nx;",
	"step:j", "x",
}

func TestOutputsAreNbclients(t *testing.T) {
	l := plainLab(t, tagged(5, probes...))
	plain := filepath.Join(l.dir, "plain.ipynb")
	if err := os.WriteFile(plain, []byte(tagged(5, probes...)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(l.python), "jupyter"), "execute", "--inplace", plain)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("jupyter execute does not work here: %v: %s", err, out)
	}
	want, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, turn := range []string{"cold", "warm"} {
		if o := l.runTo(); o.code != 0 {
			t.Fatalf("exit %d: %s", o.code, o.stderr)
		}
		if got := outputsOf(t, l.out()); got != outputsOf(t, string(want)) {
			t.Errorf("%s\ngot  %s\nwant %s", turn, got, outputsOf(t, string(want)))
		}
		if turn == "cold" && strings.Count(l.out(), "iopub.execute_input") != len(probes)/2 {
			t.Error("metadata.execution is missing")
		}
	}
}

func TestSnapshotsCommands(t *testing.T) {
	l := plainLab(t, cells("x = [1, 2, 3]\nopen('made.txt', 'w').write('hello');", "print(len(x))"))
	if o := l.runTo(); o.code != 0 {
		t.Fatal(o.stderr)
	}
	var log []map[string]any
	if o := l.call("log", "nb.ipynb", "--json"); json.Unmarshal([]byte(o.stdout), &log) != nil || len(log) != 2 {
		t.Fatalf("log: %s", o.stdout)
	}
	if got := keysOf(t, any(log[0])); !slices.Equal(got, []string{"cell", "created", "logical_bytes", "notebook", "seconds", "snapshot", "status", "step", "unique_bytes"}) || log[0]["step"] != "b" {
		t.Errorf("log has %v of step %v first", got, log[0]["step"])
	}
	id := log[1]["snapshot"].(string)
	byStep, byPrefix := l.call("show", "nb.ipynb@a", "--json"), l.call("show", id[:8], "--json")
	if byStep.code != 0 || byStep.stdout != byPrefix.stdout {
		t.Errorf("show: %s\n%s", byStep.stdout, byPrefix.stdout)
	}
	var show map[string]any
	if err := json.Unmarshal([]byte(byStep.stdout), &show); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"variables", "files", "outputs", "environment", "parent", "created", "seconds", "logical_bytes", "unique_bytes"} {
		if _, ok := show[field]; !ok {
			t.Errorf("show has no %s", field)
		}
	}
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT[0-9:.]+Z$`).MatchString(show["created"].(string)) {
		t.Errorf("created %v", show["created"])
	}
	var x map[string]any
	for _, v := range show["variables"].([]any) {
		if v.(map[string]any)["name"] == "x" {
			x = v.(map[string]any)
		}
	}
	if x["type"] != "list" || x["length"] != 3.0 || x["captured"] != true || x["digest"] == nil || x["size"] == nil {
		t.Errorf("x is %v", x)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := l.call("restore", "nb.ipynb@a", "--into", full); o.code != 3 {
		t.Errorf("restore into a full folder: exit %d: %s", o.code, o.stderr)
	}
	into := filepath.Join(t.TempDir(), "new")
	if o := l.call("restore", "nb.ipynb@a", "--into", into); o.code != 0 {
		t.Fatalf("restore: exit %d: %s", o.code, o.stderr)
	}
	if text, _ := os.ReadFile(filepath.Join(into, "made.txt")); string(text) != "hello" {
		t.Errorf("restored file: %q", text)
	}
	if _, err := os.Stat(filepath.Join(into, "nb.ipynb")); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"doctor", "--json"}, {"version", "--json"}, {"store", "stats", "--json"}, {"graph", "nb.ipynb", "--python", l.python}, {"graph", "nb.ipynb", "--format", "dot", "--python", l.python}, {"help"}, {"run", "--help"}} {
		if o := l.call(args...); o.code != 0 || o.stdout == "" {
			t.Errorf("kedge %v: exit %d: %s %s", args, o.code, o.stdout, o.stderr)
		}
	}
}

func TestNothingButFaultsOnStderr(t *testing.T) {
	l := plainLab(t, cells("x = 1"))
	if o := l.runTo(); o.stderr != "" {
		t.Errorf("stderr without a terminal: %q", o.stderr)
	}
	null, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer null.Close()
	o := l.callWith(func(c *exec.Cmd) { c.Stdout = null }, "run", "nb.ipynb", "-o", "out.ipynb", "--json", "--python", l.python)
	if o.code != 3 || !strings.Contains(o.stderr, "write the report") {
		t.Errorf("stdout full: exit %d: %s", o.code, o.stderr)
	}
	closed := l.callWith(func(c *exec.Cmd) {
		c.Path, c.Args = "/bin/sh", append([]string{"sh", "-c", `exec "$@" >&-`, "sh"}, c.Args...)
	}, "run", "nb.ipynb", "-o", "out.ipynb", "--json", "--python", l.python)
	if closed.code != 0 {
		t.Errorf("stdout closed: exit %d: %s", closed.code, closed.stderr)
	}
}
