package observe

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrUnseen says that a program runs without the library.
var ErrUnseen = errors.New("cannot be observed")

// Check runs a program to its end with the library in dir, and returns an
// error that wraps ErrUnseen if the library was not in it.
func Check(ctx context.Context, dir string, argv ...string) error {
	library, err := Library(dir)
	if err != nil {
		return err
	}
	ring, err := create(dir, 4<<20)
	if err != nil {
		return err
	}
	defer ring.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = ring.Env(library, os.Environ())
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	records, _, err := ring.Read()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		path = argv[0]
	}
	return Observed(records, cmd.Process.Pid, path)
}

// Observed returns an error that wraps ErrUnseen if the records, from its
// start on, do not show process pid with the library in it. path is its program.
func Observed(records []Record, pid int, path string) error {
	there := false
	for _, r := range records {
		there = there || r.PID == pid && (r.Op == OpHello || r.Op == OpFork)
	}
	if a := Summarize(records, Options{KernelPID: pid}); there && len(a.Unseen) == 0 {
		return nil
	}
	return fmt.Errorf("%s %w%s", filepath.Base(path), ErrUnseen, reason(path))
}

// reason says in brackets what keeps the library out of a program, "" if that is not known.
func reason(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		loader, err := io.ReadAll(io.LimitReader(p.Open(), 256))
		if err == nil && strings.Contains(string(loader), "ld-musl") {
			return " (" + BlockedMusl.String() + ")"
		}
		return ""
	}
	return " (" + BlockedStatic.String() + ")"
}
