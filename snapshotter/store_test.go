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
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"kedge/cellgraph"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func random(seed uint64, n int) []byte {
	r := rand.NewPCG(seed, 1)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	return b
}

func put(t *testing.T, s *Store, data []byte) cellgraph.Digest {
	t.Helper()
	id, err := s.PutBlob(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if id != cellgraph.Sum(data) {
		t.Fatal("id is not the digest of the content")
	}
	return id
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("error is %v, want %v", got, want)
	}
}

func TestBlobsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, n := range []int{0, 1, smallBytes - 1, smallBytes, extentBytes, extentBytes + 1, 3*extentBytes + 17} {
		data := random(uint64(n), n)
		id := put(t, s, data)
		streamed, err := s.PutBlobFrom(t.Context(), iotest.HalfReader(bytes.NewReader(data)))
		check(t, err)
		if streamed != id {
			t.Fatalf("%d bytes: streamed id differs", n)
		}
		for _, flushed := range []bool{false, true} {
			if flushed {
				check(t, s.Flush(t.Context()))
				s = open(t, dir)
			}
			got, err := s.Blob(t.Context(), id)
			check(t, err)
			if !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, flushed %v: content differs", n, flushed)
			}
			r, size, err := s.OpenBlob(t.Context(), id)
			check(t, err)
			got, err = io.ReadAll(r)
			check(t, errors.Join(err, r.Close()))
			if size != int64(n) || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes: stream differs", n)
			}
			ranges, err := s.BlobRanges(t.Context(), id)
			check(t, err)
			var joined []byte
			for _, g := range ranges {
				if n >= smallBytes && g.Offset%pageBytes != 0 {
					t.Fatalf("%d bytes: range at %d is not page-aligned", n, g.Offset)
				}
				file, err := os.ReadFile(g.Path)
				check(t, err)
				joined = append(joined, file[g.Offset:g.Offset+g.Length]...)
			}
			if !bytes.Equal(joined, data) || len(ranges) > 1 && n != extentBytes+1 && n != 3*extentBytes+17 {
				t.Fatalf("%d bytes: %d ranges differ", n, len(ranges))
			}
		}
	}
	_, err := s.Blob(t.Context(), cellgraph.Sum([]byte("absent")))
	wantErr(t, err, ErrNotFound)
}

func TestChangedPieceStoresOneExtent(t *testing.T) {
	s := open(t, t.TempDir())
	data := random(1, 8*extentBytes)
	put(t, s, data)
	data[5*extentBytes+3]++
	put(t, s, data)
	check(t, s.Flush(t.Context()))
	st, err := s.Stats(t.Context())
	check(t, err)
	if st.Extents != 9 || st.Blobs != 2 || st.Bytes != 9*extentBytes || st.Segments != 1 {
		t.Fatalf("%+v", st)
	}
}

func TestSegmentsRoll(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.segment.limit = 2 * extentBytes
	data := random(2, 7*extentBytes)
	id := put(t, s, data)
	check(t, s.Flush(t.Context()))
	st, err := s.Stats(t.Context())
	check(t, err)
	got, err := open(t, dir).Blob(t.Context(), id)
	check(t, err)
	if st.Segments != 4 || !bytes.Equal(got, data) {
		t.Fatalf("%d segments", st.Segments)
	}
}

func TestUnflushedBlobsAreGarbageAfterACrash(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	kept := put(t, s, random(3, 100_000))
	check(t, s.Flush(t.Context()))
	ranges, err := s.BlobRanges(t.Context(), kept)
	check(t, err)
	lost := put(t, s, random(4, 2*extentBytes))
	check(t, os.Truncate(ranges[0].Path, ranges[0].Offset+ranges[0].Length+10_000))
	check(t, s.Close())
	check(t, s.Close())

	s = open(t, dir)
	_, err = s.Blob(t.Context(), kept)
	check(t, err)
	_, err = s.Blob(t.Context(), lost)
	wantErr(t, err, ErrNotFound)
	problems, err := s.Verify(t.Context(), nil)
	check(t, err)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if again := put(t, s, random(4, 2*extentBytes)); again != lost {
		t.Fatal("another id")
	}
	check(t, s.Flush(t.Context()))
	_, err = s.Blob(t.Context(), lost)
	check(t, err)
}

func TestDamageIsFound(t *testing.T) {
	for _, n := range []int{100, 200_000, 3 * extentBytes} {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, cut %v", n, cut), func(t *testing.T) {
				s := open(t, t.TempDir())
				id := put(t, s, random(5, n))
				check(t, s.Flush(t.Context()))
				ranges, err := s.BlobRanges(t.Context(), id)
				check(t, err)
				at := ranges[0].Offset + int64(n) - 1
				if cut {
					check(t, os.Truncate(ranges[0].Path, at))
				} else {
					flip(t, ranges[0].Path, at)
				}
				_, err = s.Blob(t.Context(), id)
				wantErr(t, err, ErrCorrupt)
				problems, err := s.Verify(t.Context(), nil)
				check(t, err)
				if len(problems) == 0 {
					t.Fatal("Verify found nothing")
				}
			})
		}
	}
}

func TestTracesAndSnapshots(t *testing.T) {
	dir := t.TempDir()
	clock := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	s, err := Open(t.Context(), Config{Dir: dir, Now: func() time.Time { return clock }})
	check(t, err)
	defer s.Close()
	code := cellgraph.Sum([]byte("code"))
	stream := put(t, s, random(6, 5000))
	buffer := put(t, s, random(7, 2*extentBytes))
	manifest := put(t, s, fmt.Appendf(nil, `{"stream":"%s","buffers":[{"blob":"%s","length":%d,"readonly":false}]}`, stream, buffer, 2*extentBytes))
	groups := []cellgraph.Group{{Names: []string{"df"}, ID: code, Payload: manifest, Bytes: 2 * extentBytes}}
	trace := cellgraph.Trace{Code: code, Cell: "c1", Step: "load", Effect: cellgraph.Effect{Groups: groups}}
	snap := Snapshot{Notebook: "a.ipynb", Step: "load", Cell: "c1", Status: "ok", Groups: groups, LogicalBytes: 9}
	for range 70 {
		clock = clock.Add(time.Second)
		check(t, s.PutTrace(t.Context(), trace, snap))
	}
	check(t, s.PutTrace(t.Context(), trace, snap)) // the same to the last byte: nothing new

	other := open(t, dir)
	traces, err := other.Traces(t.Context(), code)
	check(t, err)
	if len(traces) != 64 || !traces[0].Created.Equal(clock) || !traces[63].Created.Equal(clock.Add(-63*time.Second)) {
		t.Fatalf("%d traces, newest %v", len(traces), traces[0].Created)
	}
	all, err := other.Snapshots(t.Context(), "a.ipynb")
	check(t, err)
	if len(all) != 70 || !all[0].Created.Equal(clock) || all[0].UniqueBytes != 0 {
		t.Fatalf("%d snapshots, newest %v", len(all), all[0])
	}
	if first := all[69].UniqueBytes; first <= 2*extentBytes+5000 || first > 2*extentBytes+6000 {
		t.Fatalf("the first snapshot has %d unique bytes", first)
	}
	snap.Created = clock
	id, err := SnapshotID(snap)
	check(t, err)
	latest, err := other.LatestSnapshot(t.Context(), "a.ipynb", "load")
	check(t, err)
	found, err := other.FindSnapshot(t.Context(), id.String()[:8])
	check(t, err)
	one, err := other.Snapshot(t.Context(), id)
	check(t, err)
	if again, err := SnapshotID(one); latest.ID != id || found.ID != id || one.ID != id || again != id || err != nil {
		t.Fatal("not the same snapshot")
	}
	_, err = other.FindSnapshot(t.Context(), "ab")
	wantErr(t, err, ErrAmbiguous)
	_, err = other.FindSnapshot(t.Context(), "not hex!!")
	wantErr(t, err, ErrNotFound)
	_, err = other.LatestSnapshot(t.Context(), "b.ipynb", "load")
	wantErr(t, err, ErrNotFound)

	calls := 0
	problems, err := other.Verify(t.Context(), func(done, total int) {
		if calls++; done != calls || done > total {
			t.Errorf("progress %d of %d in call %d", done, total, calls)
		}
	})
	check(t, err)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
}

func TestVerifyFollowsReferences(t *testing.T) {
	missing := cellgraph.Sum([]byte("missing"))
	for name, damage := range map[string]func(*testing.T, *Store, *cellgraph.Trace, *Snapshot){
		"buffer": func(t *testing.T, s *Store, tr *cellgraph.Trace, _ *Snapshot) {
			p := put(t, s, fmt.Appendf(nil, `{"stream":"","buffers":[{"blob":"%s"}]}`, missing))
			tr.Effect.Groups = []cellgraph.Group{{Payload: p}}
		},
		"stream": func(t *testing.T, s *Store, _ *cellgraph.Trace, snap *Snapshot) {
			snap.Groups = []cellgraph.Group{{Payload: put(t, s, fmt.Appendf(nil, `{"stream":"%s"}`, missing))}}
		},
		"payload": func(_ *testing.T, _ *Store, _ *cellgraph.Trace, snap *Snapshot) {
			snap.Groups = []cellgraph.Group{{Payload: missing}}
		},
		"outputs":  func(_ *testing.T, _ *Store, tr *cellgraph.Trace, _ *Snapshot) { tr.Effect.Outputs = missing },
		"document": func(_ *testing.T, _ *Store, _ *cellgraph.Trace, snap *Snapshot) { snap.Document = missing },
		"file": func(_ *testing.T, _ *Store, _ *cellgraph.Trace, snap *Snapshot) {
			snap.Files = []cellgraph.FileChange{{Path: "x", Content: missing}}
		},
		"not a manifest": func(t *testing.T, s *Store, _ *cellgraph.Trace, snap *Snapshot) {
			snap.Groups = []cellgraph.Group{{Payload: put(t, s, []byte("{"))}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			var tr cellgraph.Trace
			var snap Snapshot
			damage(t, s, &tr, &snap)
			check(t, s.PutTrace(t.Context(), tr, snap))
			problems, err := s.Verify(t.Context(), nil)
			check(t, err)
			if len(problems) != 1 {
				t.Fatalf("problems: %v", problems)
			}
		})
	}
}

func TestDamagedRecordsAreFoundAndDoNotHit(t *testing.T) {
	for name, damage := range map[string]string{
		"Trace":    `UPDATE trace SET body = replace(body, '"cell":"a"', '"cell":"b"')`,
		"Snapshot": `UPDATE snapshot SET body = replace(body, '"cell":"a"', '"cell":"b"')`,
		"Index":    `PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = replace(sql, 'code, created', 'created, code') WHERE name = 'trace_code'`,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			tr := cellgraph.Trace{Code: cellgraph.Sum(nil), Cell: "a"}
			check(t, s.PutTrace(t.Context(), tr, Snapshot{Cell: "a"}))
			_, err := s.catalog.db.ExecContext(t.Context(), damage)
			check(t, err)
			check(t, s.Close())
			s = open(t, s.dir)
			problems, err := s.Verify(t.Context(), nil)
			check(t, err)
			if len(problems) == 0 {
				t.Error("Verify found nothing")
			}
			traces, err := s.Traces(t.Context(), tr.Code)
			check(t, err)
			if name == "Trace" && len(traces) != 0 {
				t.Errorf("a damaged trace is offered: %+v", traces)
			}
		})
	}
}

func TestDamagedHeaderIsFound(t *testing.T) {
	s := open(t, t.TempDir())
	id := put(t, s, random(6, 100))
	check(t, s.Flush(t.Context()))
	ranges, err := s.BlobRanges(t.Context(), id)
	check(t, err)
	f, err := os.OpenFile(ranges[0].Path, os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt([]byte("k"), ranges[0].Offset-int64(recordHeader))
	check(t, errors.Join(err, f.Close()))
	problems, err := s.Verify(t.Context(), nil)
	check(t, err)
	if len(problems) != 1 {
		t.Errorf("problems: %v", problems)
	}
}

func TestMemo(t *testing.T) {
	s := open(t, t.TempDir())
	key := cellgraph.Sum(nil)
	_, ok, err := s.Memo(t.Context(), "stat", key)
	if ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, v := range []string{"a", "b", ""} {
		check(t, s.PutMemo(t.Context(), "stat", key, []byte(v)))
		got, ok, err := s.Memo(t.Context(), "stat", key)
		if string(got) != v || !ok || err != nil {
			t.Fatal(got, ok, err)
		}
	}
	if _, ok, _ := s.Memo(t.Context(), "parse", key); ok {
		t.Fatal("kinds are mixed up")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("a newer version", func(t *testing.T) {
		dir := t.TempDir()
		open(t, dir).Close()
		check(t, os.WriteFile(filepath.Join(dir, versionFile), fmt.Appendln(nil, formatVersion+1), 0o600))
		_, err := Open(t.Context(), Config{Dir: dir})
		wantErr(t, err, ErrNewerFormat)
	})
	t.Run("a newer catalog", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		_, err := s.catalog.db.ExecContext(t.Context(), "PRAGMA user_version = 99")
		check(t, errors.Join(err, s.Close()))
		_, err = Open(t.Context(), Config{Dir: dir})
		wantErr(t, err, ErrNewerFormat)
	})
	t.Run("a folder that may not be written", func(t *testing.T) {
		dir := t.TempDir()
		check(t, os.Chmod(dir, 0o500))
		if os.Getuid() == 0 { // root may write it: give that up on this thread
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			check(t, unix.Setfsuid(65534))
			defer unix.Setfsuid(0)
		}
		_, err := Open(context.Background(), Config{Dir: dir})
		wantErr(t, err, ErrReadOnly)
	})
	t.Run("network file systems", func(t *testing.T) {
		for _, magic := range []uint32{unix.NFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC} {
			if networkFileSystem(magic) == "" {
				t.Errorf("%x is allowed", magic)
			}
		}
		for _, magic := range []uint32{unix.EXT4_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC} {
			if networkFileSystem(magic) != "" {
				t.Errorf("%x is refused", magic)
			}
		}
	})
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("KEDGE_HOME", "")
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "/h")
	if got := DefaultDir(); got != "/h/.local/share/kedge" {
		t.Error(got)
	}
	t.Setenv("XDG_DATA_HOME", "/x")
	if got := DefaultDir(); got != "/x/kedge" {
		t.Error(got)
	}
	t.Setenv("KEDGE_HOME", "/k")
	if got := DefaultDir(); got != "/k" {
		t.Error(got)
	}
}

// write opens its own handle and stores what every other writer stores too.
func write(ctx context.Context, dir, who string) error {
	s, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range 10 {
		for _, n := range []int{500, 300_000} {
			id, err := s.PutBlob(ctx, random(uint64(i), n))
			if err == nil {
				_, err = s.Blob(ctx, id)
			}
			if err != nil {
				return err
			}
		}
		code := cellgraph.Sum([]byte(who))
		if err := s.PutTrace(ctx, cellgraph.Trace{Code: code, Seconds: float64(i)}, Snapshot{Notebook: who, Seconds: float64(i)}); err != nil {
			return err
		}
	}
	return nil
}

func checkShared(t *testing.T, dir string, writers int64) {
	t.Helper()
	s := open(t, dir)
	st, err := s.Stats(t.Context())
	check(t, err)
	problems, err := s.Verify(t.Context(), nil)
	check(t, err)
	if st.Blobs != 20 || st.Traces != 10*writers || st.Snapshots != 10*writers || len(problems) > 0 {
		t.Fatalf("%+v, problems %v", st, problems)
	}
}

func TestManyHandlesAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a ? folder%20#")
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() {
			if err := write(t.Context(), dir, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	checkShared(t, dir, 4)
}

func TestManyGoroutinesOnOneHandle(t *testing.T) {
	s := open(t, t.TempDir())
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			data := random(uint64(i%3), 2*extentBytes+i%3)
			id, err := s.PutBlobFrom(t.Context(), bytes.NewReader(data))
			if err == nil {
				err = s.Flush(t.Context())
			}
			if err == nil {
				_, err = s.Blob(t.Context(), id)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	st, err := s.Stats(t.Context())
	check(t, err)
	if st.Blobs != 3 {
		t.Fatalf("%+v", st)
	}
}

// TestManyProcessesAtOnce runs this test binary again as the writers.
func TestManyProcessesAtOnce(t *testing.T) {
	if dir := os.Getenv("KEDGE_TEST_WRITER_DIR"); dir != "" {
		check(t, write(t.Context(), dir, fmt.Sprint(os.Getpid())))
		return
	}
	dir := t.TempDir()
	var g sync.WaitGroup
	for range 3 {
		g.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestManyProcessesAtOnce$")
			cmd.Env = append(os.Environ(), "KEDGE_TEST_WRITER_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	g.Wait()
	checkShared(t, dir, 3)
}

func TestClosedStoreRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	check(t, s.Close())
	_, err := s.PutBlob(t.Context(), []byte("x"))
	wantErr(t, err, ErrClosed)
	wantErr(t, s.Flush(t.Context()), ErrClosed)
}
