package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/notebook"
	"kedge/snapshotter"
)

// ErrRestore is returned by Run when the kernel did not take the restored
// state. Running again with NoCache runs the notebook straight.
var ErrRestore = errors.New("the kernel did not take the restored state")

// execute runs a cell in the kernel and records what it did.
func (s *Session) execute(ctx context.Context, cell notebook.CodeCell, count int, c *CellReport) (*RunError, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if cell.Step == "" {
		res, err := s.kernel.Execute(ctx, s.request(cell))
		return s.finish(cell, count, res, err)
	}
	if s.blind != "" { // the kernel holds what it holds; nothing can be laid over it
		res, err := s.kernel.Execute(ctx, s.request(cell))
		return s.finish(cell, count, res, err)
	}
	if err := s.bring(ctx, count); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRestore, err)
	}
	before, err := s.volume.scan()
	if err != nil {
		return nil, err
	}
	reads, agentErr := s.agent.Before(ctx, cell.Source)
	s.ring.Mark(uint64(count))
	_, _, ringErr := s.ring.Read() // what happened between the cells is no cell's
	began := time.Now()
	res, err := s.kernel.Execute(ctx, s.request(cell))
	seconds := time.Since(began).Seconds()
	records, lost, readErr := s.ring.Read()
	s.ring.Mark(0)
	failure, err := s.finish(cell, count, res, err)
	if err != nil || failure != nil {
		return failure, err
	}
	if agentErr = errors.Join(agentErr, ringErr, readErr); agentErr != nil {
		s.fault("observe cell "+cell.ID, agentErr)
		return nil, s.unknown(ctx, cell)
	}
	o := observed{cell: cell, before: before, reads: reads, result: res, seconds: seconds,
		access: observe.Summarize(records, s.summary()), lost: lost}
	if err := s.record(ctx, o, c); err != nil {
		s.fault("record cell "+cell.ID, err)
		return nil, s.unknown(ctx, cell)
	}
	return nil, nil
}

// request is what the kernel is asked to run for a cell.
func (s *Session) request(cell notebook.CodeCell) kernel.Request {
	return kernel.Request{Code: cell.Source, StopOnError: !cell.RaisesException, Shown: s.shown()}
}

// unknown ends restoring: what the cell did is not known, so nothing after it may hit.
func (s *Session) unknown(ctx context.Context, cell notebook.CodeCell) error {
	s.blind = "what cell " + cell.ID + " did could not be recorded"
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// ready starts the kernel when the first cell really runs.
func (s *Session) ready(ctx context.Context) error {
	if s.kernel != nil {
		return nil
	}
	ring, err := observe.Create(s.cfg.Runtime)
	if err != nil {
		return fmt.Errorf("observe files: %w", err)
	}
	s.ring = ring
	if s.kernel, err = s.cfg.Launch(ctx, ring); err != nil {
		return err
	}
	s.agent = agent.NewClient(s.kernel)
	var info struct {
		Language json.RawMessage `json:"language_info"`
	}
	if err := json.Unmarshal(s.kernel.Info(), &info); err == nil && info.Language != nil {
		_ = s.cfg.Store.PutMemo(ctx, "language", s.language(), info.Language) // a lost memo costs a field of the document
		return s.cfg.Document.SetLanguageInfo(info.Language)
	}
	return nil
}

// language is the memo key of what the kernel said of its language.
func (s *Session) language() cellgraph.Digest {
	return cellgraph.Combine("language", s.cfg.KernelID, s.cfg.Modules["python"])
}

// summary says which accesses are no observation.
func (s *Session) summary() observe.Options {
	home, _ := os.UserHomeDir()
	prefixes := strings.Split(s.cfg.Modules["python prefixes"], "\x00")
	return observe.Options{
		Volume:    s.volume.root,
		KernelPID: s.kernel.PID(),
		Ignore: func(path string) bool {
			return observe.MachinePath(path) || observe.LibraryCache(path, home) || observe.ImportPath(path, prefixes) ||
				strings.HasPrefix(path, s.cfg.Runtime)
		},
	}
}

// bring lays over the kernel what differs from the state that the cells so far left.
func (s *Session) bring(ctx context.Context, count int) error {
	r := agent.Restore{ExecutionCount: count - 1}
	seen := map[*cellgraph.Group]bool{}
	for _, name := range s.state.Names() {
		g := s.state.Group(name)
		if old := s.live.Group(name); seen[g] || old != nil && old.ID == g.ID && old.Payload == g.Payload {
			continue
		}
		seen[g] = true
		load, err := s.load(ctx, g)
		if err != nil {
			return err
		}
		for _, n := range g.Names {
			if s.state.Group(n) == g {
				load.Bind = append(load.Bind, n)
			}
		}
		r.Groups = append(r.Groups, load)
	}
	for _, name := range s.live.Names() {
		if s.state.Group(name) == nil {
			r.Delete = append(r.Delete, name)
		}
	}
	for _, m := range s.state.Modules() {
		if !slices.Contains(s.live.Modules(), m) {
			r.Modules = append(r.Modules, m)
		}
	}
	live := map[string]cellgraph.Digest{}
	for _, a := range s.live.Ambient() {
		live[a.Name] = a.ID
	}
	for _, a := range s.state.Ambient() {
		if live[a.Name] == a.ID {
			continue
		}
		data, err := s.cfg.Store.Blob(ctx, a.Payload)
		if err != nil {
			return fmt.Errorf("read %s: %w", a.Name, err)
		}
		r.Ambient = append(r.Ambient, agent.AmbientState{Name: a.Name, State: data})
	}
	if err := s.agent.Apply(ctx, r); err != nil {
		return err
	}
	s.live = s.state.Clone()
	return nil
}

// load finds where the bytes of a group lie.
func (s *Session) load(ctx context.Context, g *cellgraph.Group) (agent.Load, error) {
	data, err := s.cfg.Store.Blob(ctx, g.Payload)
	if err != nil {
		return agent.Load{}, fmt.Errorf("read value of %v: %w", g.Names, err)
	}
	var payload agent.Payload
	if err := json.Unmarshal(data, &payload); err != nil {
		return agent.Load{}, fmt.Errorf("read value of %v: %w", g.Names, err)
	}
	load := agent.Load{Names: g.Names}
	if load.Stream, err = s.source(ctx, payload.Stream, false); err != nil {
		return load, err
	}
	for _, b := range payload.Buffers {
		src, err := s.source(ctx, b.Blob, b.ReadOnly)
		if err != nil {
			return load, err
		}
		load.Buffers = append(load.Buffers, src)
	}
	return load, nil
}

func (s *Session) source(ctx context.Context, id cellgraph.Digest, readOnly bool) (agent.Source, error) {
	ranges, err := s.cfg.Store.BlobRanges(ctx, id)
	if err != nil {
		return agent.Source{}, fmt.Errorf("find blob %s: %w", id, err)
	}
	src := agent.Source{Ranges: []agent.Range{}, ReadOnly: readOnly}
	for _, r := range ranges {
		src.Ranges = append(src.Ranges, agent.Range{r.Path, r.Offset, r.Length})
	}
	return src, nil
}

// finish writes what a cell put out into the document, also after a failure.
func (s *Session) finish(cell notebook.CodeCell, count int, res kernel.Result, err error) (*RunError, error) {
	if setErr := s.cfg.Document.SetOutputs(cell.Index, res.Outputs, &count); setErr != nil {
		return nil, fmt.Errorf("write outputs: %w", setErr)
	}
	if setErr := s.update(res.Displays); setErr != nil {
		return nil, fmt.Errorf("write outputs: %w", setErr)
	}
	s.show(cell.Index, res.DisplayIDs)
	if len(res.Times) > 0 {
		if setErr := s.cfg.Document.SetExecution(cell.Index, res.Times); setErr != nil {
			return nil, fmt.Errorf("write outputs: %w", setErr)
		}
	}
	id := cell.ID
	switch {
	case errors.Is(err, kernel.ErrKernelDied):
		return &RunError{Cell: &id, EName: "KernelDied", EValue: s.kernel.DeathReason()}, nil
	case err != nil:
		return nil, err
	case res.Status == "error" && !cell.RaisesException:
		return &RunError{Cell: &id, EName: res.EName, EValue: res.EValue}, nil
	}
	return nil, nil
}

// observed is all that was seen of one run of a cell.
type observed struct {
	cell    notebook.CodeCell
	before  map[string]entry
	reads   agent.Reads
	result  kernel.Result
	access  observe.Access
	lost    bool
	seconds float64
}

// record turns what was seen into a trace and an effect, and stores both.
func (s *Session) record(ctx context.Context, o observed, c *CellReport) error {
	spool := filepath.Join(s.cfg.Runtime, "spool")
	defer os.Remove(spool)
	captured, err := s.agent.After(ctx, spool)
	if err != nil {
		return err
	}
	after, err := s.volume.scan()
	if err != nil {
		return err
	}
	paths := changed(o.before, after)
	t := cellgraph.Trace{Code: s.code(o.cell), Cell: o.cell.ID, Step: o.cell.Step, Seconds: o.seconds,
		Created: time.Now().UTC(), Bound: o.reads.Binds}
	t.Observed = s.observations(o, captured, paths)
	t.Uncached = s.uncached(o, captured, paths)
	if t.Effect, err = s.effect(ctx, o, captured, spool, paths); err != nil {
		return err
	}
	for _, u := range t.Effect.Opaque {
		c.Uncaptured = append(c.Uncaptured, UncapturedName(u))
	}
	s.state.Apply(t)
	s.live = s.state.Clone()
	if err := s.anchor(ctx, o.cell, t, Ran); err != nil {
		return err
	}
	c.snapshot = s.parent.String()
	return s.remember(ctx, o.cell, t)
}

// observations lists what the cell observed, as it was when the cell began.
func (s *Session) observations(o observed, captured agent.Captured, paths []string) []cellgraph.Observation {
	var list []cellgraph.Observation
	add := func(obs cellgraph.Observation) { list = append(list, obs) }
	names := slices.Sorted(maps.Keys(o.reads.Reads))
	if o.reads.All {
		names = append(names, cellgraph.Everything)
	}
	for _, name := range names {
		add(s.state.Observe(name))
	}
	for _, step := range s.cfg.Outline.Steps {
		if step.Name == o.cell.Step {
			for _, prev := range step.Prev {
				add(s.state.ObserveStep(prev))
			}
		}
	}
	changedAmbient := map[string]bool{}
	for _, a := range captured.Ambient {
		changedAmbient[a.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(o.reads.Ambient)) {
		if !stream(name) || changedAmbient[name] || s.asksForStreams() {
			add(s.state.ObserveAmbient(name))
		}
	}
	for _, v := range s.state.Versions() {
		add(v)
	}
	add(s.world.Observe(cellgraph.KindModule, "python"))
	for _, name := range slices.Sorted(maps.Keys(captured.ModuleVersions)) {
		if file, local := strings.CutPrefix(captured.ModuleVersions[name], "file:"); local {
			if rel, ok := s.volume.rel(file); ok {
				file = rel
			}
			add(s.world.Observe(cellgraph.KindFile, file))
		} else {
			add(s.world.Observe(cellgraph.KindModule, name))
		}
	}
	for _, e := range captured.Env {
		if e.Name == "*" || !noise(e.Name) {
			add(s.world.Observe(cellgraph.KindEnv, e.Name))
		}
	}
	wrote := map[string]bool{}
	for _, p := range paths {
		wrote[p] = true
	}
	look := func(kind cellgraph.Kind, all []string) {
		for _, path := range all {
			rel, inside := s.volume.rel(path)
			if inside && rel != "." && s.volume.ignored(rel) {
				continue
			}
			if !inside {
				rel = path
			}
			list = append(list, s.observeBefore(kind, rel, o, wrote[rel]))
		}
	}
	look(cellgraph.KindFile, o.access.Read)
	look(cellgraph.KindStat, o.access.Missing)
	look(cellgraph.KindStat, o.access.Stat)
	look(cellgraph.KindList, o.access.Listed)
	return slices.CompactFunc(list, func(a, b cellgraph.Observation) bool { return a == b })
}

// observeBefore observes a path as it was before the cell, which may have changed it since.
func (s *Session) observeBefore(kind cellgraph.Kind, rel string, o observed, wrote bool) cellgraph.Observation {
	obs := cellgraph.Observation{Kind: kind, Name: rel}
	if _, overlaid := s.state.File(rel); !wrote || overlaid || kind == cellgraph.KindList {
		return s.world.Observe(kind, rel)
	}
	if _, there := o.before[rel]; !there || s.world.leftover[rel] != nil {
		return obs // absent when the cell began
	}
	return obs // uncached says that its content before is not known
}

// stream reports whether an adapter is a random stream, which counts only if it moved.
func stream(adapter string) bool {
	return strings.Contains(adapter, "random")
}

// asksForStreams reports whether any code of the notebook may ask for the state of a random stream.
func (s *Session) asksForStreams() bool {
	for _, src := range s.cfg.Sources {
		if strings.Contains(src.Normal, "getstate") || strings.Contains(src.Normal, "get_state") {
			return true
		}
	}
	return false
}

// uncached says why the trace may never hit, or "".
func (s *Session) uncached(o observed, captured agent.Captured, paths []string) string {
	switch {
	case s.cache(o.cell) == "disabled":
		return "cache:disabled"
	case o.result.Status == "error" && !o.cell.RaisesException:
		return "failed"
	case o.result.UsedStdin:
		return "asked for input: not cached"
	case len(o.result.Displays) > 0:
		return "updated the output of an earlier cell: not cached"
	case o.lost || o.access.Lost:
		return "did more file accesses than could be recorded: not cached"
	case slices.ContainsFunc(o.access.Exec, foreign):
		return "started " + filepath.Base(o.access.Exec[slices.IndexFunc(o.access.Exec, foreign)]) + ": not cached"
	case len(o.access.Connect) > 0 && s.cache(o.cell) != "enabled":
		return "connected to " + o.access.Connect[0] + ": not cached"
	case len(captured.Uncaptured) > 0:
		u := captured.Uncaptured[0]
		return fmt.Sprintf("%s cannot be captured (%s)", u.Name, u.Reason)
	}
	for _, a := range captured.Ambient {
		if a.Name == unrestored {
			return "changed logging, decimal, locale, signals or hooks of the process: not cached"
		}
	}
	for _, u := range s.state.Opaque() {
		if o.reads.All || o.reads.Reads[u.Name] {
			return fmt.Sprintf("reads %s, which cannot be captured (%s)", u.Name, u.Reason)
		}
	}
	for name, bound := range o.reads.Reads {
		if bound && history(name) {
			return "reads the history (" + name + "): not cached"
		}
	}
	for _, path := range slices.Concat(o.access.Written, o.access.Deleted) {
		rel, inside := s.volume.rel(path)
		if !inside && !strings.HasPrefix(path, os.TempDir()+"/") {
			return "wrote " + path + ", outside the notebook's folder: not cached"
		}
		if inside && s.volume.ignored(rel) {
			return "wrote " + rel + ", which is not part of the notebook's folder: not cached"
		}
	}
	for _, path := range paths {
		_, overlaid := s.state.File(path)
		_, there := o.before[path]
		full := filepath.Join(s.volume.root, path)
		if there && !overlaid && s.world.leftover[path] == nil && !o.before[path].Mode.IsDir() && slices.Contains(o.access.Read, full) {
			return "changed " + path + ", which it also read: not cached"
		}
	}
	return ""
}

// unrestored is the adapter that watches what no adapter restores yet.
const unrestored = "process"

// foreign reports whether a program that a cell started can do more than describe the machine.
func foreign(program string) bool { return !observe.MachineProgram(program) }

// history reports whether a name is one of IPython's history.
func history(name string) bool {
	switch name {
	case "_", "__", "___", "In", "Out", "_i", "_ii", "_iii", "_ih", "_oh", "_dh":
		return true
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(name, "_i"), "_")
	return strings.HasPrefix(name, "_") && rest != "" && strings.Trim(rest, "0123456789") == ""
}

// effect stores what the cell left and returns it as a delta to the state before.
func (s *Session) effect(ctx context.Context, o observed, captured agent.Captured, spool string, paths []string) (cellgraph.Effect, error) {
	e := cellgraph.Effect{Deleted: captured.Deleted, Opaque: captured.Uncaptured, Modules: captured.Modules}
	groups, err := s.groups(ctx, captured.Groups, spool)
	if err != nil {
		return e, err
	}
	e.Groups = groups
	for _, a := range captured.Ambient {
		payload, err := s.cfg.Store.PutBlob(ctx, a.State)
		if err != nil {
			return e, fmt.Errorf("store %s: %w", a.Name, err)
		}
		e.Ambient = append(e.Ambient, cellgraph.Ambient{Name: a.Name, ID: cellgraph.Combine("ambient", captured.AmbientAfter[a.Name], payload.String()), Payload: payload})
	}
	if e.Files, err = captureFiles(ctx, s.cfg.Store, s.volume, paths); err != nil {
		return e, err
	}
	tagged, err := tagDisplays(o.result.Outputs, o.result.DisplayIDs)
	if err != nil {
		return e, err
	}
	outputs, err := json.Marshal(tagged)
	if err != nil {
		return e, fmt.Errorf("store outputs: %w", err)
	}
	if e.Outputs, err = s.cfg.Store.PutBlob(ctx, outputs); err != nil {
		return e, fmt.Errorf("store outputs: %w", err)
	}
	return e, nil
}

// groups stores the captured groups and drops those that are as they were.
func (s *Session) groups(ctx context.Context, captured []agent.Group, spool string) ([]cellgraph.Group, error) {
	if len(captured) == 0 {
		return nil, nil
	}
	f, err := os.Open(spool)
	if err != nil {
		return nil, fmt.Errorf("read the capture: %w", err)
	}
	defer f.Close()
	read := func(offset, length int64) ([]byte, error) {
		data := make([]byte, length)
		_, err := f.ReadAt(data, offset)
		return data, err
	}
	var groups []cellgraph.Group
	for _, g := range captured {
		stream, err := read(g.Stream[0], g.Stream[1])
		if err != nil {
			return nil, fmt.Errorf("read the capture of %v: %w", g.Names, err)
		}
		var payload agent.Payload
		var buffers []agent.HashedBuffer
		for _, b := range g.Buffers {
			data, err := read(b.Offset, b.Length)
			if err != nil {
				return nil, fmt.Errorf("read the capture of %v: %w", g.Names, err)
			}
			id, err := s.cfg.Store.PutBlob(ctx, data)
			if err != nil {
				return nil, fmt.Errorf("store %v: %w", g.Names, err)
			}
			payload.Buffers = append(payload.Buffers, agent.PayloadBuffer{Blob: id, Length: b.Length, ReadOnly: b.ReadOnly})
			buffers = append(buffers, agent.HashedBuffer{Digest: id, Length: b.Length, ReadOnly: b.ReadOnly})
		}
		id, err := agent.Identity(stream, buffers)
		if err != nil {
			return nil, fmt.Errorf("identify %v: %w", g.Names, err)
		}
		if s.unchanged(g.Names, id) {
			continue
		}
		if payload.Stream, err = s.cfg.Store.PutBlob(ctx, stream); err != nil {
			return nil, fmt.Errorf("store %v: %w", g.Names, err)
		}
		manifest, err := json.Marshal(payload)
		if err != nil {
			return nil, fmt.Errorf("store %v: %w", g.Names, err)
		}
		blob, err := s.cfg.Store.PutBlob(ctx, manifest)
		if err != nil {
			return nil, fmt.Errorf("store %v: %w", g.Names, err)
		}
		groups = append(groups, cellgraph.Group{Names: g.Names, ID: id, Payload: blob, Bytes: g.Bytes, Vars: g.Vars})
	}
	return groups, nil
}

// unchanged reports whether the state already holds exactly this group.
func (s *Session) unchanged(names []string, id cellgraph.Digest) bool {
	for _, name := range names {
		g := s.state.Group(name)
		if g == nil || g.ID != id || !slices.Equal(g.Names, names) {
			return false
		}
	}
	return true
}

// remember keeps what later runs need to know of this one: the files that it
// left in the folder, and which code this cell last had.
func (s *Session) remember(ctx context.Context, cell notebook.CodeCell, t cellgraph.Trace) error {
	const most = 32 // contents remembered per path
	for _, f := range t.Effect.Files {
		list := s.leftover[f.Path]
		if !f.Deleted && !slices.Contains(list, f.Content) {
			list = append(list, f.Content)
			s.leftover[f.Path] = list[max(0, len(list)-most):]
		}
	}
	data, err := json.Marshal(s.leftover)
	if err != nil {
		return err
	}
	return errors.Join(
		s.cfg.Store.PutMemo(ctx, "leftover", s.key(""), data),
		s.cfg.Store.PutMemo(ctx, "last", s.key(cell.ID), []byte(t.Code.String())))
}

// anchor records a cell's trace with the snapshot after it: the point in the
// notebook's life that people can go back to.
func (s *Session) anchor(ctx context.Context, cell notebook.CodeCell, t cellgraph.Trace, status string) error {
	s.outputs[cell.ID] = t.Effect.Outputs
	snap := snapshotter.Snapshot{Notebook: s.cfg.Path, Step: cell.Step, Cell: cell.ID, Created: time.Now().UTC(), Seconds: t.Seconds,
		Parent: s.parent, Status: status, Groups: s.state.Groups(), Opaque: s.state.Opaque(), Files: s.state.Files(),
		Ambient: s.state.Ambient(), Modules: s.state.Modules(), Outputs: maps.Clone(s.outputs), Environment: s.environment()}
	for _, g := range snap.Groups {
		snap.LogicalBytes += g.Bytes
	}
	for _, f := range snap.Files {
		snap.LogicalBytes += f.Size
	}
	document, err := s.cfg.Document.Bytes()
	if err != nil {
		return err
	}
	if snap.Document, err = s.cfg.Store.PutBlob(ctx, document); err != nil {
		return err
	}
	id, err := snapshotter.SnapshotID(snap)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.PutTrace(ctx, t, snap); err != nil {
		return err
	}
	s.parent = id
	return nil
}

// environment is what people need to make the kernel's environment again.
func (s *Session) environment() map[string]string {
	env := map[string]string{"python": s.cfg.Modules["python"]}
	for _, v := range s.state.Versions() {
		if v.Shown != "" {
			env[v.Name] = v.Shown
		}
	}
	return env
}
