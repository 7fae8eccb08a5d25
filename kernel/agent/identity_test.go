package agent

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"kedge/cellgraph"
)

const prelude = `
import sys, pickle, copy, collections
P = 5
class S:
    def __reduce__(self): return (collections.OrderedDict, (), {"x": 1})
class Setter:
    def __init__(self, v): self.v = v
    def __reduce__(self): return (collections.Counter, (), {"x": self.v}, None, None, setattr)
def deep(n):
    import struct
    return b"\x80\x05" + b"]" * n + b"a" * (n - 1) + b"."
def out(o, p=None): sys.stdout.buffer.write(pickle.dumps(o, P if p is None else p))
`

// dump runs python3 to pickle something, in a process of its own.
func dump(t testing.TB, code string) []byte {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	data, err := exec.Command(python, "-c", prelude+code).Output()
	if err != nil {
		t.Fatalf("%s: %v", code, err)
	}
	return data
}

func identity(t testing.TB, code string) cellgraph.Digest {
	t.Helper()
	d, err := Identity(dump(t, code), nil)
	if err != nil {
		t.Fatalf("%s: %v", code, err)
	}
	return d
}

func TestIdentityEqual(t *testing.T) {
	for _, c := range [][2]string{
		{`a='ab'*50; out([a,a])`, `a='ab'*50; b=''.join(list(a)); out([a,b])`},
		{`a='ab'; out([a,a])`, `a='ab'; b=''.join(['a','b']); out([a,b])`},
		{`t=(1,'x'); out([t,t])`, `out([(1,'x'),tuple([1,'x'])])`},
		{`l=[]; t=(l,1); out([t,t])`, `l=[]; out([(l,1),(l,int('1'))])`},
		{`out([1,-1,2**40,-2**70,1.5,'é\n\\u',None,True,{'a':(1,2,3,4)}],0)`, `out([1,-1,2**40,-2**70,1.5,'é\n\\u',None,True,{'a':(1,2,3,4)}])`},
		{`a=[];a.append(a);out({'a':a})`, `a=[];a.append(a);out({'a':a},2)`},
		{`out(S())`, `out(S())`},
	} {
		if identity(t, c[0]) != identity(t, c[1]) {
			t.Errorf("%s and %s differ", c[0], c[1])
		}
	}
}

func TestIdentityDifferent(t *testing.T) {
	seen := map[cellgraph.Digest]string{}
	for _, c := range []string{
		`out(0.0)`, `out(-0.0)`, `out(0)`, `out(False)`, `out('0')`, `out(b'0')`, `out(bytearray(b'0'))`, `out(None)`,
		`out({'a':1,'b':2})`, `out({'b':2,'a':1})`, `out([1,2])`, `out((1,2))`, `out(frozenset([1,2]))`, `out({1,2})`,
		`a=[]; out([a,a])`, `a=[]; out([a,copy.copy(a)])`, `a=[]; a.append(a); out(a)`, `out([[]])`, `d={}; d['d']=d; out(d)`,
		`out(len)`, `out(S())`, `out(Setter(1))`, `out(Setter(2))`, `out([()])`, `out([1,[2],3])`, `out([1,[2,3]])`,
	} {
		d := identity(t, c)
		if seen[d] != "" {
			t.Errorf("%s and %s are equal", c, seen[d])
		}
		seen[d] = c
	}
}

func TestIdentityLeavesOutWhatIsVolatile(t *testing.T) {
	digest := func(held string) cellgraph.Digest {
		t.Helper()
		d, err := Identity([]byte("](K\x05ckedge_agent.caches\nvolatile\n"+held+"\x85Re."), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if digest("K\x01") != digest("](K\x02e") {
		t.Error("a volatile value counts")
	}
	if plain, err := Identity([]byte("](K\x05K\x01e."), nil); err != nil || digest("K\x01") == plain {
		t.Error("that there is a volatile value does not count")
	}
}

func TestIdentityDeep(t *testing.T) {
	n := 1_000_000
	s := "\x80\x05" + strings.Repeat("]", n) + strings.Repeat("a", n-1) + "."
	tuples := "N" + strings.Repeat("\x85", n) + "."
	double := "]" + strings.Repeat("2\x86", 200) + "."
	for _, s := range []string{s, tuples, double} {
		if _, err := Identity([]byte(s), nil); err != nil {
			t.Error(err)
		}
	}
}

func TestIdentityRefusesTruncated(t *testing.T) {
	s := dump(t, `out([S(), {'a': (1, 2.5)}, {1}, bytearray(b'x'), 'y'*300])`)
	for n := range s {
		if _, err := Identity(s[:n], nil); !errors.Is(err, ErrStream) {
			t.Fatalf("%d of %d bytes: %v", n, len(s), err)
		}
	}
}

func TestGlobals(t *testing.T) {
	got, err := Globals(dump(t, `out([len, S()])`))
	if err != nil || strings.Join(got, " ") != "builtins.len collections.OrderedDict" {
		t.Fatal(got, err)
	}
}

func TestPayloadRoundTrip(t *testing.T) {
	p := Payload{Stream: cellgraph.Sum([]byte("s")), Buffers: []PayloadBuffer{{Blob: cellgraph.Sum(nil), Length: 3, ReadOnly: true}}}
	data, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodePayload(data)
	if err != nil || got.Stream != p.Stream || got.Buffers[0] != p.Buffers[0] {
		t.Fatal(got, err)
	}
	if _, err := DecodePayload([]byte("{}")); !errors.Is(err, ErrPayload) {
		t.Fatal(err)
	}
}

func FuzzIdentity(f *testing.F) {
	for _, s := range []string{"N.", "]2a.", "\x80\x05]\x94(K\x01h\x00e.", "(lp0\ng0\na.", "\x97\x98.", "](ckedge_agent.caches\nvolatile\nN\x85R0."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		if _, err := Identity(s, make([]HashedBuffer, 1)); err != nil && !errors.Is(err, ErrStream) {
			t.Fatal(err)
		}
		if _, err := Identity(s, nil); err != nil && !errors.Is(err, ErrStream) {
			t.Fatal(err)
		}
	})
}

func BenchmarkIdentity(b *testing.B) {
	s := dump(b, `out([{'id': i, 'name': 'n%d' % i, 'xy': (i * .5, i)} for i in range(300000)])`)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		if _, err := Identity(s, nil); err != nil {
			b.Fatal(err)
		}
	}
}
