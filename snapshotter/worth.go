package snapshotter

import (
	"math"
	"slices"
	"time"

	"kedge/cellgraph"
)

// How gc weighs what it may take.
const (
	halfLife     = 7 * 24 * time.Hour // of the chance that something is used again
	recordWeight = 16                 // outputs and traces are kept longer than state
	neverHits    = 1e-3               // weight of a trace that can no longer hit
)

// item is something that gc may take: the state of a trace, all of a trace, or
// a snapshot's record. Taking all of a trace takes its state and snapshots too.
type item struct {
	trace    *tracked
	snapshot *tracked
	state    bool // only the state of trace
	score    float64
}

// tracked is a trace or a snapshot with what it needs.
type tracked struct {
	seq           int64
	id            cellgraph.Digest
	code          cellgraph.Digest // of a trace
	trace         *tracked         // of a snapshot
	snapshots     []*tracked       // of a trace
	parent        cellgraph.Digest // of a snapshot
	created, used time.Time
	seconds       float64 // that a hit saves
	hits          bool    // a trace that can hit
	body          int64   // bytes in the catalog
	record, state []cellgraph.Digest

	kept    bool // its state is there
	held    bool // neither may be taken
	gone    bool // it is to be taken
	emptied bool // its state is to be taken
}

// worth is what keeping bytes saves, in seconds per byte: the time of the cell,
// times the chance that it is asked for again.
func worth(seconds float64, used, now time.Time, bytes float64) float64 {
	age := max(0, now.Sub(used))
	return (seconds + 0.01) * math.Exp2(-float64(age)/float64(halfLife)) / max(1, bytes)
}

// items lists what may be taken, that which is worth least first.
func (inv *inventory) items(now time.Time) []item {
	var all []item
	for _, t := range inv.traces {
		if t.held {
			continue
		}
		weight := 1.0
		if !t.hits {
			weight = neverHits
		}
		if t.kept && len(t.state) > 0 {
			all = append(all, item{trace: t, state: true, score: weight * worth(t.seconds, t.used, now, inv.share(t.state))})
		}
		if !slices.ContainsFunc(t.snapshots, func(s *tracked) bool { return s.held }) {
			all = append(all, item{trace: t, score: recordWeight * weight * worth(t.seconds, t.used, now, float64(t.body)+inv.share(t.record))})
		}
	}
	for _, s := range inv.snapshots {
		if !s.held {
			all = append(all, item{snapshot: s, score: recordWeight * worth(s.seconds, s.created, now, float64(s.body)+inv.share(s.record))})
		}
	}
	slices.SortStableFunc(all, func(a, b item) int {
		switch {
		case a.score < b.score:
			return -1
		case a.score > b.score:
			return 1
		}
		return 0
	})
	return all
}

// share is the bytes of blobs, each divided among all that need it.
func (inv *inventory) share(ids []cellgraph.Digest) float64 {
	total := 0.0
	for _, id := range ids {
		if b := inv.blobs[id]; b != nil && b.users > 0 {
			total += float64(b.bytes()) / float64(b.users)
		}
	}
	return total
}

// shrink marks what is to be taken until at most target bytes are left, or
// nothing may be taken any more.
func (inv *inventory) shrink(target int64, now time.Time) {
	if inv.bytes <= target {
		return
	}
	for _, it := range inv.items(now) {
		switch {
		case inv.bytes <= target:
			return
		case it.snapshot != nil:
			inv.takeSnapshot(it.snapshot)
		case it.state:
			inv.takeState(it.trace)
		default:
			inv.takeTrace(it.trace)
		}
	}
}

func (inv *inventory) takeState(t *tracked) {
	if t.emptied || !t.kept {
		return
	}
	t.emptied = true
	inv.drop(t.state)
}

func (inv *inventory) takeTrace(t *tracked) {
	if t.gone {
		return
	}
	inv.takeState(t)
	for _, s := range t.snapshots {
		inv.takeSnapshot(s)
	}
	t.gone = true
	inv.bytes -= t.body
	inv.drop(t.record)
}

func (inv *inventory) takeSnapshot(s *tracked) {
	if s.gone {
		return
	}
	s.gone = true
	inv.bytes -= s.body
	inv.drop(s.record)
}
