package share

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kedge/cellgraph"
	"kedge/kernel/agent"
)

func TestEditsLeadFromOneListToTheOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	list := func() []string {
		all := make([]string, random.IntN(12))
		for i := range all {
			all[i] = fmt.Sprint(random.IntN(4))
		}
		return all
	}
	for range 20_000 {
		was, is := list(), list()
		var a, b []string
		kept := 0
		for _, e := range edits(was, is) {
			if e.was >= 0 {
				a = append(a, was[e.was])
			}
			if e.is >= 0 {
				b = append(b, is[e.is])
			}
			if e.was >= 0 && e.is >= 0 {
				kept++
				if was[e.was] != is[e.is] {
					t.Fatalf("%v, %v: %v", was, is, e)
				}
			}
		}
		if !slices.Equal(a, was) || !slices.Equal(b, is) {
			t.Fatalf("%v, %v: %v, %v", was, is, a, b)
		}
		if want := common(was, is); kept != want {
			t.Fatalf("%v, %v: %d of %d kept", was, is, kept, want)
		}
	}
	long := make([]string, 4000)
	for i := range long {
		long[i] = fmt.Sprint(i)
	}
	other := slices.Clone(long)
	slices.Reverse(other)
	if n := len(edits(long, other)); n != 8000 && n != 7999 {
		t.Error(n)
	}
}

// common is the length of the longest list that both have in them.
func common(a, b []string) int {
	best := make([][]int, len(a)+1)
	best[0] = make([]int, len(b)+1)
	for i := range a {
		best[i+1] = make([]int, len(b)+1)
		for j := range b {
			best[i+1][j+1] = max(best[i][j+1], best[i+1][j])
			if a[i] == b[j] {
				best[i+1][j+1] = best[i][j] + 1
			}
		}
	}
	return best[len(a)][len(b)]
}

func TestLinesAreToldWithWhatStandsAround(t *testing.T) {
	var was []string
	for i := range 40 {
		was = append(was, fmt.Sprint(i))
	}
	is := slices.Clone(was)
	is[20] = "new"
	said := ""
	for _, l := range compareLines(strings.Join(was, "\n"), strings.Join(is, "\n")) {
		said += l.Op + l.Text + "|"
	}
	if said != "…| 17| 18| 19|-20|+new| 21| 22| 23|…|" {
		t.Error(said)
	}
	if lines := compareLines(strings.Repeat("a\n", 6000), "b"); len(lines) != 1 || lines[0].Op != "…" {
		t.Error(lines)
	}
	if lines := compareLines("a", strings.Repeat("é", 5000)); len(lines) != 2 || len(lines[1].Text) > maxWidth+3 {
		t.Error(len(lines))
	}
}

func notebookOf(cells ...string) []byte {
	return []byte(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [` + strings.Join(cells, ",") + "]}")
}

func codeCell(id, source, outputs string) string {
	text, _ := json.Marshal(source)
	name := ""
	if id != "" {
		name = fmt.Sprintf(`"id": %q, `, id)
	}
	return fmt.Sprintf(`{%s"cell_type": "code", "metadata": {}, "execution_count": null, "source": %s, "outputs": [%s]}`, name, text, outputs)
}

func TestCellsAreCompared(t *testing.T) {
	said := func(was, is []byte) string {
		text := ""
		for _, c := range Compare(Contents{Cells: ReadCells(was)}, Contents{Cells: ReadCells(is)}, nil).Cells {
			text += c.ID + " " + c.What
			for _, l := range c.Lines {
				text += " " + l.Op + l.Text
			}
			text += "; "
		}
		return text
	}
	was := notebookOf(codeCell("a", "x = 1\ny = 2", ""), codeCell("gone", "z", ""), codeCell("c", "c", `{"a": 1}`), codeCell("d", "d", ""))
	is := notebookOf(codeCell("a", "x = 1\ny = 3", ""), codeCell("new", "n", ""), codeCell("c", "c", `{"a": 2}`), `{"id": "d", "cell_type": "code", "source": ["d"], "outputs": []}`)
	if text := said(was, is); text != "a changed  x = 1 -y = 2 +y = 3; gone removed -z; new added +n; c outputs; " {
		t.Error(text)
	}
	if text := said(is, is); text != "" {
		t.Error(text)
	}
	was = notebookOf(codeCell("", "a", ""), codeCell("", "b", ""), codeCell("", "c", ""))
	is = notebookOf(codeCell("", "new", ""), codeCell("", "a", ""), codeCell("", "b2", ""), codeCell("", "c", ""))
	if text := said(was, is); text != " added +new;  changed -b +b2; " {
		t.Error(text)
	}
	for _, hostile := range []string{"", "[]", `{"cells": 3}`, `{"cells": [{"source": 7, "outputs": "x"}, null]}`, `{"cells": [{"id": "a"}, {"id": "a"}]}`} {
		said([]byte(hostile), is)
		said(is, []byte(hostile))
	}
}

func frameOf(n int64, columns ...string) Variable {
	v := Variable{Variable: cellgraph.Variable{Name: "df", Type: "DataFrame", Shape: []int{int(n), len(columns)}}, Preview: &agent.Preview{}}
	for _, c := range columns {
		parts := strings.Split(c, ":")
		v.Preview.Sketches = append(v.Preview.Sketches, agent.Sketch{Name: parts[0], Type: parts[1], Of: n, Sum: parts[2]})
	}
	v.Digest = cellgraph.Sum([]byte(fmt.Sprint(n, columns)))
	return v
}

func TestVariablesAreComparedByName(t *testing.T) {
	number := func(name, what string) Variable {
		return Variable{Variable: cellgraph.Variable{Name: name, Type: "int"}, Digest: cellgraph.Sum([]byte(what))}
	}
	lock := Variable{Variable: cellgraph.Variable{Name: "lock"}, Reason: "a lock"}
	was := Contents{Variables: []Variable{number("a", "1"), number("gone", "1"), number("same", "1"), lock, frameOf(10, "x:int64:1", "x:int64:2", "y:object:~3", "z:int64:4")}}
	is := Contents{Variables: []Variable{number("a", "2"), number("new", "1"), number("same", "1"), lock, frameOf(10, "x:int64:1", "x:int64:9", "y:object:~3", "z:float64:5", "w:bool:6")}}
	d := Compare(was, is, nil)
	text := ""
	for _, v := range d.Variables {
		text += v.Name + " " + v.What + "; "
	}
	if text != "a changed; df changed; gone removed; new added; " || !slices.Equal(d.Unknown, []string{"lock"}) {
		t.Error(text, d.Unknown)
	}
	f := d.Variables[1].Frame
	if said := fmt.Sprint(*f); said != "{[10 10] [w] [] [{z int64 float64}] [x z] true}" {
		t.Error(said)
	}
	is.Variables[4] = frameOf(12, "x:int64:1", "x:int64:2", "z:int64:4")
	if said := fmt.Sprint(*Compare(was, is, nil).Variables[1].Frame); said != "{[10 12] [] [y] [] [x x z] false}" {
		t.Error(said)
	}
	is.Variables[4].Preview = nil
	if d := Compare(was, is, nil); d.Variables[1].Frame != nil || d.Variables[1].Was.Preview != nil {
		t.Error(d.Variables[1])
	}
}

func TestFilesAndVersionsAreCompared(t *testing.T) {
	file := func(path, text string) File {
		return File{Path: path, Type: typeFile, Content: cellgraph.Sum([]byte(text)), Size: int64(len(text))}
	}
	texts := map[cellgraph.Digest]string{}
	for _, text := range []string{"one\ntwo", "one\n2", "\x00bin", "bin\x00"} {
		texts[cellgraph.Sum([]byte(text))] = text
	}
	was := Contents{Notebook: "a.ipynb", Environment: map[string]string{"numpy": "1", "gone": "1", "same": "1"},
		Files: []File{file("a.ipynb", "x"), file("t.txt", "one\ntwo"), file("b.bin", "\x00bin"), file("old", "o"), file("same", "s")}}
	is := Contents{Notebook: "a.ipynb", Environment: map[string]string{"numpy": "2", "new": "1", "same": "1"},
		Files: []File{file("a.ipynb", "y"), file("t.txt", "one\n2"), file("b.bin", "bin\x00"), file("new", "o"), file("same", "s")}}
	d := Compare(was, is, func(f File) (string, bool) { text, ok := texts[f.Content]; return text, ok })
	text := ""
	for _, f := range d.Files {
		text += fmt.Sprint(f.Path, " ", f.What, " ", f.Lines, "; ")
	}
	if text != "b.bin changed []; new added []; old removed []; t.txt changed [{  one} {- two} {+ 2}]; " {
		t.Error(text)
	}
	if said := fmt.Sprint(d.Environment); said != "[{gone 1 } {new  1} {numpy 1 2}]" {
		t.Error(said)
	}
}

func TestWhatAStepLeftIsComparedByWhatCellsChanged(t *testing.T) {
	m := newHome(t).collected(t, false)
	was, ok := m.After(0)
	is, also := m.After(1)
	d := Compare(was, is, nil)
	if !ok || !also || len(d.Variables) != 2 || d.Variables[0].Name != "y" || d.Variables[0].What != Added || len(d.Files) != 1 || d.Files[0].What != Removed {
		t.Errorf("%+v", d)
	}
	if len(is.Variables) != len(m.Variables) {
		t.Error(is.Variables, m.Variables)
	}
	for _, n := range []int{-1, 2} {
		if _, ok := m.After(n); ok {
			t.Error(n)
		}
	}
	if _, ok := newHome(t).collected(t, true).After(0); ok {
		t.Error("without state it is known what cells changed")
	}
}
