package observe

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Each prints the seconds of one operation.
var benched = []struct{ name, setup, op string }{
	{"StatOneFile", "os.stat('/etc/hostname')", "for i in R: os.stat('/etc/hostname')"},
	{"StatManyFiles", "[open(f'f{i}', 'w').close() for i in range(10000)]", "for i in R: os.stat(f'f{i}')"},
	{"ExistsAbsent", "", "for i in R: os.path.exists('/nowhere')"},
	{"OpenReadClose", "[open(f'f{i}', 'w').close() for i in range(10000)]", "for i in R:\n    d = os.open(f'f{i}', 0); os.read(d, 100); os.close(d)"},
	{"OpenBuffered", "[open(f'f{i}', 'w').close() for i in range(10000)]", "for i in R: open(f'f{i}').read()"},
	{"Loop", "", "x = 0\nfor i in R: x += i * i % 7"},
	{"Spawn", "R = range(100)", "for i in R: subprocess.run(['/bin/true'])"},
	{"Imports", "R = range(1)", "import pandas, sklearn.ensemble, matplotlib.pyplot"},
	{"StartKernel", "R = range(1)\nimport jupyter_client", "m, c = jupyter_client.manager.start_new_kernel(); c.kernel_info(reply=True); m.shutdown_kernel(now=True)"},
}

// BenchmarkOverhead times operations of Python plain and with the library,
// in turns, and reports the least time of each and their ratio.
func BenchmarkOverhead(b *testing.B) {
	python := os.Getenv("KEDGE_TEST_PYTHON")
	if python == "" {
		python = "../../.venv/bin/python"
	}
	if out, err := exec.Command("./build.sh", scratch).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, c := range benched {
		b.Run(c.name, func(b *testing.B) {
			script := "import os, subprocess, time\nR = range(10000)\n" + c.setup + "\nt = time.perf_counter()\n" + c.op +
				"\nprint((time.perf_counter() - t) / len(R))"
			least := map[bool]float64{}
			for range 5 * b.N {
				for _, observed := range []bool{false, true} {
					ring, err := Create(b.TempDir())
					if err != nil {
						b.Fatal(err)
					}
					cmd := exec.Command(python, "-c", script)
					cmd.Dir = b.TempDir()
					if observed {
						cmd.Env = ring.Env(scratch+"/"+libraryName, os.Environ())
					}
					out, err := cmd.Output()
					ring.Close()
					if err != nil {
						b.Fatal(err)
					}
					seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
					if err != nil {
						b.Fatal(err)
					}
					if least[observed] == 0 || seconds < least[observed] {
						least[observed] = seconds
					}
				}
			}
			b.ReportMetric(least[false]*1e6, "plain-µs")
			b.ReportMetric(least[true]*1e6, "observed-µs")
			b.ReportMetric(least[true]/least[false], "ratio")
		})
	}
}

// BenchmarkBoundary times what is looked at before and after each cell.
func BenchmarkBoundary(b *testing.B) {
	b.Run("Holds", func(b *testing.B) {
		for range b.N {
			if _, err := Holds(os.Getpid()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Descendants", func(b *testing.B) {
		for range b.N {
			if _, err := Descendants(os.Getpid(), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
