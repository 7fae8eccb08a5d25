package integration

import (
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkLab measures what the extension costs in a real JupyterLab and
// Chromium, KEDGE_BENCH_ROUNDS times (10). `make bench` calls it.
func BenchmarkLab(b *testing.B) {
	l := newBench(b)
	fmt.Printf("\n%s\npages\n", machine())
	l.installed([]string{"--as", "python3"}, "testdata/browser/measure.py", filepath.Join(b.TempDir(), "lab"))
}
