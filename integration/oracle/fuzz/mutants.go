package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/integration/oracle"
)

// mutants each switch off one clause of the rule. They work from outside of
// it, on what the store gives back and on the agent in the shell, so that the
// product holds nothing of them.
var mutants = []oracle.Mutant{
	{Name: "a name's value is not observed", Trace: blind(func(o cellgraph.Observation) bool { return o.Kind == cellgraph.KindName && !o.ID.IsZero() })},
	{Name: "an absent name is not observed", Trace: blind(func(o cellgraph.Observation) bool { return o.Kind == cellgraph.KindName && o.ID.IsZero() })},
	{Name: "names in strings are not read", Patch: patch("reads", "Reads.text = lambda self, value: None", "strings = lambda value: ()")},
	{Name: "what functions and objects reach is not followed", Patch: patch("reads", "Reads.close = lambda self: None")},
	{Name: "classes are not followed", Patch: patch("reads", "old = Reads.close", "def close(self):",
		"    self._seen.update(id(v) for v in self.user.values() if isinstance(v, type)); old(self)", "Reads.close = close")},
	{Name: "eval, exec and globals read nothing", Patch: patch("reads", "_EVERYTHING = set()")},
	{Name: "the history is not observed", Patch: patch("reads", "old = find", "def find(*args):", "    found, binds = old(*args)",
		"    found.names -= {n for n in found.names if not n.strip('_') or n in ('In', 'Out')}", "    return found, binds")},
	{Name: "the content of files is not observed", Trace: blind(kind(cellgraph.KindFile))},
	{Name: "the presence of files is not observed", Trace: blind(func(o cellgraph.Observation) bool { return o.Kind == cellgraph.KindStat && !o.ID.IsZero() })},
	{Name: "the absence of files is not observed", Trace: blind(func(o cellgraph.Observation) bool { return o.Kind == cellgraph.KindStat && o.ID.IsZero() })},
	{Name: "listings are not observed", Trace: blind(kind(cellgraph.KindList))},
	{Name: "the environment is not observed", Trace: blind(kind(cellgraph.KindEnv))},
	{Name: "the source of local modules is not observed", Trace: blind(kind(cellgraph.KindSource))},
	{Name: "the stream of random is not observed", Trace: blind(adapter("random"))},
	{Name: "the stream of numpy.random is not observed", Trace: blind(adapter("numpy.random"))},
	{Name: "the working folder is not observed", Trace: blind(adapter("cwd"))},
	{Name: "variables that cells set are not observed", Trace: blind(adapter("environ"))},
	{Name: "pandas' options are not observed", Trace: blind(adapter("pandas"))},
	{Name: "numpy's options are not observed", Trace: blind(adapter("numpy.options"))},
	{Name: "the filters of warnings are not observed", Trace: blind(adapter("warnings"))},
	{Name: "settings of the interpreter are not observed", Trace: blind(adapter("settings"))},
	{Name: "settings of IPython are not observed", Trace: blind(adapter("IPython.settings"))},
	{Name: "the state of local modules is not observed", Trace: blind(func(o cellgraph.Observation) bool {
		return o.Kind == cellgraph.KindAmbient && strings.HasPrefix(o.Name, "module ") || o.Kind == cellgraph.KindName && strings.HasPrefix(o.Name, "helper:")
	})},
	{Name: "what is set on libraries is not observed", Trace: blind(func(o cellgraph.Observation) bool {
		return o.Name == "patched" || o.Kind == cellgraph.KindName && strings.Contains(o.Name, ":")
	})},
	{Name: "which names share is not observed", Trace: blind(func(o cellgraph.Observation) bool {
		return o.Kind == cellgraph.KindNames || o.Kind == cellgraph.KindGroup || o.Kind == cellgraph.KindMates
	})},
	{Name: "the stream of random is not restored", Trace: forget("random")},
	{Name: "the stream of numpy.random is not restored", Trace: forget("numpy.random")},
	{Name: "the working folder is not restored", Trace: forget("cwd")},
	{Name: "variables that cells set are not restored", Trace: forget("environ")},
	{Name: "pandas' options are not restored", Trace: forget("pandas")},
	{Name: "numpy's options are not restored", Trace: forget("numpy.options")},
	{Name: "the filters of warnings are not restored", Trace: forget("warnings")},
	{Name: "settings of the interpreter are not restored", Trace: forget("settings")},
	{Name: "settings of IPython are not restored", Trace: forget("IPython.settings")},
	{Name: "the levels of loggers are not restored", Trace: forget("logging")},
	{Name: "deleted names stay", Trace: func(t *cellgraph.Trace) { t.Effect.Deleted = nil }},
	{Name: "deleted files stay", Trace: func(t *cellgraph.Trace) {
		t.Effect.Files = slices.DeleteFunc(slices.Clone(t.Effect.Files), func(f cellgraph.FileChange) bool { return f.Deleted })
	}},
	{Name: "written files are not restored", Trace: func(t *cellgraph.Trace) { t.Effect.Files = nil }},
	{Name: "modes of files are not restored", Trace: func(t *cellgraph.Trace) {
		t.Effect.Files = slices.Clone(t.Effect.Files)
		for i := range t.Effect.Files {
			if f := &t.Effect.Files[i]; f.Link == "" && !f.Dir && !f.Deleted {
				f.Mode = 0o644
			}
		}
	}},
	{Name: "traces that may never hit do", Trace: func(t *cellgraph.Trace) { t.Uncached = "" }},
	{Name: "what cannot be captured is forgotten", Trace: func(t *cellgraph.Trace) { t.Effect.Opaque = nil }},
	{Name: "a change in place is not seen", Patch: patch("handlers", "old = Agent.before", "def before(self, content):",
		"    reply = old(self, content); self._touched = set(); return reply", "Agent.before = before")},
	{Name: "names that share are saved apart", Patch: patch("groups", "Parts._join = lambda self, reached: None")},
	{Name: "shared memory is not seen", Patch: patch("memory", "key = lambda obj: None")},
	{Name: "the order of sets is not kept, nor compared", Patch: patch("sets", "Shape.reduce = lambda self: (type(self.obj), (sorted(self.obj, key=repr),))") +
		patch("proof", "Walk._set = lambda self, a, b, path: setattr(self, 'sets', True)")},
	{Name: "classes are made anew at each load", Patch: patch("live", "Live.find = lambda self, token: None")},
	{Name: "functions are not compared by what they close over", Patch: patch("functions", "reduce_cell = lambda cell: (make_cell, (), (1,), None, None, set_cell)") +
		patch("proof", "Walk._push = lambda self, *args: None")},
	{Name: "what is pickled with a loss is not noticed", Patch: patch("pickler", "prove = lambda *args: ''")},
}

// patch changes a module of the agent, by lines of Python that see its names.
func patch(module string, lines ...string) string {
	return "space = vars(sys.modules['kedge_agent." + module + "'])\nexec(" + fmt.Sprintf("%q", strings.Join(lines, "\n")) + ", space)\n" +
		"# what other modules took by name is the old one\n"
}

// blind takes observations out of traces.
func blind(match func(cellgraph.Observation) bool) func(*cellgraph.Trace) {
	return func(t *cellgraph.Trace) { t.Observed = slices.DeleteFunc(slices.Clone(t.Observed), match) }
}

func kind(k cellgraph.Kind) func(cellgraph.Observation) bool {
	return func(o cellgraph.Observation) bool { return o.Kind == k }
}

func adapter(name string) func(cellgraph.Observation) bool {
	return func(o cellgraph.Observation) bool { return o.Kind == cellgraph.KindAmbient && o.Name == name }
}

// forget takes an adapter out of what traces restore.
func forget(name string) func(*cellgraph.Trace) {
	return func(t *cellgraph.Trace) {
		t.Effect.Ambient = slices.DeleteFunc(slices.Clone(t.Effect.Ambient), func(a cellgraph.Ambient) bool { return a.Name == name })
	}
}

// mutantTable runs every mutant until it is caught.
func mutantTable(ctx context.Context, o options) error {
	root, err := os.MkdirTemp(memory(), "kedge-fuzz-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	servers, err := start(ctx, o.python, root)
	if err != nil {
		return err
	}
	defer servers.close()
	fmt.Println("| mutant | caught after | by |\n| --- | --- | --- |")
	missed := 0
	for i, m := range mutants {
		if o.mutant > 0 && o.mutant != i+1 {
			continue
		}
		total := tally{Features: map[string]int{}, Why: map[string]int{}}
		f := &fuzzer{options: o, servers: servers, root: root, out: os.Stdout, total: &total, mutant: m}
		for number := o.first; total.Actions < o.actions && total.Caught == "" && ctx.Err() == nil; number++ {
			if err := f.life(ctx, number, min(shortLife, o.actions-total.Actions)); err != nil {
				return fmt.Errorf("mutant %d: life %d: %w", i+1, number, err)
			}
		}
		if total.Caught == "" {
			missed++
			fmt.Printf("| %d. %s | **not in %d actions** | |\n", i+1, m.Name, total.Actions)
			continue
		}
		fmt.Printf("| %d. %s | %d actions | %s |\n", i+1, m.Name, total.Actions, strings.ReplaceAll(total.Caught, "|", "\\|"))
	}
	if missed > 0 {
		return fmt.Errorf("%d mutants were not caught", missed)
	}
	return nil
}

// sound reports whether a history passes without any mutant: only then is the
// mutant what was caught.
func (f *fuzzer) sound(ctx context.Context, history []oracle.Step) (bool, error) {
	play, err := oracle.NewPlay(ctx, f.of(history...), filepath.Join(f.root, "sound"), oracle.Mutant{})
	if err != nil {
		return false, err
	}
	defer play.Close()
	for _, step := range history {
		got, err := play.Do(ctx, step)
		if err != nil {
			return false, err
		}
		if len(unknown(got)) > 0 {
			return false, nil
		}
	}
	return true, nil
}
