package observe

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// waiting starts Python code that prints a line when it is ready and goes on when its stdin closes.
func waiting(t *testing.T, code string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(python(t), "-S", "-c", code+"\nprint('ready', flush=True)\nimport sys; sys.stdin.read()")
	cmd.Dir = t.TempDir()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestHoldsFindsWhatIsOpenAndMapped(t *testing.T) {
	cmd := waiting(t, `
import mmap, os, socket
for n in ("read", "write", "both", "mapped", "shown", "gone"): open(n, "w").write("x" * 4096)
r = open("read"); w = open("write", "w"); b = open("both", "r+"); g = open("gone"); os.unlink("gone")
f = open("mapped", "r+"); m = mmap.mmap(f.fileno(), 0); f.close(); m2 = os.dup(0)
f = open("shown"); s = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); f.close()
k = socket.socket()`)
	h, err := Holds(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := filepath.EvalSymlinks(cmd.Dir)
	got := map[string]HeldFile{}
	for _, f := range h.Files {
		if rel, ok := strings.CutPrefix(f.Path, dir+"/"); ok {
			f.Path = ""
			got[rel] = f
		}
	}
	want := map[string]HeldFile{"read": {Read: true}, "write": {Write: true}, "both": {Read: true, Write: true},
		"mapped": {Read: true, Write: true, Mapped: true}, "shown": {Read: true}}
	for name, f := range want {
		if name == "mapped" { // Python keeps a copy of the descriptor, too
			f.Read, f.Write = true, true
		}
		if got[name] != f {
			t.Errorf("%s: %+v, want %+v", name, got[name], f)
		}
	}
	if len(got) != len(want) || len(h.Sockets) != 1 || h.URing {
		t.Errorf("%v, sockets %v", got, h.Sockets)
	}
}

func TestDescendantsFindsOrphans(t *testing.T) {
	if err := Adopt(); err != nil {
		t.Fatal(err)
	}
	cmd := waiting(t, `
import subprocess, os
child = subprocess.Popen(["sleep", "60"])
out = subprocess.run(["sh", "-c", "setsid sleep 61 > /dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE).stdout
open("orphan", "w").write(out.decode()); open("child", "w").write(str(child.pid))`)
	orphan, child := number(t, filepath.Join(cmd.Dir, "orphan")), number(t, filepath.Join(cmd.Dir, "child"))
	alive, err := Descendants(cmd.Process.Pid, []int{orphan})
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{orphan, child} {
		i := slices.IndexFunc(alive, func(p Process) bool { return p.PID == pid })
		if i < 0 || !slices.Contains(alive[i].Args, "sleep") || alive[i].LibraryWorker() {
			t.Errorf("process %d: %+v", pid, alive)
		}
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill()
		}
	}
}

func TestTrafficCountsBytes(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Addr().String())
	cmd := waiting(t, "import socket\nc = socket.create_connection(('127.0.0.1', "+port+"))\na, b = socket.socketpair()")
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h, err := Holds(cmd.Process.Pid)
	if err != nil || len(h.Sockets) != 3 {
		t.Fatal(h.Sockets, err)
	}
	between := 0
	for fd := range h.Sockets {
		before, local, ok := Traffic(cmd.Process.Pid, fd)
		if local {
			between++
			continue
		}
		if _, err := conn.Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		after, _, still := Traffic(cmd.Process.Pid, fd)
		if !ok || !still || after-before != 5 {
			t.Errorf("%d bytes, then %d; told: %t, %t", before, after, ok, still)
		}
	}
	if between != 2 {
		t.Errorf("%d sockets between processes, want 2", between)
	}
}
