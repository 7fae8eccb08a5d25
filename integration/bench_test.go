package integration

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mark is the environment variable by which the memory of a run's processes is
// found, also of those that it leaves behind.
const mark = "KEDGE_BENCH_RUN"

// way is one way to execute a notebook. Each run has a fresh folder; warm runs
// follow a cold one in its folder.
type way struct {
	name string
	args func(b *bench, path, out string) []string
	warm bool
}

var ways = []way{
	{name: "jupyter execute", args: func(b *bench, path, out string) []string {
		return []string{b.python, "-m", "jupyter", "execute", path, "--output=" + out}
	}},
	{name: "kedge run --no-cache", args: func(b *bench, path, out string) []string {
		return []string{b.kedge, "run", path, "-o", out, "--python", b.python, "--no-cache"}
	}},
	{name: "kedge run, cold", args: (*bench).run},
	{name: "kedge run, warm", args: (*bench).run, warm: true},
}

func (b *bench) run(path, out string) []string {
	return []string{b.kedge, "run", path, "-o", out, "--python", b.python}
}

// bench is the state of BenchmarkExamples.
type bench struct {
	*testing.B
	kedge, python string
	dir, home     string // of the latest run
}

// sample is what one run cost.
type sample struct {
	wall   time.Duration
	memory int64 // peak of the proportional set sizes of all its processes, bytes
	kernel bool  // whether a kernel was seen; known only where memory is
}

// BenchmarkExamples runs the KEDGE_BENCH_EXAMPLES (taxi,iris) by all ways in
// turn, KEDGE_BENCH_ROUNDS times (3), and prints medians of the wall time. The peak of memory is that
// of one more round, because reading it slows what it reads. It takes minutes;
// `make bench` calls it.
func BenchmarkExamples(b *testing.B) {
	l := newBench(b)
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("KEDGE_BENCH_ROUNDS"), "3"))
	if err != nil || rounds < 1 {
		b.Fatal("KEDGE_BENCH_ROUNDS is no positive number")
	}
	fmt.Printf("\n%s, %d rounds, medians\n", machine(), rounds)
	fmt.Printf("targets: cold at most 1.15x jupyter execute, memory at most 1.3x; warm under 0.150 s without a kernel\n\n")
	fmt.Printf("%-6s %-21s %9s %6s %11s %6s  %s\n", "", "", "SECONDS", "RATIO", "PEAK (MiB)", "RATIO", "KERNEL")
	for _, name := range strings.Split(cmp.Or(os.Getenv("KEDGE_BENCH_EXAMPLES"), "taxi,iris"), ",") {
		source, err := os.ReadFile(filepath.Join("..", "examples", name+".ipynb"))
		if err != nil {
			b.Fatal(err)
		}
		walls := make([][]time.Duration, len(ways))
		for range rounds {
			for i, s := range l.round(source, false) {
				walls[i] = append(walls[i], s.wall)
			}
		}
		memory := l.round(source, true)
		for i, w := range ways {
			wall := median(walls[i])
			fmt.Printf("%-6s %-21s %9.3f %5.2fx %11d %5.2fx  %v\n", name, w.name,
				wall.Seconds(), wall.Seconds()/median(walls[0]).Seconds(),
				memory[i].memory>>20, float64(memory[i].memory)/float64(memory[0].memory), memory[i].kernel)
		}
	}
}

func newBench(b *testing.B) *bench {
	root, err := filepath.Abs("..")
	if err != nil {
		b.Fatal(err)
	}
	l := &bench{B: b, kedge: filepath.Join(root, "bin", "kedge"),
		python: cmp.Or(os.Getenv("KEDGE_TEST_PYTHON"), filepath.Join(root, ".venv", "bin", "python"))}
	for _, path := range []string{l.kedge, l.python} {
		if _, err := os.Stat(path); err != nil {
			b.Fatalf("%s is missing: `make bench` builds it", path)
		}
	}
	return l
}

// round executes the notebook once by each way.
func (b *bench) round(source []byte, memory bool) []sample {
	b.Helper()
	samples := make([]sample, len(ways))
	for i, w := range ways {
		if !w.warm {
			b.dir, b.home = b.TempDir(), b.TempDir()
		}
		path := filepath.Join(b.dir, "nb.ipynb")
		data, err := json.Marshal(withoutSkipped(b, source))
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			b.Fatal(err)
		}
		samples[i] = b.measureRun(w.args(b, path, filepath.Join(b.home, "out.ipynb")), memory)
	}
	return samples
}

func (b *bench) measureRun(args []string, memory bool) sample {
	b.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "KEDGE_HOME="+filepath.Join(b.home, "kedge"), mark+"=1")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var s sample
	var tick <-chan time.Time
	if memory {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case err := <-done:
			s.wall = time.Since(begin)
			if err != nil {
				b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, log.String())
			}
			return s
		case <-tick:
			used, kernel := proportional()
			s.memory, s.kernel = max(s.memory, used), s.kernel || kernel
		}
	}
}

// proportional adds up the proportional set sizes of the marked processes, and
// says whether one of them is a kernel.
func proportional() (bytesUsed int64, kernel bool) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		// A process that has ended meanwhile is read as empty.
		environ, _ := os.ReadFile(p + "/environ")
		if !bytes.Contains(environ, []byte(mark+"=1")) {
			continue
		}
		arguments, _ := os.ReadFile(p + "/cmdline")
		kernel = kernel || bytes.Contains(arguments, []byte("\x00-f\x00"))
		rollup, _ := os.ReadFile(p + "/smaps_rollup")
		for line := range strings.Lines(string(rollup)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				bytesUsed += kib << 10
			}
		}
	}
	return bytesUsed, kernel
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// machine names what the figures hold for.
func machine() string {
	model, memory := "unknown processor", ""
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(info), "model name\t: "); ok {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		if fields := strings.Fields(string(info)); len(fields) > 1 {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			memory = fmt.Sprintf(", %d GiB", (kib+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%s, %d cores%s, %s/%s", model, runtime.NumCPU(), memory, runtime.GOOS, runtime.GOARCH)
}
