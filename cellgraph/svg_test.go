package cellgraph

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSVGIsWellFormedAndHasEverything(t *testing.T) {
	g := Graph{Steps: []string{"load", "a<b> & \"c\"", "train", "späte Stufe"}, Edges: []Edge{
		{From: "load", To: "a<b> & \"c\"", Observed: []string{"df", "a_rather_long_name", "and_another_long_name"}},
		{From: "load", To: "train", Observed: []string{"df"}},
		{From: "train", To: "a<b> & \"c\"", Declared: true}, // back
		{From: "gone", To: "train", Declared: true},
		{From: "a<b> & \"c\"", To: "späte Stufe", Declared: true},
	}}
	for _, graph := range []Graph{{}, {Steps: []string{"start"}}, g} {
		text := graph.SVG()
		d := xml.NewDecoder(strings.NewReader(text))
		words := ""
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if data, ok := token.(xml.CharData); ok {
				words += string(data) + "\n"
			}
		}
		for _, step := range graph.Steps {
			if !strings.Contains(words, "\n"+step+"\n") {
				t.Errorf("no %q in %s", step, words)
			}
		}
		for _, e := range graph.Edges {
			if e.From != "gone" && !strings.Contains(words, e.From+" → "+e.To+": "+strings.Join(e.Observed, ", ")) {
				t.Errorf("no edge %v", e)
			}
		}
	}
	for i, a := range g.Draw().Arrows {
		for j, b := range g.Draw().Arrows[:i] {
			if a.Label != "" && a.LabelX == b.LabelX && a.LabelY == b.LabelY {
				t.Error("labels on each other", i, j)
			}
		}
	}
	boxes, _, _ := g.place()
	if !(boxes["load"].X < boxes["train"].X && boxes["train"].X <= boxes["späte Stufe"].X) {
		t.Errorf("%v", boxes)
	}
}
