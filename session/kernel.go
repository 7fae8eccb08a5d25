package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/kernel/observe"
)

// ready starts the kernel when the first cell really runs.
func (s *Session) ready(ctx context.Context) error {
	if s.kernel != nil {
		return nil
	}
	ring, err := observe.Create(s.cfg.Runtime)
	if err != nil {
		return fmt.Errorf("observe files: %w", err)
	}
	s.ring = ring
	k, err := s.cfg.Launch(ctx, ring)
	if err != nil {
		return err
	}
	s.kernel = k
	s.agent = agent.NewClient(s.kernel)
	var info struct {
		Language json.RawMessage `json:"language_info"`
	}
	if err := json.Unmarshal(s.kernel.Info(), &info); err == nil && info.Language != nil {
		_ = s.cfg.Store.PutMemo(ctx, "language", s.language(), info.Language) // a lost memo costs a field of the document
		return s.cfg.Document.SetLanguageInfo(info.Language)
	}
	return nil
}

// language is the memo key of what the kernel said of its language.
func (s *Session) language() cellgraph.Digest {
	return cellgraph.Combine("language", s.cfg.KernelID, s.cfg.Modules["python"])
}

// bring lays over the kernel what differs from the state that the cells so far left.
func (s *Session) bring(ctx context.Context, count int) error {
	count--
	r := agent.Restore{ExecutionCount: &count, Changed: sorted(s.changed.inPlace), Lost: sorted(s.changed.lost), Rebound: sorted(s.changed.rebound), Widgets: s.closed}
	if _, err := s.lay(ctx, r); err != nil {
		return err
	}
	s.changed.clear()
	s.reopened = s.reopened || len(s.closed) > 0
	s.closed = nil
	return nil
}

// lay adds to r what differs, and the names that are bound anew, be it to what
// equals their values, and applies it. It returns the execution count of the
// cell that r enters.
func (s *Session) lay(ctx context.Context, r agent.Restore, anew ...string) (count int, err error) {
	seen := map[*cellgraph.Group]bool{}
	var kept []string                        // names that the kernel holds as they are
	for _, name := range s.state.InOrder() { // a class that has no name is what was captured last
		g := s.state.Group(name)
		old := s.live.Group(name)
		same := old != nil && old.ID == g.ID && old.Payload == g.Payload && !slices.ContainsFunc(g.Names, func(n string) bool { return s.state.Group(n) == g && slices.Contains(anew, n) })
		if same && !seen[g] {
			kept = append(kept, name)
		}
		if seen[g] || same {
			continue
		}
		seen[g] = true
		load, err := s.load(ctx, g)
		if err != nil {
			return 0, err
		}
		for _, n := range g.Names {
			if s.state.Group(n) == g {
				load.Bind = append(load.Bind, n)
			}
		}
		r.Groups = append(r.Groups, load)
	}
	for i, load := range r.Groups {
		r.Groups[i].Later = s.state.Later(load.Bind[0], kept)
	}
	r.Order = s.state.AsBorn(s.state.Names())
	r.Delete = s.gone()
	for _, m := range s.state.Modules() {
		if !slices.Contains(s.live.Modules(), m) {
			r.Modules = append(r.Modules, m)
		}
	}
	live := map[string]cellgraph.Digest{}
	for _, a := range s.live.Ambient() {
		live[a.Name] = a.ID
	}
	for _, a := range s.state.Ambient() {
		if live[a.Name] == a.ID {
			continue
		}
		data, err := s.cfg.Store.Blob(ctx, a.Payload)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", a.Name, err)
		}
		r.Ambient = append(r.Ambient, agent.AmbientState{Name: a.Name, State: data})
	}
	for name := range live {
		if s.state.ObserveAmbient(name).ID.IsZero() { // back to before a cell set it
			r.Ambient = append(r.Ambient, agent.AmbientState{Name: name, State: []byte{}})
		}
	}
	r.Texts = s.untold()
	if r.ExecutionCount == nil || *r.ExecutionCount != s.counted || !r.Empty() {
		if count, err = s.agent.Apply(ctx, r); err != nil {
			return 0, err
		}
	}
	if r.ExecutionCount != nil {
		s.counted = *r.ExecutionCount
	}
	s.spoken = len(s.past)
	s.live = s.state.Clone()
	return count, nil
}

// gone are the names that the kernel holds and that restored cells have
// deleted, or bound to what cannot be captured.
func (s *Session) gone() []string {
	kept := map[string]bool{}
	for _, u := range s.state.Opaque() {
		kept[u.Name] = true
	}
	var names []string
	for _, name := range s.live.Names() {
		if s.state.Group(name) == nil {
			names = append(names, name)
		}
	}
	for _, u := range s.live.Opaque() {
		if s.state.Group(u.Name) == nil && !kept[u.Name] && !(s.present != nil && s.alive(s.present, u.Name)) {
			names = append(names, u.Name)
		}
	}
	return names
}

// load finds where the bytes of a group lie.
func (s *Session) load(ctx context.Context, g *cellgraph.Group) (agent.Load, error) {
	data, err := s.cfg.Store.Blob(ctx, g.Payload)
	if err != nil {
		return agent.Load{}, fmt.Errorf("read value of %v: %w", g.Names, err)
	}
	payload, err := agent.DecodePayload(data)
	if err != nil {
		return agent.Load{}, fmt.Errorf("read value of %v: %w", g.Names, err)
	}
	load := agent.Load{Names: g.Names}
	if load.Stream, err = s.source(ctx, payload.Stream, false); err != nil {
		return load, err
	}
	taken := s.taken(ctx, payload, load.Stream.Length())
	for i, b := range payload.Buffers {
		src, err := s.source(ctx, b.Blob, b.ReadOnly)
		if err != nil {
			return load, err
		}
		src.Map = b.Length >= mapLeast && i < len(taken) && taken[i]
		load.Buffers = append(load.Buffers, src)
	}
	return load, nil
}

const (
	mapLeast = 1 << 20  // bytes of a buffer that is worth mapping
	mapMost  = 16 << 20 // bytes of a stream in which it is looked for who gets the buffers
)

// taken says which of a payload's buffers may be mapped; nothing where none is large, or its stream is too long.
func (s *Session) taken(ctx context.Context, p agent.Payload, length int64) []bool {
	if length > mapMost || !slices.ContainsFunc(p.Buffers, func(b agent.PayloadBuffer) bool { return b.Length >= mapLeast }) {
		return nil
	}
	stream, err := s.cfg.Store.Blob(ctx, p.Stream)
	if err != nil {
		return nil
	}
	taken, err := agent.Taken(stream)
	if err != nil {
		return nil // the kernel says what is wrong with it
	}
	return taken
}

// source checks a blob and finds its bytes: the kernel reads them as they are.
func (s *Session) source(ctx context.Context, id cellgraph.Digest, readOnly bool) (agent.Source, error) {
	ranges, err := s.cfg.Store.SoundRanges(ctx, id)
	if err != nil {
		return agent.Source{}, fmt.Errorf("check blob %s: %w", id, err)
	}
	src := agent.Source{Ranges: []agent.Range{}, ReadOnly: readOnly}
	for _, r := range ranges {
		src.Ranges = append(src.Ranges, agent.Range(r))
		s.watch.lent[r.Path] = true
	}
	return src, nil
}
