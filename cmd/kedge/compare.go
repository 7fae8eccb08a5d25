package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"kedge/notebook"
	"kedge/share"
)

// difference is what the environment of a snapshot and the one here do not have in common.
type difference struct {
	Name  string `json:"name"` // as it is imported, or python
	There string `json:"there"`
	Here  string `json:"here"` // "" if it is not there
}

// compareEnvironment says what differs between the environment of a snapshot
// and that in which its notebook would run here; python, with which no cell
// can be restored if it differs, comes first.
func compareEnvironment(there, here map[string]string) []difference {
	list := []difference{}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if there[name] != here[name] {
			list = append(list, difference{name, there[name], here[name]})
		}
	}
	slices.SortStableFunc(list, func(a, b difference) int {
		return btoi(b.Name == "python") - btoi(a.Name == "python")
	})
	return list
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compare looks at the environment in which an opened notebook would run. That
// it cannot be found is for kedge run to say.
func (o *opening) compare(ctx context.Context, path string) []difference {
	doc, _, err := notebook.ReadFile(ctx, path)
	if err != nil {
		return []difference{}
	}
	f := runFlags{}
	if f.choose() != nil {
		return []difference{}
	}
	env, err := findEnvironment(ctx, o.home.cache.store, doc, f.python, f.kernel)
	if err != nil || env.foreign != nil {
		return []difference{}
	}
	o.packages = env.Packages
	return compareEnvironment(o.m.Environment, env.modules())
}

// warnOf tells people what differences cost, and how to be rid of them.
func warnOf(errOut io.Writer, m *share.Manifest, r opened) {
	if len(r.Differs) == 0 {
		return
	}
	for _, d := range r.Differs {
		cost := "steps that use it run"
		if d.Name == "python" {
			cost = "no step is restored, all run"
		}
		here := d.Here
		if here == "" {
			here = "missing"
		}
		fmt.Fprintf(errOut, "kedge: %s was %s, here it is %s: %s\n", printable(d.Name), printable(d.There), here, cost)
	}
	if r.Lock != "" {
		fmt.Fprintf(errOut, "kedge: %s is the environment that it had; to make that again and restore it there:\n", printable(r.Lock))
		command := recreate(pythonNumber.FindString(m.Environment["python"]), filepath.Base(r.Lock))
		fmt.Fprintf(errOut, "  cd %s && %s && kedge run %s --python env/bin/python\n", shellWord(filepath.Dir(r.Lock)), command, shellWord(filepath.Base(r.Notebook)))
	}
	fmt.Fprintf(errOut, "kedge: kedge run %s runs with what is here what cannot be restored\n", shellWord(r.Notebook))
}
