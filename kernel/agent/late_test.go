package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
)

// lender is a process that tells of a buffer of 200,000 bytes, all 7, in its
// memory, then ends its part of the pipe when it gets a line, and then itself.
const lender = `
import ctypes, os, sys
held = ctypes.create_string_buffer(b"\7" * 200000, 200000)
pipe = os.open(sys.argv[1], os.O_WRONLY)
print("opened", flush=True)
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))
os.write(pipe, b"%d\n" % os.getpid())
os.write(pipe, b'{"groups": [{"names": ["a"], "stream": [0, 0], "buffers": [[%d, 200000, true, %d]]}]}\n' % (ctypes.addressof(held), os.getpid()))
sys.stdin.readline()
os.close(pipe)
print("closed", flush=True)
sys.stdin.readline()
`

func TestMemoryThatIsLent(t *testing.T) {
	late, err := Listen(filepath.Join(t.TempDir(), "late"))
	if err != nil {
		t.Fatal(err)
	}
	defer late.HangUp()
	cmd := exec.Command("python3", "-c", lender, late.Path())
	line, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	awaits := func() {
		t.Helper()
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	awaits()
	left, err := late.Read()
	if err != nil || !left.Lent() {
		t.Fatal(left, err)
	}
	b := left.Groups[0].Buffers[0]
	if !Readable(b.Lender) {
		t.Error("the memory of another process is said not to be readable")
	}
	got, err := io.ReadAll(b.Reader(nil))
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{7}, 200000)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if err := late.Ended(); err != nil {
		t.Error(err)
	}
	missing := b
	missing.Offset = 1 << 12
	if _, err := io.ReadAll(missing.Reader(nil)); !errors.Is(err, ErrMemory) {
		t.Errorf("memory that is not there: %v", err)
	}
	fmt.Fprintln(line)
	awaits()
	if err := late.Ended(); !errors.Is(err, ErrMemory) {
		t.Errorf("after the copy has ended: %v", err)
	}
	line.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(b.Reader(nil)); !errors.Is(err, ErrMemory) {
		t.Errorf("memory of a process that has ended: %v", err)
	}
	if Readable(b.Lender) {
		t.Error("the memory of a process that has ended is said to be readable")
	}
}

func TestACopyThatTellsNothing(t *testing.T) {
	for _, told := range []string{"", "12", "x\n", "1\n", "1\n{}", "1\nno\n"} {
		late, err := Listen(filepath.Join(t.TempDir(), "late"))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("sh", "-c", `printf "$2" > "$1"`, "sh", late.Path(), told).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if left, err := late.Read(); !errors.Is(err, ErrAgent) {
			t.Errorf("%q: %v, %v", told, left, err)
		}
		late.HangUp()
	}
}
