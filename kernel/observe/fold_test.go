package observe

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func number(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEveryRunNeedsAHello(t *testing.T) {
	const kernel = 1
	for _, test := range []struct {
		name    string
		records []Record
		unseen  []string
	}{
		{"Observed", []Record{{PID: 2, Op: OpExec, Path: "/bin/cat"}, {PID: 2, Op: OpHello, Path: "/bin/cat"}}, nil},
		{"Spawned", []Record{{PID: 2, Op: OpHello, Path: "/bin/cat"}, {PID: kernel, Op: OpExec, Child: 2, Path: "/bin/cat"}}, nil},
		{"Silent", []Record{{PID: 2, Op: OpExec, Path: "/x/odd"}}, []string{"odd (it runs without the observing library)"}},
		{"SilentInAChain", []Record{{PID: 2, Op: OpExec, Path: "/bin/sh"}, {PID: 2, Op: OpHello, Path: "/bin/sh"}, {PID: 2, Op: OpExec, Path: "/x/odd"}},
			[]string{"odd (it runs without the observing library)"}},
		{"TakenBack", []Record{{PID: 2, Op: OpExec, Path: "/x/odd"}, {PID: 2, Op: OpExec, Path: "/x/odd", Errno: unix.ENOEXEC}}, nil},
		{"Recognised", []Record{{PID: kernel, Op: OpExec, Child: 2, Path: "/x/odd", Flags: uint32(BlockedGo)}}, []string{"odd (a Go program)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i := range test.records {
				test.records[i].Seq = uint64(i)
			}
			if a := Summarize(test.records, Options{KernelPID: kernel}); !slices.Equal(a.Unseen, test.unseen) {
				t.Errorf("got %v, want %v", a.Unseen, test.unseen)
			}
		})
	}
}

func TestConnectionsInsideTheTree(t *testing.T) {
	for _, test := range []struct {
		name    string
		records []Record
		out     []string
	}{
		{"OwnServer", []Record{{Op: OpBind, Path: "inet:0.0.0.0:81"}, {Op: OpConnect, Path: "inet:127.0.0.1:81"}, {Op: OpAccept, Path: "inet:127.0.0.1:81"}}, nil},
		{"OwnSocket", []Record{{Op: OpBind, Path: "unix:/t/s"}, {Op: OpConnect, Path: "unix:/t/s"}}, nil},
		{"OthersServer", []Record{{Op: OpConnect, Path: "inet:127.0.0.1:81"}}, []string{"inet:127.0.0.1:81"}},
		{"OthersClient", []Record{{Op: OpBind, Path: "inet:127.0.0.1:81"}, {Op: OpAccept, Path: "inet:127.0.0.1:81"}}, []string{"a client of inet:127.0.0.1:81"}},
		{"AnotherHost", []Record{{Op: OpBind, Path: "inet:0.0.0.0:81"}, {Op: OpConnect, Path: "inet:10.0.0.1:81"}}, []string{"inet:10.0.0.1:81"}},
		{"ThisHost", []Record{{Op: OpConnect, Path: "name:localhost"}}, nil},
		{"Kernels", []Record{{Op: OpConnect, Path: "unix:/run/kernel"}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i := range test.records {
				test.records[i].Seq = uint64(i)
			}
			a := Summarize(test.records, Options{IgnoreConnect: func(p string) bool { return p == "unix:/run/kernel" }})
			if !slices.Equal(a.Connect, test.out) {
				t.Errorf("got %v, want %v", a.Connect, test.out)
			}
		})
	}
}

func TestVariablesThatTheProcessSetAreNoInput(t *testing.T) {
	a := Summarize([]Record{{Seq: 1, PID: 1, Op: OpSetenv, Path: "MINE"}, {Seq: 2, PID: 1, Op: OpGetenv, Path: "MINE"},
		{Seq: 3, PID: 1, Op: OpGetenv, Path: "GIVEN"}, {Seq: 4, PID: 2, Op: OpGetenv, Path: "MINE"}}, Options{KernelPID: 1})
	if !slices.Equal(a.Env, []string{"GIVEN", "MINE"}) {
		t.Error(a.Env)
	}
	a = Summarize([]Record{{Seq: 1, PID: 2, Op: OpFork}, {Seq: 2, PID: 2, Op: OpOpen, Path: "/x"}}, Options{KernelPID: 1})
	if !slices.Equal(a.Env, []string{"*"}) {
		t.Errorf("a fork that goes on in the notebook's code: %v", a.Env)
	}
}

func TestAFileThatChangesUnderTheCellIsTorn(t *testing.T) {
	one, two := Ident{1, 2, 3}, Ident{1, 2, 4}
	a := Summarize([]Record{{Seq: 1, Op: OpOpen, Path: "/v/x", Ident: one}, {Seq: 2, Op: OpOpen, Path: "/v/x", Ident: two},
		{Seq: 3, Op: OpOpen, Path: "/v/y", Ident: one}, {Seq: 4, Op: OpOpen, Path: "/v/y", Flags: unix.O_WRONLY | unix.O_TRUNC},
		{Seq: 5, Op: OpOpen, Path: "/v/y", Ident: two}}, Options{Volume: "/v"})
	if !slices.Equal(a.Torn, []string{"/v/x"}) || a.Opened["/v/x"] != one {
		t.Errorf("%+v", a)
	}
}

func TestPathsLoseTheirLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.MkdirAll(filepath.Join(dir, "real/sub"), 0o755), os.Symlink("real", filepath.Join(dir, "a")),
		os.Symlink("../a/sub", filepath.Join(dir, "real/b")), os.Symlink("loop", filepath.Join(dir, "loop"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l := newLinks()
	for path, want := range map[string]string{
		"a/b/x": "real/sub/x", "a/../a/./b": "real/sub", "a/b/../y": "real/y", "nowhere/x": "nowhere/x", "loop": "loop",
	} {
		if got := l.follow(dir + "/" + path); got.path != dir+"/"+want {
			t.Errorf("%s leads to %s, want %s", path, got.path, want)
		}
	}
	if got := l.parent(dir + "/a/b"); got.path != dir+"/real/b" || !slices.Equal(got.passed, []string{dir + "/a"}) {
		t.Errorf("the link itself: %+v", got)
	}
	a := Summarize([]Record{{Seq: 1, Op: OpOpen, Path: dir + "/a/b/x"}}, Options{Volume: dir})
	if !slices.Equal(a.Stat, []string{dir + "/a", dir + "/real/b"}) || !slices.Equal(a.Read, []string{dir + "/real/sub/x"}) {
		t.Errorf("%+v", a)
	}
}

func TestHammerLosesNothing(t *testing.T) {
	dir, records, _ := observedIn(t, 64<<20, python(t), []string{"-S", "-c", `
import itertools, os, signal, threading
def touch(name):
    try: open(name)
    except OSError: pass
counter = itertools.count()
def on_alarm(*_): touch(f"s{next(counter)}")
signal.signal(signal.SIGALRM, on_alarm); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def run(k):
    for i in range(2000): touch(f"t{k}-{i}")
ts = [threading.Thread(target=run, args=(k,)) for k in range(8)]
[t.start() for t in ts]
for j in range(60):
    p = os.fork()
    if p == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for i in range(50): touch(f"p{j}-{i}")
        os._exit(0)
    os.waitpid(p, 0)
[t.join() for t in ts]
signal.setitimer(signal.ITIMER_REAL, 0)
open("count", "w").write(str(next(counter)))`})
	seen := map[string]int{}
	for _, r := range records {
		if name, ok := strings.CutPrefix(r.Path, dir+"/"); ok && r.Errno == unix.ENOENT {
			seen[name[:1]]++
		}
	}
	if signals := number(t, filepath.Join(dir, "count")); seen["t"] != 16000 || seen["p"] != 3000 || seen["s"] != signals || signals == 0 {
		t.Errorf("threads %d of 16000, forks %d of 3000, signals %d of %d", seen["t"], seen["p"], seen["s"], signals)
	}
}

func TestEscapesAreRecorded(t *testing.T) {
	dir, records, _ := observedIn(t, 4<<20, python(t), []string{"-S", "-c", `
import ctypes, os
c = ctypes.CDLL(None)
p = os.fork()
if p == 0:
    c.unshare(0); c.chroot(b"/"); os._exit(0)
os.waitpid(p, 0)
if c.syscall(425, 4, ctypes.create_string_buffer(256)) >= 0: open("uring", "w")`})
	a := Summarize(records, Options{})
	if !slices.Contains(a.Escaped, "unshare") || os.Getuid() == 0 && !slices.Contains(a.Escaped, "chroot") {
		t.Errorf("escaped by %v", a.Escaped)
	}
	if _, err := os.Stat(filepath.Join(dir, "uring")); err == nil && !slices.Contains(a.Escaped, "io_uring") {
		t.Errorf("io_uring is not in %v", a.Escaped)
	}
}
