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
	Name          string            `json:"-"`
	Dir           string            `json:"-"`
	Argv          []string          `json:"argv"`
	DisplayName   string            `json:"display_name"`
	Language      string            `json:"language"`
	InterruptMode string            `json:"interrupt_mode"`
	Env           map[string]string `json:"env"`
}

// SpecForPython returns the spec that runs ipykernel under the given interpreter.
func SpecForPython(python string) Spec {
	return Spec{
		Name: "python3", DisplayName: "Python 3 (ipykernel)", Language: "python",
		Argv: []string{python, "-m", "ipykernel_launcher", "-f", "{connection_file}"},
	}
}

// FindSpec looks name up (case apart) in the folders Jupyter uses under env ("K=V" entries). An argv that starts
// with "python" or "python3" is resolved in the prefix the spec was found in, as Jupyter does for its own
// interpreter. Errors wrap ErrNoSpec and list the names that exist.
func FindSpec(name string, env []string) (Spec, error) {
	var found []string
	for _, dir := range dataDirs(env) {
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
			if !strings.EqualFold(e.Name(), name) {
				found = append(found, e.Name())
				continue
			}
			s := Spec{Name: e.Name(), Dir: at}
			if err := json.Unmarshal(raw, &s); err != nil {
				return Spec{}, fmt.Errorf("read kernelspec %s: %w", at, err)
			}
			if len(s.Argv) == 0 {
				return Spec{}, fmt.Errorf("read kernelspec %s: argv is empty", at)
			}
			s.resolve(filepath.Dir(filepath.Dir(dir)))
			return s, nil
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	have := "none are installed"
	if len(found) > 0 {
		have = "installed: " + strings.Join(found, ", ")
	}
	return Spec{}, fmt.Errorf("%w %q (%s); install it with `python -m pip install ipykernel` in the notebook's "+
		"environment, activate that environment, or name another kernel", ErrNoSpec, name, have)
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

func dataDirs(env []string) []string {
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
	if d := lookup(env, "JUPYTER_DATA_DIR"); d != "" {
		add(d)
	} else if d := lookup(env, "XDG_DATA_HOME"); d != "" {
		add(filepath.Join(d, "jupyter"))
	} else if h := lookup(env, "HOME"); h != "" {
		add(filepath.Join(h, ".local", "share", "jupyter"))
	}
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
