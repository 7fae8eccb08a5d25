package oracle

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"kedge/integration/oracle/shell"
)

// Step is a notebook and the world around it at one moment: one action of a
// history changes the step before into this one, and runs it.
type Step struct {
	Cells      []Cell            `json:"cells"`
	Parameters map[string]string `json:"parameters,omitempty"`
	Files      map[string]string `json:"files,omitempty"` // the user's own
	Env        map[string]string `json:"env,omitempty"`   // "" for a variable that is not set
	Folder     string            `json:"folder,omitempty"`
	Clean      bool              `json:"clean,omitempty"` // the user has removed what earlier runs left
	// Live cells are requests to one kernel, in their order, instead of a notebook that is run.
	Live bool `json:"live,omitempty"`
	// Queued requests are sent at once, as by Run All: all wait behind the first.
	Queued bool `json:"queued,omitempty"`
}

// Outcome is what came of one step.
type Outcome struct {
	Kedge, Straight Run
	Differences     []string // in threes: what differs, the straight run's, Kedge's
	Leftovers       bool     // what the notebook does depends on what earlier runs left
	KedgeTime       time.Duration
	StraightTime    time.Duration
}

// Play is a history being played in a lab.
type Play struct {
	lab   *Lab
	files map[string]string // as laid by the steps so far
	tick  int               // every file that is written gets a time of its own: Python's caches of local modules go by it
}

// NewPlay begins a history in a fresh lab.
func NewPlay(ctx context.Context, server *shell.Server, root string, mutant Mutant) (*Play, error) {
	lab, err := NewLab(ctx, server, root)
	if err != nil {
		return nil, err
	}
	lab.Mutant = mutant
	return &Play{lab: lab, files: map[string]string{}}, nil
}

// Close ends the history.
func (p *Play) Close() error { return p.lab.Close() }

// Do makes the world that of s, runs the notebook on both sides and compares.
func (p *Play) Do(ctx context.Context, s Step) (o Outcome, err error) {
	if err := p.enter(s); err != nil {
		return o, fmt.Errorf("lay a step: %w", err)
	}
	before := filepath.Join(p.lab.root, "before")
	if !s.Clean {
		if err := copyTree(p.lab.Folder(), before); err != nil {
			return o, fmt.Errorf("copy the folder: %w", err)
		}
		defer removeAll(before)
	}
	began := time.Now()
	if o.Kedge, err = p.kedge(ctx, s); err != nil {
		return o, fmt.Errorf("run with kedge: %w", err)
	}
	o.KedgeTime = time.Since(began)
	began = time.Now()
	fresh := func(dir string) error { return Lay(dir, s.Files) }
	if o.Straight, err = p.plain(ctx, s, fresh); err != nil {
		return o, fmt.Errorf("run straight: %w", err)
	}
	o.StraightTime = time.Since(began)
	o.Differences = Differences(o.Kedge, o.Straight)
	if len(o.Differences) == 0 || s.Clean {
		return o, nil
	}
	// Cells that really run see the leftovers: the folder as it stood is as good a reference.
	other, err := p.plain(ctx, s, func(dir string) error { return copyTree(before, dir) })
	if err != nil {
		return o, fmt.Errorf("run straight: %w", err)
	}
	o.Leftovers = len(Differences(other, o.Straight)) > 0
	o.Differences = both(o.Differences, Differences(o.Kedge, other))
	return o, nil
}

func (p *Play) kedge(ctx context.Context, s Step) (Run, error) {
	if s.Live {
		return p.lab.Live(ctx, s.Cells, s.Queued)
	}
	return p.lab.Kedge(ctx, s.Cells, s.Parameters)
}

func (p *Play) plain(ctx context.Context, s Step, lay func(dir string) error) (Run, error) {
	if s.Live {
		return p.lab.LivePlain(ctx, s.Cells, lay)
	}
	return p.lab.Straight(ctx, s.Cells, s.Parameters, lay)
}

// both are the differences of a whose subject is in b too.
func both(a, b []string) []string {
	subjects := map[string]bool{}
	for i := 0; i < len(b); i += 3 {
		subjects[b[i]] = true
	}
	var list []string
	for i := 0; i+2 < len(a); i += 3 {
		if subjects[a[i]] {
			list = append(list, a[i:i+3]...)
		}
	}
	return list
}

// enter lays the step's files over those of the step before.
func (p *Play) enter(s Step) error {
	if s.Folder != "" && s.Folder != p.lab.folder {
		if err := p.lab.Rename(s.Folder); err != nil {
			return err
		}
	}
	for name, value := range s.Env {
		var err error
		if value == "" {
			err = os.Unsetenv(name)
		} else {
			err = os.Setenv(name, value)
		}
		if err != nil {
			return err
		}
	}
	if s.Clean {
		if err := p.clean(s); err != nil {
			return err
		}
	}
	for name := range p.files {
		if _, kept := s.Files[name]; !kept {
			if err := os.Remove(filepath.Join(p.lab.Folder(), name)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	for name, text := range s.Files {
		path := filepath.Join(p.lab.Folder(), name)
		if data, err := os.ReadFile(path); err == nil && string(data) == text {
			continue
		}
		if err := Lay(p.lab.Folder(), map[string]string{name: text}); err != nil {
			return err
		}
		if strings.HasSuffix(name, ".py") {
			p.tick++
			at := time.Unix(1_700_000_000+int64(p.tick), 0)
			if err := os.Chtimes(path, at, at); err != nil {
				return err
			}
		}
	}
	p.files = maps.Clone(s.Files)
	return nil
}

// clean removes all that is not the user's.
func (p *Play) clean(s Step) error {
	entries, err := os.ReadDir(p.lab.Folder())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, own := s.Files[e.Name()]; own {
			continue
		}
		if err := removeAll(filepath.Join(p.lab.Folder(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a tree with modes and links; names of one file stay names of one.
func copyTree(from, to string) error {
	copies := map[uint64]string{} // by inode
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case info.Mode()&os.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			if first, copied := copies[st.Ino]; copied {
				return os.Link(first, target)
			}
			copies[st.Ino] = target
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, data, info.Mode().Perm()); err != nil {
			return err
		}
		return os.Chtimes(target, info.ModTime(), info.ModTime())
	})
}
