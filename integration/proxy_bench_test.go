package integration

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkProxy compares a plain kernel with one behind the proxy,
// KEDGE_BENCH_ROUNDS times (10). `make bench` calls it.
func BenchmarkProxy(b *testing.B) {
	l := newBench(b)
	fmt.Printf("\n%s\nproxy: plain, proxied\n", machine())
	cmd := exec.Command(l.python, "testdata/proxy/measure.py", l.kedge, l.python, cmp.Or(os.Getenv("KEDGE_BENCH_ROUNDS"), "10"))
	cmd.Env = append(os.Environ(), "KEDGE_HOME="+b.TempDir())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkProxyLive measures what restoring costs in a live kernel.
func BenchmarkProxyLive(b *testing.B) {
	l := newBench(b)
	fmt.Printf("\n%s\nlive: plain, proxied\n", machine())
	l.installed(nil, "testdata/proxy/measure_live.py", "kedge-python3", "python3")
}

// BenchmarkPause measures how long a cell waits that comes right after one that
// left much.
func BenchmarkPause(b *testing.B) {
	l := newBench(b)
	fmt.Printf("\n%s\npause (target: 20 ms + 5 ms/GB): plain, proxied\n", machine())
	l.installed(nil, "testdata/proxy/measure_pause.py", "kedge-python3", "python3")
}

// BenchmarkRestores measures how long large values take to be there again.
func BenchmarkRestores(b *testing.B) {
	l := newBench(b)
	fmt.Printf("\n%s\nrestored in a live kernel (target: 50 ms + 5 ms/GB)\n", machine())
	l.installed(nil, "testdata/proxy/measure_restores.py", "kedge-python3", "python3")
}

// installed runs a program, which has the rounds as its last argument, where Kedge is installed with these flags.
func (b *bench) installed(flags []string, program ...string) {
	b.Helper()
	home := b.TempDir()
	env := append(os.Environ(), "KEDGE_HOME="+filepath.Join(home, "kedge"), "JUPYTER_PATH="+filepath.Join(home, "share", "jupyter"),
		"IPYTHONDIR="+filepath.Join(home, "ipython"))
	for _, argv := range [][]string{
		append([]string{b.kedge, "install", "--prefix", home, "--python", b.python}, flags...),
		append(append([]string{b.python}, program...), cmp.Or(os.Getenv("KEDGE_BENCH_ROUNDS"), "10")),
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
