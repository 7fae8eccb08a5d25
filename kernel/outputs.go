package kernel

import (
	"bytes"
	"encoding/json"
	"strings"
)

// output is one nbformat output while its cell runs. Stream text grows in a builder, so that many small writes
// cost their sum.
type output struct {
	kind    string
	name    string
	text    strings.Builder
	count   json.RawMessage
	data    json.RawMessage
	meta    json.RawMessage
	failure *failure
	display string
}

type failure struct {
	EName     string   `json:"ename"`
	EValue    string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

func (o *output) encode() json.RawMessage {
	switch o.kind {
	case "stream":
		return encode(struct {
			Name string `json:"name"`
			Type string `json:"output_type"`
			Text string `json:"text"`
		}{o.name, o.kind, o.text.String()})
	case "error":
		return encode(struct {
			*failure
			Type string `json:"output_type"`
		}{o.failure, o.kind})
	case "execute_result":
		return encode(struct {
			Data  json.RawMessage `json:"data"`
			Count json.RawMessage `json:"execution_count"`
			Meta  json.RawMessage `json:"metadata"`
			Type  string          `json:"output_type"`
		}{o.data, o.count, o.meta, o.kind})
	default:
		return encode(struct {
			Data json.RawMessage `json:"data"`
			Meta json.RawMessage `json:"metadata"`
			Type string          `json:"output_type"`
		}{o.data, o.meta, o.kind})
	}
}

// encode marshals a value made of strings and valid JSON, without HTML escapes.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return json.RawMessage("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// collector applies iopub messages to a cell's outputs as nbclient does.
type collector struct {
	outs    []*output
	pending bool // clear before the next output
	earlier map[string]bool
	updates []Update
	stray   bool // an update was for an id that no output has
}

// content holds the fields of all the iopub messages we act on.
type content struct {
	Name      string          `json:"name"`
	Text      string          `json:"text"`
	Data      json.RawMessage `json:"data"`
	Metadata  json.RawMessage `json:"metadata"`
	Count     json.RawMessage `json:"execution_count"`
	State     string          `json:"execution_state"`
	Wait      bool            `json:"wait"`
	Transient struct {
		DisplayID string `json:"display_id"`
	} `json:"transient"`
	failure
}

// apply handles one message and returns the output it added, nil if none.
func (c *collector) apply(kind string, m content) *output {
	if id := m.Transient.DisplayID; id != "" {
		found := c.update(Update{id, object(m.Data), object(m.Metadata)})
		c.stray = c.stray || kind == "update_display_data" && !found
	}
	o := &output{kind: kind, data: object(m.Data), meta: object(m.Metadata), display: m.Transient.DisplayID}
	switch kind {
	case "clear_output":
		if m.Wait {
			c.pending = true
		} else {
			c.outs = nil
		}
		return nil
	case "stream":
		o.name = m.Name
		o.text.WriteString(m.Text)
	case "execute_result":
		if o.count = m.Count; len(o.count) == 0 {
			o.count = json.RawMessage("null")
		}
	case "display_data":
	case "error":
		f := m.failure
		if f.Traceback == nil {
			f.Traceback = []string{}
		}
		o.failure = &f
	default:
		return nil
	}
	if c.pending {
		c.outs, c.pending = nil, false
	}
	if n := len(c.outs); kind == "stream" && n > 0 && c.outs[n-1].kind == kind && c.outs[n-1].name == o.name {
		c.outs[n-1].text.WriteString(m.Text)
	} else {
		c.outs = append(c.outs, o)
		if kind == "stream" { // the caller keeps its own copy of this part
			part := &output{kind: kind, name: o.name}
			part.text.WriteString(m.Text)
			return part
		}
	}
	return o
}

// update changes every output with the id, here and, by report, in earlier cells. The last update of an id wins. It
// reports whether there is such an output.
func (c *collector) update(u Update) (found bool) {
	for _, o := range c.outs {
		if o.display == u.DisplayID {
			o.data, o.meta, found = u.Data, u.Metadata, true
		}
	}
	if !c.earlier[u.DisplayID] {
		return found
	}
	for i := range c.updates {
		if c.updates[i].DisplayID == u.DisplayID {
			c.updates[i] = u
			return true
		}
	}
	c.updates = append(c.updates, u)
	return true
}

func object(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}")
	}
	return raw
}
