package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"kedge/cellgraph"
)

func graphCommand() command {
	return command{name: "graph", short: "draw the step graph", run: runGraph, usage: `usage: kedge graph NB.ipynb [--format text|dot|svg | --json] [--auto]

Draws the steps and what flows between them: edges declared by prev: tags
and edges seen when the notebook last ran.

examples:
  kedge graph train.ipynb
  kedge graph train.ipynb --format svg > train.svg
  kedge graph train.ipynb --format dot | dot -Tpdf > train.pdf`}
}

// graphReport is the output of kedge graph --json.
type graphReport struct {
	Steps []string   `json:"steps"`
	Edges []edgeJSON `json:"edges"`
}

type edgeJSON struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Declared bool     `json:"declared"` // by a prev: tag
	Observed []string `json:"observed"` // names and files that From wrote and To read
}

func runGraph(ctx context.Context, out, errOut io.Writer, args []string) error {
	var f runFlags
	fs := flag.NewFlagSet("graph", flag.ContinueOnError)
	f.register(fs)
	format := fs.String("format", "text", "")
	path, err := planArgs(fs, &f, args)
	if err != nil {
		return err
	}
	if *format != "text" && *format != "dot" && *format != "svg" {
		return fmt.Errorf("%w: --format is text, dot or svg, not %q", errUsage, *format)
	}
	s, done, err := openPlan(ctx, errOut, path, f)
	if err != nil {
		return err
	}
	defer done()
	graph := s.Graph(ctx)
	switch {
	case f.json:
		return writeGraph(out, graph)
	case *format == "dot":
		_, err = fmt.Fprint(out, graph.DOT())
	case *format == "svg":
		_, err = fmt.Fprint(out, graph.SVG())
	default:
		_, err = fmt.Fprint(out, graph.Text())
	}
	return err
}

func writeGraph(out io.Writer, graph cellgraph.Graph) error {
	r := graphReport{Steps: append([]string{}, graph.Steps...), Edges: []edgeJSON{}}
	for _, e := range graph.Edges {
		r.Edges = append(r.Edges, edgeJSON{e.From, e.To, e.Declared, append([]string{}, e.Observed...)})
	}
	return writeJSON(out, r)
}
