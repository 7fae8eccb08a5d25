package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
	"kedge/notebook"
	"kedge/session"
	"kedge/snapshotter"
)

// environment is what a notebook's kernel runs in: an interpreter with
// ipykernel, or whatever else a kernelspec starts.
type environment struct {
	Python    string            `json:"python"` // path of the interpreter; the name of a kernel without an agent
	Version   string            `json:"version"`
	Prefixes  []string          `json:"prefixes"` // folders of the import system
	Watch     []string          `json:"watch"`    // folders whose change means another environment
	Modules   map[string]string `json:"modules"`  // import name → version
	Ipykernel bool              `json:"ipykernel"`
	Packages  map[string]string `json:"packages"` // import name → package, where one alone has it and is called otherwise

	command []string          // how the interpreter is called
	args    []string          // of ipykernel
	env     map[string]string // variables of the kernelspec
	foreign []string          // argv of a kernel without an agent; nil if it has one
}

// probe prints an environment as JSON. What decides what code does is the
// interpreter, the processor's architecture and libc, not the kernel's release
// or the host: cells that ask for those observe them.
const probe = `
import importlib.metadata as m, importlib.util, json, platform, site, sys, sysconfig
mods, packages = {}, {}
for name, dists in m.packages_distributions().items():
    try: mods[name] = " ".join(sorted(m.version(d) for d in set(dists)))
    except Exception: pass
    if len(set(dists)) == 1 and dists[0] != name: packages[name] = dists[0]
paths = sysconfig.get_paths()
libs = sorted({paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()})
if site.ENABLE_USER_SITE: libs.append(site.getusersitepackages())
machine = [platform.system(), platform.machine(), sys.byteorder, *platform.libc_ver(), str(sysconfig.get_config_var("SOABI"))]
libc = [l.split()[-1] for l in open("/proc/self/maps") if "/libc.so." in l or "/libc-" in l or "/ld-musl" in l][:1]
print(json.dumps({"version": " ".join([sys.version, *machine]), "prefixes": libs + [p for p in sys.path if p.endswith(".zip")],
    "watch": libs + libc, "modules": mods, "packages": packages, "ipykernel": importlib.util.find_spec("ipykernel") is not None}))
`

// findEnvironment says what a notebook runs in: the Python of --python, or the
// kernelspec named by --kernel, or else by the notebook.
func findEnvironment(ctx context.Context, store *snapshotter.Store, doc *notebook.Document, python, kernelName string) (*environment, error) {
	command, args, env := []string{python}, []string{"-f", "{connection_file}"}, map[string]string(nil)
	if python == "" {
		kernelName = cmp.Or(kernelName, doc.KernelName(), "python3")
		spec, err := kernel.FindSpec(kernelName, os.Environ())
		switch {
		case err == nil:
			env = spec.Environment(os.LookupEnv)
			if command, args = ipykernel(spec); command == nil {
				return &environment{Python: spec.Name, foreign: spec.Argv, env: env}, nil
			}
		case kernelName == "python3" && errors.Is(err, kernel.ErrNoSpec):
			command = []string{"python3"}
		default:
			return nil, err
		}
	}
	return describeKernel(ctx, store, command, args, env)
}

// describeKernel describes what ipykernel runs in when its interpreter is called by command.
func describeKernel(ctx context.Context, store *snapshotter.Store, command, args []string, env map[string]string) (*environment, error) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return nil, fmt.Errorf("python %s: %w: %w; name an interpreter that has ipykernel with --python", command[0], errUnusable, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("python %s: %w: %w", command[0], errUnusable, err)
	}
	e, err := describe(ctx, store, append([]string{path}, command[1:]...))
	if err != nil {
		return nil, err
	}
	if !e.Ipykernel {
		return nil, fmt.Errorf("python %s: %w: it has no ipykernel; install it with: %s -m pip install ipykernel", path, errUnusable, path)
	}
	e.args, e.env = args, env
	return e, nil
}

// describe asks an interpreter about itself. The answer is remembered for as
// long as none of the folders it imports from has changed.
func describe(ctx context.Context, store *snapshotter.Store, command []string) (*environment, error) {
	const kind = "machine environment"
	path, key := command[0], cellgraph.Combine(append([]string{"packages"}, command...)...)
	e := &environment{}
	if data, ok, err := store.Memo(ctx, kind, key); err == nil && ok {
		var known struct {
			Stamp string
			Env   *environment
		}
		if json.Unmarshal(data, &known) == nil && known.Env != nil && known.Stamp == stamp(path, known.Env.Watch) {
			known.Env.command = command
			return known.Env, nil
		}
	}
	cmd := exec.CommandContext(ctx, path, append(command[1:len(command):len(command)], "-c", probe)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if old := pythonVersion(ctx, path); old != "" && tooOld(old) {
			return nil, fmt.Errorf("python %s: %w: it is Python %s; kedge needs %d.%d or newer: name another with --python", path, errUnusable, old, minPython[0], minPython[1])
		}
		return nil, fmt.Errorf("python %s: %w: it does not start: %w: %s; name another with --python", path, errUnusable, err, lastLine(stderr.String()))
	}
	if err := json.Unmarshal(out, e); err != nil {
		return nil, fmt.Errorf("python %s: %w: %w", path, errUnusable, err)
	}
	e.Python, e.command = path, command
	data, err := json.Marshal(map[string]any{"Stamp": stamp(path, e.Watch), "Env": e})
	if err == nil {
		_ = store.PutMemo(ctx, kind, key, data) // a lost memo costs one more probe
	}
	return e, nil
}

// minPython is the oldest Python that the agent runs in.
var minPython = [2]int{3, 10}

// pythonVersion is major.minor of the interpreter at path, "" if it does not say.
func pythonVersion(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func tooOld(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < minPython[0] || major == minPython[0] && minor < minPython[1]
}

// stamp changes when the interpreter or a folder that it imports from does.
func stamp(python string, folders []string) string {
	var parts []string
	for _, path := range append([]string{python}, folders...) {
		if info, err := os.Stat(path); err == nil {
			parts = append(parts, path, fmt.Sprint(info.ModTime().UnixNano(), info.Size()))
		}
	}
	return cellgraph.Combine(parts...).String()
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// modules are the versions that the rule asks for, by name.
func (e *environment) modules() map[string]string {
	all := map[string]string{"python": e.Version + e.unusual()}
	for name, version := range e.Modules {
		all[name] = version
	}
	return all
}

// normaliser is the command that reads cells' code as the kernel does.
func (e *environment) normaliser(launcher string) []string {
	return slices.Concat([]string{e.Python}, e.command[1:], []string{"-I", agent.NormaliserPath(launcher)})
}

// sources normalises the cells' code in the notebook's own interpreter, once
// for each source.
func (e *environment) sources(ctx context.Context, store *snapshotter.Store, launcher string, cells []notebook.CodeCell) (map[string]session.Source, error) {
	const kind = "source"
	all := map[string]session.Source{}
	if e.foreign != nil {
		return all, nil
	}
	var ids, unknown []string
	key := func(source string) cellgraph.Digest {
		return cellgraph.Combine(launcher, e.Version, e.Modules["IPython"], source)
	}
	code := map[string]string{}
	for _, c := range cells {
		code[c.ID] = c.Source
		data, ok, err := store.Memo(ctx, kind, key(c.Source))
		var s session.Source
		if err == nil && ok && json.Unmarshal(data, &s) == nil {
			all[c.ID] = s
			continue
		}
		ids, unknown = append(ids, c.ID), append(unknown, c.Source)
	}
	if len(ids) == 0 {
		return all, nil
	}
	in, err := json.Marshal(map[string]any{"cells": unknown})
	if err != nil {
		return nil, err
	}
	argv := e.normaliser(launcher)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the cells' code with %s: %w", e.Python, err)
	}
	var reply struct {
		Cells []session.Source `json:"cells"`
	}
	if err := json.Unmarshal(out, &reply); err != nil || len(reply.Cells) != len(ids) {
		return nil, fmt.Errorf("read the cells' code with %s: %w", e.Python, errors.Join(err, errors.New("unexpected answer")))
	}
	for i, id := range ids {
		all[id] = reply.Cells[i]
		if data, err := json.Marshal(reply.Cells[i]); err == nil {
			_ = store.PutMemo(ctx, kind, key(code[id]), data)
		}
	}
	return all, nil
}
