package session

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"kedge/cellgraph"
	"kedge/kernel"
	"kedge/kernel/agent"
)

// storeWidgets keeps the widgets that a cell has made; the zero digest stands for none.
func (s *Session) storeWidgets(ctx context.Context, models []kernel.Model) (id cellgraph.Digest, err error) {
	if len(models) == 0 {
		return id, nil
	}
	data, err := json.Marshal(models)
	if err == nil {
		id, err = s.cfg.Store.PutBlob(ctx, data)
	}
	if err != nil {
		return id, fmt.Errorf("store widgets: %w", err)
	}
	return id, nil
}

// storedWidgets is the inverse of storeWidgets.
func (s *Session) storedWidgets(ctx context.Context, id cellgraph.Digest) (models []kernel.Model, err error) {
	if id.IsZero() {
		return nil, nil
	}
	data, err := s.cfg.Store.Blob(ctx, id)
	if err == nil {
		err = json.Unmarshal(data, &models)
	}
	if err != nil {
		return nil, fmt.Errorf("its widgets cannot be read: %w", err)
	}
	return models, nil
}

// showWidgets adds to the document what metadata, in nbclient's form, says of the state of widgets.
func (s *Session) showWidgets(metadata json.RawMessage) error {
	const kind = "application/vnd.jupyter.widget-state+json"
	var told map[string]struct {
		State map[string]json.RawMessage `json:"state"`
		Major int                        `json:"version_major"`
		Minor int                        `json:"version_minor"`
	}
	if metadata == nil {
		return nil
	}
	if err := json.Unmarshal(metadata, &told); err != nil {
		return err
	}
	state := told[kind]
	if len(state.State) == 0 {
		return nil
	}
	for id, model := range state.State {
		s.widgets[id] = model
	}
	state.State = s.widgets
	told[kind] = state
	all, err := json.Marshal(told)
	if err != nil {
		return err
	}
	return s.cfg.Document.SetWidgets(all)
}

// again is what the kernel is told so that it has the widgets, those apart that their cell has closed.
func again(models []kernel.Model) []agent.Widget {
	var widgets []agent.Widget
	for _, m := range models {
		if m.Closed {
			continue
		}
		w := agent.Widget{ID: m.ID, State: m.State, Buffers: []agent.WidgetBuffer{}}
		for _, b := range m.Buffers {
			w.Buffers = append(w.Buffers, agent.WidgetBuffer{Path: b.Path, Data: b.Data})
		}
		widgets = append(widgets, w)
	}
	return widgets
}

// made notes the widgets that a cell has made in the kernel.
func (n *Interactive) made(models []kernel.Model) {
	for _, m := range models {
		n.opened[m.ID] = true
	}
}

// anew gives widgets, and the outputs that show them, ids of their own if the kernel has had theirs: a cell makes new
// ones each time that it runs.
func (n *Interactive) anew(outputs []json.RawMessage, models []kernel.Model) ([]json.RawMessage, []kernel.Model, error) {
	had := false
	var pairs []string
	for _, m := range models {
		had = had || n.opened[m.ID]
		pairs = append(pairs, m.ID, strings.ReplaceAll(uuid.NewString(), "-", ""))
	}
	if had {
		both, err := json.Marshal([]any{outputs, models})
		if err != nil {
			return nil, nil, fmt.Errorf("give its widgets other ids: %w", err)
		}
		outputs, models = nil, nil
		renamed := strings.NewReplacer(pairs...).Replace(string(both))
		if err := json.Unmarshal([]byte(renamed), &[]any{&outputs, &models}); err != nil {
			return nil, nil, fmt.Errorf("give its widgets other ids: %w", err)
		}
	}
	n.made(models)
	return outputs, models, nil
}
