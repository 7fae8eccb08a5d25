package snapshotter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"kedge/cellgraph"
)

// filled is a store that has seen a bit of everything, closed.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	for round := range 3 {
		s := open(t, dir)
		for n := range 4 {
			created := now.Add(-time.Duration(n*10*24) * time.Hour)
			value := bytes.Repeat(fmt.Appendf(nil, "%d of round %d\n", n, round), 60_000*n+10)
			snap, err := runCell(t.Context(), s, cell{code: cellgraph.Sum(fmt.Append(nil, n)), seconds: 1, value: value, output: value[:20], created: created})
			check(t, err)
			if round == 2 && n == 3 {
				check(t, s.Pin(t.Context(), snap.ID))
			}
		}
		file := put(t, s, fmt.Appendf(nil, "a file of round %d", round))
		check(t, s.PutSaved(t.Context(), SavedFile{Notebook: "n", Path: "/p", Content: file, Saved: now.UTC().Truncate(0)}))
		check(t, s.PutMemo(t.Context(), "background", cellgraph.Sum([]byte{byte(round)}), []byte("a thread")))
		segment, err := os.ReadFile(s.segmentPath(s.segment.name))
		check(t, err)
		put(t, s, append([]byte("what a notebook may read: "), segment...)) // with entries of a journal
		check(t, s.Flush(t.Context()))
		check(t, s.Close())
		if round == 1 {
			s = open(t, dir)
			gc(t, s, GCConfig{Quota: -1})
			check(t, s.Close())
		}
	}
	return dir
}

// content is all that a store knows, but for the order of rows.
func content(t *testing.T, dir string) map[string]any {
	t.Helper()
	s := open(t, dir)
	wantSound(t, s)
	all := map[string]any{}
	rows, err := s.catalog.allTraces(t.Context())
	check(t, err)
	for _, row := range rows {
		all["trace "+cellgraph.Digest(row.id).String()] = []any{string(row.body), row.kept}
	}
	snapshots, err := s.Snapshots(t.Context(), "")
	check(t, err)
	for _, snap := range snapshots {
		all["snapshot "+snap.ID.String()] = snap.StateGone
	}
	blobs, err := s.catalog.allBlobs(t.Context())
	check(t, err)
	for _, id := range blobs {
		all["blob "+id.String()] = true
	}
	all["pins"], err = s.Pins(t.Context())
	check(t, err)
	files, err := s.Saved(t.Context(), "")
	check(t, err)
	for _, f := range files {
		all["saved "+f.Content.String()] = f
	}
	for round := range 3 {
		_, there, err := s.Memo(t.Context(), "background", cellgraph.Sum([]byte{byte(round)}))
		check(t, err)
		all[fmt.Sprint("memo ", round)] = there
	}
	check(t, s.Close())
	return all
}

func TestRebuildFindsEverythingAgain(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"Missing":  func(t *testing.T, dir string) { check(t, removeCatalog(filepath.Join(dir, catalogFile))) },
		"Garbage":  func(t *testing.T, dir string) { garble(t, filepath.Join(dir, catalogFile), 0, 8192) },
		"OnePage":  func(t *testing.T, dir string) { garble(t, filepath.Join(dir, catalogFile), 16384, 4096) },
		"NoDamage": func(*testing.T, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			want := content(t, dir)
			if want["memo 2"] != true || len(want) < 20 {
				t.Fatal(want)
			}
			damage(t, dir)
			if name == "Missing" {
				_, err := Open(t.Context(), Config{Dir: dir})
				wantErr(t, err, ErrCorrupt)
			}
			r, err := Rebuild(t.Context(), Config{Dir: dir}, nil)
			check(t, err)
			got := content(t, dir)
			for key, value := range want {
				if !reflect.DeepEqual(got[key], value) {
					t.Errorf("%s is %v, was %v", key, got[key], value)
				}
			}
			if r.Snapshots != 12 || r.Traces != 12 || r.Saved != 3 || len(r.Lost) > 0 {
				t.Errorf("%+v", r)
			}
			s := open(t, dir)
			gc(t, s, GCConfig{Quota: -1})
			wantSound(t, s)
		})
	}
}

// garble overwrites a piece of a file.
func garble(t *testing.T, path string, at int64, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, n), at)
	check(t, errors.Join(err, f.Close()))
}

func TestRebuildNamesWhatIsLost(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	whole := cell{code: cellgraph.Sum([]byte("whole")), value: random(1, 100_000), output: random(2, 100)}
	broken := cell{code: cellgraph.Sum([]byte("broken")), value: random(3, 3*extentBytes), output: random(4, 100)}
	for _, c := range []cell{whole, broken} {
		_, err := runCell(t.Context(), s, c)
		check(t, err)
	}
	ranges, err := s.BlobRanges(t.Context(), cellgraph.Sum(broken.value))
	check(t, err)
	check(t, s.Close())
	garble(t, ranges[0].Path, ranges[0].Offset+extentBytes+5, 1)
	r, err := Rebuild(t.Context(), Config{Dir: dir}, nil)
	check(t, err)
	if len(r.Lost) != 1 || r.Traces != 2 {
		t.Errorf("%+v", r)
	}
	s = open(t, dir)
	wantSound(t, s)
	if len(traces(t, s, broken.code)) != 0 {
		t.Error("a trace that lacks a value is offered")
	}
	check(t, readBack(t.Context(), s, &traces(t, s, whole.code)[0]))
}

func TestRebuildRefusesAStoreInUse(t *testing.T) {
	dir := filled(t)
	open(t, dir)
	_, err := Rebuild(t.Context(), Config{Dir: dir}, nil)
	wantErr(t, err, ErrInUse)
}

// testdata/format1.tar.gz was written by the last version with format 1.
func TestAnOldStoreIsUpgraded(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", "testdata/format1.tar.gz", "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	before := content(t, dir)
	version, err := os.ReadFile(filepath.Join(dir, versionFile))
	check(t, err)
	if string(version) != fmt.Sprintln(formatVersion) || len(before) < 10 {
		t.Errorf("version %q, %d rows", version, len(before))
	}
	check(t, removeCatalog(filepath.Join(dir, catalogFile)))
	_, err = Rebuild(t.Context(), Config{Dir: dir}, nil)
	check(t, err)
	after := content(t, dir)
	if !reflect.DeepEqual(before, after) {
		t.Errorf("before %v\nafter %v", before, after)
	}
}

func TestSnapshotsOfRestoredCellsCostNoSync(t *testing.T) {
	dir, syncs := t.TempDir(), 0
	s, err := Open(t.Context(), Config{Dir: dir, faults: func(operation string, _ func()) error {
		if operation == "sync segment" {
			syncs++
		}
		return nil
	}})
	check(t, err)
	snap, err := runCell(t.Context(), s, cell{code: cellgraph.Sum(nil), value: random(1, 100), output: random(2, 100), created: time.Now()})
	check(t, err)
	before, trace := syncs, traces(t, s, cellgraph.Sum(nil))[0]
	for n := range 5 {
		snap.Seconds = float64(n + 2)
		check(t, s.PutTrace(t.Context(), trace, snap))
	}
	if syncs != before {
		t.Errorf("%d syncs", syncs-before)
	}
	check(t, s.Close())
	check(t, removeCatalog(filepath.Join(dir, catalogFile)))
	r, err := Rebuild(t.Context(), Config{Dir: dir}, nil)
	check(t, err)
	if r.Snapshots != 6 || r.Traces != 1 {
		t.Errorf("%+v", r)
	}
}
