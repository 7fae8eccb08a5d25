package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

func newWorld(t *testing.T, root string) *world {
	t.Helper()
	store, err := snapshotter.Open(context.Background(), snapshotter.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &world{ctx: context.Background(), store: store, volume: open(t, root, `{}`), known: digests{}, state: cellgraph.NewState(nil),
		leftover: map[string]map[cellgraph.Digest]bool{}, env: os.LookupEnv, environ: os.Environ, secret: []byte("key"), now: time.Now}
}

func TestLeftoversAreTakenBack(t *testing.T) {
	root := tree(t, "given.txt")
	w := newWorld(t, root)
	empty := w.Observe(cellgraph.KindList, ".")
	put(t, root, "out/result.csv", "1,2")
	w.leftover["out"] = map[cellgraph.Digest]bool{{}: true}
	w.leftover["out/result.csv"] = map[cellgraph.Digest]bool{cellgraph.Sum([]byte("1,2")): true}
	for _, name := range []string{"out", "out/result.csv"} {
		if o := w.Observe(cellgraph.KindStat, name); !o.ID.IsZero() {
			t.Errorf("a look-up sees the leftover %s", name)
		}
	}
	if got := w.Observe(cellgraph.KindList, "."); got != empty {
		t.Error("a listing shows a leftover")
	}
	if o := w.Observe(cellgraph.KindFile, "out/result.csv"); o.ID != cellgraph.Sum([]byte("1,2")) {
		t.Error("a leftover that was read is not observed by its content")
	}
	put(t, root, "out/result.csv", "changed by hand")
	if o := w.Observe(cellgraph.KindStat, "out/result.csv"); o.ID.IsZero() {
		t.Error("a file that somebody changed counts as a leftover")
	}
}

// What tools put beside a notebook is nothing that a cell sees, what a person puts there is.
func TestListingsAreWithoutWhatToolsLeave(t *testing.T) {
	root := tree(t, "given.txt")
	w := newWorld(t, root)
	before := w.Observe(cellgraph.KindList, ".")
	for _, name := range []string{"__pycache__/m.pyc", ".ipynb_checkpoints/n-checkpoint.ipynb", ".~n.ipynb", ".kedge-lock"} {
		put(t, root, name, "x")
		if w.Observe(cellgraph.KindList, ".") != before {
			t.Errorf("a listing shows %s", name)
		}
	}
	for _, name := range []string{"n.ipynb", "~n.ipynb", ".~lock.table.csv#"} {
		put(t, root, name, "x")
		after := w.Observe(cellgraph.KindList, ".")
		if after == before {
			t.Errorf("a listing lacks %s", name)
		}
		before = after
	}
}

func TestEffectsLieOverTheFolder(t *testing.T) {
	root := tree(t, "a.txt")
	w := newWorld(t, root)
	content := cellgraph.Sum([]byte("written"))
	w.state.Apply(cellgraph.Trace{Effect: cellgraph.Effect{Files: []cellgraph.FileChange{
		{Path: "b.txt", Content: content, Mode: 0o600}, {Path: "a.txt", Deleted: true}, {Path: "d", Dir: true, Mode: 0o755}}}})
	if o := w.Observe(cellgraph.KindFile, "b.txt"); o.ID != content {
		t.Error("a file that a cell wrote is not seen")
	}
	if o := w.Observe(cellgraph.KindStat, "a.txt"); !o.ID.IsZero() {
		t.Error("a file that a cell deleted is seen")
	}
	if o := w.Observe(cellgraph.KindList, "d"); o.ID.IsZero() {
		t.Error("a folder that a cell made cannot be listed")
	}
}

func TestImportableTellsWhatShadows(t *testing.T) {
	root := tree(t, "other.py")
	w := newWorld(t, root)
	if o := w.Observe(cellgraph.KindImport, "colorsys"); !o.ID.IsZero() {
		t.Error("something shadows colorsys")
	}
	for _, name := range []string{"colorsys.py", "pack/__init__.py", "built.cpython-311-x86_64-linux-gnu.so"} {
		put(t, root, name, "")
	}
	for _, module := range []string{"colorsys", "pack", "built"} {
		if o := w.Observe(cellgraph.KindImport, module); o.ID.IsZero() {
			t.Errorf("nothing shadows %s", module)
		}
	}
}

func TestEnvironmentIsKeyed(t *testing.T) {
	w := newWorld(t, tree(t))
	t.Setenv("TOKEN", "hunter2")
	first := w.Observe(cellgraph.KindEnv, "TOKEN")
	if first.Shown != "" || first.ID == cellgraph.Combine("TOKEN", "hunter2") {
		t.Error("the value can be read or guessed from the trace")
	}
	t.Setenv("TOKEN", "changed")
	if w.Observe(cellgraph.KindEnv, "TOKEN") == first {
		t.Error("a changed value is not seen")
	}
	os.Unsetenv("TOKEN")
	if !w.Observe(cellgraph.KindEnv, "TOKEN").ID.IsZero() {
		t.Error("an absent variable is not observed as absent")
	}
	all := w.Observe(cellgraph.KindEnv, "*")
	t.Setenv("JPY_SESSION_NAME", "x")
	if w.Observe(cellgraph.KindEnv, "*") != all {
		t.Error("a front end's variable counts")
	}
}

// TestWhatAFileHoldsIsRememberedByItsStat reads a file once, but not if it may have been written to since at the same stat.
func TestWhatAFileHoldsIsRememberedByItsStat(t *testing.T) {
	w := newWorld(t, tree(t))
	path, old := filepath.Join(w.volume.base, "f"), cellgraph.Sum([]byte("old"))
	write := func(text string, at time.Time) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600) // the same inode
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err := errors.Join(err, f.Close(), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	write("old", began)
	w.now = func() time.Time { return began.Add(time.Second) }
	if got := w.onDisk("f"); got != old || len(w.known) != 0 {
		t.Errorf("a file that was just written: %s, %d remembered", got, len(w.known))
	}
	w.now = func() time.Time { return began.Add(time.Minute) }
	if got := w.onDisk("f"); got != old || len(w.known) != 1 {
		t.Errorf("a file of a minute ago: %s, %d remembered", got, len(w.known))
	}
	for e := range w.known {
		w.known[e] = cellgraph.Sum([]byte("remembered"))
	}
	if got := w.onDisk("f"); got != cellgraph.Sum([]byte("remembered")) {
		t.Error("a file is read again that is as it was")
	}
	w.mapped = map[string]bool{"f": true}
	if got := w.onDisk("f"); got != old {
		t.Error("a file that is mapped writably is taken for what it was")
	}
	w.mapped = nil
	write("new", began)
	if got := w.onDisk("f"); got != cellgraph.Sum([]byte("new")) {
		t.Errorf("a file that was written to since, and whose time was set back: %s", got)
	}
}
