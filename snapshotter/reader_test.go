package snapshotter

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"kedge/cellgraph"
)

// TestAnotherImplementationReadsTheStore has testdata/read_store.py, which was
// written from FORMAT.md and shares nothing with us, read what we wrote.
func TestAnotherImplementationReadsTheStore(t *testing.T) {
	python, err := exec.LookPath(cmp.Or(os.Getenv("KEDGE_TEST_PYTHON"), "python3"))
	if err != nil {
		t.Skip("no Python: make test has one")
	}
	dir := t.TempDir()
	s := open(t, dir)
	now := time.Now()
	for n, size := range []int{100, 66_000, extentBytes + 10} {
		c := cell{code: cellgraph.Sum([]byte{byte(n)}), seconds: 1, value: random(uint64(n), size), output: []byte(`["out"]`), created: now}
		if n == 1 { // cold, and worth compressing
			c.value, c.created = bytes.Repeat([]byte("a,b,c\n"), size/6), now.Add(-30*24*time.Hour)
		}
		snap, err := runCell(t.Context(), s, c)
		check(t, err)
		check(t, s.Pin(t.Context(), snap.ID))
		check(t, s.Close()) // each in a segment of its own
		s = open(t, dir)
	}
	list := array(t, s, 1, 300) // cut in runs
	check(t, s.PutSaved(t.Context(), SavedFile{Notebook: "n", Path: "/p", Content: list, Saved: now}))
	check(t, s.Close())
	s = open(t, dir)
	if r := gc(t, s, GCConfig{Quota: -1}); r.Squeezed == 0 {
		t.Errorf("nothing was compressed: %+v", r)
	}
	check(t, s.Close())

	read := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), python, append([]string{"testdata/read_store.py", dir}, args...)...)
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, &complaint)
		}
		return out, err
	}
	out, err := read()
	check(t, err)
	var counts map[string]int
	check(t, json.Unmarshal(out, &counts))
	if counts["trace"] != 3 || counts["snapshot"] != 3 || counts["extent"] < 9 || counts["blob"] < 9 || counts["run"] < 2 {
		t.Errorf("%v", counts)
	}
	small := random(0, 100)
	if out, err = read(cellgraph.Sum(small).String()); err != nil || !bytes.Equal(out, small) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	s = open(t, dir)
	ranges, err := s.BlobRanges(t.Context(), cellgraph.Sum(small))
	check(t, err)
	garble(t, ranges[0].Path, ranges[0].Offset, 1)
	if _, err = read(cellgraph.Sum(small).String()); err == nil {
		t.Error("it does not see damage, so it proves nothing")
	}
}
