package integration

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNotebooksInALiveKernel(t *testing.T) {
	f := newFront(t)
	for test, name := range map[string]string{
		"RestartsAndEdits":         "notebook",
		"RunAll":                   "runall",
		"Errors":                   "errors",
		"DisplayIDs":               "displays",
		"RequestsThatAreNoCells":   "requests",
		"Interrupts":               "interrupted",
		"AClientThatLeaves":        "leaves",
		"VSCode":                   "vscode",
		"CodeBeforeTheNotebook":    "early",
		"StepsThatComeLate":        "late",
		"AllCellsBecomeSteps":      "auto",
		"CodeBeforeTheSteps":       "before",
		"Magics":                   "magics",
		"NbclientSendsNoMetadata":  "client",
		"NbconvertAndPapermill":    "commands",
		"JupyterServer":            "server",
		"AKernelThatEndsInACell":   "dies",
		"KedgeRunSharesWhatIsKept": "run",
		"CallbacksOfWidgets":       "comms",
		"WidgetsThatOnlyShow":      "widgets",
		"AStoreThatCannotBeUsed":   "unusable",
		"ADiskThatFills":           "fills",
		"ChildrenOfAKernel":        "children",
		"PayloadsAreNotReplayed":   "payloads",
	} {
		t.Run(test, func(t *testing.T) { f.live(t, name, "kedge-python3", "python3") })
	}
	t.Run("PapermillsEngine", func(t *testing.T) {
		g := f.with(t)
		out, err := g.command(time.Minute, g.kedge, "install", "--prefix", f.home, "--python", f.python, "--papermill")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		lines := strings.Fields(out)
		module := lines[len(lines)-1]
		g.env = append(g.env, "PYTHONPATH="+filepath.Dir(module))
		g.script("live.py", "engine", "kedge-python3", "python3")
		out, err = g.command(time.Minute, g.kedge, "uninstall", "--prefix", f.home, "--papermill", "kedge-python3")
		if _, left := os.Stat(module); err != nil || left == nil {
			t.Errorf("uninstall left the engine: %v\n%s", err, out)
		}
		f.install("--python", f.python)
	})
	t.Run("RandomActions", func(t *testing.T) {
		g := f.with(t)
		actions, limit := os.Getenv("KEDGE_FUZZ_LIVE"), 3*time.Minute // make fuzz-live
		if actions != "" {
			limit = 4 * time.Hour
		}
		out, err := g.command(limit, g.python, "testdata/proxy/livefuzz.py", "kedge-python3", "python3",
			cmp.Or(os.Getenv("KEDGE_FUZZ_SEED"), "7"), cmp.Or(actions, "80"))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log(out)
	})
	t.Run("AnotherLanguage", func(t *testing.T) {
		if out, err := f.command(time.Minute, f.python, "-m", "bash_kernel.install", "--prefix", f.home); err != nil {
			t.Skipf("bash_kernel is not installed here: %s", out)
		}
		f.install("--kernel", "bash")
		f.live(t, "bash", "kedge-bash", "bash")
	})
}

// live runs a function of live.py with a store of its own.
func (f *front) live(t *testing.T, args ...string) {
	t.Helper()
	f.with(t).script(append([]string{"live.py"}, args...)...)
}

// with is f for one test, with a store and a temporary folder of its own, in which kernels leave nothing.
func (f *front) with(t *testing.T) *front {
	t.Helper()
	g, temp := *f, t.TempDir()
	g.t, g.env = t, append(g.env[:len(g.env):len(g.env)], "KEDGE_HOME="+t.TempDir(), "TMPDIR="+temp, "KEDGE_TEST_BINARY="+f.kedge)
	t.Cleanup(func() {
		if left, _ := filepath.Glob(filepath.Join(temp, "kedge-[0-9]*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return &g
}
