package agent

// takers are the functions that nobody sees a buffer behind: an array takes it
// over, arrays show it, or Arrow does.
var takers = map[global]bool{
	{"kedge_agent.arrays", "owned"}: true,
	{"kedge_agent.arrays", "same"}:  true,
	{"pyarrow.lib", "py_buffer"}:    true,
}

// Taken says of each of a stream's buffers whether nothing but one of our takers
// gets it, so that the kernel may map it: whoever else gets a buffer could tell
// what it is. The error is ErrStream.
func Taken(stream []byte) ([]bool, error) {
	g, err := parse(stream)
	if err != nil {
		return nil, err
	}
	taken, others := make([]bool, g.buffers), make([]bool, g.buffers)
	buffer := func(v value) (int, bool) {
		if v.kind() != vNode || g.nodes[v.payload()].kind != nodeBuffer {
			return 0, false
		}
		return int(g.nodes[v.payload()].buffer), true
	}
	firsts := map[value]bool{} // argument tuples of takers
	for i, n := range g.nodes {
		if n.kind != nodeReduce {
			continue
		}
		call := g.made(vNode | value(i))
		if len(call) == 2 && call[0].kind() == vGlobal && takers[g.globals[call[0].payload()]] {
			firsts[call[1]] = true
		}
	}
	for i, n := range g.nodes {
		for at := n.first; at != 0; at = g.segs[at-1].next {
			s := g.segs[at-1]
			for k, kid := range g.kids[s.start : s.start+s.count] {
				b, ok := buffer(kid)
				switch {
				case !ok:
				case k == 0 && at == n.first && !taken[b] && firsts[vNode|value(i)]:
					taken[b] = true
				default:
					others[b] = true
				}
			}
		}
	}
	if b, ok := buffer(g.root); ok {
		others[b] = true
	}
	for i := range taken {
		taken[i] = taken[i] && !others[i]
	}
	return taken, nil
}
