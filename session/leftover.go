package session

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"

	"kedge/cellgraph"
)

// leftovers are contents that runs of a notebook have left, by path.
type leftovers map[string][]cellgraph.Digest

// add notes the files of an effect.
func (l leftovers) add(files []cellgraph.FileChange) {
	const most = 32 // contents remembered per path
	for _, f := range files {
		if list := l[f.Path]; !f.Deleted && !slices.Contains(list, f.Content) {
			list = append(list, f.Content)
			l[f.Path] = list[max(0, len(list)-most):]
		}
	}
}

// memo reads leftovers, none if there are none or they cannot be read.
func (s *Session) memo(ctx context.Context, key cellgraph.Digest) leftovers {
	l := leftovers{}
	if data, ok, err := s.cfg.Store.Memo(ctx, "leftover", key); err != nil || !ok || json.Unmarshal(data, &l) != nil {
		return leftovers{}
	}
	return l
}

// written is the memo key of what any version of a cell has left: its id and
// the notebook's file name stay when the code is edited and the folder moved.
func (s *Session) written(cell string) cellgraph.Digest {
	return cellgraph.Combine("written", filepath.Base(s.cfg.Path), cell)
}

// findLeftovers tells the world what runs of the notebook have left, here or,
// as far as its present cells wrote it, in another folder or on another machine.
func (s *Session) findLeftovers(ctx context.Context) {
	s.leftover = s.memo(ctx, s.key(""))
	known := []leftovers{s.leftover}
	for _, cell := range s.cfg.Outline.Cells {
		known = append(known, s.memo(ctx, s.written(cell.ID)))
		traces, err := s.cfg.Store.Traces(ctx, s.code(cell))
		if err != nil {
			s.fault("look up cell "+cell.ID, err)
			break
		}
		for _, t := range traces {
			of := leftovers{}
			of.add(t.Effect.Files)
			known = append(known, of)
		}
	}
	for _, l := range known {
		for path, contents := range l {
			for _, d := range contents {
				s.world.leave(path, d)
			}
		}
	}
}
