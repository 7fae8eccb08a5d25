package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kedge/share"
	"kedge/snapshotter"
)

// pull fetches all of a site into the store at dir, and returns what moved.
func (w *site) pull(t *testing.T, dir string, progress func(done, total int64)) (moved int64, err error) {
	t.Helper()
	ctx := context.Background()
	store, err := snapshotter.Open(ctx, snapshotter.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r, err := share.OpenLink(ctx, w.link(), share.Signer{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	moved, err = share.Fetch(ctx, store, r.Manifest, r, nil, progress)
	if err == nil {
		if data, err := store.Blob(ctx, r.Manifest.Blobs[0].ID); err != nil || !bytes.Equal(data, w.all) {
			t.Error("other bytes", err)
		}
	}
	return moved, err
}

// smallDisk is a folder on a file system of 64 MiB of its own.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("kedge", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A disk that fills up ends a pull; what has come by then need not come again.
func TestADiskThatFillsUpDuringAPull(t *testing.T) {
	w := newSite(t, 40<<20, "")
	dir := smallDisk(t)
	other := filepath.Join(dir, "other")
	fill := sync.OnceFunc(func() { // somebody else fills it while it comes
		if err := os.WriteFile(other, make([]byte, 32<<20), 0o600); err != nil {
			t.Error(err)
		}
	})
	moved, err := w.pull(t, dir, func(done, _ int64) {
		if done > 15<<20 {
			fill()
		}
	})
	if !errors.Is(err, share.ErrFull) || !errors.Is(err, unix.ENOSPC) || moved < 16<<20 || moved >= int64(len(w.all)) {
		t.Fatal(moved, err)
	}
	ignore := func(int64, int64) {}
	if again, err := w.pull(t, dir, ignore); !errors.Is(err, share.ErrFull) || again != 0 {
		t.Error("there is no room, which is known before anything comes: ", again, err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	rest, err := w.pull(t, dir, ignore)
	if err != nil || rest != int64(len(w.all))-moved {
		t.Errorf("%d of %d bytes had come, %d came after that: %v", moved, len(w.all), rest, err)
	}
}

// Also a disk that nobody looked at in time, and that is full to the last byte, ends with an error, and nothing is damaged.
func TestADiskThatIsFull(t *testing.T) {
	w := newSite(t, 40<<20, "")
	dir := smallDisk(t)
	other := filepath.Join(dir, "other")
	_, err := w.pull(t, dir, func(done, _ int64) {
		if done == 1<<20 {
			_ = os.WriteFile(other, make([]byte, 100<<20), 0o600) // as much as there is room for
		}
	})
	if err == nil {
		t.Fatal("it came")
	}
	t.Log(err)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if _, err := w.pull(t, dir, func(int64, int64) {}); err != nil {
		t.Error(err)
	}
}
