package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrNoSpec reports that no kernelspec has the asked name.
var ErrNoSpec = errors.New("no such kernel")

// Spec is a kernelspec (kernel.json). Dir is the folder it was found in, empty for a spec made by SpecForPython.
type Spec struct {
	Name          string                     `json:"-"`
	Dir           string                     `json:"-"`
	Argv          []string                   `json:"argv"`
	DisplayName   string                     `json:"display_name"`
	Language      string                     `json:"language"`
	InterruptMode string                     `json:"interrupt_mode"`
	Env           map[string]string          `json:"env,omitempty"`
	Metadata      map[string]json.RawMessage `json:"metadata,omitempty"`

	broken error // why kernel.json cannot be read
}

// Wrapped says which kernel a kernelspec of ours runs: one of its fields is set.
type Wrapped struct {
	Kernel string `json:"kernel,omitempty"` // name of a kernelspec
	Python string `json:"python,omitempty"` // path of an interpreter
}

// wrappedKey is where a kernelspec of ours has its Wrapped, in the metadata.
const wrappedKey = "kedge"

// Wrapped says what s runs if it is one of ours.
func (s Spec) Wrapped() (Wrapped, bool) {
	var w Wrapped
	raw, ours := s.Metadata[wrappedKey]
	return w, ours && json.Unmarshal(raw, &w) == nil
}

// Wrap returns the kernelspec by which program, kedge, runs s as w.
func (s Spec) Wrap(program string, w Wrapped) Spec {
	which := []string{"--kernel", w.Kernel}
	if w.Python != "" {
		which = []string{"--python", w.Python}
	}
	ours := Spec{
		Argv:        append([]string{program, "kernel", "-f", "{connection_file}"}, which...),
		DisplayName: s.Name + " (Kedge)", Language: s.Language, InterruptMode: "message",
		Metadata: map[string]json.RawMessage{},
	}
	for key, value := range s.Metadata {
		// Sockets of ours are not encrypted, and we start the kernel ourselves.
		if key != "supported_encryption" && key != "kernel_provisioner" {
			ours.Metadata[key] = value
		}
	}
	ours.Metadata[wrappedKey] = encode(w)
	return ours
}

// SpecForPython returns the spec that runs ipykernel under the given interpreter.
func SpecForPython(python string) Spec {
	return Spec{
		Name: "python3", DisplayName: "Python 3 (ipykernel)", Language: "python",
		Argv:     []string{python, "-m", "ipykernel_launcher", "-f", "{connection_file}"},
		Metadata: map[string]json.RawMessage{"debugger": json.RawMessage("true")},
	}
}

// FindSpec looks name up (case apart) in the folders Jupyter uses under env ("K=V" entries). An argv that starts
// with "python" or "python3" is resolved in the prefix the spec was found in, as Jupyter does for its own
// interpreter. For a kernelspec of ours it returns the one that it wraps. Errors wrap ErrNoSpec and list the names
// that exist.
func FindSpec(name string, env []string) (Spec, error) {
	all := FindSpecs(env)
	ours := true // may be one of ours
	for i := 0; i < len(all); i++ {
		s := all[i]
		if !strings.EqualFold(s.Name, name) {
			continue
		}
		w, wraps := s.Wrapped()
		switch {
		case s.broken != nil:
			return Spec{}, fmt.Errorf("read kernelspec %s: %w", s.Dir, s.broken)
		case !wraps && len(s.Argv) == 0:
			return Spec{}, fmt.Errorf("read kernelspec %s: argv is empty", s.Dir)
		case !wraps:
			return s, nil
		case !ours:
			continue
		case w.Python != "":
			return SpecForPython(w.Python), nil
		}
		name, ours, i = w.Kernel, false, -1 // look again, for one that is not ours
	}
	return Spec{}, fmt.Errorf("%w %q (%s); install it with `python -m pip install ipykernel` in the notebook's "+
		"environment, activate that environment, or name another kernel", ErrNoSpec, name, names(all))
}

// FindSpecs returns all kernelspecs in the folders Jupyter uses under env, those of folders that go first first.
func FindSpecs(env []string) []Spec {
	var all []Spec
	for _, dir := range DataDirs(env) {
		entries, err := os.ReadDir(filepath.Join(dir, "kernels"))
		if err != nil {
			continue
		}
		for _, e := range entries {
			at := filepath.Join(dir, "kernels", e.Name())
			raw, err := os.ReadFile(filepath.Join(at, "kernel.json"))
			if err != nil {
				continue
			}
			s := Spec{Name: e.Name(), Dir: at}
			if s.broken = json.Unmarshal(raw, &s); s.broken == nil && len(s.Argv) > 0 {
				s.resolve(filepath.Dir(filepath.Dir(dir)))
			}
			all = append(all, s)
		}
	}
	return all
}

func names(all []Spec) string {
	var found []string
	for _, s := range all {
		found = append(found, s.Name)
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 0 {
		return "none are installed"
	}
	return "installed: " + strings.Join(found, ", ")
}

// Environment is the spec's env with $NAME and ${NAME} replaced as Jupyter does: by our variables, and left as
// they are where there is none.
func (s Spec) Environment(lookup func(string) (string, bool)) map[string]string {
	all := map[string]string{}
	for name, text := range s.Env {
		all[name] = template.ReplaceAllStringFunc(text, func(ref string) string {
			if ref == "$$" {
				return "$"
			}
			if value, ok := lookup(strings.Trim(ref, "${}")); ok {
				return value
			}
			return ref
		})
	}
	return all
}

// template matches what Python's string.Template replaces.
var template = regexp.MustCompile(`\$\$|\$[_a-zA-Z][_a-zA-Z0-9]*|\$\{[_a-zA-Z][_a-zA-Z0-9]*\}`)

func (s *Spec) resolve(prefix string) {
	for i, a := range s.Argv {
		s.Argv[i] = strings.ReplaceAll(a, "{resource_dir}", s.Dir)
	}
	if s.Argv[0] != "python" && s.Argv[0] != "python3" {
		return
	}
	for _, n := range []string{"python", "python3"} {
		p := filepath.Join(prefix, "bin", n)
		if _, err := os.Stat(p); err == nil {
			s.Argv[0] = p
			return
		}
	}
}

// UserDataDir is Jupyter's data folder of the user, empty if env has no home.
func UserDataDir(env []string) string {
	if d := lookup(env, "JUPYTER_DATA_DIR"); d != "" {
		return d
	}
	if d := lookup(env, "XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "jupyter")
	}
	if h := lookup(env, "HOME"); h != "" {
		return filepath.Join(h, ".local", "share", "jupyter")
	}
	return ""
}

// DataDirs are the folders in which Jupyter looks for kernelspecs under env, the first first.
func DataDirs(env []string) []string {
	var dirs []string
	add := func(d string) {
		if d != "" {
			dirs = append(dirs, d)
		}
	}
	for _, d := range filepath.SplitList(lookup(env, "JUPYTER_PATH")) {
		add(d)
	}
	for _, v := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if p := lookup(env, v); p != "" {
			add(filepath.Join(p, "share", "jupyter"))
		}
	}
	add(UserDataDir(env))
	add("/usr/local/share/jupyter")
	add("/usr/share/jupyter")
	return dirs
}

// lookup returns the last value of name in env, which is the one a child sees.
func lookup(env []string, name string) string {
	for _, e := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}
