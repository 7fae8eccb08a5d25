package oracle

import (
	"testing"

	"kedge/integration/oracle/shell"
)

// TestWhatSharesWithWhatIsNotHeld: of an array that shares memory with one that was not brought about again, only where
// it lies is left out.
func TestWhatSharesWithWhatIsNotHeld(t *testing.T) {
	run := func(names map[string]string, absent ...string) Run {
		r := Run{OK: true, Sight: &shell.Sight{Names: names}, Absent: map[string]bool{}}
		for _, n := range absent {
			r.Absent[n] = true
		}
		return r
	}
	straight := run(map[string]string{"a": "ndarray (2,) at a: [0, 1]", "b": "ndarray (2,) at a+0: [0, 1]"})
	for _, c := range []struct {
		got  Run
		same bool
	}{
		{run(map[string]string{"b": "ndarray (2,) at b: [0, 1]"}, "a", "b"), true},
		{run(map[string]string{"b": "ndarray (2,) at b: [0, 2]"}, "a", "b"), false},
		{run(map[string]string{"b": "ndarray (2,) at b: [0, 1]"}), false},
		{run(map[string]string{"a": "ndarray (2,) at a: [0, 1]", "b": "ndarray (2,) at b: [0, 1]"}, "a", "b"), false},
	} {
		if list := Differences(c.got, straight); (len(list) == 0) != c.same {
			t.Errorf("%v: %v", c.got.Sight.Names, list)
		}
	}
}
