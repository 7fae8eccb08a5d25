package share

import "strings"

const (
	maxEdits   = 300   // beyond which two texts are not compared line by line
	maxCompare = 5_000 // lines of a text that is
	maxLines   = 400   // of a difference that is told
	maxWidth   = 2_000 // bytes of one
	context3   = 3     // equal lines around what differs
)

// Line is one of a difference: Op is "+", "-", " " (in both), or "…" for what
// is left out.
type Line struct {
	Op   string `json:"op"`
	Text string `json:"text"`
}

// edit is one step from a text to another: of what both have, of what is taken
// out, of what comes in. The numbers are of the elements; -1 is none.
type edit struct{ was, is int }

// edits leads from one list to another in few steps (Myers, An O(ND)
// Difference Algorithm, 1986). Where more than maxEdits would be needed all of
// the middle is replaced.
func edits(was, is []string) []edit {
	head := 0
	for head < len(was) && head < len(is) && was[head] == is[head] {
		head++
	}
	tail := 0
	for tail < len(was)-head && tail < len(is)-head && was[len(was)-1-tail] == is[len(is)-1-tail] {
		tail++
	}
	all := make([]edit, 0, len(was)+len(is))
	for i := range head {
		all = append(all, edit{i, i})
	}
	for _, e := range middle(was[head:len(was)-tail], is[head:len(is)-tail]) {
		all = append(all, edit{shift(e.was, head), shift(e.is, head)})
	}
	for i := range tail {
		all = append(all, edit{len(was) - tail + i, len(is) - tail + i})
	}
	return all
}

func shift(n, by int) int {
	if n < 0 {
		return n
	}
	return n + by
}

func middle(was, is []string) []edit {
	most := min(len(was)+len(is), maxEdits)
	far := make([]int, 2*most+3) // how far in was each diagonal has come
	var traces [][]int
	for d := 0; d <= most; d++ {
		traces = append(traces, append([]int(nil), far[most+1-d:most+2+d]...))
		for k := -d; k <= d; k += 2 {
			x := far[most+1+k-1] + 1
			if k == -d || k != d && far[most+1+k-1] < far[most+1+k+1] {
				x = far[most+1+k+1]
			}
			for x < len(was) && x-k < len(is) && was[x] == is[x-k] {
				x++
			}
			far[most+1+k] = x
			if x >= len(was) && x-k >= len(is) {
				return walk(traces, len(was), len(is))
			}
		}
	}
	var all []edit
	for i := range was {
		all = append(all, edit{i, -1})
	}
	for i := range is {
		all = append(all, edit{-1, i})
	}
	return all
}

// walk goes back through what each round had reached.
func walk(traces [][]int, x, y int) []edit {
	var back []edit
	for d := len(traces) - 1; d >= 0; d-- {
		k, far := x-y, traces[d] // of the round before, from diagonal -d to d
		before := k - 1
		if k == -d || k != d && far[d+k-1] < far[d+k+1] {
			before = k + 1
		}
		px := 0
		if d > 0 {
			px = far[d+before]
		}
		py := px - before
		for x > max(px, 0) && y > max(py, 0) {
			x, y = x-1, y-1
			back = append(back, edit{x, y})
		}
		if d == 0 {
			break
		}
		if before == k+1 {
			y--
			back = append(back, edit{-1, y})
		} else {
			x--
			back = append(back, edit{x, -1})
		}
	}
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	return back
}

// compareLines is what differs between two texts, with some lines around it;
// nil if nothing does.
func compareLines(was, is string) []Line {
	if was == is {
		return nil
	}
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	if len(a) > maxCompare || len(b) > maxCompare {
		return []Line{{"…", ""}}
	}
	all := edits(a, b)
	near := make([]bool, len(all))
	for i, e := range all {
		if e.was < 0 || e.is < 0 {
			for n := max(0, i-context3); n <= min(len(all)-1, i+context3); n++ {
				near[n] = true
			}
		}
	}
	var lines []Line
	for i, e := range all {
		switch {
		case !near[i]:
			if n := len(lines); n == 0 || lines[n-1].Op != "…" {
				lines = append(lines, Line{"…", ""})
			}
			continue
		case e.is < 0:
			lines = append(lines, Line{"-", clipped(a[e.was])})
		case e.was < 0:
			lines = append(lines, Line{"+", clipped(b[e.is])})
		default:
			lines = append(lines, Line{" ", clipped(a[e.was])})
		}
		if len(lines) >= maxLines {
			return append(lines, Line{"…", ""})
		}
	}
	return lines
}

func clipped(s string) string {
	if len(s) > maxWidth {
		return strings.ToValidUTF8(s[:maxWidth], "") + "…"
	}
	return s
}
