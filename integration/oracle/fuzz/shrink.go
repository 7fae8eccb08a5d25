package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"kedge/integration/oracle"
)

// report prints a mismatch and the smallest history found that shows it.
func (f *fuzzer) report(ctx context.Context, life uint64, action int, what string, history []oracle.Step, got oracle.Outcome) error {
	fmt.Fprintf(f.out, "seed %d life %d action %d (%s):\n  %s\n", f.seed, life, action, what, strings.Join(got.Differences[:min(12, len(got.Differences))], "\n  "))
	if got.Kedge.GaveUp != "" {
		fmt.Fprintf(f.out, "  %s\n", got.Kedge.GaveUp)
	}
	s := &shrinker{f, f.tries, history, got.Differences}
	s.shrink(ctx)
	data, err := json.Marshal(map[string]any{"name": fmt.Sprintf("seed %d life %d", f.seed, life), "history": s.best})
	if err != nil {
		return err
	}
	fmt.Fprintf(f.out, "shrunk to %d runs, %d tries left:\n%s\n  %s\n", len(s.best), s.tries, data, strings.Join(s.lines[:min(6, len(s.lines))], "\n  "))
	for i, step := range s.best {
		fmt.Fprintf(f.out, "  run %d, clean %v\n", i, step.Clean)
		for _, c := range step.Cells {
			fmt.Fprintf(f.out, "    [%s] %s\n", c.ID, strings.ReplaceAll(c.Source, "\n", "\n        "))
		}
	}
	return nil
}

// shrinker looks for a smaller history that still fails.
type shrinker struct {
	*fuzzer
	tries int
	best  []oracle.Step
	lines []string // the differences of best
}

// fails plays a history in a fresh lab; only its last run has to differ.
func (s *shrinker) fails(ctx context.Context, history []oracle.Step) bool {
	if s.tries <= 0 || ctx.Err() != nil {
		return false
	}
	s.tries--
	play, err := oracle.NewPlay(ctx, s.of(history...), filepath.Join(s.root, "shrink"), s.mutant)
	if err != nil {
		return false
	}
	defer play.Close()
	for i, step := range history {
		got, err := play.Do(ctx, step)
		if err != nil {
			return false
		}
		if got.Differences = unknown(got); len(got.Differences) > 0 {
			s.best, s.lines = history[:i+1], got.Differences
			return true
		}
	}
	return false
}

func (s *shrinker) shrink(ctx context.Context) {
	for n := 1; n < len(s.best); n *= 2 { // the last runs, and the first
		if s.fails(ctx, s.best[len(s.best)-n:]) {
			break
		}
		if s.fails(ctx, append(slices.Clone(s.best[:1]), s.best[len(s.best)-n:]...)) {
			break
		}
	}
	s.drop(ctx, func() int { return len(s.best) - 1 }, func(i int) []oracle.Step { return slices.Delete(slices.Clone(s.best), i, i+1) })
	for {
		size := s.size()
		ids := func() []string {
			var list []string
			for _, step := range s.best {
				for _, c := range step.Cells {
					if !slices.Contains(list, c.ID) {
						list = append(list, c.ID)
					}
				}
			}
			return list
		}
		s.drop(ctx, func() int { return len(ids()) }, func(i int) []oracle.Step { return without(s.best, ids()[i]) })
		s.lineByLine(ctx)
		s.drop(ctx, func() int { return len(s.best) - 1 }, func(i int) []oracle.Step { return slices.Delete(slices.Clone(s.best), i, i+1) })
		if s.size() == size || s.tries <= 0 {
			return
		}
	}
}

// drop tries each of n smaller histories, from the last to the first.
func (s *shrinker) drop(ctx context.Context, n func() int, smaller func(i int) []oracle.Step) {
	for i := n() - 1; i >= 0; i-- {
		if i < n() {
			s.fails(ctx, smaller(i))
		}
	}
}

func (s *shrinker) size() int {
	n := 0
	for _, step := range s.best {
		for _, c := range step.Cells {
			n += len(c.Source)
		}
	}
	return n
}

// without is a history in which the cell of that id is in no run.
func without(history []oracle.Step, id string) []oracle.Step {
	return edit(history, func(cells []oracle.Cell) []oracle.Cell {
		return slices.DeleteFunc(cells, func(c oracle.Cell) bool { return c.ID == id })
	})
}

func edit(history []oracle.Step, change func([]oracle.Cell) []oracle.Cell) []oracle.Step {
	var list []oracle.Step
	for _, step := range history {
		step.Cells = change(slices.Clone(step.Cells))
		list = append(list, step)
	}
	return list
}

// lineByLine takes out lines, each in all cells with the same source at once.
func (s *shrinker) lineByLine(ctx context.Context) {
	var sources []string
	for _, step := range s.best {
		for _, c := range step.Cells {
			if !slices.Contains(sources, c.Source) {
				sources = append(sources, c.Source)
			}
		}
	}
	for _, source := range sources {
		for i := strings.Count(source, "\n"); i >= 0; i-- {
			lines := strings.Split(source, "\n")
			if i >= len(lines) || len(lines) == 1 {
				continue
			}
			shorter := strings.Join(slices.Delete(lines, i, i+1), "\n")
			if s.fails(ctx, replaced(s.best, source, shorter)) {
				source = shorter
			}
		}
	}
}

func replaced(history []oracle.Step, old, source string) []oracle.Step {
	return edit(history, func(cells []oracle.Cell) []oracle.Cell {
		for i := range cells {
			if cells[i].Source == old {
				cells[i].Source = source
			}
		}
		return cells
	})
}
