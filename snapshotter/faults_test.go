package snapshotter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

// chores is a life of a store: cells are recorded, files saved, things pinned,
// gc and a rebuild run. done is told what has been acknowledged. It goes on
// after errors, as a session does.
func chores(ctx context.Context, dir string, seed uint64, f faults, done func(what string, id cellgraph.Digest)) error {
	r := rand.New(rand.NewPCG(seed, 3))
	var errs []error
	for round := range 2 {
		s, err := Open(ctx, Config{Dir: dir, faults: f})
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for n := range 3 {
			code := cellgraph.Sum(fmt.Append(nil, "chores", seed, round, n))
			value := bytes.Repeat(fmt.Appendf(nil, "%d %d ", seed, r.IntN(4)), 1+r.IntN(300_000))
			c := cell{code: code, seconds: 1, value: value, output: value[:4], created: time.Now().Add(-time.Duration(r.IntN(400)) * time.Hour)}
			snap, err := runCell(ctx, s, c)
			if err == nil {
				done("cell", code)
			}
			errs = append(errs, err)
			if n == 1 && err == nil {
				if err = s.Pin(ctx, snap.ID); err == nil {
					done("pin", snap.ID)
				}
				errs = append(errs, err)
			}
		}
		file, err := putArray(ctx, s, seed, 70, round) // shares runs with that of the round before
		if err == nil {
			err = s.PutSaved(ctx, SavedFile{Notebook: "n", Path: "/p", Content: file})
		}
		if err == nil {
			done("saved", file)
		}
		errs = append(errs, err, s.Close())
		s, err = Open(ctx, Config{Dir: dir, faults: f})
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		_, err = s.GC(ctx, GCConfig{Quota: -1})
		errs = append(errs, err, s.Close())
	}
	_, err := Rebuild(ctx, Config{Dir: dir, faults: f}, nil)
	return errors.Join(append(errs, err)...)
}

// wantKept checks that what was acknowledged is there, and that nothing is damaged.
func wantKept(t *testing.T, dir string, acknowledged map[string][]cellgraph.Digest) {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir})
	if errors.Is(err, ErrCorrupt) && strings.Contains(err.Error(), "store rebuild") { // killed in a rebuild
		_, err = Rebuild(t.Context(), Config{Dir: dir}, nil)
		check(t, err)
		s, err = Open(t.Context(), Config{Dir: dir})
	}
	check(t, err)
	defer s.Close()
	for range 2 { // before a gc, and after it
		wantSound(t, s)
		for _, code := range acknowledged["cell"] {
			found := traces(t, s, code)
			if len(found) == 0 {
				t.Fatalf("the trace of %s is lost", code)
			}
			check(t, readBack(t.Context(), s, &found[0]))
		}
		for _, id := range acknowledged["saved"] {
			check(t, s.CheckBlob(t.Context(), id))
		}
		pins, err := s.Pins(t.Context())
		check(t, err)
		if len(pins) < len(acknowledged["pin"]) {
			t.Fatalf("%d pins, want %d", len(pins), len(acknowledged["pin"]))
		}
		gc(t, s, GCConfig{Quota: -1})
	}
}

// TestNoSpaceAtEveryWrite lets the n-th change of the disk fail, for n = 0, 1, 2…
// until none does; each fourth of them outside of make soak.
func TestNoSpaceAtEveryWrite(t *testing.T) {
	step := 4
	if os.Getenv("KEDGE_STORE_POINTS") != "" {
		step = 1
	}
	for n := 0; ; n += step {
		dir, at, failed := t.TempDir(), 0, ""
		acknowledged := map[string][]cellgraph.Digest{}
		err := chores(t.Context(), dir, 1, func(operation string, half func()) error {
			if at++; at-1 != n {
				return nil
			}
			failed = operation
			if half != nil {
				half()
			}
			return unix.ENOSPC
		}, func(what string, id cellgraph.Digest) { acknowledged[what] = append(acknowledged[what], id) })
		if failed == "" {
			check(t, err)
			t.Logf("%d changes of the disk", n)
			if n < 40 {
				t.Errorf("only %d", n)
			}
			return
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%d (%s): error is %v", n, failed, err)
		}
		wantKept(t, dir, acknowledged)
		if t.Failed() {
			t.Fatalf("after change %d (%s) failed", n, failed)
		}
		check(t, os.RemoveAll(dir))
	}
}

// mortal is a process that does its chores and is killed at one of them.
func mortal(t *testing.T) {
	var seed uint64
	var n, at int
	_, err := fmt.Sscan(os.Getenv("KEDGE_TEST_ARGS"), &seed, &n)
	check(t, err)
	check(t, chores(t.Context(), os.Getenv("KEDGE_TEST_DIR"), seed, func(_ string, half func()) error {
		if at++; at-1 == n {
			if half != nil {
				half()
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}, func(what string, id cellgraph.Digest) { fmt.Println("done", what, id) }))
	fmt.Println("finished")
}

// TestKilledAtEveryWrite kills a process at the n-th change of the disk:
// KEDGE_STORE_POINTS of them, spread over many lives.
func TestKilledAtEveryWrite(t *testing.T) {
	if os.Getenv("KEDGE_TEST_ROLE") != "" {
		mortal(t)
		return
	}
	points, step := 10, 7
	if text := os.Getenv("KEDGE_STORE_POINTS"); text != "" {
		var err error
		points, err = strconv.Atoi(text)
		check(t, err)
		step = 1
	}
	finished := 0
	for seed, n, point := 1, 0, 0; point < points; point++ {
		dir := filepath.Join(t.TempDir(), "store")
		cmd := child(t, "TestKilledAtEveryWrite", "mortal", dir, fmt.Sprintf("KEDGE_TEST_ARGS=%d %d", seed, n))
		cmd.Stderr = nil
		out, err := cmd.Output()
		acknowledged := map[string][]cellgraph.Digest{}
		end := ""
		for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
			words := strings.Fields(lines.Text())
			switch {
			case len(words) == 3 && words[0] == "done":
				id, err := cellgraph.ParseDigest(words[2])
				check(t, err)
				acknowledged[words[1]] = append(acknowledged[words[1]], id)
			case len(words) == 1 && words[0] == "finished":
				end = words[0]
			}
		}
		if end == "" && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("seed %d, change %d: %v: %s", seed, n, err, out)
		}
		wantKept(t, dir, acknowledged)
		if t.Failed() {
			t.Fatalf("killed at change %d of seed %d", n, seed)
		}
		check(t, os.RemoveAll(dir))
		if n += step; end != "" {
			finished++
			seed, n = seed+1, 0
		}
	}
	t.Logf("%d points, %d lives to their end", points, finished)
}
