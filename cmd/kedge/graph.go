package main

import (
	"context"
	"flag"
	"fmt"
	"io"
)

func graphCommand() command {
	return command{name: "graph", short: "draw the step graph", run: runGraph, usage: `usage: kedge graph NB.ipynb [--format text|dot] [--auto]

Draws the steps and what flows between them: edges declared by prev: tags
and edges seen when the notebook last ran.

examples:
  kedge graph train.ipynb
  kedge graph train.ipynb --format dot | dot -Tsvg > train.svg`}
}

func runGraph(ctx context.Context, out, errOut io.Writer, args []string) error {
	var f runFlags
	fs := flag.NewFlagSet("graph", flag.ContinueOnError)
	f.register(fs)
	format := fs.String("format", "text", "")
	s, done, err := openPlan(ctx, errOut, fs, &f, args)
	if err != nil {
		return err
	}
	defer done()
	text := s.Graph(ctx).Text
	switch *format {
	case "text":
	case "dot":
		text = s.Graph(ctx).DOT
	default:
		return fmt.Errorf("%w: --format is text or dot, not %q", errUsage, *format)
	}
	_, err = fmt.Fprint(out, text())
	return err
}
