package notebook

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// TagError is a tag that breaks the grammar.
type TagError struct {
	Cell    string // id
	Tag     string
	Problem string
}

func (e *TagError) Error() string {
	return fmt.Sprintf("cell %s: tag %q: %s", e.Cell, e.Tag, e.Problem)
}

// Settings are what tags say beside steps. Values keep their colons.
type Settings struct {
	Cache       string // "enabled", "disabled" or "" for unsaid
	Image       string
	Limits      map[string]string
	Labels      map[string]string
	Annotations map[string]string
}

// add lays o over s; a step one of whose cells says disabled is disabled.
func (s *Settings) add(o Settings) {
	if o.Cache != "" && s.Cache != "disabled" {
		s.Cache = o.Cache
	}
	if o.Image != "" {
		s.Image = o.Image
	}
	for k, v := range o.Limits {
		put(&s.Limits, k, v)
	}
	for k, v := range o.Labels {
		put(&s.Labels, k, v)
	}
	for k, v := range o.Annotations {
		put(&s.Annotations, k, v)
	}
}

func put(m *map[string]string, k, v string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[k] = v
}

// cellTags is what the tags of one cell say.
type cellTags struct {
	step     string // from step:, block: or a special tag
	special  bool   // step comes from a special tag
	injected bool
	skip     bool
	raises   bool
	prev     []string
	Settings
}

// readTags applies the grammar to one cell. Foreign tags are passed over.
func readTags(cell *Cell) (cellTags, error) {
	var t cellTags
	for _, tag := range cell.Tags {
		switch tag {
		case "skip":
			t.skip = true
		case tagInjected:
			t.injected = true
		case "raises-exception":
			t.raises = true
		case "imports", "functions", tagParameters, tagPipelineParameters, "pipeline-metrics":
			if t.step == "" {
				t.step, t.special = tag, true
			}
		default:
			t.setting(tag)
		}
	}
	if t.skip || t.injected || t.special {
		return t, nil
	}
	return t, t.steps(cell)
}

func (t *cellTags) setting(tag string) {
	word, rest, _ := strings.Cut(tag, ":")
	if word == "cache" && (rest == "enabled" || rest == "disabled") {
		t.add(Settings{Cache: rest})
	}
	if word == "image" && rest != "" {
		t.Image = rest
	}
	key, val, found := strings.Cut(rest, ":")
	if !found || key == "" {
		return
	}
	switch word {
	case "limit":
		put(&t.Limits, key, val)
	case "label":
		put(&t.Labels, key, val)
	case "annotation":
		put(&t.Annotations, key, val)
	}
}

// steps reads step:, block: and prev: of a cell without special tags.
func (t *cellTags) steps(cell *Cell) error {
	prevTag := ""
	for _, tag := range cell.Tags {
		word, name, found := strings.Cut(tag, ":")
		if !found || word != "step" && word != "block" && word != "prev" {
			continue
		}
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r == ':' || unicode.IsSpace(r) }) {
			return &TagError{cell.ID, tag, "a step's name must not be empty or hold spaces or colons"}
		}
		switch {
		case word == "prev":
			prevTag = tag
			if !slices.Contains(t.prev, name) {
				t.prev = append(t.prev, name)
			}
		case t.step != "" && t.step != name:
			return &TagError{cell.ID, tag, "the cell is already in step " + t.step}
		default:
			t.step = name
		}
	}
	if prevTag != "" && t.step == "" {
		return &TagError{cell.ID, prevTag, "the cell has no step: tag"}
	}
	return nil
}
