package observe

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// scratch is a folder for all tests; TestMain removes it.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kedge-observe-test-*")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// built is the library, made once for all tests.
var built = sync.OnceValues(func() (string, error) {
	if out, err := exec.Command("./build.sh", scratch).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build.sh: %w\n%s", err, out)
	}
	return filepath.Join(scratch, libraryName), nil
})

func build(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// python is the interpreter itself, not a launcher script in front of it.
func python(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatalf("python3: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func observed(t *testing.T, size int, script string, extra ...string) (string, string, []Record, bool) {
	t.Helper()
	dir := t.TempDir()
	ring, err := create(t.TempDir(), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	ring.Mark(7)
	cmd := exec.Command(python(t), "-S", "-c", script)
	cmd.Dir, cmd.Env = dir, ring.Env(build(t), append(os.Environ(), extra...))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, out)
	}
	records, lost, err := ring.Read()
	if err != nil {
		t.Fatal(err)
	}
	return dir, string(out), records, lost
}

func TestAccessesOfPython(t *testing.T) {
	dir, out, records, lost := observed(t, 4<<20, `
import os, socket, subprocess
def quiet(f, *a):
    try: f(*a)
    except OSError: pass
open("made","w").write("x"); open("made").read()
quiet(open, "absent"); os.path.exists("nowhere"); os.stat("/etc/hostname"); os.listdir("/etc")
open("/etc/hostname").read()
os.mkdir("d"); os.rename("made","moved"); open("gone","w"); os.unlink("gone")
d = os.open("d", os.O_RDONLY); open("d/in","w").close(); os.stat("in", dir_fd=d); os.listdir(d)
subprocess.run(["sh","-c","cat child-wants 2>/dev/null; exit 0"]); os.system("cat system-wants 2>/dev/null")
subprocess.run(["cat","bare-wants"], env={"PATH": os.environ["PATH"]}, stderr=subprocess.DEVNULL)
s = socket.socket(); quiet(s.connect, ("127.0.0.1", 1))
print([k for k in os.environ if k.startswith(("LD_PRELOAD","KEDGE_OBSERVE"))])
subprocess.run(["env"])
`)
	if lost {
		t.Error("records were lost")
	}
	if !strings.Contains(out, "[]\n") || strings.Contains(out, "KEDGE_OBSERVE") || strings.Contains(out, libraryName) {
		t.Errorf("the user sees us: %s", out)
	}
	for _, r := range records {
		if r.Cell != 7 {
			t.Fatalf("record of cell %d: %+v", r.Cell, r)
		}
	}
	a := Summarize(records, Options{Volume: dir})
	if len(a.Unseen) > 0 {
		t.Errorf("not observed: %v", a.Unseen)
	}
	has := func(what string, list []string, path string, want bool) {
		t.Helper()
		if !strings.HasPrefix(path, "/") && !strings.Contains(path, ":") {
			path = filepath.Join(dir, path)
		}
		if slices.Contains(list, path) != want {
			t.Errorf("%s: %s is there: %t, want %t", what, path, !want, want)
		}
	}
	for _, p := range []string{"absent", "nowhere", "child-wants", "system-wants", "bare-wants"} {
		has("missing", a.Missing, p, true)
	}
	has("read", a.Read, "/etc/hostname", true)
	has("read", a.Read, "made", false)
	has("stat", a.Stat, "/etc/hostname", true)
	has("stat", a.Stat, "d/in", false)
	has("listed", a.Listed, "/etc", true)
	for _, p := range []string{"moved", "d", "d/in"} {
		has("written", a.Written, p, true)
	}
	has("written", a.Written, "made", false)
	has("written", a.Written, "gone", false)
	has("deleted", a.Deleted, "made", true)
	has("deleted", a.Deleted, "gone", true)
	has("connect", a.Connect, "inet:127.0.0.1:1", true)
	if !slices.ContainsFunc(a.Programs, func(p string) bool { return filepath.Base(p) == "sh" }) {
		t.Errorf("programs: %v", a.Programs)
	}
}

func TestThreadsLeaveNoHoles(t *testing.T) {
	dir, _, records, lost := observed(t, 4<<20, `
import threading
def run(k):
    for i in range(1000):
        try: open(f"t{k}-{i}")
        except OSError: pass
ts = [threading.Thread(target=run, args=(k,)) for k in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]`)
	seen := set{}
	for _, r := range records {
		if strings.HasPrefix(r.Path, dir+"/t") && r.Errno == unix.ENOENT {
			seen[r.Path] = struct{}{}
		}
	}
	if len(seen) != 8000 || lost {
		t.Errorf("%d of 8000 opens, lost %t", len(seen), lost)
	}
}

func TestOverflowIsLost(t *testing.T) {
	_, _, records, lost := observed(t, 64<<10, "import os\nfor i in range(5000): os.path.exists(f'f{i}')")
	if !lost || len(records) == 0 {
		t.Errorf("lost %t with %d records", lost, len(records))
	}
}

func TestAgentMarksAndHides(t *testing.T) {
	_, _, records, _ := observed(t, 4<<20, `
import ctypes, os
me = ctypes.CDLL(None)
me.kedge_observe_mark(ctypes.c_uint64(9))
os.path.exists("shown")
me.kedge_observe_off(1); os.path.exists("hidden"); me.kedge_observe_off(0)`)
	shown := false
	for _, r := range records {
		if strings.HasSuffix(r.Path, "/hidden") {
			t.Errorf("recorded: %+v", r)
		}
		shown = shown || strings.HasSuffix(r.Path, "/shown") && r.Cell == 9
	}
	if !shown {
		t.Error("the marked cell's access is not recorded")
	}
}

func TestRingGoesRoundAndDedupIsForgotten(t *testing.T) {
	ring, err := create(t.TempDir(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	cmd := exec.Command(python(t), "-S", "-c", `
import os, sys
for line in sys.stdin:
    for i in range(100): os.path.exists(f"/nowhere/{i}"); os.path.exists(f"/nowhere/{i}")
    print("done", flush=True)`)
	cmd.Env = ring.Env(build(t), os.Environ())
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for round := range 50 {
		in.Write([]byte("go\n"))
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		records, lost, err := ring.Read()
		if err != nil || round > 0 && lost {
			t.Fatalf("round %d: lost %t, %v", round, lost, err)
		}
		n := 0
		for _, r := range records {
			if strings.HasPrefix(r.Path, "/nowhere/") {
				n++
			}
		}
		if n != 100 && round > 0 {
			t.Fatalf("round %d: %d records, want 100", round, n)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestEnvKeepsTheUsersPreload(t *testing.T) {
	ring, err := create(t.TempDir(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	env := ring.Env("/x/"+libraryName, []string{"A=1", "LD_PRELOAD=/own.so"})
	if !slices.Contains(env, "LD_PRELOAD=/x/"+libraryName+":/own.so") || len(env) != 3 {
		t.Error(env)
	}
	for range 2 { // Close is idempotent
		if err := ring.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReadBeforeWriteCountsBoth(t *testing.T) {
	a := Summarize([]Record{
		{Seq: 1, Op: OpOpen, Path: "/v/both"}, {Seq: 2, Op: OpOpen, Path: "/v/both", Flags: unix.O_WRONLY | unix.O_TRUNC | unix.O_CREAT},
		{Seq: 3, Op: OpOpen, Path: "/v/new", Flags: unix.O_RDWR | unix.O_CREAT},
		{Seq: 4, Op: OpOpen, Path: "/v/db", Flags: unix.O_RDWR | unix.O_CREAT | FlagExisted},
		{Seq: 5, Op: OpOpen, Path: "/v/new"},
	}, Options{Volume: "/v"})
	if !slices.Equal(a.Read, []string{"/v/both", "/v/db"}) || !slices.Equal(a.Written, []string{"/v/both", "/v/db", "/v/new"}) ||
		!slices.Equal(a.Missing, []string{"/v/new"}) {
		t.Errorf("%+v", a)
	}
}

func TestPlaces(t *testing.T) {
	for path, want := range map[string]bool{"/proc/1/maps": true, "/etc/hosts": true, "/process": false, "/etc/app.conf": false} {
		if MachinePath(path) != want {
			t.Errorf("MachinePath(%s) = %t", path, !want)
		}
	}
	for key, cache := range map[string]bool{"dhist": true, "autorestore/x": false, "mine": false} {
		for _, home := range []string{"/h", "/db/h"} {
			if LibraryCache(home+"/.ipython/profile_default/db/"+key, home) != cache {
				t.Errorf("LibraryCache: %s in IPython's database below %s", key, home)
			}
		}
	}
	if !LibraryCache("/v/__pycache__/a", "") || LibraryCache("/h/.cache/mine", "/h") || !LibraryCache("/h/.cache/matplotlib/f.json", "/h") {
		t.Error("LibraryCache")
	}
}

func TestLibraryIsNoInput(t *testing.T) {
	records := []Record{
		{Seq: 1, Op: OpOpen, Path: "/p/lib/python3.11/os.py"},
		{Seq: 2, Op: OpStat, Path: "/p/lib"},
		{Seq: 3, Op: OpStat, Path: "/p/lib/python3.11/pyvenv.cfg"},
		{Seq: 4, Op: OpList, Path: "/p"},
		{Seq: 5, Op: OpOpen, Path: "/p/data.csv"},
		{Seq: 6, Op: OpOpen, Path: "/p/lib/python3.11/new.py", Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC},
	}
	a := Summarize(records, Options{Library: []string{"/p/lib/python3.11"}})
	got := fmt.Sprint(a.Read, a.Stat, a.Listed, a.Written)
	if want := "[/p/data.csv] [] [/p] [/p/lib/python3.11/new.py]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
