package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kedge/kernel"
	"kedge/notebook"
)

// slow makes a class whose objects take a fork to capture, which goes on for as long as there is a file.
func (d *desk) slow() string {
	return fmt.Sprintf(`import os, time
class Slow:
    def __init__(self, v): self.v = v
    def __getstate__(self):
        while os.path.exists(%q): time.sleep(0.01)
        return {"v": self.v}
`, d.gate())
}

func (d *desk) gate() string { return filepath.Join(d.dir, "shut") }

// shut keeps captures from ending until open is called, or soon after.
func (d *desk) shut() {
	d.Helper()
	if err := os.WriteFile(d.gate(), nil, 0o600); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) open() {
	d.Helper()
	if err := os.Remove(d.gate()); err != nil {
		d.Fatal(err)
	}
}

// run runs a cell of a step, which does not fail, in the kernel with Kedge, and says what it was answered.
func (d *desk) run(id, source string) Answer {
	d.Helper()
	a, res := d.begin(id, source)
	if a.Status == Ran && res.Status != "ok" {
		d.Fatalf("cell %s: %s: %s", id, res.EName, res.EValue)
	}
	return d.end(a, res)
}

// recorded waits until a cell is in the store.
func (d *desk) recorded(a Answer) Answer {
	d.Helper()
	if a.Later == nil {
		d.Fatal("the cell was captured at once")
	}
	select {
	case later, ok := <-a.Later:
		if !ok || later.Snapshot == "" {
			d.Fatalf("the cell was not recorded: %v", d.nb.Faults())
		}
		return later
	case <-time.After(time.Minute):
		d.Fatal("the capture came to no end")
	}
	return Answer{}
}

func (d *desk) sees(id, source, want string) {
	d.Helper()
	a := d.run(id, source)
	var text []string
	for _, raw := range a.Outputs {
		text = append(text, string(raw))
	}
	if got := strings.Join(text, ""); !strings.Contains(got, want) {
		d.Errorf("%s shows %s, want %s", source, got, want)
	}
}

func TestTheNextCellDoesNotWaitForACapture(t *testing.T) {
	d := newDesk(t)
	d.run("s", d.slow())
	d.shut()
	first := d.run("a", "import pathlib\npathlib.Path('f').write_text('one')\na = Slow(1)")
	a, res := d.begin("b", "pathlib.Path('f').write_text('two')\na.v = 2")
	if a.Status != Ran {
		t.Fatal(a)
	}
	select {
	case <-first.Later:
		t.Error("the first cell was captured already")
	default:
	}
	d.open()
	second := d.end(a, res)
	if second.Later == nil {
		t.Fatal("the second cell was captured at once")
	}
	d.recorded(second)
	third := d.run("c", "print(a.v, pathlib.Path('f').read_text())")
	if third.Why != "never run" {
		t.Errorf("the third cell runs because %s", third.Why)
	}
	d.restart()
	if err := os.Remove(filepath.Join(d.dir, "kedge", "f")); err != nil {
		t.Fatal(err)
	}
	for _, cell := range [][2]string{{"s", d.slow()}, {"a", "import pathlib\npathlib.Path('f').write_text('one')\na = Slow(1)"}} {
		if a := d.run(cell[0], cell[1]); a.Status != Restored {
			t.Fatalf("cell %s ran: %s", cell[0], a.Why)
		}
	}
	d.sees("x", "print(a.v, pathlib.Path('f').read_text())", "1 one") // as the first cell left them
	d.restart()
	for _, cell := range [][2]string{{"s", d.slow()}, {"a", "import pathlib\npathlib.Path('f').write_text('one')\na = Slow(1)"}, {"b", "pathlib.Path('f').write_text('two')\na.v = 2"}, {"c", "print(a.v, pathlib.Path('f').read_text())"}} {
		if a := d.run(cell[0], cell[1]); a.Status != Restored {
			t.Fatalf("cell %s ran: %s", cell[0], a.Why)
		}
	}
}

func TestACellThatMayBeRestoredWaitsForTheCaptureBeforeIt(t *testing.T) {
	d := newDesk(t)
	d.run("s", d.slow())
	d.recorded(d.run("a", "a = Slow(1)"))
	d.run("b", "print(a.v)")
	first := d.run("a", "a = Slow(2)")
	if first.Later == nil {
		t.Fatal("the capture did not go on beside")
	}
	if b := d.run("b", "print(a.v)"); b.Status != Ran {
		t.Errorf("b was %s: %s", b.Status, b.Why)
	}
	if a := d.run("a", "a = Slow(1)"); a.Status != Restored {
		t.Errorf("a ran: %s", a.Why)
	}
	d.sees("y", "print(a.v)  # again", "1")
}

func TestTheSecondsOfACellAreItsOwn(t *testing.T) {
	d := newDesk(t)
	d.run("s", d.slow())
	d.shut()
	d.run("a", "a = Slow(1)")
	began := time.Now()
	a, res := d.begin("b", "b = Slow(2)")
	ran := time.Since(began)
	held := 2*ran + time.Second
	time.AfterFunc(held, d.open)
	d.recorded(d.end(a, res)) // which waits for the capture of a
	got := d.nb.s.past[len(d.nb.s.past)-1].trace
	if got.Cell != "b" || got.Seconds > (ran+held/2).Seconds() {
		t.Errorf("cell %s took %.2f s on record; it ran for %v, and waited for %v", got.Cell, got.Seconds, ran, held)
	}
}

func TestACellIsEditedWhileItIsCaptured(t *testing.T) {
	d := newDesk(t)
	d.run("s", d.slow())
	d.shut()
	d.run("a", "a = Slow(1)")
	a, res := d.begin("a", "a = 2")
	if a.Why != "code edited" && a.Why != "never run" {
		t.Fatal(a)
	}
	d.open()
	d.end(a, res)
	d.restart()
	for source, want := range map[string]string{"a = Slow(1)": "Slow object", "a = 2": "2"} {
		d.run("s", d.slow())
		if a := d.run("a", source); a.Status != Restored {
			t.Errorf("%s ran: %s", source, a.Why)
		}
		d.sees("x"+want, "print(a) # "+source, want)
	}
}

func TestCodeOutsideTheStepsBesideACapture(t *testing.T) {
	d := newDesk(t)
	d.run("s", d.slow())
	d.shut()
	first := d.run("a", "a = Slow(1)")
	d.aside("a.v = 3")
	d.open()
	d.recorded(first)
	if b := d.run("b", "print(a.v)"); b.Status != Ran {
		t.Errorf("b was %s", b.Status)
	}
	d.restart()
	d.run("s", d.slow())
	if a := d.run("a", "a = Slow(1)"); a.Status != Restored {
		t.Errorf("a ran: %s", a.Why)
	}
	if b := d.run("b", "print(a.v)"); b.Status != Ran {
		t.Error("b shows what another request has made of a")
	}
}

func TestAnInterruptEndsTheWaitForACapture(t *testing.T) {
	d := newDesk(t)
	d.run("s", d.slow())
	d.recorded(d.run("a", "a = Slow(1)"))
	d.run("b", "b = a.v")
	d.shut()
	first := d.run("a", "a = Slow(2)")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kernel.ErrInterrupted)
	_, err := d.nb.Begin(ctx, notebook.CodeCell{Cell: notebook.Cell{ID: "b", Source: "b = a.v"}, Step: "b"}, nil)
	select {
	case <-first.Later:
		t.Error("the wait ended with the capture")
	default:
	}
	if !errors.Is(err, kernel.ErrInterrupted) {
		t.Errorf("the cell that waited ended with %v", err)
	}
	d.open()
	d.recorded(first)
	d.sees("c", "print(b, a.v)", "1 2")
}

func TestACaptureOutlivesItsKernel(t *testing.T) {
	d := newDesk(t)
	class := fmt.Sprintf(`import os
class Slow:
    def __init__(self, v): self.v = v
    def __getstate__(self):
        if os.path.exists(%q): open(%[1]q).read()
        return {"v": self.v}
`, d.gate())
	d.run("s", class)
	if err := syscall.Mkfifo(d.gate(), 0o600); err != nil {
		t.Fatal(err)
	}
	first := d.run("a", "a = Slow(1)")
	gate, err := os.OpenFile(d.gate(), os.O_WRONLY, 0) // once the copy of the kernel is at work, which reads it
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(d.kedge.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.open()
	if err := gate.Close(); err != nil {
		t.Fatal(err)
	}
	d.recorded(first)
	d.restart()
	d.run("s", class)
	if a := d.run("a", "a = Slow(1)"); a.Status != Restored {
		t.Errorf("a ran: %s", a.Why)
	}
}

// TestLargeValuesBesideTheNextCell writes to what the cell before left: what is saved is as it was, wherever it is read.
func TestLargeValuesBesideTheNextCell(t *testing.T) {
	const made = "import numpy as np\na = np.full(1 << 22, 7.0)\nb = a[1:]\nc = bytes(1 << 20)"
	for _, lends := range []bool{true, false} {
		t.Run(fmt.Sprintf("lent %v", lends), func(t *testing.T) {
			d := newDesk(t)
			d.run("s", "s = 1")
			if !d.nb.s.lends() {
				t.Fatal("the kernel's memory cannot be read")
			}
			d.nb.s.unreadable = !lends
			first := d.run("a", made)
			d.recorded(d.run("b", "a[:] = 0\ndel c"))
			if first.Later == nil {
				t.Fatal("captured at once")
			}
			if faults := d.nb.Faults(); len(faults) > 0 {
				t.Error(faults)
			}
			d.restart()
			d.run("s", "s = 1")
			if a := d.run("a", made); a.Status != Restored {
				t.Fatalf("a ran: %s", a.Why)
			}
			d.sees("x", "print(a.min(), a.max(), b.base is a, len(c))", "7.0 7.0 True 1048576")
			if b := d.run("b", "a[:] = 0\ndel c"); b.Status != Restored {
				t.Fatalf("b ran: %s", b.Why)
			}
			d.sees("y", "print(a.max(), b.max(), 'c' in globals())", "0.0 0.0 False")
		})
	}
}

// TestACaptureThatIsKilled kills whatever works on a capture.
func TestACaptureThatIsKilled(t *testing.T) {
	d := newDesk(t)
	d.run("s", d.slow())
	d.shut()
	first := d.run("a", "a = Slow(1)")
	killed := false
	for _, pid := range copies(d.kedge.PID()) {
		killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
	}
	if !killed {
		t.Fatal("no process works on the capture")
	}
	if later := <-first.Later; later.Snapshot != "" {
		t.Error("a capture that was killed is recorded")
	}
	if d.nb.Blind() == "" {
		t.Error("cells may be restored though it is not known what one did")
	}
	d.open()
	d.sees("x", "print(a.v)", "1")
	d.restart()
	d.run("s", d.slow())
	if a := d.run("a", "a = Slow(1)"); a.Status != Ran {
		t.Error("a cell without a record was restored")
	}
}

// copies are the processes that run what the kernel runs, and are neither it nor below it.
func copies(kernel int) (pids []int) {
	line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(kernel), "cmdline"))
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		other, _ := os.ReadFile(path)
		if err == nil && pid != kernel && len(other) > 0 && string(other) == string(line) {
			pids = append(pids, pid)
		}
	}
	return pids
}
