package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kedge/cellgraph"
)

// ErrStream reports a pickle stream that is malformed, or that does not go
// with its buffers.
var ErrStream = errors.New("bad pickle stream")

// HashedBuffer is one out-of-band buffer of a stream, in the stream's order.
type HashedBuffer struct {
	Digest   cellgraph.Digest
	Length   int64
	ReadOnly bool
}

// identityVersion starts every digest; a change to what is digested changes it.
const identityVersion = "kedge identity 2\n"

// Identity digests what a pickle stream of protocol 0 to 5 means, not how it
// is written. None, bool, int, float (by its bits), str, bytes, tuples,
// frozensets, globals, persistent ids, numpy dtypes and code count by value:
// whether two equal ones are one object is not in the digest, unless the agent
// has marked them (kedge_agent.atoms) and the stream refers to them twice. Lists, dicts,
// sets, bytearrays, buffers and every other object carry identity: one that is
// referred to twice differs from two equal ones. Elements count in the order
// of the stream. Session-bound fields (see dropRules) and the places of code
// are left out.
//
// Nothing is executed. Time and memory are linear in the stream (up to about
// 60 bytes per byte of a stream of empty containers), whatever its nesting.
// The error is ErrStream.
func Identity(stream []byte, buffers []HashedBuffer) (cellgraph.Digest, error) {
	g, err := parse(stream)
	if err != nil {
		return cellgraph.Digest{}, err
	}
	if g.buffers != len(buffers) {
		return cellgraph.Digest{}, fmt.Errorf("%w: it uses %d buffers of %d", ErrStream, g.buffers, len(buffers))
	}
	return newEncoder(g, buffers).digest()
}

// Globals lists what a stream imports, as "module.name", in order of first
// appearance and each once. The error is ErrStream.
func Globals(stream []byte) ([]string, error) {
	g, err := parse(stream)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(g.globals))
	for _, gl := range g.globals {
		names = append(names, gl.module+"."+gl.name)
	}
	return names, nil
}

// dropRule leaves a key out of the state of the instances of some classes.
// A stream does not say what a class inherits from, so a rule goes by module.
type dropRule struct {
	module string // this one and those inside it
	name   string // empty for any class
	key    string
}

// dropRules lists at most 8 fields that hold addresses or session counters
// (shared/reference/capture-2026.md §1.1).
var dropRules = [...]dropRule{
	{"matplotlib", "", "_parents"},                            // TransformNode: keyed by id()
	{"mpl_toolkits", "", "_parents"},                          // the same, of its subclasses
	{"matplotlib.cbook", "CallbackRegistry", "_cid_gen"},      // grows at each unpickle
	{"sklearn.feature_extraction.text", "", "_stop_words_id"}, // an id()
}

func (r dropRule) covers(g global) bool {
	if g.module != r.module && !strings.HasPrefix(g.module, r.module+".") {
		return false
	}
	return r.name == "" || r.name == g.name
}

// codePlaces says which fields of a code object hold its place in the source:
// the first line and the line table. kedge_agent.functions.make_code takes the
// fields as one tuple, whose length tells the Pythons apart, and then where in
// which file the code stands.
var codePlaces = map[int][]int{
	15: {6, 14}, // 3.10
	17: {6, 15}, // 3.11 to 3.14
}

// codeFields returns the fields of code that count, and all arguments of a
// call that is not known. The digest does not change with where code stands.
func (g *graph) codeFields(args []value) []value {
	if len(args) != 1 && len(args) != 2 {
		return args
	}
	fields := g.tupleItems(args[0])
	places := codePlaces[len(fields)]
	if places == nil {
		return args
	}
	kept := make([]value, 0, len(fields))
	for i, f := range fields {
		if !slices.Contains(places, i) {
			kept = append(kept, f)
		}
	}
	return kept
}

// reduceKind says what calling a global makes.
func (g *graph) reduceKind(callable value) nodeKind {
	if callable.kind() != vGlobal {
		return nodeReduce
	}
	switch g.globals[callable.payload()] {
	case global{"numpy", "dtype"}, global{"numpy.dtypes", "StringDType"}:
		return nodeDtype
	case global{"kedge_agent.functions", "make_code"}:
		return nodeCode
	case global{"kedge_agent.atoms", "one"}:
		return nodeOne
	}
	return nodeReduce
}

// isInterned reports whether a callable gives the interned string that equals its argument.
func (g *graph) isInterned(callable value) bool {
	return callable.kind() == vGlobal && g.globals[callable.payload()] == global{"kedge_agent.atoms", "interned"}
}

// alone finds the atoms marked as one object to which the graph refers only
// once: they count by value like any other.
func (g *graph) alone() map[uint64]bool {
	found := map[uint64]bool{}
	if !g.ones {
		return found
	}
	met := make([]bool, len(g.nodes))
	for _, root := range append([]value{g.root}, g.effects...) {
		g.reach(root, func(node uint64) bool {
			again := met[node]
			met[node] = true
			if g.nodes[node].kind == nodeOne {
				found[node] = !again
			}
			return !again
		})
	}
	return found
}

// volatile reports whether what a call is given is brought back, but says
// nothing about what a variable is: a counter, or addresses.
func (g *graph) volatile(callable value) bool {
	return callable.kind() == vGlobal && g.globals[callable.payload()] == global{"kedge_agent.caches", "volatile"}
}

// class returns the class of an object, if the stream names it.
func (g *graph) class(object value) (global, bool) {
	made := g.made(object)
	if len(made) == 0 || made[0].kind() != vGlobal {
		return global{}, false
	}
	c := g.globals[made[0].payload()]
	if c.module == "copyreg" || c.module == "copy_reg" {
		args := g.tupleItems(made[1])
		if len(args) == 0 || args[0].kind() != vGlobal {
			return global{}, false
		}
		c = g.globals[args[0].payload()]
	}
	return c, true
}

// markDropped notes on the dict of a state which keys of it do not count.
func (m *machine) markDropped(object, state value) {
	class, ok := m.class(object)
	if !ok {
		return
	}
	dicts := []value{state}
	if pair := m.tupleItems(state); len(pair) == 2 {
		dicts = pair
	}
	for i, r := range dropRules {
		if !r.covers(class) {
			continue
		}
		for _, d := range dicts {
			if d.kind() == vNode && m.nodes[d.payload()].kind == nodeDict {
				m.nodes[d.payload()].drop |= 1 << i
			}
		}
	}
}

func (g *graph) dropped(rules uint8, key value) bool {
	text, ok := g.text(key)
	if !ok {
		return false
	}
	for i, r := range dropRules {
		if rules&(1<<i) != 0 && string(text) == r.key {
			return true
		}
	}
	return false
}

// The tags of the canonical form, which is prefix-free.
const (
	tagEnd = iota
	tagNone
	tagTrue
	tagFalse
	tagInt
	tagFloat
	tagAtom     // + atomKind, length, data
	tagLongAtom // + atomKind, length, hash
	tagGlobal
	tagExt
	tagValue  // + nodeKind, segments
	tagHashed // + hash of a tagValue
	tagRef    // + number of an object
	tagRecord // + nodeKind, segments of the next object
)

// Longer atoms and values stand in a form by their hash, and are computed
// once however often they are referred to.
const maxInline = 64

// flushAt bounds what an unfinished form holds in memory.
const flushAt = 32 << 10

// encoder writes the canonical form of a graph: the root, then the contents of
// each object in the order in which the objects were first met. A value in it
// is written out, an object is its number.
type encoder struct {
	*graph
	buffers []HashedBuffer
	main    *cellgraph.Hash
	out     []byte   // forms not yet hashed, those of frames one after the other
	frames  []frame  // values being written, outermost first
	order   []uint32 // objects by number
	long    map[uint64][32]byte
	hashes  map[uint64][32]byte
	single  map[uint64]bool // see graph.alone
}

// newEncoder returns an encoder of g, whose marks it uses up: one encoder for a graph.
func newEncoder(g *graph, buffers []HashedBuffer) *encoder {
	return &encoder{graph: g, buffers: buffers, main: cellgraph.NewHash(), out: make([]byte, 0, min(2*flushAt, 64+2*len(g.stream))),
		long: map[uint64][32]byte{}, hashes: map[uint64][32]byte{}, single: g.alone()}
}

// frame is a value whose contents are being written.
type frame struct {
	cursor
	node  uint64
	begin int             // of its form in out
	hash  *cellgraph.Hash // of what was flushed; nil while that is nothing
}

func (e *encoder) digest() (cellgraph.Digest, error) {
	e.out = append(e.out, identityVersion...)
	if err := e.write(e.root); err != nil {
		return cellgraph.Digest{}, err
	}
	for _, v := range e.effects {
		if err := e.write(v); err != nil {
			return cellgraph.Digest{}, err
		}
	}
	for i := 0; i < len(e.order); i++ {
		if err := e.record(e.order[i]); err != nil {
			return cellgraph.Digest{}, err
		}
	}
	e.main.Write(e.out)
	return e.main.Digest(), nil
}

// record writes the contents of an object.
func (e *encoder) record(id uint32) error {
	n := &e.nodes[id]
	e.out = append(e.out, tagRecord, byte(n.kind), byte(n.flags&flagReadOnly))
	if n.kind == nodeBuffer {
		b := e.buffers[n.buffer]
		readOnly := byte(0)
		if b.ReadOnly {
			readOnly = 1
		}
		e.out = append(append(e.out, readOnly), b.Digest[:]...)
		e.out = binary.AppendUvarint(e.out, uint64(b.Length))
	}
	c := cursor{seg: n.first, drop: n.drop}
	for {
		v, ok := e.next(&c)
		if !ok {
			break
		}
		if err := e.write(v); err != nil {
			return err
		}
		if len(e.out) >= flushAt {
			e.main.Write(e.out)
			e.out = e.out[:0]
		}
	}
	return nil
}

// cursor walks the contents of a node.
type cursor struct {
	seg  uint32 // 1 + index into graph.segs
	pos  uint32
	op   segOp // of the group being written
	drop uint8
}

// next returns the next element, having written the marks between groups of
// elements. Segments of one kind that follow each other are one group, so how
// a pickler batched them does not show.
func (e *encoder) next(c *cursor) (value, bool) {
	for c.seg != 0 {
		s := &e.segs[c.seg-1]
		if c.pos == s.count {
			c.seg, c.pos = s.next, 0
			continue
		}
		if c.pos == 0 && (s.op != c.op || s.op == segBuild || s.op == segSetter) {
			if c.op != 0 {
				e.out = append(e.out, tagEnd)
			}
			e.out = append(e.out, byte(s.op))
			c.op = s.op
		}
		v := e.kids[s.start+c.pos]
		if c.drop != 0 && s.op == segItem && c.pos%2 == 0 && e.dropped(c.drop, v) {
			c.pos += 2
			continue
		}
		c.pos++
		return v, true
	}
	if c.op != 0 {
		e.out = append(e.out, tagEnd)
	}
	e.out = append(e.out, tagEnd)
	return 0, false
}

// write appends the form of v, and of the values inside it.
func (e *encoder) write(v value) error {
	base := len(e.frames)
	if err := e.enter(v); err != nil {
		return err
	}
	for len(e.frames) > base {
		f := &e.frames[len(e.frames)-1]
		if len(e.out)-f.begin >= flushAt {
			e.flush(f)
		}
		kid, ok := e.next(&f.cursor)
		if !ok {
			e.leave()
			continue
		}
		if err := e.enter(kid); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) flush(f *frame) {
	if f.hash == nil {
		f.hash = cellgraph.NewHash()
	}
	f.hash.Write(e.out[f.begin:])
	e.out = e.out[:f.begin]
}

// enter writes v, or opens a frame for it.
func (e *encoder) enter(v value) error {
	switch v.kind() {
	case vNone:
		e.out = append(e.out, tagNone)
	case vTrue:
		e.out = append(e.out, tagTrue)
	case vFalse:
		e.out = append(e.out, tagFalse)
	case vUnit:
		e.out = append(e.out, tagValue, byte(nodeTuple), tagEnd)
	case vInt:
		e.int(int64(int32(v.payload())))
	case vAtom, vShared:
		e.atom(v)
	case vLine:
		text, _ := e.text(v)
		e.data(atomStr, text, vNone)
	case vGlobal:
		g := &e.globals[v.payload()]
		e.out = binary.AppendUvarint(append(e.out, tagGlobal), uint64(len(g.module)))
		e.out = binary.AppendUvarint(append(e.out, g.module...), uint64(len(g.name)))
		e.out = append(e.out, g.name...)
	case vExt:
		e.out = binary.AppendUvarint(append(e.out, tagExt), v.payload())
	default:
		return e.enterNode(v.payload())
	}
	return nil
}

func (e *encoder) enterNode(id uint64) error {
	n := &e.nodes[id]
	if e.single[id] {
		if args := e.tupleItems(e.made(vNode | value(id))[1]); len(args) == 1 {
			return e.enter(args[0])
		}
	}
	if n.kind >= nodeList {
		if n.number == 0 {
			e.order = append(grow(e.order, 1), uint32(id))
			n.number = uint32(len(e.order))
		}
		e.out = binary.AppendUvarint(append(e.out, tagRef), uint64(n.number))
		return nil
	}
	if n.flags&flagHashed != 0 {
		h := e.hashes[id]
		e.out = append(append(e.out, tagHashed), h[:]...)
		return nil
	}
	if n.flags&flagOpen != 0 {
		return fmt.Errorf("%w: an immutable value is part of itself", ErrStream)
	}
	n.flags |= flagOpen
	e.frames = append(e.frames, frame{cursor: cursor{seg: n.first}, node: id, begin: len(e.out)})
	e.out = append(e.out, tagValue, byte(n.kind))
	return nil
}

// leave closes the innermost frame.
func (e *encoder) leave() {
	f := &e.frames[len(e.frames)-1]
	n := &e.nodes[f.node]
	n.flags &^= flagOpen
	if f.hash != nil || len(e.out)-f.begin > maxInline {
		var h [32]byte
		if f.hash != nil {
			e.flush(f)
			h = f.hash.Digest()
		} else {
			h = cellgraph.Sum(e.out[f.begin:])
		}
		e.out = append(append(e.out[:f.begin], tagHashed), h[:]...)
		if n.flags&flagMemoized != 0 {
			e.hashes[f.node] = h
			n.flags |= flagHashed
		}
	}
	e.frames = e.frames[:len(e.frames)-1]
}

func (e *encoder) int(n int64) {
	e.out = binary.AppendVarint(append(e.out, tagInt), n)
}

func (e *encoder) atom(v value) {
	a, _, err := readAtom(e.stream, int(v.payload()))
	if err != nil {
		return // the machine has read it once
	}
	switch a.kind {
	case atomInt:
		e.int(int64(a.bits))
	case atomFloat:
		e.out = binary.LittleEndian.AppendUint64(append(e.out, tagFloat), a.bits)
	default:
		e.data(a.kind, a.data, v)
	}
}

// data writes bytes that v refers to.
func (e *encoder) data(kind atomKind, data []byte, v value) {
	if len(data) <= maxInline {
		e.out = binary.AppendUvarint(append(e.out, tagAtom, byte(kind)), uint64(len(data)))
		e.out = append(e.out, data...)
		return
	}
	e.out = binary.AppendUvarint(append(e.out, tagLongAtom, byte(kind)), uint64(len(data)))
	h, ok := [32]byte{}, false
	if v.kind() == vShared {
		h, ok = e.long[v.payload()]
	}
	if !ok {
		h = cellgraph.Sum(data)
		if v.kind() == vShared {
			e.long[v.payload()] = h
		}
	}
	e.out = append(e.out, h[:]...)
}
