package session

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kedge/cellgraph"
	"kedge/kernel/observe"
)

// ran is a session, and a cell that has just run in its folder: change is what
// it did there, in between two looks at the folder.
func ran(t *testing.T, root string, change func()) (*Session, *seen) {
	t.Helper()
	w := newWorld(t, root)
	s := &Session{volume: w.volume, world: w, state: w.state, watch: newWatch()}
	o := &seen{}
	var err error
	if o.before, err = s.volume.scan(); err != nil {
		t.Fatal(err)
	}
	o.began = time.Now()
	s.learn(o)
	change()
	if o.after, err = s.volume.scan(); err != nil {
		t.Fatal(err)
	}
	return s, o
}

func TestTouchedIsWhatTheProcessesWrote(t *testing.T) {
	root := tree(t, "mine", "theirs", "opened", "linked", "moved/in", "gone")
	if err := os.Link(filepath.Join(root, "mine"), filepath.Join(root, "alias")); err != nil {
		t.Fatal(err)
	}
	s, o := ran(t, root, func() {
		for _, name := range []string{"mine", "theirs", "made"} {
			put(t, root, name, "changed")
		}
		for _, err := range []error{os.Rename(filepath.Join(root, "moved"), filepath.Join(root, "there")), os.Remove(filepath.Join(root, "gone"))} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	path := func(name string) string { return filepath.Join(root, name) }
	o.access = observe.Access{Written: []string{path("made"), path("mine"), path("opened"), path("there")},
		Deleted: []string{path("gone"), path("moved")}, Moved: []string{path("moved"), path("there")}}
	want := []string{"alias", "gone", "made", "mine", "moved", "moved/in", "there", "there/in"}
	if got := s.touched(o); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	o.changed = want
	o.access.Read = []string{path("theirs")}
	if why := s.changedByOthers(o); why != "theirs changed while the cell ran: not cached" {
		t.Errorf("a file that somebody changed under the cell: %q", why)
	}
	o.access.Lost = true
	if got := s.touched(o); !slices.Contains(got, "theirs") {
		t.Error("without all records, every change may be the cell's")
	}
}

func TestARewriteWithinATickIsSeen(t *testing.T) {
	root := tree(t)
	put(t, root, "f", "aaa")
	s, o := ran(t, root, func() { put(t, root, "f", "bbb") })
	o.before = o.after // as a clock that has not ticked shows it
	o.access.Written = []string{filepath.Join(root, "f")}
	if got := s.touched(o); !slices.Equal(got, []string{"f"}) {
		t.Errorf("touched: %v", got)
	}
	put(t, root, "f", "aaa")
	if got := s.touched(o); len(got) > 0 {
		t.Errorf("a file that holds what it held: %v", got)
	}
}

func TestWhatWasThereBeforeIsObserved(t *testing.T) {
	root := tree(t)
	old := cellgraph.Sum([]byte("old"))
	for _, name := range []string{"rewritten", "left", "removed", "takenaway"} {
		put(t, root, name, "old")
	}
	s, o := ran(t, root, func() {
		put(t, root, "rewritten", "new")
		put(t, root, "left", "new")
		put(t, root, "made", "new")
		for _, name := range []string{"removed", "takenaway"} {
			if err := os.Remove(filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	s.world.leave("left", old)
	s.world.leave("takenaway", old)
	for _, name := range []string{"rewritten", "left", "made"} {
		o.access.Written = append(o.access.Written, filepath.Join(root, name))
	}
	o.changed = changed(o.before, o.after)
	for _, test := range []struct {
		kind cellgraph.Kind
		name string
		want cellgraph.Digest
	}{
		{cellgraph.KindFile, "rewritten", old},
		{cellgraph.KindStat, "rewritten", statOfFile(old, 0o600)},
		{cellgraph.KindStat, "left", statOfFile(old, 0o600)},
		{cellgraph.KindStat, "made", cellgraph.Digest{}},
		{cellgraph.KindStat, "removed", statOfFile(old, 0o600)},
		{cellgraph.KindList, ".", cellgraph.Combine("list", "left", "removed", "rewritten", "takenaway")},
		{cellgraph.KindStat, "takenaway", statOfFile(old, 0o600)},
	} {
		if got, known := s.before(test.kind, test.name, o); !known || got.ID != test.want {
			t.Errorf("%s %s: known %t, another identity: %t", test.kind, test.name, known, got.ID != test.want)
		}
	}
	o.was = map[string]cellgraph.Digest{}
	if _, known := s.before(cellgraph.KindFile, "rewritten", o); known {
		t.Error("a content that nobody has read is known")
	}
}

func TestAHeldFileIsAnInput(t *testing.T) {
	root := tree(t, "read", "log", "idle")
	s, o := ran(t, root, func() {})
	for name, f := range map[string]observe.HeldFile{"read": {Read: true}, "log": {Write: true}, "idle": {Write: true}} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		f.Path = filepath.Join(root, name)
		o.held = append(o.held, held{f, name, statEntry(info)})
	}
	put(t, root, "log", "one line more")
	s.release(o)
	log := []string{filepath.Join(root, "log")}
	if want := append(slices.Clone(log), filepath.Join(root, "read")); !slices.Equal(o.access.Read, want) || !slices.Equal(o.access.Written, log) {
		t.Errorf("read %v, written %v", o.access.Read, o.access.Written)
	}
}

func TestProgramsAreFoundThroughPATH(t *testing.T) {
	root := tree(t)
	first, second := t.TempDir(), t.TempDir()
	tool := func(dir, content string) {
		put(t, dir, "tool", content)
		if err := os.Chmod(filepath.Join(dir, "tool"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tool(second, "two")
	t.Setenv("PATH", first+":"+second)
	w := newWorld(t, root)
	was := w.Observe(cellgraph.KindProgram, "tool")
	if was.ID != cellgraph.Sum([]byte("two")) || !w.Observe(cellgraph.KindProgram, "nowhere").ID.IsZero() {
		t.Error("not found by name, or found though absent")
	}
	tool(first, "one")
	if w.Observe(cellgraph.KindProgram, "tool") == was {
		t.Error("another program of that name further up in PATH is not seen")
	}
}

func TestAProgramBesideTheNotebookCountsWithWhetherItMayBeRun(t *testing.T) {
	root := tree(t)
	t.Setenv("PATH", t.TempDir())
	put(t, root, "tool", "one")
	script := filepath.Join(root, "tool")
	w := newWorld(t, root)
	s := &Session{world: w, volume: w.volume}
	if name := s.programName(script, script); name != "./tool" {
		t.Fatalf("named %q: without a folder it is looked for through PATH", name)
	}
	ids := map[cellgraph.Digest]bool{w.Observe(cellgraph.KindProgram, "./tool").ID: true}
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	ids[w.Observe(cellgraph.KindProgram, "./tool").ID] = true
	put(t, root, "tool", "two")
	ids[w.Observe(cellgraph.KindProgram, "./tool").ID] = true
	if len(ids) != 3 {
		t.Error("its content or its mode is not seen")
	}
}

func TestAFileThatARestoredCellHasMadeIsAsOldAsTheRestore(t *testing.T) {
	root := tree(t)
	w := newWorld(t, root)
	made := cellgraph.Trace{Effect: cellgraph.Effect{Files: []cellgraph.FileChange{{Path: "made"}, {Path: "gone", Deleted: true}}}}
	for _, test := range []struct {
		times, executed bool
		looked, want    string
	}{
		{times: true, looked: "made", want: "made"},
		{times: false, looked: "made"},
		{times: true, executed: true, looked: "made"},
		{times: true, looked: "gone"},
		{times: true, looked: "other"},
	} {
		s := &Session{world: w, volume: w.volume, past: []passed{{trace: made}}, executed: map[int]bool{0: test.executed}}
		o := &seen{}
		o.reads.Times = test.times
		o.access.Stat = []string{filepath.Join(root, test.looked)}
		if got := s.dates(o); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func TestNamesThatAreNoTextAreNotRecorded(t *testing.T) {
	root := tree(t)
	w := newWorld(t, root)
	s := &Session{world: w, volume: w.volume}
	if err := os.Symlink("to\xff", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(filepath.Join(root, "link"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"a\xff": true, "a\u00ff": false, "link": true} {
		o := &seen{after: map[string]entry{"link": statEntry(info)}}
		o.access.Written = []string{filepath.Join(root, path)}
		if why := s.unwritable(o); (why != "") != want {
			t.Errorf("%q: %q", path, why)
		}
	}
}

func TestALookAtALinkSeesWhatItLeadsTo(t *testing.T) {
	root := tree(t, "target")
	if err := os.Symlink("target", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, root)
	was := w.Observe(cellgraph.KindStat, "link")
	put(t, root, "target", "changed")
	changed := w.Observe(cellgraph.KindStat, "link")
	if err := os.Remove(filepath.Join(root, "target")); err != nil {
		t.Fatal(err)
	}
	if broken := w.Observe(cellgraph.KindStat, "link"); changed == was || broken == changed || broken.ID.IsZero() {
		t.Error("a changed target, or one that is gone, is not seen")
	}
}
