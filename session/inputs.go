package session

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"kedge/cellgraph"
)

// Inputs are the files in the notebook's folder, named relative to it, that its
// cells read when they last ran, or listed, and that are there. Know has told what the notebook is.
func (n *Interactive) Inputs(ctx context.Context) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.join(ctx)
	s := n.s
	found := map[string]bool{}
	add := func(name string) {
		path := filepath.Join(s.volume.base, name)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && filepath.IsLocal(name) && !s.volume.ignored(s.volume.base, path) {
			found[name] = true
		}
	}
	for _, cell := range s.cfg.Outline.Cells {
		t := s.last(ctx, cell.ID)
		if t == nil {
			continue
		}
		for _, o := range t.Observed {
			switch o.Kind {
			case cellgraph.KindFile, cellgraph.KindStat, cellgraph.KindMode, cellgraph.KindSource, cellgraph.KindDefines:
				add(o.Name)
			case cellgraph.KindList:
				entries, _ := os.ReadDir(filepath.Join(s.volume.base, o.Name)) // of a folder that is gone there are none
				for _, e := range entries {
					if e.Type()&fs.ModeType == 0 {
						add(filepath.Join(o.Name, e.Name()))
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
