package oracle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"kedge/cellgraph"
	"kedge/integration/oracle/shell"
	"kedge/kernel"
	"kedge/kernel/observe"
	"kedge/notebook"
	"kedge/session"
	"kedge/snapshotter"
)

// Mutant switches off one clause of the rule, from outside of it.
type Mutant struct {
	Name  string
	Trace func(t *cellgraph.Trace) // changes what the store gives back
	Patch string                   // Python code that changes the agent
}

// Lab is one notebook's life: its folder, its store, and a warm parent for the
// shells. It belongs to one goroutine. Of several labs in one process only one
// may run at a time, because the environment is the process's.
type Lab struct {
	Server *shell.Server
	Mutant Mutant
	root   string // holds everything of this life
	folder string // name of the notebook's folder
	store  *snapshotter.Store
	known  map[string]session.Source
}

// NewLab begins a life in root, which does not exist.
func NewLab(ctx context.Context, server *shell.Server, root string) (*Lab, error) {
	l := &Lab{Server: server, root: root, folder: "lab", known: map[string]session.Source{}}
	for _, dir := range []string{l.Folder(), filepath.Join(root, "runtime"), filepath.Join(root, "home")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make a lab: %w", err)
		}
	}
	var err error
	l.store, err = snapshotter.Open(ctx, snapshotter.Config{Dir: filepath.Join(root, "store")})
	if err != nil {
		return nil, fmt.Errorf("make a lab: %w", err)
	}
	return l, nil
}

// Close ends the life and removes its files.
func (l *Lab) Close() error { return errors.Join(l.store.Close(), removeAll(l.root)) }

// removeAll removes a tree, also one that a cell has made unreadable.
func removeAll(root string) error {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(root)
}

// Folder is the notebook's folder.
func (l *Lab) Folder() string { return filepath.Join(l.root, "work", l.folder) }

// Rename renames the notebook's folder.
func (l *Lab) Rename(to string) error {
	old := l.Folder()
	l.folder = to
	return os.Rename(old, l.Folder())
}

// CellRun is what a run made of one cell.
type CellRun struct {
	ID      string
	Status  string
	Why     string
	Count   int
	Outputs string // as a reader sees them
}

// Run is what can be told of one run.
type Run struct {
	Cells  []CellRun
	Files  map[string]string // path → mode and content
	Sight  *shell.Sight      // nil if no kernel was running at the end
	OK     bool
	Faults []string
	GaveUp string          // why restoring was given up, "" if it was not
	Absent map[string]bool // names bound to what cannot be captured, which the kernel holds only if a cell needed them
}

// sources normalises the cells' code; every source only once in a life.
func (l *Lab) sources(cells []notebook.CodeCell) (map[string]session.Source, error) {
	var unknown []string
	for _, c := range cells {
		if _, ok := l.known[c.Source]; !ok {
			unknown = append(unknown, c.Source)
		}
	}
	if len(unknown) > 0 {
		made, err := l.Server.Sources(unknown)
		if err != nil {
			return nil, err
		}
		for i, s := range unknown {
			l.known[s] = made[i]
		}
	}
	all := map[string]session.Source{}
	for _, c := range cells {
		all[c.ID] = l.known[c.Source]
	}
	return all, nil
}

// Kedge runs the notebook as `kedge run` does, in the folder as it stands.
func (l *Lab) Kedge(ctx context.Context, cells []Cell, parameters map[string]string) (Run, error) {
	run, err := l.attempt(ctx, cells, parameters, "")
	if errors.Is(err, session.ErrRestore) {
		why := err.Error()
		run, err = l.attempt(ctx, cells, parameters, why)
		run.GaveUp = why
	}
	return run, err
}

func (l *Lab) attempt(ctx context.Context, cells []Cell, parameters map[string]string, straight string) (run Run, err error) {
	doc, outline, err := document(append(append([]Cell{}, cells...), tail), parameters)
	if err != nil {
		return run, err
	}
	sources, err := l.sources(outline.Cells)
	if err != nil {
		return run, err
	}
	runtime, err := os.MkdirTemp(filepath.Join(l.root, "runtime"), "run-")
	if err != nil {
		return run, err
	}
	defer os.RemoveAll(runtime)
	var sight *shell.Sight
	leaving := func(s *shell.Shell) {
		if got, err := s.Look(ctx); err == nil {
			sight = &got
		}
	}
	cfg := l.config(doc, outline, runtime)
	cfg.Sources, cfg.Straight = sources, straight
	cfg.Launch = func(_ context.Context, ring *observe.Ring) (session.Kernel, error) {
		s, err := l.fork(ring)
		if err != nil {
			return nil, err
		}
		s.Leaving = leaving
		return s, nil
	}
	s, err := session.Open(ctx, cfg)
	if err != nil {
		return run, err
	}
	report, err := s.Run(ctx)
	if err != nil {
		return run, err
	}
	run.OK, run.Faults, run.Sight = report.OK, s.Faults(), sight
	run.Absent = map[string]bool{}
	for i, c := range report.Cells {
		for _, u := range c.Uncaptured {
			run.Absent[u.Name] = true
		}
		if c.ID == tail.ID {
			continue
		}
		made := CellRun{ID: c.ID, Status: c.Status, Why: c.Why, Outputs: readable(doc.Outputs(outline.Cells[i].Index))}
		run.Cells = append(run.Cells, made)
	}
	run.Files, err = tree(l.Folder())
	return run, errors.Join(err, counts(doc, outline, run.Cells))
}

// config is that of a session of the notebook in the lab.
func (l *Lab) config(doc *notebook.Document, outline *notebook.Outline, runtime string) session.Config {
	modules := maps.Clone(l.Server.Environment.Modules)
	modules["python"] = l.Server.Environment.Version
	return session.Config{Store: mutantStore{l.store, l.Mutant}, Path: filepath.Join(l.Folder(), "nb.ipynb"), Document: doc, Outline: outline,
		Modules: modules, Library: l.Server.Environment.Prefixes, Runtime: runtime, Secret: []byte("oracle"), KernelID: "oracle"}
}

// fork is a shell with the agent, whose accesses to files are recorded in ring.
func (l *Lab) fork(ring *observe.Ring) (*shell.Shell, error) {
	return l.Server.Fork(shell.Fork{Dir: l.Folder(), Env: environment(l), Agent: true, Patch: l.Mutant.Patch, Ring: ring})
}

// environment is the environment of both sides' shells.
func environment(l *Lab) map[string]string {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "KEDGE") || name == "LD_PRELOAD" || name == "PYTHONHASHSEED" {
			continue
		}
		env[name] = value
	}
	return env
}

// Straight runs the notebook top to bottom in a fresh shell without Kedge, at
// the same path as Kedge's folder, in a folder that lay fills.
func (l *Lab) Straight(ctx context.Context, cells []Cell, parameters map[string]string, lay func(dir string) error) (run Run, err error) {
	doc, outline, err := document(cells, parameters)
	if err != nil {
		return run, err
	}
	return l.aside(ctx, lay, func(s *shell.Shell, run *Run) error { return straight(ctx, s, doc, outline, run) })
}

// aside lets work use a fresh shell without Kedge, at the same path as Kedge's
// folder, in a folder that lay fills, and looks at what it leaves.
func (l *Lab) aside(ctx context.Context, lay func(dir string) error, work func(s *shell.Shell, run *Run) error) (run Run, err error) {
	aside := l.Folder() + ".aside"
	if err := os.Rename(l.Folder(), aside); err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, removeAll(l.Folder()), os.Rename(aside, l.Folder())) }()
	if err := lay(l.Folder()); err != nil {
		return run, err
	}
	s, err := l.Server.Fork(shell.Fork{Dir: l.Folder(), Env: environment(l)})
	if err != nil {
		return run, err
	}
	defer func() { _ = s.Shutdown(ctx) }()
	if err := work(s, &run); err != nil {
		return run, err
	}
	if sight, err := s.Look(ctx); err == nil {
		run.Sight = &sight
	}
	run.Files, err = tree(l.Folder())
	return run, err
}

// straight executes the cells and writes their outputs into doc as nbclient does.
func straight(ctx context.Context, s *shell.Shell, doc *notebook.Document, outline *notebook.Outline, run *Run) error {
	type place struct{ cell, output int }
	places := map[string][]place{}
	run.OK = true
	for i, c := range outline.Cells {
		if !run.OK {
			run.Cells = append(run.Cells, CellRun{ID: c.ID, Status: session.NotRun})
			continue
		}
		res, err := s.Execute(ctx, kernel.Request{Code: c.Source, StopOnError: !c.RaisesException})
		if err != nil && !errors.Is(err, kernel.ErrKernelDied) {
			return err
		}
		count := i + 1
		if err := doc.SetOutputs(c.Index, res.Outputs, &count); err != nil {
			return err
		}
		for _, u := range res.Displays {
			for _, p := range places[u.DisplayID] {
				if err := doc.UpdateOutput(p.cell, p.output, u.Data, u.Metadata); err != nil {
					return err
				}
			}
		}
		for output, id := range res.DisplayIDs {
			places[id] = append(places[id], place{c.Index, output})
		}
		if err != nil || res.Status != "ok" && !c.RaisesException {
			run.OK = false
		}
		run.Cells = append(run.Cells, CellRun{ID: c.ID, Status: session.Ran})
	}
	for i, c := range outline.Cells {
		run.Cells[i].Outputs = readable(doc.Outputs(c.Index))
	}
	return counts(doc, outline, run.Cells)
}
