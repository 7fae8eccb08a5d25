package snapshotter

import (
	"path/filepath"
	"testing"
	"time"

	"kedge/cellgraph"
)

func TestWhatIsDeletedIsNotRestored(t *testing.T) {
	s := open(t, t.TempDir())
	code := cellgraph.Sum([]byte("code"))
	c := cell{code: code, seconds: 1, value: []byte("a value"), output: []byte("out"), created: time.Now()}
	snap, err := runCell(t.Context(), s, c)
	check(t, err)
	traces, err := s.Traces(t.Context(), code)
	check(t, err)
	again := snap // the same run, asked for once more
	again.Status, again.Created = "restored", time.Now().Add(time.Second)
	check(t, s.PutTrace(t.Context(), traces[0], again))
	second, err := s.LatestSnapshot(t.Context(), snap.Notebook, snap.Step)
	check(t, err)

	check(t, s.Pin(t.Context(), snap.ID))
	wantErr(t, s.Delete(t.Context(), snap.ID), ErrPinned)
	check(t, s.Unpin(t.Context(), snap.ID))
	check(t, s.Delete(t.Context(), snap.ID))
	wantErr(t, s.Delete(t.Context(), snap.ID), ErrNotFound)
	if traces, err := s.Traces(t.Context(), code); err != nil || len(traces) != 1 {
		t.Fatalf("%d traces are left of a run that another snapshot is of: %v", len(traces), err)
	}
	check(t, s.Delete(t.Context(), second.ID))
	if traces, err := s.Traces(t.Context(), code); err != nil || len(traces) != 0 {
		t.Fatalf("%d traces are left: %v", len(traces), err)
	}
	check(t, s.Close())

	s = open(t, s.dir)
	gc(t, s, GCConfig{Quota: -1})
	wantSound(t, s)
	if blobs, err := s.catalog.allBlobs(t.Context()); err != nil || len(blobs) != 0 {
		t.Errorf("%d blobs are left after gc: %v", len(blobs), err)
	}
	check(t, s.Close())
}

// A person who deletes a snapshot means it: no entry of a journal brings it back.
func TestRebuildLeavesDeletedAsItIs(t *testing.T) {
	for name, clean := range map[string]bool{"AtOnce": false, "AfterGC": true} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			s := open(t, dir)
			all, err := s.Snapshots(t.Context(), "")
			check(t, err)
			pinned, err := s.Pins(t.Context())
			check(t, err)
			n := 0
			for _, snap := range all {
				if snap.ID != pinned[0] && n < 3 {
					check(t, s.Delete(t.Context(), snap.ID))
					n++
				}
			}
			check(t, s.Close())
			if clean {
				s = open(t, dir)
				gc(t, s, GCConfig{Quota: -1})
				check(t, s.Close())
			}
			want := content(t, dir)
			check(t, removeCatalog(filepath.Join(dir, catalogFile)))
			_, err = Rebuild(t.Context(), Config{Dir: dir}, nil)
			check(t, err)
			s = open(t, dir)
			defer s.Close()
			left, err := s.Snapshots(t.Context(), "")
			check(t, err)
			if len(left) != len(all)-3 {
				t.Errorf("%d snapshots after rebuild, want %d", len(left), len(all)-3)
			}
			for _, snap := range left {
				if _, ok := want["snapshot "+snap.ID.String()]; !ok {
					t.Errorf("snapshot %s is back", snap.ID)
				}
			}
		})
	}
}
