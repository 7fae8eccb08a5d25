package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStoreIsCleanedAndEverythingRunsAgain(t *testing.T) {
	l := plainLab(t, cells("import numpy as np\nx = np.arange(300_000)", "y = x * 2\nprint(y.sum())"))
	if o := l.runTo(); o.code != 0 {
		t.Fatal(o.stderr)
	}
	want, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb"))
	gc := func(args ...string) (r struct{ Traces, Snapshots, Segments int }) {
		t.Helper()
		o := l.call(append([]string{"store", "gc", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(o.stdout), &r); err != nil || o.code != 0 {
			t.Fatalf("exit %d: %s%s", o.code, o.stdout, o.stderr)
		}
		return r
	}
	runs := func(status string) {
		t.Helper()
		o := l.runTo()
		if r := o.report(t); o.code != 0 || !all(statuses(t, r), status) {
			t.Fatalf("want %s: %s%s", status, o.stdout, o.stderr)
		}
		if got, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb")); outputsOf(t, string(got)) != outputsOf(t, string(want)) {
			t.Errorf("outputs are %s", got)
		}
		if o := l.call("store", "verify"); o.code != 0 {
			t.Errorf("verify: %s", o.stdout)
		}
	}
	if r := gc("--quota", "0", "--dry-run"); r.Traces != 2 {
		t.Errorf("%+v", r)
	}
	gc()
	runs("restored")
	if r := gc("--quota", "0"); r.Traces != 2 {
		t.Errorf("%+v", r)
	}
	runs("ran")
	runs("restored")
	o := l.call("store", "pin", "nb.ipynb@b")
	if o.code != 0 {
		t.Fatalf("pin: %s", o.stderr)
	}
	gc("--quota", "0")
	runs("restored")
	if o := l.call("store", "gc", "--quota", "heaps"); o.code != 2 || !strings.Contains(o.stderr, "20GB") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
}

func TestALostCatalogIsRebuilt(t *testing.T) {
	l := plainLab(t, cells("x = 41", "print(x + 1)"))
	if o := l.runTo(); o.code != 0 {
		t.Fatal(o.stderr)
	}
	catalog := filepath.Join(l.home, "catalog.db")
	for name, damage := range map[string]func() error{
		"Removed": func() error { return os.Remove(catalog) },
		"Garbage": func() error { return os.WriteFile(catalog, []byte(strings.Repeat("garbage ", 4096)), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if o := l.runTo(); o.code != 0 || !all(statuses(t, o.report(t)), "ran") || !strings.Contains(o.stderr, "kedge store rebuild") {
			t.Errorf("%s: exit %d: %s", name, o.code, o.stderr)
		}
		if o := l.call("store", "rebuild"); o.code != 0 || !strings.Contains(o.stdout, "traces") {
			t.Errorf("%s: exit %d: %s%s", name, o.code, o.stdout, o.stderr)
		}
		if o := l.runTo(); o.code != 0 || !all(statuses(t, o.report(t)), "restored") {
			t.Errorf("%s: after the rebuild: exit %d: %s", name, o.code, o.stderr)
		}
	}
}

func TestLargeFilesComeBack(t *testing.T) {
	l := plainLab(t, cells(`import random, pathlib
r = random.Random(1)
data = r.randbytes(20_000_000) + bytes(4_000_000) + r.randbytes(1000)
n = pathlib.Path("big.bin").write_bytes(data)
e = pathlib.Path("empty").mkdir(mode=0o750)`, `s = pathlib.Path("small.bin").write_bytes(data[:2_000_000]); pathlib.Path("big.bin").chmod(0o640)`))
	if o := l.runTo(); o.code != 0 {
		t.Fatal(o.stderr)
	}
	big, small := filepath.Join(l.dir, "big.bin"), filepath.Join(l.dir, "small.bin")
	want, err := os.ReadFile(big)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{big, small, filepath.Join(l.dir, "empty")} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if o := l.runTo(); o.code != 0 || !all(statuses(t, o.report(t)), "restored") {
		t.Fatalf("exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	got, _ := os.ReadFile(big)
	part, _ := os.ReadFile(small)
	info, err := os.Stat(big)
	folder, dirErr := os.Stat(filepath.Join(l.dir, "empty"))
	if err != nil || dirErr != nil || info.Mode() != 0o640 || folder.Mode().Perm() != 0o750 || !bytes.Equal(got, want) || !bytes.Equal(part, want[:2_000_000]) {
		t.Errorf("%v, %v, %d and %d bytes", err, dirErr, len(got), len(part))
	}
	if o := l.call("restore", "nb.ipynb@b", "--into", "there"); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if got, _ = os.ReadFile(filepath.Join(l.dir, "there", "big.bin")); !bytes.Equal(got, want) {
		t.Errorf("kedge restore: %d bytes", len(got))
	}
}

func TestMissingSegmentsAreAMiss(t *testing.T) {
	l := plainLab(t, cells("import numpy as np\nx = np.arange(100_000)", "print(x.sum())"))
	if o := l.runTo(); o.code != 0 {
		t.Fatal(o.stderr)
	}
	want, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb"))
	segments, err := filepath.Glob(filepath.Join(l.home, "segments", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segments", err)
	}
	for _, path := range segments {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if o := l.call("store", "verify"); o.code != 1 {
		t.Errorf("verify: exit %d", o.code)
	}
	o := l.runTo()
	got, _ := os.ReadFile(filepath.Join(l.dir, "out.ipynb"))
	if o.code != 0 || outputsOf(t, string(got)) != outputsOf(t, string(want)) {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
}
