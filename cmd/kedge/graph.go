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

func runGraph(ctx context.Context, out, _ io.Writer, args []string) error {
	var f runFlags
	fs := flag.NewFlagSet("graph", flag.ContinueOnError)
	f.register(fs)
	format := fs.String("format", "text", "")
	s, done, err := openPlan(ctx, fs, &f, args)
	if err != nil {
		return err
	}
	defer done()
	switch *format {
	case "text":
		fmt.Fprint(out, s.Graph(ctx).Text())
	case "dot":
		fmt.Fprint(out, s.Graph(ctx).DOT())
	default:
		return fmt.Errorf("%w: --format is text or dot, not %q", errUsage, *format)
	}
	return nil
}
