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

// replay answers for a cell that was restored, as the kernel would for one that it ran.
func (n *Notebook) replay(ctx context.Context, a asked, answer session.Answer, c *kernel.Cell) error {
	total := 0
	for _, raw := range answer.Outputs {
		total += len(raw)
	}
	pace := newPacer(n.cfg.StreamRate, total)
	c.Shows(answer.DisplayIDs)
	c.Status("busy")
	c.Publish("execute_input", map[string]any{"code": a.Code, "execution_count": answer.Count}, nil, nil)
	var damaged error
	for i, raw := range answer.Outputs {
		var out shown
		if err := json.Unmarshal(raw, &out); err != nil {
			damaged = fmt.Errorf("show output %d again: %w", i, err)
			continue
		}
		transient := map[string]string{}
		if id, ok := answer.DisplayIDs[i]; ok {
			transient["display_id"] = id
		}
		switch out.Type {
		case "stream":
			pace.each(ctx, out.Text, func(part string) {
				c.Publish("stream", map[string]string{"name": out.Name, "text": part}, nil, nil)
			})
		case "display_data":
			c.Publish("display_data", map[string]any{"data": out.Data, "metadata": out.Metadata, "transient": transient}, nil, nil)
		case "execute_result":
			content := map[string]any{"data": out.Data, "metadata": out.Metadata, "execution_count": answer.Count}
			if len(transient) > 0 {
				content["transient"] = transient
			}
			c.Publish("execute_result", content, nil, nil)
		}
	}
	metadata := c.Metadata("ok")
	metadata["kedge"] = mark(answer)
	c.Reply(map[string]any{"status": "ok", "execution_count": answer.Count, "user_expressions": struct{}{}, "payload": []any{}}, metadata)
	c.Status("idle")
	return damaged
}

// answerInterrupted answers for a cell that was interrupted before the kernel
// had it, as the kernel does for one that is interrupted at its first step.
func (n *Notebook) answerInterrupted(ctx context.Context, a asked, c *kernel.Cell) error {
	count, err := n.enter(ctx, a.Code, c)
	if err != nil {
		return err // the proxy forwards it
	}
	stop := failure{"KeyboardInterrupt", "", []string{"KeyboardInterrupt: "}}
	c.Status("busy")
	c.Publish("execute_input", map[string]any{"code": a.Code, "execution_count": count}, nil, nil)
	c.Publish("error", stop, nil, nil)
	c.Reply(map[string]any{"status": "error", "execution_count": count, "user_expressions": struct{}{}, "payload": []any{},
		"ename": stop.EName, "evalue": stop.EValue, "traceback": stop.Traceback}, c.Metadata("error"))
	c.Status("idle")
	return nil
}
