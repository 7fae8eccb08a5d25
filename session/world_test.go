package session

import (
	"context"
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
	return &world{ctx: context.Background(), store: store, volume: open(t, root, `{}`), state: cellgraph.NewState(nil),
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
