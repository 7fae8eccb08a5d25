package shell

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kedge/kernel"
)

func start(t *testing.T) *Server {
	t.Helper()
	python := os.Getenv("KEDGE_TEST_PYTHON")
	if python == "" {
		t.Skip("KEDGE_TEST_PYTHON is not set: run `make test`")
	}
	dir, err := os.MkdirTemp("/dev/shm", "kedge-shell-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := Start(context.Background(), Config{Python: python, Dir: dir, Libraries: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fork(t *testing.T, s *Server, dir string) *Shell {
	t.Helper()
	sh, err := s.Fork(Fork{Dir: dir, Env: map[string]string{"PATH": os.Getenv("PATH"), "HOME": dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sh.Shutdown(context.Background()) })
	return sh
}

func say(t *testing.T, sh *Shell, code string) string {
	t.Helper()
	res, err := sh.Execute(context.Background(), kernel.Request{Code: code})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, raw := range res.Outputs {
		var o struct {
			Text   string
			EValue string
			Data   map[string]any
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		b.WriteString(o.Text + o.EValue)
		if text, ok := o.Data["text/plain"].(string); ok {
			b.WriteString(text)
		}
	}
	return b.String()
}

func TestShellsAreFreshAndApart(t *testing.T) {
	s := start(t)
	dir := t.TempDir()
	a, b := fork(t, s, dir), fork(t, s, dir)
	say(t, a, "x = 1\nimport os; os.environ['Q'] = '1'")
	if got := say(t, b, "'x' in globals(), os.environ.get('Q') if 'os' in globals() else None"); got != "(False, None)" {
		t.Errorf("the second shell sees %s", got)
	}
	if got := say(t, b, "import os\nprint(os.getcwd(), __name__)\n1/0"); !strings.HasPrefix(got, dir+" __main__\n") || !strings.HasSuffix(got, "division by zero") {
		t.Errorf("got %q", got)
	}
	if got := say(t, b, "import asyncio\nawait asyncio.sleep(0)\n[In, _i]"); !strings.Contains(got, "await asyncio") {
		t.Errorf("got %q", got)
	}
}

// A shell must have the modules that a kernel has after the same imports: the
// same ones, the top-level ones in the same order.
func TestModulesAreThoseOfAKernel(t *testing.T) {
	s := start(t)
	const prepare = "import sys\n_before = set(sys.modules)"
	const kernel = "from ipykernel import kernelapp\nfrom ipykernel.ipkernel import IPythonKernel\n" +
		"from jupyter_client.session import Session\nk = IPythonKernel(session=Session(key=b''))\n"
	for name, imports := range map[string]string{
		"numpy":  "import numpy as np\n",
		"random": "from statistics import mean\nimport numpy.random\n",
		"pandas": "import csv\nimport numpy as np\nimport pandas as pd\n",
	} {
		code := imports + "_new = [n for n in sys.modules if n not in _before and not n.startswith('_')]\n" +
			"print([n for n in _new if '.' not in n])\nprint(sorted(_new))"
		cmd := exec.Command(os.Getenv("KEDGE_TEST_PYTHON"), "-c", kernel+prepare+"\n"+code)
		cmd.Env = append(os.Environ(), "IPYTHONDIR="+filepath.Join(t.TempDir(), "ip"))
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		sh := fork(t, s, t.TempDir())
		say(t, sh, prepare)
		if got := say(t, sh, code); got != string(want) {
			a, b := strings.SplitN(got, "\n", 2), strings.SplitN(string(want), "\n", 2)
			t.Errorf("%s: a shell: %s\na kernel: %s", name, a[0], b[0])
			t.Errorf("%s: too many: %v, too few: %v", name, missing(a[1], b[1]), missing(b[1], a[1]))
		}
	}
}

// missing are the words of a that are not in b.
func missing(a, b string) []string {
	in := map[string]bool{}
	for _, w := range strings.Split(strings.TrimSpace(b), ", ") {
		in[strings.Trim(w, "[]'")] = true
	}
	var list []string
	for _, w := range strings.Split(strings.TrimSpace(a), ", ") {
		if w = strings.Trim(w, "[]'"); !in[w] {
			list = append(list, w)
		}
	}
	return list
}
