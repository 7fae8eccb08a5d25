package share

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/snapshotter"
)

// The rules by which secrets are looked for, one file. A rule is tried only
// around its hints: one of these texts has to be there.
//
//go:embed detectors.json
var detectorFile []byte

const (
	maxScanned = 64 << 20 // bytes of one value or file that are looked at
	around     = 256      // bytes before and after a hint
)

// detector is one rule.
type detector struct {
	Name    string   `json:"name"`
	Hints   []string `json:"hints"`
	Pattern string   `json:"pattern"`
	Varied  bool     `json:"varied"` // what was found counts only if it is no plain word
	match   *regexp.Regexp
}

var detectors = sync.OnceValues(func() (list []detector, err error) {
	if err := json.Unmarshal(detectorFile, &list); err != nil {
		return nil, fmt.Errorf("rules of secrets: %w", err)
	}
	for i := range list {
		if list[i].match, err = regexp.Compile(list[i].Pattern); err != nil {
			return nil, fmt.Errorf("rule %s: %w", list[i].Name, err)
		}
	}
	return list, nil
})

// Secret is what looks like one. Its text is not kept.
type Secret struct {
	Rule  string `json:"rule"`
	Where string `json:"where"`
}

// Secrets looks for secrets in what a manifest would publish: cells and their
// outputs, files, variables and process state. It unpickles nothing.
func Secrets(ctx context.Context, store *snapshotter.Store, m *Manifest) ([]Secret, error) {
	s := &search{ctx: ctx, store: store, found: []Secret{}}
	var err error
	if s.rules, err = detectors(); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		switch {
		case f.Type != typeFile:
		case f.Path == m.Notebook:
			err = errors.Join(err, s.notebook(f.Content))
		default:
			err = errors.Join(err, s.blob(f.Content, "file "+f.Path))
		}
	}
	for _, v := range m.Variables {
		s.text([]byte(v.Shown), "variable "+v.Name)
	}
	if m.State != nil {
		err = errors.Join(err, s.state(m))
	}
	if err != nil {
		return nil, fmt.Errorf("look for secrets: %w", err)
	}
	return s.found, nil
}

// search is the state of one Secrets.
type search struct {
	ctx   context.Context
	store *snapshotter.Store
	rules []detector
	found []Secret
}

func (s *search) notebook(id cellgraph.Digest) error {
	data, err := s.store.Blob(s.ctx, id)
	if err != nil {
		return err
	}
	var doc struct {
		Cells []struct {
			ID      string          `json:"id"`
			Source  json.RawMessage `json:"source"`
			Outputs json.RawMessage `json:"outputs"`
		} `json:"cells"`
	}
	if json.Unmarshal(data, &doc) != nil {
		s.text(data, "the notebook")
		return nil
	}
	for i, c := range doc.Cells {
		name := c.ID
		if name == "" {
			name = fmt.Sprint(i + 1)
		}
		s.text(c.Source, "cell "+name)
		s.text(c.Outputs, "an output of cell "+name)
	}
	return nil
}

func (s *search) state(m *Manifest) error {
	_, traces, err := m.State.read(m)
	if err != nil {
		return err
	}
	seen := map[cellgraph.Digest]bool{}
	for i := range traces {
		t := &traces[i]
		for _, g := range t.Effect.Captured() {
			if seen[g.Payload] {
				continue
			}
			seen[g.Payload] = true
			if err := s.group(g); err != nil {
				return err
			}
		}
		for _, a := range t.Effect.Ambient {
			if !seen[a.Payload] {
				seen[a.Payload] = true
				err = errors.Join(err, s.blob(a.Payload, "process state "+a.Name))
			}
		}
		err = errors.Join(err, s.blob(t.Effect.Outputs, "an output of cell "+t.Cell))
	}
	return err
}

// group looks into the stream and the buffers of variables.
func (s *search) group(g cellgraph.Group) error {
	data, err := s.store.Blob(s.ctx, g.Payload)
	if errors.Is(err, snapshotter.ErrNotFound) { // of a cell that is never restored
		return nil
	}
	if err != nil {
		return err
	}
	p, err := agent.DecodePayload(data)
	if err != nil {
		return err
	}
	where := "variable " + strings.Join(g.Names, ", ")
	err = s.blob(p.Stream, where)
	for _, b := range p.Buffers {
		err = errors.Join(err, s.blob(b.Blob, where))
	}
	return err
}

func (s *search) blob(id cellgraph.Digest, where string) error {
	if id.IsZero() {
		return nil
	}
	r, _, err := s.store.OpenBlob(s.ctx, id)
	if errors.Is(err, snapshotter.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxScanned))
	s.text(data, where)
	return err
}

// text notes each rule that finds something, once for each place.
func (s *search) text(data []byte, where string) {
	for i := range s.rules {
		one := Secret{s.rules[i].Name, where}
		if !slices.Contains(s.found, one) && s.rules[i].in(data) {
			s.found = append(s.found, one)
		}
	}
}

func (d *detector) in(data []byte) bool {
	for _, hint := range d.Hints {
		for at := 0; ; {
			next := bytes.Index(data[at:], []byte(hint))
			if next < 0 {
				break
			}
			at += next
			for _, found := range d.match.FindAll(data[max(0, at-around):min(len(data), at+len(hint)+around)], -1) {
				if !d.Varied || varied(found) {
					return true
				}
			}
			at += len(hint)
		}
	}
	return false
}

// varied reports whether the text in quotes at the end of found looks made by a
// machine or chosen to be hard to guess: letters and digits, and no placeholder.
func varied(found []byte) bool {
	text := strings.TrimRight(string(found), `'"\`)
	text = text[strings.LastIndexAny(text, `'"`)+1:]
	lower := strings.ToLower(text)
	for _, word := range []string{"example", "your", "xxxx", "changeme", "placeholder", "<", "${", "{{", "****"} {
		if strings.Contains(lower, word) {
			return false
		}
	}
	return strings.ContainsAny(text, "0123456789") && strings.ContainsFunc(text, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
}
