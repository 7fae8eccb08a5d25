package session

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"kedge/cellgraph"
	"kedge/notebook"
	"kedge/snapshotter"
)

// remember keeps what later runs need to know of this one: the files that it
// left in the folder, and which code this cell last had.
func (s *Session) remember(cell notebook.CodeCell, t cellgraph.Trace) error {
	s.leftover.add(t.Effect.Files)
	data, err := json.Marshal(s.leftover)
	if err != nil {
		return err
	}
	files := t.Effect.Files
	s.writer.put("remember cell "+cell.ID, func(ctx context.Context) error {
		return errors.Join(
			s.cfg.Store.PutMemo(ctx, "leftover", s.key(""), data),
			s.rememberWritten(ctx, cell.ID, files),
			s.cfg.Store.PutMemo(ctx, "last", s.key(cell.ID), []byte(t.Code.String())))
	})
	return nil
}

// rememberWritten adds files to what any version of a cell has left.
func (s *Session) rememberWritten(ctx context.Context, cell string, files []cellgraph.FileChange) error {
	if len(files) == 0 {
		return nil
	}
	l := s.memo(ctx, s.written(cell))
	l.add(files)
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return s.cfg.Store.PutMemo(ctx, "leftover", s.written(cell), data)
}

// anchor records a cell's trace with the snapshot after it: the point in the
// notebook's life that people can go back to.
func (s *Session) anchor(cell notebook.CodeCell, t cellgraph.Trace, status string, document cellgraph.Digest) error {
	s.outputs[cell.ID] = t.Effect.Outputs
	snap := snapshotter.Snapshot{Notebook: s.cfg.Path, Step: cell.Step, Cell: cell.ID, Created: time.Now().UTC(), Seconds: t.Seconds,
		Parent: s.parent, Status: status, Groups: s.state.Groups(), Opaque: s.state.Opaque(), Files: s.state.Files(),
		Ambient: s.state.Ambient(), Modules: s.state.Modules(), Document: document, Outputs: maps.Clone(s.outputs), Environment: s.environment()}
	for _, g := range snap.Groups {
		snap.LogicalBytes += g.Bytes
	}
	for _, f := range snap.Files {
		snap.LogicalBytes += f.Size
	}
	id, err := snapshotter.SnapshotID(snap)
	if err != nil {
		return err
	}
	s.writer.put("record cell "+cell.ID, func(ctx context.Context) error { return s.cfg.Store.PutTrace(ctx, t, snap) })
	s.parent = id
	return nil
}

// document stores the notebook as it stands.
func (s *Session) document(ctx context.Context) (cellgraph.Digest, error) {
	data, err := s.cfg.Document.Bytes()
	if err != nil {
		return cellgraph.Digest{}, err
	}
	return s.cfg.Store.PutBlob(ctx, data)
}

// environment is what people need to make the kernel's environment again.
func (s *Session) environment() map[string]string {
	env := map[string]string{"python": s.cfg.Modules["python"]}
	for _, v := range s.state.Versions() {
		if v.Kind == cellgraph.KindModule && v.Shown != "" {
			env[v.Name] = v.Shown
		}
	}
	return env
}
