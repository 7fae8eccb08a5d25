package agent

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// The opcodes of pickle protocols 0 to 5, as CPython's pickletools lists them.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opFloat          = 'F'
	opInt            = 'I'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opLong           = 'L'
	opBinInt2        = 'M'
	opNone           = 'N'
	opPersID         = 'P'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opString         = 'S'
	opBinString      = 'T'
	opShortBinString = 'U'
	opUnicode        = 'V'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opDict           = 'd'
	opEmptyDict      = '}'
	opAppends        = 'e'
	opGet            = 'g'
	opBinGet         = 'h'
	opInst           = 'i'
	opLongBinGet     = 'j'
	opList           = 'l'
	opEmptyList      = ']'
	opObj            = 'o'
	opPut            = 'p'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opEmptyTuple     = ')'
	opSetItems       = 'u'
	opBinFloat       = 'G'
	opBinBytes       = 'B'
	opShortBinBytes  = 'C'

	opProto           = 0x80
	opNewObj          = 0x81
	opExt1            = 0x82
	opExt2            = 0x83
	opExt4            = 0x84
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opLong1           = 0x8a
	opLong4           = 0x8b
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opEmptySet        = 0x8f
	opAddItems        = 0x90
	opFrozenSet       = 0x91
	opNewObjEx        = 0x92
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
	opByteArray8      = 0x96
	opNextBuffer      = 0x97
	opReadOnlyBuffer  = 0x98
)

// value is what the machine's stack, memo and graph hold: a kind in the top
// byte and a payload below it. Atoms refer to their opcode in the stream, so
// that an element of a list costs eight bytes whatever it is.
type value uint64

const (
	vNone   value = iota << 56
	vTrue         //
	vFalse        //
	vUnit         // the empty tuple
	vInt          // payload: int32
	vAtom         // payload: offset of an opcode that carries a str, bytes, float or long
	vShared       // the same, fetched from the memo
	vLine         // payload: offset of a str that ends at a newline
	vGlobal       // payload: index into graph.globals
	vExt          // payload: extension code
	vNode         // payload: index into graph.nodes
)

func (v value) kind() value     { return v &^ (1<<56 - 1) }
func (v value) payload() uint64 { return uint64(v) & (1<<56 - 1) }

type nodeKind uint8

// By value: kinds before nodeList have no identity of their own.
const (
	nodeTuple nodeKind = iota
	nodeFrozenSet
	nodePersistent
	nodeDtype
	nodeCode
	nodeList
	nodeDict
	nodeSet
	nodeByteArray
	nodeBuffer
	nodeReduce
	nodeNewObj
	nodeNewObjEx
	nodeInst
	nodeOne // an atom that is one object wherever it is referred to
)

type nodeFlags uint8

const (
	flagMemoized nodeFlags = 1 << iota
	flagReadOnly
	flagOpen   // its form is being computed
	flagHashed // its form is in encoder.hashes
)

// node is an object under construction. Its contents are a chain of segments.
type node struct {
	kind        nodeKind
	flags       nodeFlags
	drop        uint8 // 1 + index into dropRules, of the state of such an object
	number      uint32
	first, last uint32 // 1 + index into graph.segs
	buffer      uint32
}

type segOp uint8

// What added a segment to its node.
const (
	segNew    segOp = iota + 1 // what the object was made from
	segAppend                  // elements, by APPEND(S)
	segItem                    // keys and values by turns, by SETITEM(S)
	segAdd                     // elements, by ADDITEMS
	segBuild                   // a state, by BUILD
	segSetter                  // a setter and a state, by a REDUCE whose result was popped
)

type segment struct {
	start, count uint32 // in graph.kids
	next         uint32 // 1 + index into graph.segs
	op           segOp
}

type global struct{ module, name string }

// graph is what a stream describes. Its size is linear in the stream's.
type graph struct {
	stream  []byte
	nodes   []node
	segs    []segment
	kids    []value
	globals []global
	buffers int
	ones    bool    // whether there is a nodeOne
	effects []value // calls whose result was popped and that set no object's state
	root    value
}

// machine reads a stream as an unpickler does, and calls nothing.
type machine struct {
	graph
	pos    int
	stack  []value
	marks  []int
	memo   []value
	sparse map[uint32]value // memo entries out of sequence
	known  map[string]uint32
}

func (m *machine) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: byte %d: %s", ErrStream, m.pos, fmt.Sprintf(format, args...))
}

// maxReserve bounds, in elements, what a machine allocates before it has read anything.
const maxReserve = 1 << 20

// newMachine reserves what a stream of small objects needs: most of the time
// used to go into copying slices that grew.
func newMachine(stream []byte) *machine {
	reserve := min(len(stream)/16, maxReserve)
	return &machine{
		graph: graph{
			stream: stream,
			nodes:  make([]node, 0, reserve),
			segs:   make([]segment, 0, reserve),
			kids:   make([]value, 0, 4*reserve),
		},
		memo:  make([]value, 0, 2*reserve),
		known: map[string]uint32{},
	}
}

// grow makes room for n more elements, at least doubling a slice that has to
// be copied: append alone adds a quarter, and copies four times as much.
func grow[E any](s []E, n int) []E {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, len(s)))
}

// parse reads a stream that is one pickle and nothing after it.
func parse(stream []byte) (*graph, error) {
	m := newMachine(stream)
	for m.pos < len(stream) {
		op := stream[m.pos]
		if op == opStop {
			m.pos++
			if m.pos < len(stream) && stream[m.pos] == opProto { // what follows has the same memo
				m.stack = m.stack[:0]
				continue
			}
			if m.pos != len(stream) {
				return nil, m.errorf("data after the end")
			}
			if len(m.stack) != 1 || len(m.marks) != 0 {
				return nil, m.errorf("%d values and %d marks left", len(m.stack), len(m.marks))
			}
			m.root = m.stack[0]
			return &m.graph, nil
		}
		if err := m.step(op); err != nil {
			return nil, err
		}
		if len(m.nodes) >= math.MaxUint32-1 || len(m.kids) >= math.MaxUint32-1 || len(m.segs) >= math.MaxUint32-1 {
			return nil, m.errorf("more than %d objects", uint32(math.MaxUint32-1))
		}
	}
	return nil, m.errorf("truncated")
}

// step runs the opcode at m.pos and moves past it.
func (m *machine) step(op byte) error {
	at := m.pos
	m.pos++
	switch op {
	case opNone:
		m.push(vNone)
	case opNewTrue:
		m.push(vTrue)
	case opNewFalse:
		m.push(vFalse)
	case opEmptyTuple:
		m.push(vUnit)
	case opBinInt1, opBinInt2, opBinInt:
		return m.smallInt(op)
	case opBinFloat, opShortBinUnicode, opBinUnicode, opBinUnicode8, opShortBinBytes, opBinBytes, opBinBytes8,
		opLong1, opLong4, opInt, opLong, opFloat, opUnicode, opString, opBinString, opShortBinString, opByteArray8:
		return m.atom(op, at)
	case opMemoize:
		return m.put(uint64(len(m.memo) + len(m.sparse)))
	case opPut, opBinPut, opLongBinPut, opGet, opBinGet, opLongBinGet:
		return m.memoOp(op)
	case opEmptyList:
		m.push(m.newNode(nodeList))
	case opEmptyDict:
		m.push(m.newNode(nodeDict))
	case opEmptySet:
		m.push(m.newNode(nodeSet))
	case opTuple1:
		return m.tuple(1)
	case opTuple2:
		return m.tuple(2)
	case opTuple3:
		return m.tuple(3)
	case opAppend:
		return m.extend(segAppend, 1)
	case opSetItem:
		return m.extend(segItem, 2)
	case opBuild:
		return m.build()
	case opMark:
		m.marks = append(m.marks, len(m.stack))
	case opTuple, opList, opDict, opFrozenSet, opAppends, opSetItems, opAddItems, opPopMark, opObj, opInst:
		return m.toMark(op)
	case opPop:
		return m.pop()
	case opDup:
		vs, err := m.top(1)
		if err != nil {
			return err
		}
		m.push(m.share(vs[0]))
	case opGlobal, opStackGlobal, opExt1, opExt2, opExt4:
		return m.global(op)
	case opReduce, opNewObj, opNewObjEx:
		return m.call(op)
	case opPersID, opBinPersID:
		return m.persistent(op)
	case opNextBuffer, opReadOnlyBuffer:
		return m.outOfBand(op)
	case opProto:
		b, err := m.take(1)
		if err != nil {
			return err
		}
		if b[0] > 5 {
			return m.errorf("protocol %d is newer than 5", b[0])
		}
	case opFrame:
		n, err := m.number(8)
		if err != nil {
			return err
		}
		if n > uint64(len(m.stream)-m.pos) {
			return m.errorf("frame of %d bytes is truncated", n)
		}
	default:
		return m.errorf("unknown opcode %#x", op)
	}
	return nil
}

func (m *machine) push(v value) { m.stack = append(m.stack, v) }

// floor is the height below which the values belong to an outer mark.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

// top returns the n topmost values in place.
func (m *machine) top(n int) ([]value, error) {
	if len(m.stack)-m.floor() < n {
		return nil, m.errorf("stack holds fewer than %d values", n)
	}
	return m.stack[len(m.stack)-n:], nil
}

// drop removes the n topmost values, which must be there.
func (m *machine) drop(n int) { m.stack = m.stack[:len(m.stack)-n] }

func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.stream)-m.pos) {
		return nil, m.errorf("%d bytes wanted, %d left", n, len(m.stream)-m.pos)
	}
	b := m.stream[m.pos : m.pos+int(n)]
	m.pos += int(n)
	return b, nil
}

// number reads a little-endian unsigned number of 1, 2, 4 or 8 bytes.
func (m *machine) number(size uint64) (uint64, error) {
	b, err := m.take(size)
	if err != nil {
		return 0, err
	}
	switch size {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(binary.LittleEndian.Uint16(b)), nil
	case 4:
		return uint64(binary.LittleEndian.Uint32(b)), nil
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (m *machine) line() ([]byte, error) {
	n := bytes.IndexByte(m.stream[m.pos:], '\n')
	if n < 0 {
		return nil, m.errorf("line is truncated")
	}
	b := m.stream[m.pos : m.pos+n]
	m.pos += n + 1
	return b, nil
}

func (m *machine) smallInt(op byte) error {
	size := uint64(1)
	switch op {
	case opBinInt2:
		size = 2
	case opBinInt:
		size = 4
	}
	n, err := m.number(size)
	if err != nil {
		return err
	}
	m.push(vInt | value(n))
	return nil
}

// atom checks the atom at offset at, and pushes a reference to it.
func (m *machine) atom(op byte, at int) error {
	a, end, err := readAtom(m.stream, at)
	if err != nil {
		m.pos = at
		return m.errorf("%s", err)
	}
	m.pos = end
	if op == opInt && a.kind == atomBool {
		m.push(vFalse)
		if a.bits != 0 {
			m.stack[len(m.stack)-1] = vTrue
		}
		return nil
	}
	v := vAtom | value(at)
	if op == opByteArray8 {
		n := m.newNode(nodeByteArray)
		m.add(n, segNew, []value{v})
		v = n
	}
	m.push(v)
	return nil
}

func (m *machine) newNode(kind nodeKind) value {
	m.nodes = append(grow(m.nodes, 1), node{kind: kind})
	return vNode | value(len(m.nodes)-1)
}

// add appends vs to the contents of node v.
func (m *machine) add(v value, op segOp, vs []value) {
	if len(vs) == 0 {
		return
	}
	n := &m.nodes[v.payload()]
	start := uint32(len(m.kids))
	m.kids = append(grow(m.kids, len(vs)), vs...)
	if n.last != 0 {
		if s := &m.segs[n.last-1]; s.op == op && s.start+s.count == start && op != segBuild {
			s.count += uint32(len(vs))
			return
		}
	}
	m.segs = append(grow(m.segs, 1), segment{start: start, count: uint32(len(vs)), op: op})
	id := uint32(len(m.segs))
	if n.last == 0 {
		n.first = id
	} else {
		m.segs[n.last-1].next = id
	}
	n.last = id
}

func (m *machine) tuple(n int) error {
	vs, err := m.top(n)
	if err != nil {
		return err
	}
	t := m.newNode(nodeTuple)
	m.add(t, segNew, vs)
	m.drop(n)
	m.push(t)
	return nil
}

// mutable returns the node of v if its contents may still be added to.
func (m *machine) mutable(v value) (*node, error) {
	if v.kind() == vNode {
		if n := &m.nodes[v.payload()]; n.kind == nodeDtype || n.kind >= nodeList {
			return n, nil
		}
	}
	return nil, m.errorf("contents added to an immutable value")
}

// extend adds the n topmost values to the object below them.
func (m *machine) extend(op segOp, n int) error {
	vs, err := m.top(n + 1)
	if err != nil {
		return err
	}
	target, err := m.mutable(vs[0])
	if err != nil {
		return err
	}
	ok := target.kind >= nodeReduce
	switch op {
	case segAppend:
		ok = ok || target.kind == nodeList
	case segItem:
		ok = ok || target.kind == nodeDict
	case segAdd:
		ok = ok || target.kind == nodeSet
	}
	if !ok {
		return m.errorf("contents of the wrong kind for their object")
	}
	m.add(vs[0], op, vs[1:])
	m.drop(n)
	return nil
}

func (m *machine) build() error {
	vs, err := m.top(2)
	if err != nil {
		return err
	}
	target, err := m.mutable(vs[0])
	if err != nil {
		return err
	}
	if target.kind >= nodeList && target.kind < nodeReduce {
		return m.errorf("state set on a built-in container")
	}
	m.markDropped(vs[0], vs[1])
	m.add(vs[0], segBuild, vs[1:])
	m.drop(1)
	return nil
}

// toMark runs an opcode that takes the values down to the last mark.
func (m *machine) toMark(op byte) error {
	if len(m.marks) == 0 {
		return m.errorf("no mark")
	}
	base := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	vs := m.stack[base:]
	switch op {
	case opAppends:
		return m.extend(segAppend, len(vs))
	case opSetItems:
		if len(vs)%2 != 0 {
			return m.errorf("key without a value")
		}
		return m.extend(segItem, len(vs))
	case opAddItems:
		return m.extend(segAdd, len(vs))
	case opPopMark:
		m.stack = m.stack[:base]
		return nil
	case opTuple:
		if len(vs) == 0 {
			m.push(vUnit)
			return nil
		}
	}
	kind, seg := nodeTuple, segNew
	switch op {
	case opList:
		kind, seg = nodeList, segAppend
	case opDict:
		if len(vs)%2 != 0 {
			return m.errorf("key without a value")
		}
		kind, seg = nodeDict, segItem
	case opFrozenSet:
		kind = nodeFrozenSet
	case opObj:
		if len(vs) == 0 {
			return m.errorf("object without a class")
		}
		kind = nodeInst
	case opInst:
		class, err := m.globalLines()
		if err != nil {
			return err
		}
		m.push(class)
		vs = m.stack[base:]
		copy(vs[1:], vs)
		vs[0] = class
		kind = nodeInst
	}
	n := m.newNode(kind)
	m.add(n, seg, vs)
	m.stack = append(m.stack[:base], n)
	return nil
}

// pop discards a value. A pickler pops the result of a call only if it made
// the call for its effect (a state setter), or if the value turned out to be
// part of itself; the first must not be lost, the second does no harm.
func (m *machine) pop() error {
	if len(m.stack) == m.floor() {
		if len(m.marks) == 0 {
			return m.errorf("nothing to pop")
		}
		m.marks = m.marks[:len(m.marks)-1]
		return nil
	}
	v := m.stack[len(m.stack)-1]
	m.drop(1)
	if v.kind() != vNode {
		return nil
	}
	n := &m.nodes[v.payload()]
	if n.kind != nodeReduce || n.flags&flagMemoized != 0 {
		return nil
	}
	call := m.made(v)
	if len(call) < 2 { // a volatile value
		return nil
	}
	if args := m.tupleItems(call[1]); n.first == n.last && len(args) == 2 && args[0] != v {
		if target, err := m.mutable(args[0]); err == nil && target.kind >= nodeReduce {
			m.markDropped(args[0], args[1])
			m.add(args[0], segSetter, []value{call[0], args[1]})
			return nil
		}
	}
	m.effects = append(m.effects, v)
	return nil
}

// made returns what a node was made from.
func (g *graph) made(v value) []value {
	n := &g.nodes[v.payload()]
	if n.first == 0 {
		return nil
	}
	s := &g.segs[n.first-1]
	if s.op != segNew {
		return nil
	}
	return g.kids[s.start : s.start+s.count]
}

// tupleItems returns the elements of a tuple, and nil for any other value.
func (g *graph) tupleItems(v value) []value {
	if v.kind() != vNode || g.nodes[v.payload()].kind != nodeTuple {
		return nil
	}
	return g.made(v)
}

func (m *machine) memoOp(op byte) error {
	var n uint64
	var err error
	switch op {
	case opPut, opGet:
		var text []byte
		if text, err = m.line(); err == nil {
			n, err = strconv.ParseUint(string(text), 10, 32)
			if err != nil {
				return m.errorf("memo index %.20q", text)
			}
		}
	case opBinPut, opBinGet:
		n, err = m.number(1)
	default:
		n, err = m.number(4)
	}
	if err != nil {
		return err
	}
	if op == opPut || op == opBinPut || op == opLongBinPut {
		return m.put(n)
	}
	v, ok := m.sparse[uint32(n)]
	if n < uint64(len(m.memo)) {
		v, ok = m.memo[n], true
	}
	if !ok {
		return m.errorf("nothing in the memo at %d", n)
	}
	m.push(v)
	return nil
}

// share returns v as something that may be referred to again.
func (m *machine) share(v value) value {
	switch v.kind() {
	case vAtom:
		return vShared | value(v.payload())
	case vNode:
		m.nodes[v.payload()].flags |= flagMemoized
	}
	return v
}

func (m *machine) put(n uint64) error {
	vs, err := m.top(1)
	if err != nil {
		return err
	}
	v := m.share(vs[0])
	switch {
	case n < uint64(len(m.memo)):
		m.memo[n] = v
	case n == uint64(len(m.memo)) && len(m.sparse) == 0:
		m.memo = append(grow(m.memo, 1), v)
	case n > math.MaxUint32:
		return m.errorf("memo index %d", n)
	default:
		if m.sparse == nil {
			m.sparse = map[uint32]value{}
		}
		m.sparse[uint32(n)] = v
	}
	return nil
}

// global pushes what GLOBAL, STACK_GLOBAL or EXT refer to.
func (m *machine) global(op byte) error {
	switch op {
	case opGlobal:
		v, err := m.globalLines()
		if err != nil {
			return err
		}
		m.push(v)
		return nil
	case opStackGlobal:
		vs, err := m.top(2)
		if err != nil {
			return err
		}
		module, ok1 := m.text(vs[0])
		name, ok2 := m.text(vs[1])
		if !ok1 || !ok2 {
			return m.errorf("a global is not named by strings")
		}
		v := m.globalOf(module, name)
		m.drop(2)
		m.push(v)
		return nil
	}
	size := uint64(1)
	switch op {
	case opExt2:
		size = 2
	case opExt4:
		size = 4
	}
	code, err := m.number(size)
	if err != nil {
		return err
	}
	m.push(vExt | value(code))
	return nil
}

func (m *machine) globalLines() (value, error) {
	module, err := m.line()
	if err != nil {
		return 0, err
	}
	name, err := m.line()
	if err != nil {
		return 0, err
	}
	return m.globalOf(module, name), nil
}

func (m *machine) globalOf(module, name []byte) value {
	key := make([]byte, 0, 128)
	key = binary.AppendUvarint(key, uint64(len(module)))
	key = append(append(key, module...), name...)
	id, ok := m.known[string(key)]
	if !ok {
		id = uint32(len(m.globals))
		m.globals = append(m.globals, global{string(module), string(name)})
		m.known[string(key)] = id
	}
	return vGlobal | value(id)
}

// text returns the UTF-8 of v if it is a str.
func (g *graph) text(v value) ([]byte, bool) {
	switch v.kind() {
	case vAtom, vShared:
		a, _, err := readAtom(g.stream, int(v.payload()))
		return a.data, err == nil && a.kind == atomStr
	case vLine:
		rest := g.stream[v.payload():]
		return rest[:bytes.IndexByte(rest, '\n')], true
	}
	return nil, false
}

// call runs REDUCE, NEWOBJ and NEWOBJ_EX.
func (m *machine) call(op byte) error {
	count, kind := 2, nodeReduce
	switch op {
	case opNewObj:
		kind = nodeNewObj
	case opNewObjEx:
		count, kind = 3, nodeNewObjEx
	}
	vs, err := m.top(count)
	if err != nil {
		return err
	}
	args := m.tupleItems(vs[1])
	if args == nil && vs[1] != vUnit {
		return m.errorf("arguments are not a tuple")
	}
	if kind == nodeReduce {
		kind = m.reduceKind(vs[0])
		if m.isInterned(vs[0]) && len(args) == 1 {
			text := args[0]
			m.drop(count)
			m.push(text)
			return nil
		}
	}
	m.ones = m.ones || kind == nodeOne
	n := m.newNode(kind)
	switch {
	case kind == nodeCode:
		m.add(n, segNew, append([]value{vs[0]}, m.codeFields(args)...))
	case m.volatile(vs[0]):
		m.add(n, segNew, vs[:1])
	default:
		m.add(n, segNew, vs)
	}
	m.drop(count)
	m.push(n)
	return nil
}

func (m *machine) persistent(op byte) error {
	var id value
	if op == opPersID {
		id = vLine | value(m.pos)
		if _, err := m.line(); err != nil {
			return err
		}
	} else {
		vs, err := m.top(1)
		if err != nil {
			return err
		}
		id = vs[0]
		m.drop(1)
		if id.kind() == vNode && m.nodes[id.payload()].kind == nodeOne {
			m.push(id)
			return nil
		}
	}
	n := m.newNode(nodePersistent)
	m.add(n, segNew, []value{id})
	m.push(n)
	return nil
}

func (m *machine) outOfBand(op byte) error {
	if op == opNextBuffer {
		v := m.newNode(nodeBuffer)
		m.nodes[v.payload()].buffer = uint32(m.buffers)
		m.buffers++
		m.push(v)
		return nil
	}
	vs, err := m.top(1)
	if err != nil {
		return err
	}
	n, err := m.mutable(vs[0])
	if err != nil {
		return err
	}
	if n.kind != nodeBuffer && n.kind != nodeByteArray {
		return m.errorf("a read-only view of what is no buffer")
	}
	n.flags |= flagReadOnly
	return nil
}
