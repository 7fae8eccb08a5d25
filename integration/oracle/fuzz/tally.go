package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"kedge/integration/oracle"
	"kedge/session"
)

// tally is what a fuzzer counts.
type tally struct {
	Actions, Mismatches, GaveUp, Faults    int
	Cells, Restored                        int // of actions after the first of a life
	Expected, Met                          int // cells that had to be restored, and those that were
	Features                               map[string]int
	Why                                    map[string]int // reasons of cells that had to be restored and were not
	Caught                                 string
	Seconds, KedgeSeconds, StraightSeconds float64
}

func (t *tally) add(o tally) {
	if t.Features == nil {
		t.Features, t.Why = map[string]int{}, map[string]int{}
	}
	t.Actions, t.Mismatches, t.GaveUp, t.Faults = t.Actions+o.Actions, t.Mismatches+o.Mismatches, t.GaveUp+o.GaveUp, t.Faults+o.Faults
	t.Cells, t.Restored, t.Expected, t.Met = t.Cells+o.Cells, t.Restored+o.Restored, t.Expected+o.Expected, t.Met+o.Met
	for k, v := range o.Features {
		t.Features[k] += v
	}
	for k, v := range o.Why {
		t.Why[k] += v
	}
	t.KedgeSeconds, t.StraightSeconds = t.KedgeSeconds+o.KedgeSeconds, t.StraightSeconds+o.StraightSeconds
	t.Caught = cmp.Or(t.Caught, o.Caught)
}

// varying is what differs between two reasons of one kind.
var varying = regexp.MustCompile(`\b[a-zA-Z]\d+\b|'[^']*'|\d+`)

var detail = regexp.MustCompile(`\b[a-zA-Z]\d+\b|'[^']*'|\d+|:.*`)

// count adds one action; last is the outcome of the one before.
func (t *tally) count(w world, history []oracle.Step, step oracle.Step, last, got oracle.Outcome) {
	t.Actions++
	t.KedgeSeconds += got.KedgeTime.Seconds()
	t.StraightSeconds += got.StraightTime.Seconds()
	t.Faults += len(got.Kedge.Faults)
	if got.Kedge.GaveUp != "" {
		t.GaveUp++
		t.Why["GAVE UP "+varying.ReplaceAllString(strings.TrimPrefix(got.Kedge.GaveUp, "restoring is given up: "), "…")]++
	}
	if len(history) == 0 {
		return
	}
	expect := map[string]bool{}
	if !step.Live { // there it depends on what has been asked for before
		expect = expected(history[len(history)-1], step)
	}
	for _, c := range last.Kedge.Cells {
		if c.Status != session.Ran && c.Status != session.Restored {
			expect[c.ID] = false // it failed, or another did before it
		}
	}
	features := map[string][]string{}
	for _, c := range append(slices.Clip(w.cells), w.asked...) {
		features[c.ID] = c.features
	}
	for _, c := range got.Kedge.Cells {
		if c.Status == "not_run" {
			continue
		}
		t.Cells++
		if expect[c.ID] {
			t.Expected++
		}
		if c.Status == "restored" {
			t.Restored++
			if expect[c.ID] {
				t.Met++
			}
			for _, f := range slices.Compact(slices.Sorted(slices.Values(features[c.ID]))) {
				t.Features[f]++
			}
		} else if expect[c.ID] {
			t.Why[detail.ReplaceAllString(c.Why, "…")]++
		}
	}
}

func percent(a, b int) float64 { return 100 * float64(a) / float64(max(1, b)) }

// conclude prints the tally; the error is errMismatch if there was one.
func (t *tally) conclude(w io.Writer, o options) error {
	fmt.Fprintf(w, "seed %d: %d actions in %.0f s (%.0f ms each: kedge %.0f, straight %.0f; %d workers), %d mismatches, %d gave up restoring, %d faults\n",
		o.seed, t.Actions, t.Seconds, 1000*t.Seconds/float64(max(1, t.Actions)), 1000*t.KedgeSeconds/float64(max(1, t.Actions)), 1000*t.StraightSeconds/float64(max(1, t.Actions)), max(1, o.workers), t.Mismatches, t.GaveUp, t.Faults)
	fmt.Fprintf(w, "restored: %d of %d cells; %d of the %d that had to be (%.1f %%)\n", t.Restored, t.Cells, t.Met, t.Expected, percent(t.Met, t.Expected))
	fmt.Fprint(w, "share of the restored cells, by feature:")
	for _, f := range slices.SortedFunc(maps.Keys(t.Features), func(a, b string) int { return cmp.Compare(t.Features[b], t.Features[a]) }) {
		fmt.Fprintf(w, " %s %.1f %%", f, percent(t.Features[f], t.Restored))
	}
	fmt.Fprintln(w)
	why := slices.SortedFunc(maps.Keys(t.Why), func(a, b string) int { return cmp.Compare(t.Why[b], t.Why[a]) })
	for _, reason := range why[:min(12, len(why))] {
		fmt.Fprintf(w, "  had to be restored, but: %s (%d)\n", reason, t.Why[reason])
	}
	for _, e := range exclusions {
		fmt.Fprintf(w, "left out because of a known fault: %s (%s)\n", e.why, cmp.Or(e.code, e.difference, regexp.MustCompile("-")))
	}
	if t.Mismatches > 0 && o.mutant == 0 {
		return errMismatch
	}
	return nil
}
