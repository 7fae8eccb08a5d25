package observe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// kindOfAccess is one way to touch something, as Python that runs in a folder
// made by givenFiles, and where in Access it has to be found.
type kindOfAccess struct {
	name, code string
	kind, what string
}

const givenFiles = `
import ctypes, ctypes.util, glob, os, pathlib, shutil, socket, sqlite3, subprocess, sys, tempfile, threading
import joblib, numpy as np, pandas as pd, polars as pl, pyarrow as pa
import pyarrow.csv, pyarrow.dataset, pyarrow.feather, pyarrow.parquet
import PIL.Image
HERE = os.getcwd()
me = ctypes.CDLL(None)
libc = ctypes.CDLL("libc.so.6")
def quiet(f, *a, **k):
    try: return f(*a, **k)
    except Exception: return None
me.kedge_observe_off(1)
def given(n, text="1"):
    with open(n, "w") as f: f.write(text)
for i in range(60): given(f"f{i}")
os.mkdir("d"); given("d/in"); os.mkdir("d/sub"); given("d/sub/deep"); os.mkdir("e"); os.symlink("f0", "ln"); os.symlink("d", "lnd")
df = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
df.to_csv("t.csv", index=False); df.to_parquet("t.parquet"); df.to_feather("t.feather"); df.to_pickle("t.pkl")
os.mkdir("ds"); df.to_parquet("ds/one.parquet")
np.save("t.npy", np.arange(9)); np.save("w.npy", np.arange(9)); np.savez("t.npz", a=np.arange(3)); np.arange(9).tofile("t.bin")
joblib.dump([1], "t.joblib"); PIL.Image.new("L", (2, 2)).save("t.png")
c = sqlite3.connect("t.db"); c.execute("create table t (x)"); c.commit(); c.close()
given("local_module.py", "k = 1"); sys.path.insert(0, HERE)
shutil.rmtree("__pycache__", ignore_errors=True)
me.kedge_observe_off(0)
me.kedge_observe_mark.argtypes = [ctypes.c_uint64]
`

var kindsOfAccess = []kindOfAccess{
	{"Open", `open("f0").read()`, "read", "f0"},
	{"OpenAbsent", `quiet(open, "no")`, "missing", "no"},
	{"OsOpen", `os.close(os.open("f1", os.O_RDONLY))`, "read", "f1"},
	{"Exists", `os.path.exists("f2")`, "stat", "f2"},
	{"ExistsAbsent", `os.path.exists("no2")`, "missing", "no2"},
	{"Lstat", `os.lstat("ln")`, "stat", "ln"},
	{"ThroughALink", `open("ln").read()`, "stat", "ln"},
	{"ThroughALinkedFolder", `open("lnd/in").read()`, "read", "d/in"},
	{"LinkedFolder", `open("lnd/sub/deep").read()`, "stat", "lnd"},
	{"Access", `os.access("f3", os.R_OK)`, "stat", "f3"},
	{"AccessAbsent", `os.access("no3", os.R_OK)`, "missing", "no3"},
	{"PathIsFile", `pathlib.Path("f4").is_file()`, "stat", "f4"},
	{"Listdir", `os.listdir("d")`, "listed", "d"},
	{"Scandir", `list(os.scandir("d"))`, "listed", "d"},
	{"Glob", `glob.glob("d/*")`, "listed", "d"},
	{"PathGlob", `list(pathlib.Path("d").glob("**/*"))`, "listed", "d/sub"},
	{"Walk", `list(os.walk("d"))`, "listed", "d/sub"},
	{"ListdirOfDescriptor", `fd = os.open("d", os.O_RDONLY); os.listdir(fd); os.close(fd)`, "listed", "d"},
	{"Readlink", `os.readlink("ln")`, "stat", "ln"},
	{"Realpath", `os.path.realpath("ln")`, "stat", "ln"},
	{"RealpathOfC", `libc.realpath(b"lnd/in", ctypes.create_string_buffer(4096))`, "stat", "lnd"},
	{"ReadCSV", `pd.read_csv("t.csv")`, "read", "t.csv"},
	{"ReadParquet", `pd.read_parquet("t.parquet")`, "read", "t.parquet"},
	{"ReadFeather", `pd.read_feather("t.feather")`, "read", "t.feather"},
	{"ReadPickle", `pd.read_pickle("t.pkl")`, "read", "t.pkl"},
	{"ArrowDataset", `pa.dataset.dataset("t.parquet").to_table()`, "read", "t.parquet"},
	{"ArrowDatasetFolder", `pa.dataset.dataset("ds").to_table()`, "listed", "ds"},
	{"ArrowDatasetPart", `pa.dataset.dataset("ds").to_table()`, "read", "ds/one.parquet"},
	{"ArrowCSV", `pa.csv.read_csv("t.csv")`, "read", "t.csv"},
	{"ArrowParquet", `pa.parquet.read_table("t.parquet")`, "read", "t.parquet"},
	{"ArrowMap", `pa.memory_map("t.feather").close()`, "read", "t.feather"},
	{"ArrowWrite", `pa.parquet.write_table(pa.table({"a": [1]}), "made.parquet")`, "written", "made.parquet"},
	{"PolarsCSV", `pl.read_csv("t.csv")`, "read", "t.csv"},
	{"PolarsScan", `pl.scan_parquet("t.parquet").collect()`, "read", "t.parquet"},
	{"PolarsAbsent", `quiet(pl.read_csv, "no4")`, "missing", "no4"},
	{"PolarsWrite", `pl.DataFrame({"a": [1]}).write_parquet("made2.parquet")`, "written", "made2.parquet"},
	{"NumpyLoad", `np.load("t.npy")`, "read", "t.npy"},
	{"NumpyZip", `np.load("t.npz")["a"]`, "read", "t.npz"},
	{"NumpyMap", `np.load("t.npy", mmap_mode="r").sum()`, "read", "t.npy"},
	{"NumpyMapWritten", `m = np.load("w.npy", mmap_mode="r+"); m[0] = 7; m.flush(); del m`, "written", "w.npy"},
	{"NumpyFromFile", `np.fromfile("t.bin")`, "read", "t.bin"},
	{"Sqlite", `c = sqlite3.connect("t.db"); c.execute("select * from t").fetchall(); c.close()`, "read", "t.db"},
	{"SqliteMade", `c = sqlite3.connect("n.db"); c.execute("create table t (x)"); c.commit(); c.close()`, "written", "n.db"},
	{"Image", `PIL.Image.open("t.png").load()`, "read", "t.png"},
	{"Joblib", `joblib.load("t.joblib")`, "read", "t.joblib"},
	{"JoblibDump", `joblib.dump([2], "n.joblib")`, "written", "n.joblib"},
	{"Subprocess", `subprocess.run(["cat", "f5"], stdout=-3)`, "read", "f5"},
	{"SubprocessBare", `subprocess.run(["/bin/cat", "f6"], env={}, stdout=-3)`, "read", "f6"},
	{"SubprocessAbsent", `subprocess.run(["cat", "no5"], stderr=-3)`, "missing", "no5"},
	{"SubprocessFolder", `subprocess.run(["cat", "in"], cwd="d", stdout=-3)`, "read", "d/in"},
	{"Program", `subprocess.run(["cat", "f5"], stdout=-3)`, "program", "/usr/bin/cat"},
	{"ShellRedirect", `subprocess.run("echo x > n1", shell=True)`, "written", "n1"},
	{"BashRedirect", `subprocess.run(["bash", "-c", "cat < f7 >> n2"])`, "written", "n2"},
	{"BashReads", `subprocess.run(["bash", "-c", "cat < f8 > /dev/null"])`, "read", "f8"},
	{"BashTest", `subprocess.run(["bash", "-c", "[[ -e no6 ]]"])`, "missing", "no6"},
	{"System", `os.system("cat f9 > /dev/null")`, "read", "f9"},
	{"Popen", `os.popen("cat f10").read()`, "read", "f10"},
	{"PopenOfC", `p = libc.popen; p.restype = ctypes.c_void_p; f = p(b"cat f11 > /dev/null", b"r"); libc.pclose(ctypes.c_void_p(f))`, "read", "f11"},
	{"PosixSpawn", `os.waitpid(os.posix_spawn("/bin/cat", ["cat", "f12"], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]), 0)`, "read", "f12"},
	{"PosixSpawnOpens", `os.waitpid(os.posix_spawn("/bin/cat", ["cat"], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, "f13", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]), 0)`, "read", "f13"},
	{"Find", `subprocess.run(["find", "d"], stdout=-3)`, "listed", "d/sub"},
	{"Grep", `subprocess.run(["grep", "-r", "1", "d"], stdout=-3)`, "read", "d/sub/deep"},
	{"Thread", `t = threading.Thread(target=lambda: open("f14").read()); t.start(); t.join()`, "read", "f14"},
	{"Fork", "p = os.fork()\nif p == 0:\n    open('f15').read(); os._exit(0)\nos.waitpid(p, 0)", "read", "f15"},
	{"ForkExec", "p = os.fork()\nif p == 0:\n    os.dup2(os.open('/dev/null', os.O_WRONLY), 1); os.execvp('cat', ['cat', 'f16'])\nos.waitpid(p, 0)", "read", "f16"},
	{"ChildPython", `subprocess.run([sys.executable, "-S", "-c", "open('f17').read(); open('n3', 'w')"])`, "read", "f17"},
	{"ChildPythonWrites", `subprocess.run([sys.executable, "-S", "-c", "open('n4', 'w')"])`, "written", "n4"},
	{"DirFD", `fd = os.open("d", os.O_RDONLY); os.close(os.open("in", os.O_RDONLY, dir_fd=fd)); os.close(fd)`, "read", "d/in"},
	{"AfterChdir", `os.chdir("d/sub"); open("deep").read(); os.chdir(HERE)`, "read", "d/sub/deep"},
	{"LocalImport", `import local_module`, "read", "local_module.py"},
	{"RenameOver", `os.replace("f18", "f19")`, "written", "f19"},
	{"RenamedAway", `os.rename("f20", "n5")`, "deleted", "f20"},
	{"RenameFolder", `os.rename("e", "e2")`, "moved", "e2"},
	{"Truncate", `os.truncate("f21", 0)`, "written", "f21"},
	{"TruncateDescriptor", `f = open("f22", "r+"); f.truncate(0); f.close()`, "written", "f22"},
	{"Append", `open("f23", "a").close()`, "written", "f23"},
	{"AppendReads", `open("f24", "a").close()`, "read", "f24"},
	{"Chmod", `os.chmod("f25", 0o600)`, "written", "f25"},
	{"ChmodDescriptor", `fd = os.open("f26", os.O_RDONLY); os.fchmod(fd, 0o600); os.close(fd)`, "written", "f26"},
	{"Utime", `os.utime("f27")`, "written", "f27"},
	{"Unlink", `os.unlink("f28")`, "deleted", "f28"},
	{"RemoveTree", `os.makedirs("g/h"); open("g/h/x", "w").close(); shutil.rmtree("g")`, "deleted", "g/h/x"},
	{"CopyReads", `shutil.copyfile("f29", "n6")`, "read", "f29"},
	{"CopyWrites", `shutil.copyfile("f30", "n7")`, "written", "n7"},
	{"CopyFileRange", `a = open("f31"); b = open("n8", "w"); os.copy_file_range(a.fileno(), b.fileno(), 1); a.close(); b.close()`, "written", "n8"},
	{"Link", `os.link("f32", "n9")`, "written", "n9"},
	{"Symlink", `os.symlink("f33", "n10")`, "written", "n10"},
	{"Mkdir", `os.mkdir("n11")`, "written", "n11"},
	{"Mkfifo", `os.mkfifo("n12")`, "written", "n12"},
	{"Temporary", `tempfile.NamedTemporaryFile(dir=".", prefix="tmp-", delete=False).close()`, "written", "tmp-*"},
	{"Xattr", `quiet(os.getxattr, "f34", "user.x")`, "stat", "f34"},
	{"Statvfs", `os.statvfs("d")`, "stat", "d"},
	{"Gzip", `import gzip; gzip.open("n13", "w").close()`, "written", "n13"},
	{"Shelve", `import dbm.dumb; dbm.dumb.open("n14").close()`, "written", "n14.dat"},
	{"ToCSV", `df.to_csv("n15")`, "written", "n15"},
	{"LibcItself", `libc.open(b"f35", 0)`, "read", "f35"},
	{"ByNumber", `libc.syscall(257, -100, b"f36", 0)`, "read", "f36"},
	{"FopenOfC", `libc.fopen(b"f37", b"r")`, "read", "f37"},
	{"GlobOfC", `b = ctypes.create_string_buffer(256); libc.glob(b"d/su*", 0, None, b)`, "listed", "d"},
	{"WalkOfC", `cb = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(lambda *a: 0); libc.nftw(b"d", cb, 8, 0)`, "listed", "d/sub"},
	{"LoadedLibrary", `quiet(ctypes.CDLL, "./f38")`, "read", "f38"},
	{"Connect", `quiet(socket.create_connection, ("127.0.0.1", 1))`, "connect", "inet:127.0.0.1:1"},
	{"Datagram", `socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))`, "connect", "inet:127.0.0.1:9"},
	{"HostName", `quiet(socket.getaddrinfo, "nowhere.invalid", 80)`, "connect", "name:nowhere.invalid"},
	{"VariableOfC", `libc.getenv(b"KEDGE_TEST_VARIABLE")`, "env", "KEDGE_TEST_VARIABLE"},
	{"Uname", `os.uname()`, "fact", "system"},
	{"UnameByNumber", `libc.syscall(63 if os.uname().machine == "x86_64" else 160, ctypes.create_string_buffer(400))`, "fact", "system"},
	{"UnameOfAChild", `subprocess.run(["uname", "-r"], stdout=-3)`, "fact", "system"},
	{"NameOfTheHost", `socket.gethostname()`, "fact", "system"},
	{"ReleaseInProc", `open("/proc/sys/kernel/osrelease").read()`, "fact", "system"},
	{"KernelInProc", `open("/proc/version").read()`, "fact", "system"},
	{"UserByNumber", `os.getuid()`, "fact", "ids"},
	{"UserByName", `import pwd; pwd.getpwuid(0)`, "fact", "user"},
	{"UserOfAChild", `subprocess.run(["id", "-un"], stdout=-3)`, "fact", "user"},
	{"Users", `open("/etc/passwd").read()`, "fact", "/etc/passwd"},
	{"Zone", `import time; time.localtime(0)`, "fact", "zone"},
	{"ZoneOfADate", `import datetime; datetime.datetime.fromtimestamp(0)`, "fact", "zone"},
	{"ZoneInEtc", `os.path.realpath("/etc/localtime")`, "fact", "zone"},
	{"Distribution", `quiet(open, "/etc/os-release")`, "fact", "/etc/os-release"},
	{"VariablesOfAShell", `os.system("true")`, "env", "*"},
}

// TestEveryKindOfAccess runs them in one process, each in a window of its own:
// what is recorded in it must name the right path as the right kind of thing.
func TestEveryKindOfAccess(t *testing.T) {
	script := givenFiles
	for i, k := range kindsOfAccess {
		script += fmt.Sprintf("me.kedge_observe_mark(%d)\n%s\n", i+1, k.code)
	}
	script += "me.kedge_observe_mark(0)\n"
	dir, records, kernel := observedIn(t, 64<<20, interpreter(t), []string{"-c", script})
	windows := map[int][]Record{}
	for _, r := range records {
		windows[int(r.Cell)] = append(windows[int(r.Cell)], r)
	}
	for i, k := range kindsOfAccess {
		t.Run(k.name, func(t *testing.T) {
			a := Summarize(windows[i+1], Options{Volume: dir, KernelPID: kernel, Ignore: MachinePath})
			list := map[string][]string{"read": a.Read, "missing": a.Missing, "stat": a.Stat, "listed": a.Listed, "written": a.Written,
				"deleted": a.Deleted, "moved": a.Moved, "program": a.Programs, "connect": a.Connect, "env": a.Env, "fact": a.Facts}[k.kind]
			want := k.what
			if !strings.HasPrefix(want, "/") && k.kind != "connect" && k.kind != "env" && k.kind != "fact" {
				want = filepath.Join(dir, want)
			}
			if !slices.ContainsFunc(list, func(got string) bool { ok, _ := filepath.Match(want, got); return ok || got == want }) {
				t.Errorf("%s is not in %s: %v", want, k.kind, list)
			}
			if len(a.Unseen) > 0 {
				t.Errorf("not observed: %v", a.Unseen)
			}
		})
	}
}

// interpreter is the Python that has the libraries of the examples.
func interpreter(t *testing.T) string {
	t.Helper()
	path := os.Getenv("KEDGE_TEST_PYTHON")
	if path == "" {
		path = "../../.venv/bin/python"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is missing: run `make test`, which sets it up", path)
	}
	return path
}

// observedIn runs a program in a fresh folder and returns that, what was
// recorded, and its process id.
func observedIn(t *testing.T, size int, program string, args []string) (string, []Record, int) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := create(t.TempDir(), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, ring.Env(build(t), os.Environ())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	records, lost, err := ring.Read()
	if err != nil || lost {
		t.Fatalf("lost %t, %v", lost, err)
	}
	return dir, records, cmd.Process.Pid
}

// TestUnseenProgramsAreNamed starts programs that the library cannot be in:
// each is named with the reason, runs as it would without us, and sees nothing of us.
func TestUnseenProgramsAreNamed(t *testing.T) {
	dir := t.TempDir()
	c := filepath.Join(dir, "main.c")
	source := `#include <stdio.h>
extern char **environ;
int main(void) { for (char **e = environ; *e; e++) puts(*e); fclose(fopen("/etc/hostname", "r")); return 0; }`
	if err := os.WriteFile(c, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	goSource := filepath.Join(dir, "main.go")
	if err := os.WriteFile(goSource, []byte("package main\nimport \"os\"\nfunc main() { for _, e := range os.Environ() { println(e) } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program := func(name string) string { return filepath.Join(dir, name) }
	for _, test := range []struct {
		name   string
		make   []string
		reason string
	}{
		{"static", []string{"gcc", "-static", "-o", program("static"), c}, "a static program"},
		{"go", []string{"go", "build", "-o", program("go"), goSource}, "a Go program"},
		{"musl", []string{"musl-gcc", "-o", program("musl"), c}, "linked to musl"},
		{"sanitized", []string{"gcc", "-fsanitize=address", "-o", program("sanitized"), c}, "built with a sanitizer"},
		{"setuid", []string{"sh", "-c", "gcc -o " + program("setuid") + " " + c + " && chmod u+s " + program("setuid")}, "setuid"},
		{"script", []string{"sh", "-c", "printf '#!%s\n' " + program("static") + " > " + program("script") + "; chmod +x " + program("script")}, "a static program"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := exec.LookPath(test.make[0]); err != nil {
				t.Skip(err)
			}
			if out, err := exec.Command(test.make[0], test.make[1:]...).CombinedOutput(); err != nil {
				t.Skipf("%v: %s", err, out)
			}
			for _, way := range []string{
				"subprocess.run([%s], stderr=subprocess.STDOUT, check=True)", "assert os.system(%s) == 0",
				"assert os.waitpid(os.posix_spawn(%[1]s, [%[1]s], os.environ), 0)[1] == 0", "print(os.popen(%s).read())"} {
				path := strconv.Quote(program(test.name))
				ring, err := create(t.TempDir(), 4<<20)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(python(t), "-S", "-c", "import os, subprocess\n"+fmt.Sprintf(way, path))
				cmd.Env = ring.Env(build(t), os.Environ())
				out, err := cmd.CombinedOutput()
				records, _, readErr := ring.Read()
				ring.Close()
				if err != nil || readErr != nil {
					t.Fatalf("%s: %v, %v\n%s", way, err, readErr, out)
				}
				if strings.Contains(string(out), libraryName) || strings.Contains(string(out), "KEDGE_OBSERVE") {
					t.Errorf("%s: the program sees us: %s", way, out)
				}
				a := Summarize(records, Options{KernelPID: cmd.Process.Pid})
				if want := test.name + " (" + test.reason + ")"; !slices.Contains(a.Unseen, want) {
					t.Errorf("%s: %v does not name %s", way, a.Unseen, want)
				}
			}
		})
	}
}
