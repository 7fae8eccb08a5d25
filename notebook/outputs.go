package notebook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// code returns the code cell at an index of the notebook, else an error that wraps ErrNoCell.
func (d *Document) code(index int) (*value, error) {
	if cells := d.cells(); index >= 0 && index < len(cells) && isCode(cells[index]) {
		return cells[index], nil
	}
	return nil, fmt.Errorf("cell %d: %w", index, ErrNoCell)
}

// Outputs returns the outputs of the code cell at index, each as compact JSON with multi-line texts
// joined; nil if there is no such cell.
func (d *Document) Outputs(index int) []json.RawMessage {
	cell, err := d.code(index)
	if err != nil {
		return nil
	}
	list := cell.get("outputs")
	if list == nil {
		return nil
	}
	var outputs []json.RawMessage
	for _, output := range list.items {
		output = output.clone()
		joinOutput(output)
		outputs = append(outputs, output.appendCompact(nil))
	}
	return outputs
}

// SetOutputs replaces the outputs and the execution count (nil: null) of the code cell at index. Texts are
// split into lines as nbformat does; keys keep their order. It changes nothing on an error, which wraps
// ErrNoCell or ErrJSON.
func (d *Document) SetOutputs(index int, outputs []json.RawMessage, count *int) error {
	cell, err := d.code(index)
	if err != nil {
		return err
	}
	list := newArray()
	for i, raw := range outputs {
		output, err := parseJSON(raw)
		if err != nil || output.kind != kindObject {
			return fmt.Errorf("output %d of cell %d: %w", i, index, ErrJSON)
		}
		splitOutput(output)
		list.items = append(list.items, output)
	}
	cell.set("outputs", list)
	number := null()
	if count != nil {
		number = &value{kind: kindNumber, raw: strconv.Itoa(*count)}
	}
	cell.set("execution_count", number)
	return nil
}

// UpdateOutput replaces data and metadata of one output of the code cell at index, as an update of its display
// does. An output that is not there is passed over. The error wraps ErrNoCell or ErrJSON.
func (d *Document) UpdateOutput(index, output int, data, metadata json.RawMessage) error {
	cell, err := d.code(index)
	if err != nil {
		return err
	}
	list := cell.get("outputs")
	if list == nil || output < 0 || output >= len(list.items) {
		return nil
	}
	for name, raw := range map[string]json.RawMessage{"data": data, "metadata": metadata} {
		v, err := parseJSON(raw)
		if err != nil || v.kind != kindObject {
			return fmt.Errorf("update output %d of cell %d: %w", output, index, ErrJSON)
		}
		list.items[output].set(name, v)
	}
	splitOutput(list.items[output])
	return nil
}

// ClearOutputs removes outputs and execution counts of the code cells at the indexes, of all code cells if
// none is given. Indexes without a code cell are passed over.
func (d *Document) ClearOutputs(indexes ...int) {
	for i, cell := range d.cells() {
		if isCode(cell) && (len(indexes) == 0 || slices.Contains(indexes, i)) {
			cell.set("outputs", newArray())
			cell.set("execution_count", null())
		}
	}
}

// SetExecution records when the messages of a run came, as nbclient does: metadata.execution maps message
// names such as "iopub.status.busy" to ISO 8601 times. Names that are not given keep their times. The
// error wraps ErrNoCell.
func (d *Document) SetExecution(index int, times map[string]string) error {
	cell, err := d.code(index)
	if err != nil {
		return err
	}
	execution := cell.object("metadata").object("execution")
	for _, name := range slices.Sorted(maps.Keys(times)) {
		execution.set(name, newString(times[name]))
	}
	return nil
}

func isBundle(output *value) bool {
	t, _ := output.get("output_type").text()
	return t == "execute_result" || t == "display_data"
}

func splitOutput(output *value) {
	if isBundle(output) {
		if data := output.get("data"); data != nil {
			for i, m := range data.members {
				if s, ok := m.val.text(); ok && splitMime(unquote(m.key)) {
					data.members[i].val = lineList(s)
				}
			}
		}
		return
	}
	if t, _ := output.get("output_type").text(); t == "stream" {
		if s, ok := output.get("text").text(); ok {
			output.set("text", lineList(s))
		}
	}
}

func joinOutput(output *value) {
	if isBundle(output) {
		if data := output.get("data"); data != nil {
			for i, m := range data.members {
				if s, ok := joined(m.val); ok && !jsonMime(unquote(m.key)) {
					data.members[i].val = newString(s)
				}
			}
		}
		return
	}
	if list := output.get("text"); list != nil && list.kind == kindArray {
		if s, ok := joined(list); ok {
			output.set("text", newString(s))
		}
	}
}

// splitMime and jsonMime are nbformat's rules (nbformat/v4/rwbase.py).
func splitMime(mime string) bool {
	return strings.HasPrefix(mime, "text/") || mime == "application/javascript" || mime == "image/svg+xml"
}

func jsonMime(mime string) bool {
	return mime == "application/json" ||
		strings.HasPrefix(mime, "application/") && strings.HasSuffix(mime, "+json")
}
