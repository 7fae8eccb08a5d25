package snapshotter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kedge/cellgraph"
)

// cell is what one run of a cell stores.
type cell struct {
	code    cellgraph.Digest
	seconds float64
	value   []byte // of its only variable
	output  []byte
	created time.Time
}

// runCell stores a cell's trace and snapshot as a session does.
func runCell(ctx context.Context, s *Store, c cell) (Snapshot, error) {
	var ids [4]cellgraph.Digest
	stream := append([]byte("stream of "), c.value[:min(8, len(c.value))]...)
	for i, data := range [][]byte{c.value, stream, c.output} {
		var err error
		if ids[i], err = s.PutBlobFrom(ctx, bytes.NewReader(data)); err != nil {
			return Snapshot{}, err
		}
	}
	manifest := fmt.Appendf(nil, `{"stream":"%s","buffers":[{"blob":"%s","length":%d,"readonly":false}]}`, ids[1], ids[0], len(c.value))
	payload, err := s.PutBlob(ctx, manifest)
	if err != nil {
		return Snapshot{}, err
	}
	groups := []cellgraph.Group{{Names: []string{"df"}, ID: ids[0], Payload: payload, Bytes: int64(len(c.value))}}
	t := cellgraph.Trace{Code: c.code, Cell: "c", Step: "load", Seconds: c.seconds, Created: c.created,
		Effect: cellgraph.Effect{Groups: groups, Outputs: ids[2]}}
	snap := Snapshot{Notebook: "a.ipynb", Step: "load", Cell: "c", Seconds: c.seconds, Created: c.created, Groups: groups,
		Document: ids[2], Outputs: map[string]cellgraph.Digest{"c": ids[2]}}
	if snap.ID, err = SnapshotID(snap); err != nil {
		return snap, err
	}
	return snap, s.PutTrace(ctx, t, snap)
}

// readBack reads all that a trace needs as a restore does.
func readBack(ctx context.Context, s *Store, t *cellgraph.Trace) error {
	r := traceRefs(t)
	need := append(r.record, r.state...)
	for _, g := range r.groups {
		inner, err := newPayloads(s).of(ctx, g.Payload)
		if err != nil {
			return err
		}
		need = append(append(need, g.Payload), inner...)
	}
	for _, id := range need {
		if err := s.CheckBlob(ctx, id); err != nil {
			return err
		}
		ranges, err := s.BlobRanges(ctx, id)
		if err != nil {
			return err
		}
		h := cellgraph.NewHash()
		for _, g := range ranges {
			f, err := os.Open(g.Path)
			if err != nil {
				return err
			}
			_, err = io.Copy(h, io.NewSectionReader(f, g.Offset, g.Length))
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
		if h.Digest() != id {
			return fmt.Errorf("the ranges of %s: %w", id, ErrCorrupt)
		}
	}
	return nil
}

func gc(t *testing.T, s *Store, cfg GCConfig) GCReport {
	t.Helper()
	r, err := s.GC(t.Context(), cfg)
	check(t, err)
	return r
}

func wantSound(t *testing.T, s *Store) {
	t.Helper()
	problems, err := s.Verify(t.Context(), nil)
	check(t, err)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
}

func traces(t *testing.T, s *Store, code cellgraph.Digest) []cellgraph.Trace {
	t.Helper()
	found, err := s.Traces(t.Context(), code)
	check(t, err)
	return found
}

func TestGCTakesOnlyWhatNobodyNeeds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	c := cell{code: cellgraph.Sum([]byte("a")), seconds: 1, value: random(1, 3*extentBytes), output: random(2, 900), created: time.Now()}
	_, err := runCell(t.Context(), s, c)
	check(t, err)
	lost := put(t, s, random(3, 5*extentBytes))
	file := put(t, s, random(4, 2*extentBytes))
	check(t, s.PutSaved(t.Context(), SavedFile{Notebook: "n", Path: "/p", Content: file}))
	check(t, s.Flush(t.Context()))
	check(t, s.Close())

	s = open(t, dir)
	dry := gc(t, s, GCConfig{Quota: -1, DryRun: true})
	if err := s.CheckBlob(t.Context(), lost); err != nil || dry.Blobs != 1 {
		t.Fatalf("a dry run: %+v, %v", dry, err)
	}
	check(t, s.Close()) // which held it

	s = open(t, dir)
	r := gc(t, s, GCConfig{Quota: -1})
	if r.Blobs != 1 || r.Segments != 1 || r.Before-r.After < 4*extentBytes || !r.Within() {
		t.Errorf("%+v", r)
	}
	_, err = s.Blob(t.Context(), lost)
	wantErr(t, err, ErrNotFound)
	check(t, s.CheckBlob(t.Context(), file))
	check(t, readBack(t.Context(), s, &traces(t, s, c.code)[0]))
	wantSound(t, s)
	if again := gc(t, s, GCConfig{Quota: -1}); again.Blobs != 0 || again.Segments != 0 {
		t.Errorf("a second gc has found something: %+v", again)
	}
}

func TestQuotaKeepsWhatSavesMost(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	now := time.Now()
	cheap := cell{code: cellgraph.Sum([]byte("cheap")), seconds: 0.1, value: random(1, 8*extentBytes), output: random(2, 2000), created: now}
	dear := cell{code: cellgraph.Sum([]byte("dear")), seconds: 600, value: random(3, 2*extentBytes), output: random(4, 2000), created: now}
	old := cell{code: cellgraph.Sum([]byte("old")), seconds: 600, value: random(5, 2*extentBytes), output: random(6, 2000), created: now.Add(-90 * 24 * time.Hour)}
	for _, c := range []cell{cheap, dear, old} {
		_, err := runCell(t.Context(), s, c)
		check(t, err)
	}
	check(t, s.Close())
	s = open(t, dir)
	r := gc(t, s, GCConfig{Quota: 4 * extentBytes})
	if r.States != 2 || r.Traces != 0 || r.Snapshots != 0 || !r.Within() {
		t.Errorf("%+v", r)
	}
	wantSound(t, s)
	if len(traces(t, s, cheap.code))+len(traces(t, s, old.code)) != 0 {
		t.Error("a trace without its values is offered")
	}
	check(t, readBack(t.Context(), s, &traces(t, s, dear.code)[0]))
	all, err := s.Snapshots(t.Context(), "")
	check(t, err)
	for _, snap := range all {
		if snap.StateGone != (snap.Seconds < 1 || now.Sub(snap.Created) > time.Hour) {
			t.Errorf("snapshot of %v: state gone %v", snap.Seconds, snap.StateGone)
		}
		check(t, s.CheckBlob(t.Context(), snap.Document))
	}
	check(t, s.Close())

	s = open(t, dir)
	if r = gc(t, s, GCConfig{Quota: 0}); r.Traces != 3 || r.Snapshots != 3 {
		t.Errorf("nothing may be left: %+v", r)
	}
	wantSound(t, s)
}

func TestPinnedSnapshotsStay(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	c := cell{code: cellgraph.Sum([]byte("a")), value: random(1, 2*extentBytes), output: random(2, 100), created: time.Now()}
	snap, err := runCell(t.Context(), s, c)
	check(t, err)
	check(t, s.Pin(t.Context(), snap.ID))
	check(t, s.Close())
	s = open(t, dir)
	gc(t, s, GCConfig{Quota: 0})
	got, err := s.Snapshot(t.Context(), snap.ID)
	check(t, err)
	if got.StateGone {
		t.Error("the values of a pinned snapshot are gone")
	}
	check(t, readBack(t.Context(), s, &traces(t, s, c.code)[0]))
	wantSound(t, s)
	check(t, s.Unpin(t.Context(), snap.ID))
	check(t, s.Close())
	s = open(t, dir)
	gc(t, s, GCConfig{Quota: 0})
	_, err = s.Snapshot(t.Context(), snap.ID)
	wantErr(t, err, ErrNotFound)
}

func TestColdExtentsAreCompressedAndMappedRaw(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var text []byte
	for n := 0; len(text) < 5*extentBytes; n++ {
		text = fmt.Appendf(text, "%d,a line of a table,3.25\n", n)
	}
	text = text[:5*extentBytes]
	c := cell{code: cellgraph.Sum([]byte("a")), seconds: 1, value: text, output: bytes.Repeat([]byte("out "), 1000), created: time.Now().Add(-30 * 24 * time.Hour)}
	_, err := runCell(t.Context(), s, c)
	check(t, err)
	fresh := cell{code: cellgraph.Sum([]byte("b")), seconds: 1, value: bytes.Repeat([]byte("another line\n"), 1000), output: text[:100], created: time.Now()}
	_, err = runCell(t.Context(), s, fresh)
	check(t, err)
	check(t, s.Close())

	s = open(t, dir)
	r := gc(t, s, GCConfig{Quota: -1})
	if r.Squeezed < 4*extentBytes || r.After > extentBytes {
		t.Errorf("%+v", r)
	}
	wantSound(t, s)
	for _, code := range []cellgraph.Digest{c.code, fresh.code} {
		check(t, readBack(t.Context(), s, &traces(t, s, code)[0]))
	}
	ranges, err := s.BlobRanges(t.Context(), cellgraph.Sum(text))
	check(t, err)
	if len(ranges) != 1 || ranges[0].Offset%pageBytes != 0 {
		t.Errorf("they are not side by side: %v", ranges)
	}
	wantSound(t, s)
	if again := gc(t, s, GCConfig{Quota: -1}); again.Segments > 1 {
		t.Errorf("what is held is rewritten: %+v", again)
	}
}

// holder runs in a process of its own: it looks a trace up, says so, and reads
// it when it is told to.
func holder(t *testing.T, dir string) {
	s := open(t, dir)
	found := traces(t, s, cellgraph.Sum([]byte("a")))
	fmt.Println("ready")
	line := make([]byte, 1)
	if _, err := os.Stdin.Read(line); err != nil {
		t.Fatal(err)
	}
	check(t, readBack(t.Context(), s, &found[0]))
	fmt.Println("read")
	_, _ = os.Stdin.Read(line) // until it is killed
}

// child starts this test again as a process with a role.
func child(t *testing.T, test, role, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(append(os.Environ(), "KEDGE_TEST_ROLE="+role, "KEDGE_TEST_DIR="+dir), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestWhatALiveProcessHoldsStays(t *testing.T) {
	if os.Getenv("KEDGE_TEST_ROLE") == "holder" {
		holder(t, os.Getenv("KEDGE_TEST_DIR"))
		return
	}
	dir := t.TempDir()
	s := open(t, dir)
	c := cell{code: cellgraph.Sum([]byte("a")), value: random(1, 2*extentBytes), output: random(2, 100), created: time.Now()}
	_, err := runCell(t.Context(), s, c)
	check(t, err)
	check(t, s.Close())
	cmd := child(t, "TestWhatALiveProcessHoldsStays", "holder", dir)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	defer cmd.Process.Kill()
	wait := func(word string) {
		t.Helper()
		buffer := make([]byte, 100)
		if n, err := out.Read(buffer); err != nil || !strings.Contains(string(buffer[:n]), word) {
			t.Fatalf("%q, %v", buffer[:n], err)
		}
	}
	wait("ready")
	s = open(t, dir)
	r := gc(t, s, GCConfig{Quota: 0})
	if r.Traces+r.States+r.Blobs != 0 || len(r.Holders) != 1 || r.Holders[0].PID != cmd.Process.Pid {
		t.Errorf("beside a process that holds all: %+v", r)
	}
	_, err = in.Write([]byte("\n"))
	check(t, err)
	wait("read")
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	r = gc(t, s, GCConfig{Quota: 0})
	if r.Traces != 1 || len(r.Holders) != 0 {
		t.Errorf("after it was killed: %+v", r)
	}
	wantSound(t, s)
	leases, err := filepath.Glob(filepath.Join(dir, leaseFolder, "*"))
	check(t, err)
	if len(leases) != 1 {
		t.Errorf("leases of dead processes are left: %v", leases)
	}
}

// worker records cells, looks cells up, and reads what it holds, for a while.
// Everything it ever held is there at the end.
func worker(t *testing.T, dir string, seed uint64, until time.Time) {
	r := rand.New(rand.NewPCG(seed, 7))
	for time.Now().Before(until) {
		s := open(t, dir)
		var mine []cellgraph.Trace
		for range 1 + r.IntN(6) {
			n := r.IntN(60)
			code := cellgraph.Sum(fmt.Append(nil, n))
			held := traces(t, s, code)
			if len(held) == 0 || r.IntN(4) == 0 {
				value := bytes.Repeat(fmt.Appendf(nil, "value %d of %d ", r.IntN(3), n), 1+r.IntN(50_000))
				_, err := runCell(t.Context(), s, cell{code: code, seconds: r.Float64(), value: value, output: value[:10],
					created: time.Now().Add(-time.Duration(r.IntN(30*24)) * time.Hour)})
				check(t, err)
				held = append(held, traces(t, s, code)...)
			}
			mine = append(mine, held...)
		}
		for i := range mine {
			if err := readBack(t.Context(), s, &mine[i]); err != nil {
				t.Fatalf("held by %d and gone: %v", os.Getpid(), err)
			}
		}
		check(t, s.Close())
	}
}

func TestGCBesideReadersAndWriters(t *testing.T) {
	if role := os.Getenv("KEDGE_TEST_ROLE"); role != "" {
		var seed uint64
		var until int64
		_, err := fmt.Sscan(os.Getenv("KEDGE_TEST_ARGS"), &seed, &until)
		check(t, err)
		worker(t, os.Getenv("KEDGE_TEST_DIR"), seed, time.Unix(0, until))
		return
	}
	dir := t.TempDir()
	open(t, dir).Close()
	length := 3 * time.Second
	if os.Getenv("KEDGE_STORE_SOAK") != "" {
		length = 5 * time.Minute
	}
	until := time.Now().Add(length)
	var g sync.WaitGroup
	for seed := range 4 {
		cmd := child(t, "TestGCBesideReadersAndWriters", "worker", dir, fmt.Sprintf("KEDGE_TEST_ARGS=%d %d", seed, until.UnixNano()))
		cmd.Stderr = nil
		g.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	var total GCReport
	for n := 0; time.Now().Before(until); n++ {
		s := open(t, dir)
		r, err := s.GC(t.Context(), GCConfig{Quota: []int64{-1, 0, 4 * extentBytes}[n%3]})
		check(t, errors.Join(err, s.Close()))
		total.States += r.States
		total.Traces += r.Traces
		total.Segments += r.Segments
		total.Squeezed += r.Squeezed
	}
	g.Wait()
	t.Logf("%+v", total)
	if total.Traces == 0 || total.Segments == 0 {
		t.Errorf("gc has had nothing to do: %+v", total)
	}
	s := open(t, dir)
	wantSound(t, s)
	gc(t, s, GCConfig{Quota: 0})
	wantSound(t, s)
}

func TestTidyKeepsTheQuota(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: dir, Quota: 3 * extentBytes})
	check(t, err)
	for n := range 4 {
		if _, beyond, err := s.Tidy(t.Context(), nil); beyond || err != nil {
			t.Fatalf("after %d: %v, %v", n, beyond, err)
		}
		if n < 2 {
			_, err = runCell(t.Context(), s, cell{code: cellgraph.Sum([]byte{byte(n)}), value: random(uint64(n), extentBytes), output: random(9, 100), created: time.Now()})
			check(t, err)
		}
	}
	_, err = runCell(t.Context(), s, cell{code: cellgraph.Sum([]byte{9}), value: random(5, 2*extentBytes), output: random(9, 100), created: time.Now()})
	check(t, err)
	if r, beyond, err := s.Tidy(t.Context(), nil); !beyond || err != nil || r.Within() {
		t.Errorf("what this handle holds stays: %+v, %v, %v", r, beyond, err)
	}
	check(t, s.Close())
	s, err = Open(t.Context(), Config{Dir: dir, Quota: 3 * extentBytes})
	check(t, err)
	defer s.Close()
	if r, beyond, err := s.Tidy(t.Context(), nil); !beyond || err != nil || !r.Within() {
		t.Errorf("%+v, %v, %v", r, beyond, err)
	}
}

// A lease that is being made is not locked yet; gc may not take it for a dead one.
func TestALeaseIsNotTakenWhileItIsMade(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
				if _, err := s.GC(context.Background(), GCConfig{Quota: -1}); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	for range 300 {
		other, err := Open(t.Context(), Config{Dir: dir})
		check(t, err)
		_, err = os.Stat(other.lease.file.Name())
		check(t, errors.Join(err, other.Close()))
	}
	close(stop)
	check(t, <-done)
}
