package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func python(t *testing.T) string {
	if p := os.Getenv("KEDGE_TEST_PYTHON"); p != "" {
		return p
	}
	p, err := filepath.Abs("../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Skip("no python with ipykernel: set KEDGE_TEST_PYTHON or make .venv in the repository")
	}
	return p
}

func start(t *testing.T) *Kernel {
	t.Helper()
	k, err := Start(t.Context(), Config{Argv: SpecForPython(python(t)).Argv, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return k
}

func text(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var o struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	return o.Text
}

func TestExecute(t *testing.T) {
	k := start(t)
	run := func(code string) Result {
		t.Helper()
		r, err := k.Execute(t.Context(), Request{Code: code})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := run("import sys\nfor i in range(3): print(i, flush=True)\nsys.stderr.write('e')\n41+1")
	if len(r.Outputs) != 3 || text(t, r.Outputs[0]) != "0\n1\n2\n" || r.Status != "ok" || r.ExecutionCount != 1 || len(r.Times) != 4 {
		t.Errorf("streams: %s %+v", r.Outputs, r)
	}
	if !strings.Contains(string(r.Outputs[2]), `"text/plain":`) {
		t.Errorf("result: %s", r.Outputs[2])
	}
	run("h = display('a', display_id='d')")
	if r = run("h.update('b')"); len(r.Displays) != 1 || r.Displays[0].DisplayID != "d" || len(r.Outputs) != 0 {
		t.Errorf("update: %+v", r)
	}
	if r = run("1/0"); r.Status != "error" || r.EName != "ZeroDivisionError" || len(r.Outputs) != 1 {
		t.Errorf("error: %+v", r)
	}
	if r = run("print('x' * 20_000_000)"); len(text(t, r.Outputs[0])) != 20_000_001 {
		t.Error("big output was cut")
	}
	if r = run("input()"); !r.UsedStdin {
		t.Error("stdin was not seen")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r, err := k.Execute(ctx, Request{Code: "import time\nprint('p', flush=True)\ntime.sleep(60)"})
	if !errors.Is(err, context.DeadlineExceeded) || r.EName != "KeyboardInterrupt" {
		t.Errorf("interrupt: %v %+v", err, r)
	}
	dir, pid := k.dir, k.PID()
	if err := k.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil || syscall.Kill(pid, 0) == nil {
		t.Error("shutdown left something")
	}
}

func TestDeathInCell(t *testing.T) {
	k := start(t)
	r, err := k.Execute(t.Context(), Request{Code: "import os,time\nprint('last', flush=True)\ntime.sleep(.5)\nos._exit(3)"})
	if !errors.Is(err, ErrKernelDied) || !strings.Contains(err.Error(), "exit status 3") || len(r.Outputs) != 1 {
		t.Errorf("%v %+v", err, r)
	}
}

func TestDeathOnStart(t *testing.T) {
	_, err := Start(t.Context(), Config{Argv: []string{"/bin/sh", "-c", "echo broken >&2; exit 7"}})
	if !errors.Is(err, ErrKernelStart) || !strings.Contains(err.Error(), "broken") {
		t.Error(err)
	}
}

func TestFindSpecNamesWhatExists(t *testing.T) {
	d := t.TempDir()
	at := filepath.Join(d, "kernels", "mine")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "kernel.json"), []byte(`{"argv":["x","{connection_file}"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"JUPYTER_PATH=" + d}
	if s, err := FindSpec("mine", env); err != nil || s.Argv[0] != "x" {
		t.Error(s, err)
	}
	if _, err := FindSpec("none", env); !errors.Is(err, ErrNoSpec) || !strings.Contains(err.Error(), "mine") {
		t.Error(err)
	}
}
