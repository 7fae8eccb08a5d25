package kernel

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"

	"kedge/kernel/wire"
)

// Model is a Jupyter widget as a cell left it. The type has the form in which stores keep it.
type Model struct {
	ID       string                     `json:"id"` // of its comm
	State    map[string]json.RawMessage `json:"state"`
	Buffers  []WidgetBuffer             `json:"buffers,omitempty"`
	Metadata json.RawMessage            `json:"metadata"` // of the message that opened it
	Closed   bool                       `json:"closed,omitempty"`
}

// shows are the models of ipywidgets that only show something: nothing that a person does with them in a front end
// reaches the kernel.
var shows = map[string]string{
	"HBoxModel": controls, "VBoxModel": controls, "BoxModel": controls, "GridBoxModel": controls, "HTMLModel": controls, "HTMLMathModel": controls,
	"LabelModel": controls, "IntProgressModel": controls, "FloatProgressModel": controls, "ImageModel": controls, "ProgressStyleModel": controls,
	"DescriptionStyleModel": controls, "HTMLStyleModel": controls, "HTMLMathStyleModel": controls, "LabelStyleModel": controls,
	"LayoutModel": "@jupyter-widgets/base",
}

const controls = "@jupyter-widgets/controls"

// made are the widgets that one cell has made.
type made struct {
	ids    []string // in the order in which they were opened
	opened map[string]json.RawMessage
	closed map[string]bool
	other  bool // the cell did something else with comms than to make, change and close widgets of its own that only show
}

// note takes a comm message of the cell.
func (t *made) note(msg wire.Message) {
	var m struct {
		Comm   string `json:"comm_id"`
		Target string `json:"target_name"`
		Data   struct {
			Method string                     `json:"method"`
			State  map[string]json.RawMessage `json:"state"`
		} `json:"data"`
	}
	if json.Unmarshal(msg.Content, &m) != nil {
		t.other = true
		return
	}
	_, own := t.opened[m.Comm]
	switch msg.Header.MsgType {
	case "comm_open":
		model := &widget{state: m.Data.State}
		var name string
		_ = json.Unmarshal(m.Data.State["_model_name"], &name)
		if own || m.Target != "jupyter.widget" || shows[name] == "" || !model.is(shows[name], name) {
			t.other = true
			return
		}
		if t.opened == nil {
			t.opened, t.closed = map[string]json.RawMessage{}, map[string]bool{}
		}
		t.ids, t.opened[m.Comm] = append(t.ids, m.Comm), msg.Metadata
	case "comm_msg":
		t.other = t.other || !own || t.closed[m.Comm] || m.Data.Method != "update"
	case "comm_close":
		t.other = t.other || !own
		if own {
			t.closed[m.Comm] = true
		}
	}
}

// reference is how the state of a widget names another one.
var reference = regexp.MustCompile(`"IPY_MODEL_([^"]*)"`)

// models are the widgets of t as they are now, each after those that it refers to; nil if not all of them only show
// something, or if they cannot be made again: one refers to a widget of another cell, or to one that is closed.
func (w *widgets) models(t *made) []Model {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.other {
		return nil
	}
	var models []Model
	placed := map[string]bool{}
	var place func(id string, above []string) bool
	place = func(id string, above []string) bool {
		now := w.known[id]
		if now == nil || t.opened[id] == nil || slices.Contains(above, id) {
			return false
		}
		for _, value := range now.state {
			for _, m := range reference.FindAllSubmatch(value, -1) {
				to := string(m[1])
				if t.closed[to] && !t.closed[id] || !placed[to] && !place(to, append(above, id)) {
					return false
				}
			}
		}
		if !placed[id] {
			placed[id] = true
			models = append(models, Model{id, maps.Clone(now.state), slices.Clone(now.buffers), t.opened[id], t.closed[id]})
		}
		return true
	}
	for _, id := range t.ids {
		if !place(id, nil) {
			return nil
		}
	}
	return models
}

// WidgetState is what nbclient writes of widgets under metadata.widgets.
func WidgetState(models []Model) json.RawMessage {
	all := map[string]*widget{}
	for _, m := range models {
		all[m.ID] = &widget{state: m.State, buffers: m.Buffers}
	}
	return widgetState(all)
}

// Open is the content of the message that opens the widget with the state that it has, and the message's buffers.
func (m *Model) Open() (content any, buffers [][]byte) {
	paths := []json.RawMessage{}
	for _, b := range m.Buffers {
		paths, buffers = append(paths, b.Path), append(buffers, b.Data)
	}
	return map[string]any{"comm_id": m.ID, "target_name": "jupyter.widget", "target_module": nil,
		"data": map[string]any{"state": m.State, "buffer_paths": paths}}, buffers
}
