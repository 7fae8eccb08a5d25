package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func doc(t *testing.T, minor int, cells ...string) *Document {
	t.Helper()
	d, err := Parse(fmt.Appendf(nil, `{"cells":[%s],"metadata":{},"nbformat":4,"nbformat_minor":%d}`, strings.Join(cells, ","), minor))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func cell(id, source string, tags ...string) string {
	list, _ := json.Marshal(append([]string{}, tags...))
	return fmt.Sprintf(`{"cell_type":"code","execution_count":null,"id":%q,"metadata":{"tags":%s},"outputs":[],"source":%q}`, id, list, source)
}

const golden = `{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": 1,
   "metadata": {},
   "outputs": [],
   "source": [
    "x = '<&>é'\n",
    "y"
   ],
   "zz": [
    1e5,
    0.10,
    NaN,
    {}
   ]
  },
  {
   "cell_type": "markdown",
   "metadata": {},
   "source": "one"
  }
 ],
 "metadata": {
  "kernelspec": {
   "name": "python3"
  }
 },
 "nbformat": 4,
 "nbformat_minor": %d
}`

func TestIndentIsKept(t *testing.T) {
	for _, test := range []struct{ space, want string }{
		{"\n  ", "\n  "},
		{"\n\t", "\n\t"},
		{"\r\n   ", "\n   "},
		{"", "\n "},
		{" ", "\n "},
		{"\n", "\n "},
	} {
		d, err := Parse([]byte("{" + test.space + `"cells":[],"nbformat":4,"nbformat_minor":5}`))
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Clone().Bytes()
		if err != nil || !strings.HasPrefix(string(b), "{"+test.want+`"cells": []`) {
			t.Errorf("%q gives %v %.30q", test.space, err, b)
		}
	}
}

func TestParseThenBytesIsIdentical(t *testing.T) {
	for _, minor := range []int{0, 4, 5} {
		for _, end := range []string{"", "\n"} {
			text := fmt.Sprintf(golden, minor) + end
			d, err := Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := d.Clone().Bytes(); string(b) != text {
				t.Errorf("4.%d: got\n%s", minor, b)
			}
			if d.KernelName() != "python3" || d.CodeCells()[0].Source != "x = '<&>é'\ny" {
				t.Error("wrong kernel or source")
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]error{
		`{`: ErrNotNotebook, `[]`: ErrNotNotebook, `{"nbformat":4}`: ErrNotNotebook, `{"a":01}`: ErrNotNotebook,
		`{"nbformat":3,"worksheets":[]}`:                 ErrFormat,
		`{"nbformat":4,"nbformat_minor":6,"cells":[]}`:   ErrFormat,
		`{"nbformat":4,"cells":[{"cell_type":"code"}]}`:  ErrNotNotebook,
		`{"nbformat":4,"nbformat_minor":5,"cells":[]} x`: ErrNotNotebook,
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestIDs(t *testing.T) {
	d := doc(t, 5, cell("a", "1"), cell("a", "2"), cell("a-2", "3"), cell("", "4"), cell("b", " \n"))
	var ids []string
	for _, c := range d.CodeCells() {
		ids = append(ids, c.ID)
	}
	if want := []string{"a", "a-3", "a-2", "cell-3"}; !reflect.DeepEqual(ids, want) {
		t.Error(ids)
	}
	if id := doc(t, 4, cell("a", "1")).CodeCells()[0].ID; id != "cell-0" {
		t.Error(id)
	}
}

func TestOutputsSplitAndJoin(t *testing.T) {
	d := doc(t, 5, cell("a", "1"))
	one := 1
	in := []json.RawMessage{
		json.RawMessage(`{"output_type":"stream","name":"stdout","text":"a\r\nb\u2028c"}`),
		json.RawMessage(`{"output_type":"display_data","data":{"image/png":"x\ny","text/plain":"p\nq","application/json":["a","b"],"image/svg+xml":"s\n"},"metadata":{}}`),
	}
	if err := d.SetOutputs(0, in, &one); err != nil {
		t.Fatal(err)
	}
	b, _ := d.Bytes()
	var flat strings.Builder
	for _, line := range strings.Split(string(b), "\n") {
		flat.WriteString(strings.TrimSpace(line))
	}
	for _, want := range []string{
		`"text": ["a\r\n","b` + "\u2028" + `","c"]`, `"image/png": "x\ny"`, `"text/plain": ["p\n","q"]`,
		`"image/svg+xml": ["s\n"]`, `"execution_count": 1`,
	} {
		if !strings.Contains(flat.String(), want) {
			t.Errorf("no %s in %s", want, flat.String())
		}
	}
	out := d.Outputs(0)
	if got := string(out[1]); got != string(in[1]) {
		t.Error(got)
	}
	if err := d.SetOutputs(1, nil, nil); !errors.Is(err, ErrNoCell) {
		t.Error(err)
	}
	d.ClearOutputs()
	if d.Outputs(0) != nil {
		t.Error("outputs left")
	}
	if err := d.SetExecution(0, map[string]string{"shell.execute_reply": "t2", "iopub.status.busy": "t1"}); err != nil {
		t.Fatal(err)
	}
	if got, _ := d.CodeCells()[0].Metadata("execution"); string(got) != `{"iopub.status.busy":"t1","shell.execute_reply":"t2"}` {
		t.Error(string(got))
	}
}

func TestParameters(t *testing.T) {
	for text, want := range map[string]string{
		"a=True": "True", "a=None": "None", "a=007": "7", "a=1_000": "1000", "a=1e-5": "1e-05", "a=1.": "1.0",
		"a=1e16": "1e+16", "a=nan": "float('nan')", "a=-inf": "float('-inf')", "a=": `""`, "a=x=\"é\n😀\\": `"x=\"\xe9\n\U0001f600\\"`,
		"a=true": `"true"`, "a=1__0": `"1__0"`, "a=0.1": "0.1",
	} {
		if p, err := ParseParameter(text); err != nil || p.Python != want {
			t.Errorf("%q: %s %v", text, p.Python, err)
		}
	}
	for _, text := range []string{"a", "=1", "1a=2", "class=2", "a b=1"} {
		if _, err := ParseParameter(text); !errors.Is(err, ErrParameter) {
			t.Errorf("%s: %v", text, err)
		}
	}
	p, err := JSONParameter("a", json.RawMessage(`{"k":[1,2.50,true,null,"s"]}`))
	if err != nil || p.Python != `{"k": [1, 2.5, True, None, "s"]}` {
		t.Error(p, err)
	}
}

func TestCellsAreLaidIn(t *testing.T) {
	d := doc(t, 5, cell("a", "1", "step:x"), cell("typed", ""), cell("b", "2"))
	d.Lay([]Cell{{ID: "top", Source: "0"}, {ID: "blank", Source: " "}, {ID: "a", Source: "other"}, {ID: "typed", Source: "5"}, {ID: "new", Source: "3", Tags: []string{"step:y"}}, {ID: "end", Source: "4"}})
	got := ""
	for _, c := range d.CodeCells() {
		got += c.ID + "=" + c.Source + strings.Join(c.Tags, "+") + " "
	}
	if want := "top=0 a=1 typed=5 new=3step:y end=4 b=2 "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	data, err := d.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse(data); err != nil || len(again.CodeCells()) != 6 {
		t.Error(err)
	}
}

func TestInjectPlaces(t *testing.T) {
	params := []Parameter{{"a", "1"}, {"b", `"x"`}}
	for name, c := range map[string]struct {
		cells []string
		at    int
		n     int
	}{
		"top":               {[]string{cell("a", "1")}, 0, 2},
		"after parameters":  {[]string{cell("a", "1", "pipeline-parameters"), cell("b", "1", "parameters"), cell("c", "2")}, 2, 4},
		"after pipeline":    {[]string{cell("a", "1", "pipeline-parameters"), cell("c", "2")}, 1, 3},
		"replaces in place": {[]string{cell("a", "1", "parameters"), cell("b", "2"), cell("c", "3", "injected-parameters")}, 2, 3},
	} {
		d := doc(t, 5, c.cells...)
		if err := d.Inject(params); err != nil {
			t.Fatal(err)
		}
		cells := d.CodeCells()
		got := cells[c.at]
		if len(cells) != c.n || got.Source != "# Parameters\na = 1\nb = \"x\"\n" || len(got.ID) != 8 || got.Tags[0] != "injected-parameters" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func outline(t *testing.T, auto bool, cells ...string) string {
	t.Helper()
	o, err := doc(t, 5, cells...).Outline(auto)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, step := range o.Steps {
		s = append(s, step.Name+"="+strings.Join(step.Cells, ",")+"<"+strings.Join(step.Prev, ","))
	}
	return strings.Join(s, " ")
}

func TestOutline(t *testing.T) {
	for name, c := range map[string]struct {
		auto  bool
		cells []string
		want  string
	}{
		"untagged joins above, start first": {false, []string{cell("a", "1"), cell("b", "1", "step:x"), cell("c", "1"), cell("d", "1", "block:y", "prev:x", "hide")}, "start=a< x=b,c< y=d<x"},
		"a name comes back":                 {false, []string{cell("a", "1", "step:x"), cell("b", "1", "step:y"), cell("c", "1", "step:x")}, "x=a,c< y=b<"},
		"special beats step":                {false, []string{cell("a", "1", "imports", "step:x", "step:y"), cell("b", "1", "skip", "step:z"), cell("c", "1")}, "imports=a,c<"},
		"injected":                          {false, []string{cell("a", "1", "pipeline-parameters"), cell("b", "1", "injected-parameters"), cell("c", "1", "step:x")}, "pipeline-parameters=a,b< x=c<"},
		"injected at top":                   {false, []string{cell("a", "1", "injected-parameters"), cell("b", "1"), cell("c", "1", "step:x")}, "parameters=a< start=b< x=c<"},
		"no tags":                           {false, []string{cell("a", "1"), cell("b", "1", "injected-parameters")}, ""},
		"auto":                              {true, []string{cell("a", "1"), cell("b", "1", "parameters"), cell("c", "1"), cell("d", "1", "skip")}, "a=a< parameters=b< c=c<"},
		"auto, but tagged":                  {true, []string{cell("a", "1", "step:x"), cell("b", "1")}, "x=a,b<"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outline(t, c.auto, c.cells...); got != c.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	o, err := doc(t, 5, cell("a", "1", "step:x", "label:k:v:w", "limit:nvidia.com/gpu:1", "annotation:a:b", "image:r:5/i:t", "cache:disabled", "raises-exception"), cell("b", "1", "cache:enabled")).Outline(false)
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{"disabled", "r:5/i:t", map[string]string{"nvidia.com/gpu": "1"}, map[string]string{"k": "v:w"}, map[string]string{"a": "b"}}
	if !reflect.DeepEqual(o.Steps[0].Settings, want) || !o.Cells[0].RaisesException || o.Cells[1].RaisesException {
		t.Errorf("%+v", o)
	}
}

func TestTagErrors(t *testing.T) {
	for name, cells := range map[string][]string{
		"two names": {cell("z", "1", "step:x", "block:y")},
		"missing":   {cell("z", "1", "step:x", "prev:y")},
		"later":     {cell("z", "1", "step:x", "prev:y"), cell("b", "1", "step:y")},
		"itself":    {cell("z", "1", "step:x", "prev:x")},
		"no step":   {cell("a", "1", "step:x"), cell("z", "1", "prev:x")},
		"empty":     {cell("z", "1", "step:")},
		"cycle":     {cell("a", "1", "step:x"), cell("b", "1", "step:y", "prev:x"), cell("z", "1", "step:x", "prev:y")},
	} {
		var e *TagError
		if _, err := doc(t, 5, cells...).Outline(false); !errors.As(err, &e) || e.Cell != "z" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,-0.5e+3,"\u00e9\n",null,true],"b":{}}`))
	f.Add([]byte(fmt.Sprintf(golden, 5)))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseJSON(data)
		if err != nil {
			return
		}
		for _, text := range [][]byte{v.appendIndented(nil, " ", 0), v.clone().appendCompact(nil)} {
			again, err := parseJSON(text)
			if err != nil || !reflect.DeepEqual(v, again) {
				t.Fatalf("%q does not come back: %v", text, err)
			}
			var a, b any
			if json.Unmarshal(data, &a) == nil && (json.Unmarshal(text, &b) != nil || !reflect.DeepEqual(a, b)) {
				t.Fatalf("%q differs from %q", text, data)
			}
		}
	})
}
