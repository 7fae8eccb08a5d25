package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// ErrParameter means a parameter that cannot be assigned to a name.
var ErrParameter = errors.New("not a parameter")

const (
	tagParameters         = "parameters"
	tagInjected           = "injected-parameters"
	tagPipelineParameters = "pipeline-parameters"
)

// Parameter is a name and its value as a Python literal: 1, 1.0 and "1" differ.
type Parameter struct {
	Name   string
	Python string
}

// ParseParameter reads name=value. The value is resolved as papermill's -p does: True, False, None, else an
// int, else a float, else a string. The error wraps ErrParameter.
func ParseParameter(text string) (Parameter, error) {
	name, val, found := strings.Cut(text, "=")
	if !found || !identifier(name) {
		return Parameter{}, fmt.Errorf("%q: %w: write name=value, the name a Python identifier", text, ErrParameter)
	}
	return Parameter{Name: name, Python: resolve(val)}, nil
}

// JSONParameter translates a JSON value, lists and objects included, as papermill does with a parameters
// file. The error wraps ErrParameter.
func JSONParameter(name string, raw json.RawMessage) (Parameter, error) {
	v, err := parseJSON(raw)
	if err != nil {
		return Parameter{}, fmt.Errorf("%s: %w: %w", name, ErrParameter, err)
	}
	if !identifier(name) {
		return Parameter{}, fmt.Errorf("%q: %w: the name must be a Python identifier", name, ErrParameter)
	}
	return Parameter{Name: name, Python: translate(v)}, nil
}

// Inject puts a cell that assigns the parameters into the notebook, as papermill does: in place of an
// earlier injected cell, else after the first cell tagged parameters (else pipeline-parameters), else at the
// top. Of a repeated name the last value counts. Without parameters it does nothing.
func (d *Document) Inject(params []Parameter) error {
	if len(params) == 0 {
		return nil
	}
	var names []string
	values := map[string]string{}
	for _, p := range params {
		if !identifier(p.Name) || p.Python == "" {
			return fmt.Errorf("inject %q: %w", p.Name, ErrParameter)
		}
		if _, again := values[p.Name]; !again {
			names = append(names, p.Name)
		}
		values[p.Name] = p.Python
	}
	source := "# Parameters\n"
	for _, name := range names {
		source += name + " = " + values[name] + "\n"
	}
	cell := d.injectedCell(source)
	cells := d.root.get("cells")
	if i := d.firstTagged(tagInjected); i >= 0 {
		cells.items[i] = cell
		return nil
	}
	i := d.firstTagged(tagParameters)
	if i < 0 {
		i = d.firstTagged(tagPipelineParameters)
	}
	cells.items = slices.Insert(cells.items, i+1, cell)
	return nil
}

func (d *Document) injectedCell(source string) *value {
	id, ids := uuid.NewString()[:8], d.ids()
	for slices.Contains(ids, id) {
		id = uuid.NewString()[:8]
	}
	return d.newCode(id, source, []string{tagInjected})
}

// firstTagged is the index of the first cell of any type with the tag, -1 if none.
func (d *Document) firstTagged(tag string) int {
	return slices.IndexFunc(d.cells(), func(c *value) bool { return slices.Contains(tagsOf(c), tag) })
}

func identifier(name string) bool {
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return name != "" && !slices.Contains(keywords(), name)
}

func keywords() []string {
	return strings.Fields(`False None True and as assert async await break class continue def del elif else
		except finally for from global if import in is lambda nonlocal not or pass raise return try while
		with yield`)
}
