package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"kedge/kernel"
)

// shownAt is the place of one output in the document.
type shownAt struct{ cell, output int }

// tagDisplays adds the display ids to stored outputs, as messages carry them, so
// that a later cell can still update what was restored.
func tagDisplays(outputs []json.RawMessage, ids map[int]string) ([]json.RawMessage, error) {
	tagged := append([]json.RawMessage{}, outputs...)
	for i, id := range ids {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(outputs[i], &fields); err != nil {
			return nil, fmt.Errorf("store outputs: %w", err)
		}
		transient, err := json.Marshal(map[string]string{"display_id": id})
		if err != nil {
			return nil, fmt.Errorf("store outputs: %w", err)
		}
		fields["transient"] = transient
		if tagged[i], err = json.Marshal(fields); err != nil {
			return nil, fmt.Errorf("store outputs: %w", err)
		}
	}
	return tagged, nil
}

// untagDisplays is the inverse of [tagDisplays].
func untagDisplays(tagged []json.RawMessage) ([]json.RawMessage, map[int]string, error) {
	outputs, ids := append([]json.RawMessage{}, tagged...), map[int]string{}
	for i, raw := range tagged {
		var head struct {
			Transient *struct {
				DisplayID string `json:"display_id"`
			} `json:"transient"`
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			return nil, nil, fmt.Errorf("read outputs: %w", err)
		}
		if head.Transient == nil {
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, nil, fmt.Errorf("read outputs: %w", err)
		}
		delete(fields, "transient")
		plain, err := json.Marshal(fields)
		if err != nil {
			return nil, nil, fmt.Errorf("read outputs: %w", err)
		}
		outputs[i], ids[i] = plain, head.Transient.DisplayID
	}
	return outputs, ids, nil
}

// show notes which display ids the outputs of a cell have.
func (s *Session) show(cell int, ids map[int]string) {
	for output, id := range ids {
		s.displays[id] = append(s.displays[id], shownAt{cell, output})
	}
}

// shown are the display ids of the outputs so far.
func (s *Session) shown() []string {
	ids := make([]string, 0, len(s.displays))
	for id := range s.displays {
		ids = append(ids, id)
	}
	return ids
}

// showAgain changes the outputs of earlier cells that have a display id of
// these outputs: whoever shows something under an id that is there updates it.
func (s *Session) showAgain(outputs []json.RawMessage, ids map[int]string) error {
	var updates []kernel.Update
	for _, i := range slices.Sorted(maps.Keys(ids)) {
		u := kernel.Update{DisplayID: ids[i]}
		if err := json.Unmarshal(outputs[i], &u); err != nil {
			return fmt.Errorf("read outputs: %w", err)
		}
		updates = append(updates, u)
	}
	return s.update(updates)
}

// update changes outputs of earlier cells as a cell asked.
func (s *Session) update(updates []kernel.Update) error {
	for _, u := range updates {
		for _, p := range s.displays[u.DisplayID] {
			if err := s.cfg.Document.UpdateOutput(p.cell, p.output, u.Data, u.Metadata); err != nil {
				return fmt.Errorf("update display %s: %w", u.DisplayID, err)
			}
		}
	}
	return nil
}
