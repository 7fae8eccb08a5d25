package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const largeCell = `x = np.arange(2_000_000) * 7
fixed = np.arange(300_000.0); fixed.flags.writeable = False
df = pd.DataFrame({"a": np.arange(500_000), "b": np.arange(500_000) * 0.5, "s": ["text"] * 500_000})
square = pd.DataFrame(np.arange(2_000_000.0).reshape(-1, 4))`

const lookCell = `x[5] = 1; df.loc[3, "b"] = 9.0; square.iloc[0, 0] = 5.0
assert x.flags.owndata and x.base is None and x.flags.writeable and x.strides == (8,)
x.resize(2_000_001)
assert x[5] == 1 and x[6] == 42 and x[-2] == 13_999_993 and x[-1] == 0
assert fixed.flags.owndata and not fixed.flags.writeable and fixed.sum() == 44999850000.0
assert df.b.sum() == 62499875009.0 - 1.5 and df.a[499_999] == 499_999 and df.s[7] == "text" and square.iloc[-1, -1] == 1_999_999
maps = [line for line in open("/proc/self/maps") if ".seg" in line]
assert all(line.split()[1] == "rw-p" for line in maps)
print("mapped", len(maps))`

// segments reads the store's segments, by path.
func (l *lab) segments() map[string][]byte {
	l.t.Helper()
	paths, err := filepath.Glob(filepath.Join(l.home, "segments", "*"))
	if err != nil || len(paths) == 0 {
		l.t.Fatal("no segments", err)
	}
	found := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			l.t.Fatal(err)
		}
		found[path] = data
	}
	return found
}

func TestLargeValuesAreMapped(t *testing.T) {
	l := plainLab(t, cells("import numpy as np, pandas as pd", largeCell, lookCell))
	if r, nb, code := l.run(); code != 0 || !all(statuses(t, r), "ran") || !strings.Contains(nb, "mapped 0") {
		t.Fatalf("exit %d: %s", code, nb)
	}
	for range 2 {
		before := l.segments()
		l.edit("x[5] = 1", "1; x[5] = 1")
		r, nb, code := l.run()
		if m := statuses(t, r); code != 0 || m["b"] != "restored" || m["c"] != "ran" {
			t.Fatalf("exit %d: %v\n%s", code, m, nb)
		}
		if strings.Contains(nb, "mapped 0") || !strings.Contains(nb, "mapped") {
			t.Errorf("nothing is mapped: %s", nb)
		}
		after := l.segments()
		for path, data := range before {
			if !bytes.HasPrefix(after[path], data) {
				t.Errorf("%s has changed", path)
			}
		}
	}
	if o := l.call("store", "verify"); o.code != 0 {
		t.Errorf("verify: %s", o.stdout)
	}
}

func TestDamagedLargeValuesAreAMiss(t *testing.T) {
	l := plainLab(t, cells("import numpy as np, pandas as pd", largeCell, lookCell))
	if _, nb, code := l.run(); code != 0 {
		t.Fatal(nb)
	}
	restore := func(status string) {
		t.Helper()
		l.edit("x[5] = 1", "1; x[5] = 1")
		r, nb, code := l.run()
		if m := statuses(t, r); code != 0 || m["b"] != status || m["c"] != "ran" {
			t.Errorf("exit %d: %v\n%s", code, m, nb)
		}
	}
	restore("restored")
	for path, data := range l.segments() { // x is the largest, so it lies in the middle of the first
		if len(data) < 16<<20 {
			continue
		}
		at := bytes.Index(data, []byte{0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0})
		if at < 0 || at%4096 != 0 {
			t.Fatalf("x is not in %s: %d", path, at)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{8}, int64(at)+8_000_008); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	restore("ran")
	for path, data := range l.segments() {
		if err := os.Truncate(path, int64(len(data)/2)); err != nil {
			t.Fatal(err)
		}
	}
	restore("ran")
}
