package agent

import (
	"slices"
	"testing"
)

// parts are the parts of names in the dict that code pickles.
func parts(t *testing.T, code string, names ...string) (sets []string, ids []string) {
	t.Helper()
	found, err := Parts(dump(t, code), nil, names)
	if err != nil {
		t.Fatalf("%s: %v", code, err)
	}
	for _, p := range found {
		set := ""
		for _, n := range p.Names {
			set += n
		}
		sets, ids = append(sets, set), append(ids, p.ID.String())
	}
	return sets, ids
}

func TestAPartIsDigestedAsIfItWereAlone(t *testing.T) {
	for _, c := range []struct {
		name, whole, alone string
		names              []string
	}{
		{"Name", `l=[1]; out({'a':l,'b':[l],'c':2})`, `out({'a':[1]})`, []string{"a"}},
		{"NameMetAfterAnother", `l=[1]; out({'a':[l],'b':l})`, `out({'b':[1]})`, []string{"b"}},
		{"SharingNames", `l=[1]; out({'a':l,'b':[l],'c':[l,3]})`, `l=[1]; out({'a':l,'b':[l]})`, []string{"a", "b"}},
		{"Object", `x=S(); out({'a':x,'b':[x]})`, `out({'a':S()})`, []string{"a"}},
		{"Setter", `x=Setter(1); out({'a':[x],'b':x})`, `out({'b':Setter(1)})`, []string{"b"}},
		{"All", `l=[1]; out({'a':l,'b':l})`, `l=[1]; out({'a':l,'b':l})`, []string{"a", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ids := parts(t, c.whole, c.names...)
			if want := identity(t, c.alone).String(); !slices.Equal(ids, []string{want}) {
				t.Errorf("got %v, want %s", ids, want)
			}
		})
	}
}

func TestPartsSayWhatIsShared(t *testing.T) {
	for _, c := range []struct {
		code  string
		names []string
		sets  []string
	}{
		{`l=[1]; out({'a':l,'b':[l],'c':[1]})`, []string{"a", "b", "c"}, []string{"ab", "c"}},
		{`l=[1]; out({'a':[1],'b':[1],'c':l,'d':l})`, []string{"a", "b", "d"}, []string{"a", "b", "d"}},
		{`l=[1];m=[2]; out({'a':l,'b':m,'c':[l,m]})`, []string{"a", "b"}, []string{"a", "b"}},
		{`l=[1];m=[2]; out({'a':l,'b':m,'c':[l,m]})`, []string{"c", "b", "a"}, []string{"abc"}},
		{`t=(1,2); out({'a':t,'b':t})`, []string{"a", "b"}, []string{"a", "b"}},
		{`l=[]; t=(l,); out({'a':t,'b':t})`, []string{"a", "b"}, []string{"ab"}},
	} {
		if sets, _ := parts(t, c.code, c.names...); !slices.Equal(sets, c.sets) {
			t.Errorf("%s: %v, want %v", c.code, sets, c.sets)
		}
	}
	if _, err := Parts(dump(t, `out({'a':1})`), nil, []string{"b"}); err == nil {
		t.Error("a name that the stream does not bind has a part")
	}
}
