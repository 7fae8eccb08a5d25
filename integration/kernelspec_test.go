package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// spec installs a kernelspec that starts ipykernel as given, for this test only.
func (l *lab) spec(language, greeting string, options ...string) {
	l.t.Helper()
	argv := append(append([]string{l.python}, options...), "-m", "ipykernel_launcher", "-f", "{connection_file}")
	dir := l.kernelspec("custom", language, argv...)
	data, err := json.Marshal(map[string]any{"argv": argv, "display_name": "custom", "language": language,
		"env": map[string]string{"GREETING": greeting}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kernels", "custom", "kernel.json"), data, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Setenv("JUPYTER_PATH", dir)
}

func TestKernelspecs(t *testing.T) {
	source := cells("x = 1", "import os\nprint(os.environ['GREETING'], __debug__)")
	run := func(t *testing.T, l *lab, shows string) map[string]string {
		t.Helper()
		o := l.call("run", "nb.ipynb", "-o", "out.ipynb", "--json", "--kernel", "custom")
		if o.code != 0 {
			t.Fatalf("exit %d: %s", o.code, o.stderr)
		}
		if !strings.Contains(l.out(), shows) {
			t.Errorf("no %q in %s", shows, l.out())
		}
		return statuses(t, o.report(t))
	}
	t.Run("ItsVariablesAndOptionsCount", func(t *testing.T) {
		l := plainLab(t, source)
		t.Setenv("WHO", "you")
		l.spec("python", "hello ${WHO} $$5")
		if m := run(t, l, "hello you $5 True"); !all(m, "ran") {
			t.Errorf("cold: %v", m)
		}
		if m := run(t, l, "hello you $5 True"); !all(m, "restored") {
			t.Errorf("warm: %v", m)
		}
		l.spec("python", "bye ${WHO} ${NOBODY}")
		if m := run(t, l, "bye you ${NOBODY} True"); m["a"] != "restored" || m["b"] != "ran" {
			t.Errorf("another variable: %v", m)
		}
		l.spec("python", "bye", "-O")
		if m := run(t, l, "bye False"); !all(m, "ran") {
			t.Errorf("another option: %v", m)
		}
	})
	t.Run("OtherLanguagesRun", func(t *testing.T) {
		l := plainLab(t, source)
		l.spec("esperanto", "saluton")
		for range 2 {
			if m := run(t, l, "saluton True"); !all(m, "ran") {
				t.Errorf("statuses are %v", m)
			}
		}
		o := l.call("plan", "nb.ipynb", "--json", "--kernel", "custom")
		if m := statuses(t, o.report(t)); o.code != 0 || !all(m, "stale") {
			t.Errorf("the plan is %v: %s", m, o.stderr)
		}
	})
}
