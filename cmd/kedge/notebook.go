package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"kedge/kernel"
	"kedge/kernel/observe"
	"kedge/live"
	"kedge/notebook"
	"kedge/session"
	"kedge/snapshotter"
)

// observed makes the kernel start so that what it does to files is seen, and nb able to restore and keep the cells of
// its notebook. What that needs lies in a folder of its own, which goes with the kernel.
func observed(cfg *kernel.Config, nb *live.Config, launcher string, spec kernel.Spec) (runtime string, err error) {
	library, err := observingLibrary(launcher)
	if err != nil {
		return "", err
	}
	if runtime, err = cfg.Guard.Folder("", "kedge-"); err != nil {
		return "", err
	}
	if nb.Ring, err = observe.Create(runtime); err != nil {
		return "", errors.Join(err, os.RemoveAll(runtime))
	}
	plain := cfg.Env
	nb.Spawn = func() (*observe.Ring, []string, error) {
		ring, err := observe.Create(runtime)
		if err != nil {
			return nil, nil, err
		}
		return ring, ring.Env(library, plain), nil
	}
	cfg.Env = nb.Ring.Env(library, cfg.Env)
	nb.Open = func(ctx context.Context, path string) (session.Config, func() error, error) {
		return openNotebook(ctx, path, runtime, launcher, spec)
	}
	return runtime, nil
}

// openNotebook opens the store and describes the environment for a notebook in a live kernel.
func openNotebook(ctx context.Context, path, runtime, launcher string, spec kernel.Spec) (cfg session.Config, closing func() error, err error) {
	doc, _, err := notebook.ReadFile(ctx, path)
	if err != nil {
		return cfg, nil, err
	}
	set, err := readSettings()
	if err != nil {
		return cfg, nil, err
	}
	c, err := openCacheIn(ctx, snapshotter.DefaultDir())
	if err != nil {
		return cfg, nil, fmt.Errorf("the store cannot be used (%w); %s", err, storeRemedy(err))
	}
	command, args := ipykernel(spec)
	env, err := describeKernel(ctx, c.store, command, args, spec.Environment(os.LookupEnv))
	if err != nil {
		return cfg, c.close, err
	}
	cfg = session.Config{Store: c.store, Path: path, Document: doc, Outline: &notebook.Outline{}, Modules: env.modules(),
		Library: env.Prefixes, Runtime: runtime, Secret: c.secret, Stateless: set.Stateless, KernelID: env.Python, Env: env.env, Normaliser: env.normaliser(launcher)}
	dir, err := os.Getwd()
	if err != nil {
		return cfg, c.close, err
	}
	if dir != filepath.Dir(path) { // a relative path means another file there
		cfg.Modules["python"] += " in " + dir
	}
	return cfg, c.close, nil
}
