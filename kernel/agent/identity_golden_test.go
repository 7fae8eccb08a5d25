package agent

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kedge/cellgraph"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestIdentityGolden pins the digest: stores in the field hold it. Whoever
// changes what is digested changes identityVersion and runs this with -update.
func TestIdentityGolden(t *testing.T) {
	buffer := HashedBuffer{Digest: cellgraph.Sum([]byte("b")), Length: 1, ReadOnly: true}
	var lines strings.Builder
	for _, c := range []struct {
		name, stream string
		buffers      []HashedBuffer
	}{
		{"none", "N.", nil},
		{"shared list", "\x80\x05]\x94(K\x01h\x00e.", nil},
		{"atoms", "(J\xff\xff\xff\xffG?\xf0\x00\x00\x00\x00\x00\x00\x8c\x02ab\x43\x01c\x88\x89N)t.", nil},
		{"dict and set", "}(\x8c\x01aK\x01\x8c\x01b\x8f(K\x02\x90u.", nil},
		{"object with state", "ccollections\nOrderedDict\n)R}\x8c\x01xK\x01sb.", nil},
		{"long value", "(" + strings.Repeat("\x8c\x04abcd", 40) + "t.", nil},
		{"buffer", "\x80\x05\x97\x98.", []HashedBuffer{buffer}},
		{"code", code("\x8c\x01t", "\x43\x01L"), nil},
	} {
		d, err := Identity([]byte(c.stream), c.buffers)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		fmt.Fprintf(&lines, "%s %s\n", hex.EncodeToString(d[:]), c.name)
	}
	path := filepath.Join("testdata", "identity.golden")
	if *update {
		if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines.String() != string(want) {
		t.Errorf("digests have changed:\n%swant\n%s", lines.String(), want)
	}
}

// code is the stream of a code object of 17 fields, all 0 but the byte code
// and the line table, which are pickled values.
func code(body, lines string) string {
	fields := make([]string, 17)
	for i := range fields {
		fields[i] = "K\x00"
	}
	fields[7], fields[15] = body, lines
	return "ckedge_agent.functions\nmake_code\n(" + strings.Join(fields, "") + "t\x85R."
}

func TestIdentityOfCode(t *testing.T) {
	digest := func(s string) cellgraph.Digest {
		t.Helper()
		d, err := Identity([]byte(s), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	base := digest(code("\x43\x01a", "\x43\x01L"))
	if digest(code("\x43\x01a", "\x43\x02LL")) != base {
		t.Error("the line table counts")
	}
	if placed := strings.Replace(code("\x43\x01a", "\x43\x01L"), "t\x85R.", "tK\x07\x86R.", 1); digest(placed) != base {
		t.Error("where code stands counts")
	}
	if digest(code("\x43\x01b", "\x43\x01L")) == base {
		t.Error("the byte code does not count")
	}
	unknown := func(last string) cellgraph.Digest {
		return digest("ckedge_agent.functions\nmake_code\n(K\x01" + last + "t\x85R.")
	}
	if unknown("K\x02") == unknown("K\x03") {
		t.Error("a field of code of an unknown Python does not count")
	}
	if digest(strings.Replace(code("\x43\x01a", "\x43\x01L"), "kedge_agent.functions", "somewhere", 1)) ==
		digest(strings.Replace(code("\x43\x01a", "\x43\x02LL"), "kedge_agent.functions", "somewhere", 1)) {
		t.Error("arguments of another function do not count")
	}
}

// agentDump pickles an expression of a script as the agent does.
const agentDump = `
import sys, io
sys.path.insert(0, "python")
import pickle
from kedge_agent import functions, live
class P(pickle.Pickler):
    def reducer_override(self, o):
        import types
        if isinstance(o, types.CodeType): return functions.reduce_code(o)
        if isinstance(o, types.FunctionType): return functions.reduce_function(o, live.Live(ns), {})
        if isinstance(o, types.CellType): return functions.reduce_cell(o)
        return NotImplemented
ns = {"__name__": "__main__"}
def dump(source):
    exec(compile(source, "<cell %s>" % hash(source), "exec"), ns)
    b = io.BytesIO(); P(b, 5).dump(ns["f"]); sys.stdout.buffer.write(b.getvalue())
`

// TestIdentityOfFunction uses what the agent writes for functions of the notebook.
func TestIdentityOfFunction(t *testing.T) {
	const source = "def f(x, y=2):\n    g = lambda: x + y\n    return g() * 3\n"
	of := func(source string) cellgraph.Digest {
		t.Helper()
		return identity(t, agentDump+fmt.Sprintf("dump(%q)", source))
	}
	base := of(source)
	for name, same := range map[string]string{
		"comment in it":    strings.Replace(source, "    return", "    # a comment\n\n    return", 1),
		"lines before it":  "# above\n\n\n" + source,
		"another layout":   strings.Replace(source, "g() * 3", "(g()\n   *   3)", 1),
		"comment after it": source + "# below\n",
	} {
		if of(same) != base {
			t.Errorf("%s changes the identity", name)
		}
	}
	for name, other := range map[string]string{
		"constant":         strings.Replace(source, "3", "4", 1),
		"default":          strings.Replace(source, "y=2", "y=3", 1),
		"nested function":  strings.Replace(source, "x + y", "x - y", 1),
		"name of argument": strings.ReplaceAll(source, "x", "z"),
		"docstring":        strings.Replace(source, "    g =", "    'doc'\n    g =", 1),
	} {
		if of(other) == base {
			t.Errorf("another %s has the same identity", name)
		}
	}
}

func TestIdentityOfBuffers(t *testing.T) {
	one := HashedBuffer{Digest: cellgraph.Sum([]byte("1")), Length: 1}
	two := HashedBuffer{Digest: cellgraph.Sum([]byte("2")), Length: 1}
	longer, readOnly := one, one
	longer.Length, readOnly.ReadOnly = 2, true
	seen := map[cellgraph.Digest]int{}
	for i, c := range []struct {
		stream  string
		buffers []HashedBuffer
	}{
		{"\x97.", []HashedBuffer{one}},
		{"\x97.", []HashedBuffer{two}},
		{"\x97.", []HashedBuffer{longer}},
		{"\x97.", []HashedBuffer{readOnly}},
		{"\x97\x98.", []HashedBuffer{one}},
		{"\x97\x97\x86.", []HashedBuffer{one, two}},
		{"\x97\x97\x86.", []HashedBuffer{two, one}},
		{"\x97\x97\x86.", []HashedBuffer{one, one}},
		{"\x97\x94h\x00\x86.", []HashedBuffer{one}}, // one buffer twice is not two equal ones
	} {
		d, err := Identity([]byte(c.stream), c.buffers)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if before, ok := seen[d]; ok {
			t.Errorf("%d and %d are equal", before, i)
		}
		seen[d] = i
	}
	for _, buffers := range [][]HashedBuffer{nil, {one, two}} {
		if _, err := Identity([]byte("\x97."), buffers); err == nil {
			t.Errorf("%d buffers for a stream of one passed", len(buffers))
		}
	}
}

// TestIdentityDropsSessionFields covers a rule by class, one by module, and
// that neither reaches further than it says.
func TestIdentityDropsSessionFields(t *testing.T) {
	object := func(class, key, value string) string {
		return "c" + class + "\n)\x81}(\x8c" + string(rune(len(key))) + key + value + "\x8c\x01zK\x09ub."
	}
	for _, test := range []struct {
		class, key string
		dropped    bool
	}{
		{"matplotlib.transforms\nAffine2D", "_parents", true},
		{"matplotlib\nThing", "_parents", true},
		{"matplotlib.transforms\nAffine2D", "_mtx", false},
		{"matplotlibs\nThing", "_parents", false},
		{"matplotlib.cbook\nCallbackRegistry", "_cid_gen", true},
		{"matplotlib.cbook\nGrouper", "_cid_gen", false},
		{"sklearn.feature_extraction.text\nTfidfVectorizer", "_stop_words_id", true},
	} {
		one, err1 := Identity([]byte(object(test.class, test.key, "K\x01")), nil)
		two, err2 := Identity([]byte(object(test.class, test.key, "K\x02")), nil)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if (one == two) != test.dropped {
			t.Errorf("%q of %q: dropped is %v, want %v", test.key, test.class, one == two, test.dropped)
		}
	}
}
