package live

import (
	"context"
	"encoding/json"
	"fmt"

	"kedge/kernel"
	"kedge/session"
)

// kedgeMark is what the reply to a cell of a step says of it, under "kedge" in its metadata.
type kedgeMark struct {
	Status       string  `json:"status"`
	Why          string  `json:"why"`
	SavedSeconds float64 `json:"saved_seconds"`
	Snapshot     string  `json:"snapshot,omitempty"` // of a cell that ran it is not known yet
}

func mark(a session.Answer) json.RawMessage {
	data, err := json.Marshal(kedgeMark{a.Status, a.Why, a.SavedSeconds, a.Snapshot})
	if err != nil {
		return nil
	}
	return data
}

// failure is the content of an error message; a reply to a failed cell holds it too.
type failure struct {
	EName     string   `json:"ename"`
	EValue    string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

// shown is an nbformat output; none is an error, for cells that end with one really run.
type shown struct {
	Type     string          `json:"output_type"`
	Name     string          `json:"name"`
	Text     string          `json:"text"`
	Data     json.RawMessage `json:"data"`
	Metadata json.RawMessage `json:"metadata"`
}

// answer answers a request in the kernel's place: show publishes its outputs,
// failed is what it ends with, or nil, and marked says what became of a cell of
// a step, if it is one.
func answer(c *kernel.Cell, code string, count int, show func(), failed *failure, marked json.RawMessage) {
	c.Status("busy")
	c.Publish("execute_input", map[string]any{"code": code, "execution_count": count}, nil, nil)
	show()
	status := "ok"
	content := map[string]any{"execution_count": count, "user_expressions": struct{}{}, "payload": []any{}}
	if failed != nil {
		c.Publish("error", failed, nil, nil)
		status = "error"
		content["ename"], content["evalue"], content["traceback"] = failed.EName, failed.EValue, failed.Traceback
	}
	content["status"] = status
	metadata := c.Metadata(status)
	if marked != nil {
		metadata["kedge"] = marked
	}
	c.Reply(content, metadata)
	c.Status("idle")
}

// replay answers for a cell that was restored, as the kernel would for one that it ran.
func (n *Notebook) replay(ctx context.Context, a asked, of session.Answer, c *kernel.Cell) (damaged error) {
	total := 0
	for _, raw := range of.Outputs {
		total += len(raw)
	}
	pace := newPacer(n.cfg.StreamRate, total)
	c.Shows(of.DisplayIDs)
	answer(c, a.Code, of.Count, func() {
		for i := range of.Widgets {
			content, buffers := of.Widgets[i].Open()
			c.Publish("comm_open", content, of.Widgets[i].Metadata, buffers)
		}
		for i, raw := range of.Outputs {
			if err := showAgain(ctx, c, raw, of.DisplayIDs[i], of.Count, pace); err != nil {
				damaged = fmt.Errorf("show output %d again: %w", i, err)
			}
		}
		for _, w := range of.Widgets {
			if w.Closed {
				c.Publish("comm_close", map[string]any{"comm_id": w.ID, "data": struct{}{}}, nil, nil)
			}
		}
	}, nil, mark(of))
	return damaged
}

// showAgain publishes an output of a restored cell; displayID is "" if it has none.
func showAgain(ctx context.Context, c *kernel.Cell, raw json.RawMessage, displayID string, count int, pace *pacer) error {
	var out shown
	if err := json.Unmarshal(raw, &out); err != nil {
		return err
	}
	transient := map[string]string{}
	if displayID != "" {
		transient["display_id"] = displayID
	}
	switch out.Type {
	case "stream":
		pace.each(ctx, out.Text, func(part string) {
			c.Publish("stream", map[string]string{"name": out.Name, "text": part}, nil, nil)
		})
	case "display_data":
		c.Publish("display_data", map[string]any{"data": out.Data, "metadata": out.Metadata, "transient": transient}, nil, nil)
	case "execute_result":
		content := map[string]any{"data": out.Data, "metadata": out.Metadata, "execution_count": count}
		if len(transient) > 0 {
			content["transient"] = transient
		}
		c.Publish("execute_result", content, nil, nil)
	}
	return nil
}

// answerInterrupted answers for a cell that was interrupted before the kernel
// had it, as the kernel does for one that is interrupted at its first step.
func (n *Notebook) answerInterrupted(ctx context.Context, a asked, c *kernel.Cell) error {
	count, err := n.enter(ctx, a.Code, c)
	if err != nil {
		return err // the proxy forwards it
	}
	answer(c, a.Code, count, func() {}, &failure{"KeyboardInterrupt", "", []string{"KeyboardInterrupt: "}}, nil)
	return nil
}
