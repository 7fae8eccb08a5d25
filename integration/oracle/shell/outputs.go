package shell

import (
	"encoding/json"
	"slices"

	"kedge/kernel"
)

// output is one nbformat output.
type output struct {
	fields  map[string]any
	display string
}

// outputs applies what a kernel publishes as nbclient does.
type outputs struct {
	list    []*output
	pending bool            // clear before the next output
	earlier map[string]bool // display ids of earlier cells
	updates []kernel.Update
	stray   bool // an update was for an id that no output has
}

func (o *outputs) add(m message) {
	c := m.Content
	made := &output{display: c.Transient.DisplayID}
	switch m.Type {
	case "stream":
		made.fields = map[string]any{"output_type": "stream", "name": c.Name, "text": c.Text}
	case "display_data":
		made.fields = map[string]any{"output_type": m.Type, "data": c.Data, "metadata": object(c.Metadata)}
	case "execute_result":
		made.fields = map[string]any{"output_type": m.Type, "data": c.Data, "metadata": object(c.Metadata), "execution_count": c.Count}
	case "error":
		made.fields = map[string]any{"output_type": m.Type, "ename": c.EName, "evalue": c.EValue, "traceback": c.Traceback}
	case "clear_output":
		if o.pending = c.Wait; !c.Wait {
			o.list = nil
		}
		return
	case "update_display_data":
	default:
		return
	}
	if made.display != "" {
		found := o.update(made.display, c)
		o.stray = o.stray || made.fields == nil && !found
	}
	if made.fields == nil {
		return
	}
	if o.pending {
		o.list, o.pending = nil, false
	}
	if n := len(o.list); m.Type == "stream" && n > 0 && o.list[n-1].fields["name"] == c.Name {
		o.list[n-1].fields["text"] = o.list[n-1].fields["text"].(string) + c.Text
		return
	}
	o.list = append(o.list, made)
}

// update changes every output with the id, here and, by report, in earlier cells, and reports whether there is one.
func (o *outputs) update(id string, c content) (found bool) {
	for _, out := range o.list {
		if out.display == id {
			out.fields["data"], out.fields["metadata"], found = c.Data, object(c.Metadata), true
		}
	}
	if o.earlier[id] {
		o.updates = slices.DeleteFunc(o.updates, func(u kernel.Update) bool { return u.DisplayID == id })
		o.updates = append(o.updates, kernel.Update{DisplayID: id, Data: c.Data, Metadata: object(c.Metadata)})
		found = true
	}
	return found
}

func object(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}")
	}
	return raw
}
