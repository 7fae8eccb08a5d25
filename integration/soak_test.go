package integration

import (
	"cmp"
	"os"
	"testing"
	"time"
)

// TestNothingIsLeftBehind starts, ends and uses kernels behind Kedge. `make
// soak` does it for long: KEDGE_SOAK_CYCLES starts and ends, KEDGE_SOAK_ACTIONS
// of mixed traffic on one kernel, drawn by KEDGE_SOAK_SEED.
func TestNothingIsLeftBehind(t *testing.T) {
	cycles, actions := os.Getenv("KEDGE_SOAK_CYCLES"), os.Getenv("KEDGE_SOAK_ACTIONS")
	limit := 3 * time.Minute
	if cycles+actions != "" {
		limit = 3 * time.Hour
	}
	f := newFront(t)
	out, err := f.command(limit, f.python, "testdata/proxy/soak.py", f.kedge, f.python, cmp.Or(cycles, "6"), cmp.Or(actions, "60"),
		cmp.Or(os.Getenv("KEDGE_SOAK_SEED"), "1"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-6000):])
	}
	t.Log(out)
}
