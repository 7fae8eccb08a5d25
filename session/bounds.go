package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"kedge/notebook"
)

// expired says why a hit recorded at a time is too old for its cell, or "":
// kedge.ttl in the cell's metadata bounds how long what it did may be used.
func expired(cell notebook.CodeCell, created, now time.Time) string {
	raw, ok := cell.Metadata("kedge", "ttl")
	if !ok {
		return ""
	}
	ttl, err := lifetime(raw)
	if err != nil {
		return fmt.Sprintf("kedge.ttl of the cell is no time (%s): not cached", err)
	}
	if now.Sub(created) > ttl {
		return fmt.Sprintf("older than its kedge.ttl of %s", strings.Trim(string(raw), `"`))
	}
	return ""
}

// lifetime reads a number of seconds, or a duration such as "90s", "12h" or "7d".
func lifetime(raw json.RawMessage) (time.Duration, error) {
	var seconds float64
	if json.Unmarshal(raw, &seconds) == nil {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return 0, fmt.Errorf("want seconds, or a text such as \"12h\" or \"7d\"")
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		if _, err := fmt.Sscanf(days, "%g", &n); err == nil {
			return time.Duration(n * 24 * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("want seconds, or a text such as \"12h\" or \"7d\"")
	}
	return d, nil
}

// stateless are the packages that people declare to hold no state of their
// own: in the notebook's metadata under kedge.stateless, or for all notebooks.
func stateless(doc *notebook.Document, everywhere []string) ([]string, error) {
	names := slices.Clone(everywhere)
	if raw, ok := doc.Metadata("kedge", "stateless"); ok {
		var own []string
		if err := json.Unmarshal(raw, &own); err != nil {
			return nil, fmt.Errorf("the notebook's metadata: kedge.stateless is not a list of package names: %w", err)
		}
		names = append(names, own...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
