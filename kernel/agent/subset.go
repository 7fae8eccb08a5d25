package agent

import (
	"fmt"
	"slices"

	"kedge/cellgraph"
)

// Parts splits names, all bound by the stream of one group, into those that
// share mutable objects with each other, and gives the identity of what each
// such part reaches. A part is digested as if the group held no other names,
// so the answer does not depend on what else was captured with it: a part of
// all the names of a group has the group's own [Identity].
//
// Parts come in the order of their first names, which are sorted. The error is
// ErrStream, also if the stream does not bind one of the names.
func Parts(stream []byte, buffers []HashedBuffer, names []string) ([]cellgraph.Part, error) {
	g, err := parse(stream)
	if err != nil {
		return nil, err
	}
	if g.buffers != len(buffers) {
		return nil, fmt.Errorf("%w: it uses %d buffers of %d", ErrStream, g.buffers, len(buffers))
	}
	table, err := g.bindings()
	if err != nil {
		return nil, err
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	sets, err := g.connected(table, names)
	if err != nil {
		return nil, err
	}
	parts := make([]cellgraph.Part, 0, len(sets))
	for _, set := range sets {
		sub := g.restricted(table, set)
		id, err := newEncoder(sub, buffers).digest()
		if err != nil {
			return nil, err
		}
		parts = append(parts, cellgraph.Part{Names: set, ID: id})
	}
	return parts, nil
}

// binding is a name of the root and its value.
type binding struct{ key, value value }

// bindings are the names that the root, a dict, binds.
func (g *graph) bindings() (map[string]binding, error) {
	if g.root.kind() != vNode || g.nodes[g.root.payload()].kind != nodeDict {
		return nil, fmt.Errorf("%w: it does not bind names", ErrStream)
	}
	table := map[string]binding{}
	for id := g.nodes[g.root.payload()].first; id != 0; id = g.segs[id-1].next {
		s := g.segs[id-1]
		kids := g.kids[s.start : s.start+s.count]
		for i := 0; i+1 < len(kids); i += 2 {
			name, ok := g.text(kids[i])
			if !ok || s.op != segItem {
				return nil, fmt.Errorf("%w: it does not bind names", ErrStream)
			}
			table[string(name)] = binding{kids[i], kids[i+1]}
		}
	}
	return table, nil
}

// connected joins names that reach one object that has an identity of its own.
func (g *graph) connected(table map[string]binding, names []string) ([][]string, error) {
	part := make([]int, len(names)) // index of the name that stands for it
	owner := map[uint64]int{}       // node → a name that reaches it
	find := func(i int) int {
		for part[i] != i {
			part[i] = part[part[i]]
			i = part[i]
		}
		return i
	}
	for i, name := range names {
		part[i] = i
		b, ok := table[name]
		if !ok {
			return nil, fmt.Errorf("%w: it does not bind %s", ErrStream, name)
		}
		g.reach(b.value, func(node uint64) bool {
			first, met := owner[node]
			owner[node] = i
			if !met || first == i {
				return !met
			}
			if g.nodes[node].kind < nodeList { // what it holds may have an identity
				return true
			}
			if a, b := find(first), find(i); a != b {
				part[max(a, b)] = min(a, b)
			}
			return false
		})
	}
	var sets [][]string
	at := map[int]int{}
	for i, name := range names {
		root := find(i)
		if _, ok := at[root]; !ok {
			at[root] = len(sets)
			sets = append(sets, nil)
		}
		sets[at[root]] = append(sets[at[root]], name)
	}
	return sets, nil
}

// reach visits the nodes reachable from v; visit says whether to go further.
func (g *graph) reach(v value, visit func(node uint64) bool) {
	work := []value{v}
	for len(work) > 0 {
		v := work[len(work)-1]
		work = work[:len(work)-1]
		if v.kind() != vNode || !visit(v.payload()) {
			continue
		}
		for id := g.nodes[v.payload()].first; id != 0; id = g.segs[id-1].next {
			s := g.segs[id-1]
			work = append(work, g.kids[s.start:s.start+s.count]...)
		}
	}
}

// restricted is g with a root that binds only names. It shares what it can
// with g and has marks of its own for an encoder.
func (g *graph) restricted(table map[string]binding, names []string) *graph {
	sub := *g
	sub.nodes = slices.Clone(g.nodes)
	sub.segs = slices.Clip(g.segs)
	sub.kids = slices.Clip(g.kids)
	start := uint32(len(sub.kids))
	for _, name := range names {
		sub.kids = append(sub.kids, table[name].key, table[name].value)
	}
	sub.segs = append(sub.segs, segment{start: start, count: uint32(2 * len(names)), op: segItem})
	at := uint32(len(sub.segs))
	sub.nodes = append(sub.nodes, node{kind: nodeDict, first: at, last: at})
	sub.root = vNode | value(len(sub.nodes)-1)
	return &sub
}
