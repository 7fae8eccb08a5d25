package integration

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkLab measures what the extension costs in a real JupyterLab and
// Chromium, KEDGE_BENCH_ROUNDS times (10). `make bench` calls it.
func BenchmarkLab(b *testing.B) {
	l := newBench(b)
	home := b.TempDir()
	env := append(os.Environ(), "KEDGE_HOME="+filepath.Join(home, "kedge"), "JUPYTER_PATH="+filepath.Join(home, "share", "jupyter"),
		"IPYTHONDIR="+filepath.Join(home, "ipython"))
	fmt.Printf("\n%s\npages\n", machine())
	for _, argv := range [][]string{
		{l.kedge, "install", "--prefix", home, "--python", l.python, "--as", "python3"},
		{l.python, "testdata/browser/measure.py", filepath.Join(home, "lab"), cmp.Or(os.Getenv("KEDGE_BENCH_ROUNDS"), "10")},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
