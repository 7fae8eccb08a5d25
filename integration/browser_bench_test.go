package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// BenchmarkLab measures what the extension costs in a real JupyterLab and
// Chromium, KEDGE_BENCH_ROUNDS times (10). `make bench` calls it.
func BenchmarkLab(b *testing.B) {
	l := newBench(b)
	fmt.Printf("\n%s\npages\n", machine())
	l.installed([]string{"--as", "python3"}, "testdata/browser/measure.py", filepath.Join(b.TempDir(), "lab"))
}

// BenchmarkPage measures how long the page behind a link takes in Chromium for
// a notebook of 100 cells with tables and plots, KEDGE_BENCH_ROUNDS times (10):
// until the first cells are painted, more than a screen, for which the target is
// 200 ms, until the notebook is, and until all is there.
func BenchmarkPage(b *testing.B) {
	l := newBench(b)
	l.dir, l.home = b.TempDir(), b.TempDir()
	path := filepath.Join(l.dir, "nb.ipynb")
	if err := os.WriteFile(path, hundredCells(), 0o600); err != nil {
		b.Fatal(err)
	}
	var sent struct{ Link string }
	l.output("run", path, "--python", l.python)
	if err := json.Unmarshal(l.output("share", path, "--yes", "--json"), &sent); err != nil {
		b.Fatal(err)
	}
	defer l.output("serve", "--stop")
	var took struct {
		First, Painted, All []float64
		Bytes, Cells        int
	}
	script := filepath.Join("testdata", "browser", "paint.py")
	out, err := exec.Command(l.python, script, sent.Link, cmp.Or(os.Getenv("KEDGE_BENCH_ROUNDS"), "10")).Output()
	if err == nil {
		err = json.Unmarshal(out, &took)
	}
	if err != nil || took.Cells != 100 {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, times := range [][]float64{took.First, took.Painted, took.All} {
		slices.Sort(times)
	}
	half := len(took.First) / 2
	fmt.Printf("\n%s\nthe page behind a link, %d cells, %d KiB: first cells painted after %.0f ms (%.0f to %.0f; target 200), the notebook after %.0f ms, all there after %.0f ms\n",
		machine(), took.Cells, took.Bytes>>10, took.First[half], took.First[0], took.First[len(took.First)-1], took.Painted[half], took.All[half])
	b.ReportMetric(took.First[half], "ms-first")
	b.ReportMetric(took.Painted[half], "ms-painted")
	b.ReportMetric(took.All[half], "ms-all")
}

// output runs kedge with the bench's home and returns what it prints.
func (b *bench) output(args ...string) []byte {
	b.Helper()
	cmd := exec.Command(b.kedge, args...)
	cmd.Env, cmd.Dir = append(os.Environ(), "XDG_DATA_HOME="+b.home), b.dir
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("kedge %v: %v", args, err)
	}
	return out
}

// hundredCells is a notebook in which every fifth cell shows a frame, and every tenth a plot.
func hundredCells() []byte {
	var cells []map[string]any
	for n := range 100 {
		source := fmt.Sprintf("x%d = [i * %d for i in range(1000)]\nprint(sum(x%d))", n, n, n)
		switch {
		case n == 0:
			source = "import numpy as np, pandas as pd\n%matplotlib inline\nimport matplotlib.pyplot as plt\nr = np.random.default_rng(0)"
		case n%10 == 0:
			source = fmt.Sprintf("plt.plot(r.normal(size=200).cumsum() + %d)\nplt.show()", n)
		case n%5 == 0:
			source = fmt.Sprintf("df%d = pd.DataFrame(r.normal(size=(1000, 6)), columns=list('abcdef'))\ndf%d.head(10)", n, n)
		}
		cells = append(cells, map[string]any{"cell_type": "code", "id": fmt.Sprint("c", n), "metadata": map[string]any{"tags": []string{fmt.Sprint("step:s", n/4)}},
			"execution_count": nil, "outputs": []any{}, "source": source})
	}
	data, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": cells})
	if err != nil {
		panic(err) // it is JSON
	}
	return data
}
