package integration

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
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
