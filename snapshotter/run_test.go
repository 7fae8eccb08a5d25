package snapshotter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"kedge/cellgraph"
)

// putArray stores a blob of n extents, of which those in changed are others
// than in the array of that seed.
func putArray(ctx context.Context, s *Store, seed uint64, n int, changed ...int) (cellgraph.Digest, error) {
	whole, l := cellgraph.NewHash(), layout{}
	for i := range n {
		piece := fmt.Appendf(nil, "extent %d of array %d, %v", i, seed, slices.Contains(changed, i))
		whole.Write(piece)
		e, err := s.putExtent(ctx, cellgraph.Sum(piece), piece, true)
		if err != nil {
			return cellgraph.Digest{}, err
		}
		l.extents, l.size = append(l.extents, e), l.size+e.length
	}
	id := whole.Digest()
	return id, s.addBlob(id, l)
}

func array(t *testing.T, s *Store, seed uint64, n int, changed ...int) cellgraph.Digest {
	t.Helper()
	id, err := putArray(t.Context(), s, seed, n, changed...)
	check(t, err)
	return id
}

func dirty(t *testing.T, s *Store) (bytes int64) {
	t.Helper()
	for _, pattern := range []string{filepath.Join(segmentFolder, "*"), catalogFile + "*", filepath.Join(leaseFolder, "*")} {
		paths, err := filepath.Glob(filepath.Join(s.dir, pattern))
		check(t, err)
		for _, path := range paths {
			info, err := os.Stat(path)
			check(t, err)
			bytes += info.Size()
		}
	}
	return bytes
}

// A changed page of 10 GB is one extent of 10,240.
func TestABlobSharesItsListWithThatBefore(t *testing.T) {
	const extents = 10_240
	for name, other := range map[string]bool{"OneProcess": false, "Another": true} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			array(t, s, 1, extents)
			check(t, s.Flush(t.Context()))
			if other {
				check(t, s.Close())
				s = open(t, s.dir)
				id := array(t, s, 1, extents) // an unchanged capture: it looks every extent up
				has, err := s.HasBlob(t.Context(), id)
				if check(t, err); !has {
					t.Fatal("it is not there")
				}
				check(t, s.Flush(t.Context()))
			}
			check(t, s.catalog.shrink(t.Context())) // what is written to the log from here on can be seen
			before := dirty(t, s)
			id := array(t, s, 1, extents, 5000)
			check(t, s.Flush(t.Context()))
			grown := dirty(t, s) - before
			t.Logf("%d bytes", grown)
			if grown > 96<<10 { // 53 KiB, and 12 more for each page of the catalog that splits
				t.Errorf("%d bytes beside the extent", grown)
			}
			check(t, s.CheckBlob(t.Context(), id))
			wantSound(t, s)
		})
	}
}

func TestRunsAreKeptAndCollected(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	first, second := array(t, s, 1, 1000), array(t, s, 1, 1000, 500)
	check(t, s.Flush(t.Context()))
	third := array(t, s, 1, 1001, 500, 700)
	for _, id := range []cellgraph.Digest{second, third} {
		check(t, s.PutSaved(t.Context(), SavedFile{Notebook: "n", Path: "/p", Content: id, Saved: time.Now()}))
	}
	check(t, s.Close())
	runs := func() (n, rows int) {
		check(t, s.catalog.db.QueryRow("SELECT count(*), sum(length(extents)) / 32 FROM run").Scan(&n, &rows))
		return n, rows
	}
	s = open(t, dir)
	all, _ := runs()
	if gone := gc(t, s, GCConfig{Quota: -1}); gone.Blobs != 1 {
		t.Errorf("%+v", gone)
	}
	left, rows := runs()
	if left >= all || rows >= 1500 {
		t.Errorf("%d runs of %d, of %d extents", left, all, rows)
	}
	wantErr(t, s.CheckBlob(t.Context(), first), ErrNotFound)
	check(t, s.Close())
	for range 2 {
		check(t, removeCatalog(filepath.Join(dir, catalogFile)))
		r, err := Rebuild(t.Context(), Config{Dir: dir}, nil)
		if check(t, err); len(r.Lost) > 0 {
			t.Errorf("%+v", r)
		}
		s = open(t, dir)
		for _, id := range []cellgraph.Digest{second, third} {
			check(t, s.CheckBlob(t.Context(), id))
		}
		array(t, s, 1, 1000, 900) // shares runs that were rebuilt
		wantSound(t, s)
		check(t, s.Close())
	}
}

// A run that a process has found stays, though the blob goes that it was of.
func TestARunThatIsHeldStays(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	array(t, s, 1, 1000)
	check(t, s.Flush(t.Context()))
	check(t, s.Close())
	s = open(t, dir)
	id := array(t, s, 1, 1000, 500)
	var j journal
	check(t, s.noteBlobs(t.Context(), &j))
	if len(j.Runs) == 0 || len(j.Runs) > 2 {
		t.Fatalf("%d runs", len(j.Runs))
	}
	beside := open(t, dir)
	gc(t, beside, GCConfig{Quota: -1})
	check(t, beside.Close())
	for _, said := range s.pending.blobs[id].runs() {
		has, err := s.catalog.hasRun(t.Context(), said.id)
		check(t, err)
		if !has && said.id != j.Runs[0].ID && said.id != j.Runs[len(j.Runs)-1].ID {
			t.Errorf("run %s is in no journal", said.id)
		}
	}
	check(t, s.Flush(t.Context()))
	check(t, s.PutSaved(t.Context(), SavedFile{Notebook: "n", Path: "/p", Content: id, Saved: time.Now()}))
	check(t, s.Close())
	s = open(t, dir)
	gc(t, s, GCConfig{Quota: -1})
	check(t, s.Close())
	check(t, removeCatalog(filepath.Join(dir, catalogFile)))
	_, err := Rebuild(t.Context(), Config{Dir: dir}, nil)
	check(t, err)
	check(t, open(t, dir).CheckBlob(t.Context(), id))
}

func TestVerifyNamesARunThatIsDamaged(t *testing.T) {
	s := open(t, t.TempDir())
	array(t, s, 1, 1000)
	check(t, s.Flush(t.Context()))
	_, err := s.catalog.db.Exec("UPDATE run SET extents = substr(extents, 33) WHERE id = (SELECT min(id) FROM run)")
	check(t, err)
	problems, err := s.Verify(t.Context(), nil)
	check(t, err)
	kinds := map[string]bool{}
	for _, p := range problems {
		kinds[p.Kind] = true
	}
	if !kinds["run"] || !kinds["blob"] {
		t.Errorf("%+v", problems)
	}
}

func TestRunsAreCutWhereTheirDigestsSaySo(t *testing.T) {
	var l layout
	for i := range 20_000 {
		var e extent
		e.id = cellgraph.Sum(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		l.extents = append(l.extents, e)
	}
	known := map[cellgraph.Digest]bool{}
	n := 0
	for _, r := range l.runs() {
		known[r.id] = true
		n += len(r.extents)
		if len(r.extents) > runMost {
			t.Errorf("a run of %d", len(r.extents))
		}
	}
	if n != len(l.extents) || len(known) < 100 || len(known) > 400 {
		t.Errorf("%d extents in %d runs", n, len(known))
	}
	fresh := 0
	for _, r := range (layout{extents: append([]extent{{}}, l.extents...)}).runs() {
		if !known[r.id] {
			fresh++
		}
	}
	if fresh > 5 {
		t.Errorf("%d runs are new after an insertion", fresh)
	}
	same := layout{extents: make([]extent, 1000)} // of zeros, say
	if got := len(same.runs()); got > 1000/runLeast+1 {
		t.Errorf("%d runs", got)
	}
}

// testdata/format2.tar.gz was written by the last version with format 2: an
// array of 300 MiB in one list, compressed, and a small one.
func TestAStoreWithoutRunsGoesOn(t *testing.T) {
	for name, rebuilt := range map[string]bool{"AsItIs": false, "Rebuilt": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if out, err := exec.Command("tar", "-xzf", "testdata/format2.tar.gz", "-C", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if rebuilt {
				check(t, removeCatalog(filepath.Join(dir, catalogFile)))
				r, err := Rebuild(t.Context(), Config{Dir: dir}, nil)
				if check(t, err); r.Traces != 2 || r.Snapshots != 2 || len(r.Lost) > 0 {
					t.Errorf("%+v", r)
				}
			}
			s := open(t, dir)
			wantSound(t, s)
			large := traces(t, s, cellgraph.Sum([]byte("large")))[0]
			check(t, readBack(t.Context(), s, &large))
			inner, err := newPayloads(s).of(t.Context(), large.Effect.Groups[0].Payload)
			check(t, err)
			size, pieces, err := s.Extents(t.Context(), inner[1])
			if check(t, err); size != 300<<20 || len(pieces) != 300 {
				t.Errorf("%d bytes in %d extents", size, len(pieces))
			}
			// One that shares all but an extent with it, and is cut.
			var l layout
			for i, p := range pieces {
				at, err := s.findExtent(t.Context(), p.ID)
				check(t, err)
				if i != 100 {
					l.extents, l.size = append(l.extents, extent{p.ID, at}), l.size+at.length
				}
			}
			id := cellgraph.Sum([]byte("stands for the content"))
			check(t, s.addBlob(id, l))
			check(t, s.PutSaved(t.Context(), SavedFile{Notebook: "n", Path: "/p", Content: id, Saved: time.Now()}))
			version, err := os.ReadFile(filepath.Join(dir, versionFile))
			if check(t, err); string(version) != "3\n" {
				t.Errorf("version %q", version)
			}
			check(t, s.Close())
			s = open(t, dir)
			gc(t, s, GCConfig{Quota: -1})
			before, err := s.catalog.blobExtents(t.Context())
			check(t, err)
			check(t, s.Close())
			check(t, removeCatalog(filepath.Join(dir, catalogFile)))
			_, err = Rebuild(t.Context(), Config{Dir: dir}, nil)
			check(t, err)
			s = open(t, dir)
			got, err := s.layout(t.Context(), id)
			if check(t, err); len(got.extents) != 299 {
				t.Errorf("%d extents", len(got.extents))
			}
			after, err := s.catalog.blobExtents(t.Context())
			if check(t, err); !reflect.DeepEqual(before, after) {
				t.Error("the lists are not as they were")
			}
			check(t, readBack(t.Context(), s, &large))
		})
	}
}

// A process of format 2 that still runs must not take a run's extents for garbage.
func TestAnOlderProcessBesideUsFindsNothing(t *testing.T) {
	s := open(t, t.TempDir())
	_, err := s.catalog.db.Exec("SELECT blob, extent FROM blob_extent ORDER BY blob, seq")
	if err == nil {
		t.Error(errors.New("it would take what only runs name"))
	}
}
