package kernel

import (
	"encoding/json"
	"testing"
)

// widgetModels are the states in metadata.widgets by model name.
func widgetModels(t *testing.T, metadata json.RawMessage) map[string]map[string]json.RawMessage {
	t.Helper()
	var m map[string]struct {
		State map[string]struct {
			Name    string                     `json:"model_name"`
			State   map[string]json.RawMessage `json:"state"`
			Buffers []map[string]any           `json:"buffers"`
		} `json:"state"`
		Major int `json:"version_major"`
	}
	if err := json.Unmarshal(metadata, &m); err != nil {
		t.Fatalf("%v: %s", err, metadata)
	}
	views := m["application/vnd.jupyter.widget-state+json"]
	if views.Major != 2 {
		t.Errorf("version %d", views.Major)
	}
	models := map[string]map[string]json.RawMessage{}
	for _, model := range views.State {
		models[model.Name] = model.State
		if len(model.Buffers) > 0 {
			model.State["data"], _ = json.Marshal(model.Buffers[0]["data"])
		}
	}
	return models
}

// runner runs code in k, which has to succeed.
func runner(t *testing.T, k *Kernel) func(code string) Result {
	return func(code string) Result {
		t.Helper()
		r, err := k.Execute(t.Context(), Request{Code: code})
		if err != nil || r.Status != "ok" {
			t.Fatalf("%v: %s: %s", err, r.EName, r.EValue)
		}
		return r
	}
}

func TestWidgetsKeepTheirState(t *testing.T) {
	k := start(t)
	run := runner(t, k)
	if r := run("x = 1"); r.Comms || r.Widgets != nil {
		t.Error("a cell without widgets has some")
	}
	run("import ipywidgets as w\ns = w.IntSlider(3)\ni = w.Image(value=b'abc')\nout = w.Output()")
	r := run("s.value = 7\nwith out:\n    print('in')\n    print('too')\nprint('beside')")
	models := widgetModels(t, r.Widgets)
	if got := string(models["IntSliderModel"]["value"]); got != "7" {
		t.Errorf("slider %s", got)
	}
	if got := string(models["ImageModel"]["data"]); got != `"YWJj"` {
		t.Errorf("image %s", got)
	}
	if got := string(models["OutputModel"]["outputs"]); got != `[{"name":"stdout","output_type":"stream","text":"in\ntoo\n"}]` {
		t.Errorf("output widget %s", got)
	}
	if len(r.Outputs) != 1 || text(t, r.Outputs[0]) != "beside\n" {
		t.Errorf("outputs %s", r.Outputs)
	}
	if r := run("print(out.outputs[0]['text'], end='')"); text(t, r.Outputs[0]) != "in\ntoo\n" {
		t.Errorf("the kernel does not know what its widget shows: %s", r.Outputs[0])
	}
	r = run("with out:\n    __import__('IPython').display.clear_output()")
	if got := string(widgetModels(t, r.Widgets)["OutputModel"]["outputs"]); got != "[]" {
		t.Errorf("cleared output widget %s", got)
	}
}
