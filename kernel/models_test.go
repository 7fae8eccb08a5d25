package kernel

import (
	"slices"
	"testing"
)

func TestModelsAreTheWidgetsOfACellThatOnlyShow(t *testing.T) {
	k := start(t)
	run := runner(t, k)
	run("import ipywidgets as w\nfrom comm import create_comm\nold = w.HTML('old')")
	r := run("box = w.HBox([w.Label('a')])\nbox.children = [w.Image(value=b'png'), *box.children]\nbox.children[1].value = 'b'")
	place := map[string]int{}
	for i, m := range r.Models {
		place[m.ID] = i
		for _, value := range m.State {
			for _, to := range reference.FindAllSubmatch(value, -1) {
				if at, ok := place[string(to[1])]; !ok || at == i {
					t.Errorf("widget %d comes before one that it refers to", i)
				}
			}
		}
	}
	last := r.Models[len(r.Models)-1]
	if len(r.Models) != 7 || string(last.State["_model_name"]) != `"HBoxModel"` {
		t.Errorf("%d models, the last is %s", len(r.Models), last.State["_model_name"])
	}
	has := func(m Model) bool { return string(m.State["value"]) == `"b"` }
	if !slices.ContainsFunc(r.Models, has) || !slices.ContainsFunc(r.Models, func(m Model) bool { return len(m.Buffers) == 1 }) {
		t.Error("a value or an image is not as it was last")
	}
	if r = run("gone = w.HTML('x')\ngone.close()"); len(r.Models) != 3 || !r.Models[2].Closed || r.Models[0].Closed {
		t.Errorf("closed: %v", r.Models)
	}
	for what, code := range map[string]string{
		"a slider":                       "w.IntSlider(3);",
		"an earlier widget":              "w.HTML('x'); old.value = 'new'",
		"a layout of another cell":       "w.HTML('x', layout=old.layout);",
		"a comm of its own":              "w.HTML('x'); create_comm(target_name='t')",
		"an event":                       "w.HTML('x').send({'e': 1})",
		"a closed widget in an open one": "h = w.HTML('x'); b = w.HBox([h]); h.close()",
	} {
		if r := run(code); !r.Comms || r.Models != nil {
			t.Errorf("%s: %d models", what, len(r.Models))
		}
	}
}
