package cellgraph

import (
	"fmt"
	"slices"
	"strings"
)

// Edge says that step To depends on step From.
type Edge struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Declared bool     `json:"declared,omitempty"` // by a prev: tag
	Observed []string `json:"observed,omitempty"` // names and files that From wrote and To read, sorted
}

// Graph is the step graph: what people declared and what was seen.
type Graph struct {
	Steps []string `json:"steps"` // in order of first appearance
	Edges []Edge   `json:"edges"` // ordered by To, then From
}

// StepRun is what the graph needs of one cell: its step, the steps it
// declares, and its newest trace if it has run.
type StepRun struct {
	Step  string
	Prev  []string
	Trace *Trace
}

// NewGraph joins the declared edges with those observed in the traces. The
// last step that wrote a name or file before a cell is the one it depends on.
func NewGraph(runs []StepRun) Graph {
	var g Graph
	type pair struct{ from, to string }
	declared := map[pair]bool{}
	seen := map[pair]map[string]bool{}
	writer := map[string]string{} // "kind name" → step
	for _, r := range runs {
		if r.Step == "" {
			continue
		}
		if !slices.Contains(g.Steps, r.Step) {
			g.Steps = append(g.Steps, r.Step)
		}
		for _, p := range r.Prev {
			declared[pair{p, r.Step}] = true
		}
		if r.Trace == nil {
			continue
		}
		for _, o := range r.Trace.Observed {
			from, ok := writer[string(o.Kind)+" "+o.Name]
			if !ok || from == r.Step {
				continue
			}
			p := pair{from, r.Step}
			if seen[p] == nil {
				seen[p] = map[string]bool{}
			}
			seen[p][o.Name] = true
		}
		for _, key := range writes(r.Trace) {
			if strings.HasPrefix(key, string(KindAmbient)+" ") {
				continue // options and the like: importing sets them up for every step below
			}
			writer[key] = r.Step
		}
	}
	for _, to := range g.Steps {
		for _, from := range g.Steps {
			p := pair{from, to}
			if !declared[p] && seen[p] == nil {
				continue
			}
			e := Edge{From: from, To: to, Declared: declared[p]}
			for name := range seen[p] {
				e.Observed = append(e.Observed, name)
			}
			slices.Sort(e.Observed)
			g.Edges = append(g.Edges, e)
		}
	}
	return g
}

// Text draws g with one line per step and its incoming edges.
func (g Graph) Text() string {
	var b strings.Builder
	for _, step := range g.Steps {
		fmt.Fprintln(&b, step)
		for _, e := range g.Edges {
			if e.To != step {
				continue
			}
			via := strings.Join(e.Observed, ", ")
			if via == "" {
				via = "declared"
			}
			fmt.Fprintf(&b, "  ← %s (%s)\n", e.From, via)
		}
	}
	return b.String()
}

// DOT is g in Graphviz's language; declared edges without data are dashed.
func (g Graph) DOT() string {
	var b strings.Builder
	b.WriteString("digraph steps {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n")
	for _, step := range g.Steps {
		fmt.Fprintf(&b, "  %q;\n", step)
	}
	for _, e := range g.Edges {
		style := ""
		if len(e.Observed) == 0 {
			style = ", style=dashed"
		}
		fmt.Fprintf(&b, "  %q -> %q [label=%q%s];\n", e.From, e.To, strings.Join(e.Observed, ", "), style)
	}
	b.WriteString("}\n")
	return b.String()
}
