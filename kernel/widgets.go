package kernel

import (
	"encoding/json"
	"slices"
	"sync"

	"kedge/kernel/wire"
)

// widgets plays a front end's part for Jupyter widgets as nbclient does (nbclient/client.py, output_widget.py):
// it keeps the state of every model, and what is put out inside an Output widget goes there.
type widgets struct {
	send func(comm string, content any, parent wire.Message) error // a comm_msg to the kernel

	mu      sync.Mutex
	known   map[string]*widget         // by comm id
	capture map[string][]*outputWidget // by the message id whose outputs they take, innermost last
}

type widget struct {
	state   map[string]json.RawMessage
	buffers []WidgetBuffer
	output  *outputWidget // nil for other widgets
}

// WidgetBuffer is a binary part of a widget's state, at Path in it.
type WidgetBuffer struct {
	Data     []byte          `json:"data"` // in base64
	Encoding string          `json:"encoding"`
	Path     json.RawMessage `json:"path"`
}

// outputWidget holds outputs in place of a cell.
type outputWidget struct {
	comm    string
	outputs []json.RawMessage // of the state that it was opened with
	collector
	msgID string
}

func newWidgets(send func(comm string, content any, parent wire.Message) error) *widgets {
	return &widgets{send: send, known: map[string]*widget{}, capture: map[string][]*outputWidget{}}
}

// comm takes a comm_open or comm_msg. What is no state of a widget is passed over. It reports whether msg is about a
// widget that was opened before, or opens one.
func (w *widgets) comm(msg wire.Message) (known bool) {
	var m struct {
		Comm   string `json:"comm_id"`
		Target string `json:"target_name"`
		Data   struct {
			State map[string]json.RawMessage `json:"state"`
			Paths []json.RawMessage          `json:"buffer_paths"`
		} `json:"data"`
	}
	if json.Unmarshal(msg.Content, &m) != nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	model := w.known[m.Comm]
	known = model != nil || msg.Header.MsgType == "comm_open"
	if m.Data.State == nil {
		return known
	}
	if model == nil {
		model = &widget{state: map[string]json.RawMessage{}}
		w.known[m.Comm] = model
	}
	for name, value := range m.Data.State {
		model.state[name] = value
	}
	for i, path := range m.Data.Paths[:min(len(m.Data.Paths), len(msg.Buffers))] {
		model.put(WidgetBuffer{msg.Buffers[i], "base64", path})
	}
	switch {
	case msg.Header.MsgType == "comm_open" && m.Target == "jupyter.widget" && model.is("@jupyter-widgets/output", "OutputModel"):
		model.output = &outputWidget{comm: m.Comm}
		_ = json.Unmarshal(m.Data.State["outputs"], &model.output.outputs) // what is no list holds no outputs
	case msg.Header.MsgType == "comm_msg" && model.output != nil:
		w.redirect(model.output, m.Data.State["msg_id"])
	}
	return known
}

func (m *widget) put(b WidgetBuffer) {
	i := slices.IndexFunc(m.buffers, func(old WidgetBuffer) bool { return string(old.Path) == string(b.Path) })
	if i < 0 {
		m.buffers = append(m.buffers, b)
		return
	}
	m.buffers[i] = b
}

func (m *widget) is(module, name string) bool {
	var of, model string
	return json.Unmarshal(m.state["_model_module"], &of) == nil && of == module &&
		json.Unmarshal(m.state["_model_name"], &model) == nil && model == name
}

// redirect begins or, with an empty id, ends that the outputs of a message go to o.
func (w *widgets) redirect(o *outputWidget, msgID json.RawMessage) {
	var id string
	if json.Unmarshal(msgID, &id) != nil {
		return
	}
	if id != "" {
		w.capture[id] = append(w.capture[id], o)
	} else if stack := w.capture[o.msgID]; len(stack) > 0 {
		w.capture[o.msgID] = stack[:len(stack)-1]
	}
	o.msgID = id
}

// take gives an output or clear_output to the innermost Output widget that is open, and reports whether there is one.
func (w *widgets) take(msg wire.Message, m content) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	stack := w.capture[msg.Parent.MsgID]
	if len(stack) == 0 {
		return false
	}
	o := stack[len(stack)-1]
	cleared := o.pending || msg.Header.MsgType == "clear_output" && !m.Wait
	m.Transient.DisplayID = "" // updates do not reach the outputs of a widget
	o.apply(msg.Header.MsgType, m)
	if msg.Header.MsgType == "clear_output" && m.Wait {
		return true
	}
	if cleared {
		o.outputs = nil
	}
	outputs := slices.Clone(o.outputs)
	for _, out := range o.outs {
		outputs = append(outputs, out.encode())
	}
	state := map[string]json.RawMessage{"outputs": encode(append([]json.RawMessage{}, outputs...))}
	w.known[o.comm].state["outputs"] = state["outputs"]
	// The kernel's own copy only matters to code that reads it; without it the widget is still shown.
	_ = w.send(o.comm, map[string]any{"method": "update", "state": state, "buffer_paths": []string{}}, msg)
	return true
}

// metadata is what nbclient writes under metadata.widgets; nil if there was no widget.
func (w *widgets) metadata() json.RawMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.known) == 0 {
		return nil
	}
	return widgetState(w.known)
}

func widgetState(widgets map[string]*widget) json.RawMessage {
	type model struct {
		Name    json.RawMessage            `json:"model_name"`
		Module  json.RawMessage            `json:"model_module"`
		Version json.RawMessage            `json:"model_module_version"`
		State   map[string]json.RawMessage `json:"state"`
		Buffers []WidgetBuffer             `json:"buffers,omitempty"`
	}
	models := map[string]model{}
	for id, m := range widgets {
		if name, ok := m.state["_model_name"]; ok {
			models[id] = model{name, m.state["_model_module"], m.state["_model_module_version"], m.state, m.buffers}
		}
	}
	return encode(map[string]any{"application/vnd.jupyter.widget-state+json": map[string]any{
		"state": models, "version_major": 2, "version_minor": 0}})
}
