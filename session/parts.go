package session

import (
	"context"
	"encoding/json"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/agent"
)

// parter answers from the stored streams of groups. What it has found out is
// remembered in the store, so that a fully cached run reads no stream.
type parter struct {
	ctx   context.Context
	store Store
	found map[cellgraph.Digest][]cellgraph.Part
}

// Parts splits names of g; see [cellgraph.Parter].
func (p *parter) Parts(g *cellgraph.Group, names []string) ([]cellgraph.Part, bool) {
	key := cellgraph.Combine("parts", g.ID.String(), g.Payload.String(), strings.Join(names, "\n"))
	if parts, ok := p.found[key]; ok {
		return parts, true
	}
	var parts []cellgraph.Part
	if data, ok, err := p.store.Memo(p.ctx, "parts", key); err == nil && ok && json.Unmarshal(data, &parts) == nil {
		p.found[key] = parts
		return parts, true
	}
	parts, err := p.read(g, names)
	if err != nil {
		return nil, false // what depends on it does not hold
	}
	p.found[key] = parts
	if data, err := json.Marshal(parts); err == nil {
		_ = p.store.PutMemo(p.ctx, "parts", key, data) // a lost memo costs one more parse
	}
	return parts, true
}

func (p *parter) read(g *cellgraph.Group, names []string) ([]cellgraph.Part, error) {
	data, err := p.store.Blob(p.ctx, g.Payload)
	if err != nil {
		return nil, err
	}
	payload, err := agent.DecodePayload(data)
	if err != nil {
		return nil, err
	}
	stream, err := p.store.Blob(p.ctx, payload.Stream)
	if err != nil {
		return nil, err
	}
	var hashed []agent.HashedBuffer
	for _, b := range payload.Buffers {
		hashed = append(hashed, agent.HashedBuffer{Digest: b.Blob, Length: b.Length, ReadOnly: b.ReadOnly})
	}
	return agent.Parts(stream, hashed, names)
}
