package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/kernel"
	"kedge/kernel/observe"
	"kedge/session"
)

// ipykernel splits the argv of a kernelspec that starts ipykernel into how its
// interpreter is called and what ipykernel is told. Both are nil for any other
// kernel.
func ipykernel(spec kernel.Spec) (command, args []string) {
	i := slices.Index(spec.Argv, "-m")
	if i < 1 || i+1 == len(spec.Argv) || spec.Language != "" && !strings.EqualFold(spec.Language, "python") {
		return nil, nil
	}
	if module := spec.Argv[i+1]; module != "ipykernel_launcher" && module != "ipykernel" {
		return nil, nil
	}
	return spec.Argv[:i:i], spec.Argv[i+2:]
}

// unusual is what the kernelspec says beyond the ordinary; it may change what
// any code does, so it is part of the interpreter's version.
func (e *environment) unusual() string {
	if e.foreign != nil {
		return strings.Join(e.foreign, " ")
	}
	text := ""
	for _, arg := range append(e.command[1:len(e.command):len(e.command)], e.args...) {
		if !slices.Contains([]string{"-f", "{connection_file}", "-Xfrozen_modules=off"}, arg) {
			text += " " + arg
		}
	}
	return text
}

// blind says why nothing can be looked up or recorded, "" if it can.
func (e *environment) blind() string {
	if e.foreign == nil {
		return ""
	}
	return "the kernel " + e.Python + " has no snapshots yet"
}

// observingLibrary is the library that is preloaded into kernels, which lies beside the agent that launcher belongs to.
func observingLibrary(launcher string) (string, error) {
	return observe.Library(filepath.Join(filepath.Dir(filepath.Dir(launcher)), "lib"))
}

// hashSeed are the variables that make the hashes of strings the same in every kernel, and that the agent hides. There
// are none if the user, or the kernelspec by given, has set the seed.
func hashSeed(given map[string]string) []string {
	seed, ok := given["PYTHONHASHSEED"]
	if !ok {
		seed = os.Getenv("PYTHONHASHSEED")
	}
	if seed != "" {
		return nil
	}
	return []string{"PYTHONHASHSEED=0", "KEDGE_HIDE=PYTHONHASHSEED"}
}

// launch returns a function that starts the notebook's kernel in dir.
func (e *environment) launch(launcher, dir, runtime string) func(context.Context, *observe.Ring) (session.Kernel, error) {
	return func(ctx context.Context, ring *observe.Ring) (session.Kernel, error) {
		cfg := kernel.Config{Argv: e.foreign, Dir: dir, Env: os.Environ(), RuntimeDir: runtime}
		for name, value := range e.env {
			cfg.Env = append(cfg.Env, name+"="+value)
		}
		if e.foreign == nil {
			library, err := observingLibrary(launcher)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", kernel.ErrKernelStart, err)
			}
			cfg.Env = ring.Env(library, append(cfg.Env, hashSeed(e.env)...))
			cfg.Argv = slices.Concat([]string{e.Python}, e.command[1:], []string{launcher}, e.args)
		}
		k, err := kernel.Start(ctx, cfg)
		if err != nil && e.foreign != nil {
			err = fmt.Errorf("kernel %s: %w; name another with --kernel", e.Python, err)
		}
		if err != nil { // a nil *kernel.Kernel is no nil session.Kernel
			return nil, err
		}
		return k, nil
	}
}
