package live

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kedge/kernel"
	"kedge/kernel/observe"
	"kedge/kernel/wire"
	"kedge/notebook"
	"kedge/session"
)

const document = `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
{"cell_type": "code", "id": "top", "metadata": {}, "outputs": [], "execution_count": null, "source": "import os"},
{"cell_type": "code", "id": "a", "metadata": {"tags": ["step:one"]}, "outputs": [], "execution_count": null, "source": "x = 1"},
{"cell_type": "code", "id": "b", "metadata": {}, "outputs": [], "execution_count": null, "source": "x"},
{"cell_type": "code", "id": "c", "metadata": {"tags": ["skip"]}, "outputs": [], "execution_count": null, "source": "x"},
{"cell_type": "code", "id": "d", "metadata": {"tags": ["step:two", "raises-exception"]}, "outputs": [], "execution_count": null, "source": "x"}]}`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "my nb.ipynb")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func request(kind, code, metadata string) *kernel.ShellRequest {
	content, _ := json.Marshal(map[string]any{"code": code, "silent": false})
	return &kernel.ShellRequest{Header: wire.Header{MsgType: kind}, Content: content, Metadata: json.RawMessage(metadata)}
}

func TestTheCellThatIsAskedFor(t *testing.T) {
	path := write(t, document)
	f, byText := (*file)(nil), false
	for _, test := range []struct{ name, code, metadata, id, step string }{ // text is found from the last on
		{"ByID", "x = 1", `{"cellId":"a","tags":["step:one"]}`, "a", "one"},
		{"EditedByID", "x = 2", `{"cellId":"a","tags":["step:one"]}`, "a", "one"},
		{"TagsThatAreNotSavedYet", "x = 2", `{"cellId":"a","tags":["step:new"]}`, "a", "new"},
		{"UntaggedJoinsTheStepAbove", "x", `{"cellId":"b"}`, "b", "one"},
		{"UntaggedAtTheTop", "import os", `{"cellId":"top"}`, "top", "start"},
		{"Skipped", "x", `{"cellId":"c","tags":["skip"]}`, "", ""},
		{"TagTakenAway", "x", `{"cellId":"d"}`, "d", "one"},
		{"NewAndTagged", "z", `{"cellId":"new","tags":["step:three"]}`, "new", "three"},
		{"NewAndUntagged", "z", `{"cellId":"new"}`, "", ""},
		{"BadTags", "x", `{"cellId":"a","tags":["step:"]}`, "", ""},
		{"TextFirst", "import os", `{}`, "top", "start"},
		{"TextNext", "x = 1\n", `{}`, "a", "one"},
		{"SameTextNext", "x", `{}`, "b", "one"},
		{"SameTextSkipped", "x", `{}`, "", ""},
		{"SameTextAgain", "x", `{}`, "d", "two"},
		{"UnknownText", "y", `{}`, "", ""},
		{"VSCode", "x = 1", `{"cellId":"vscode-notebook-cell:` + filepath.Dir(path) + `/my%20nb.ipynb#W1","tags":["step:one"]}`, "a", "one"},
	} {
		if !byText || test.metadata != "{}" {
			f = newFile(path)
		}
		byText = test.metadata == "{}"
		a, ok := ask(request("execute_request", test.code, test.metadata))
		if !ok {
			t.Fatal(test.name)
		}
		cell, _, ok := f.find(a, nil)
		if ok != (test.id != "") || ok && (cell.ID != test.id || cell.Step != test.step || cell.Source != test.code) {
			t.Errorf("%s: cell %s of step %s, %v; want %s of %s", test.name, cell.ID, cell.Step, ok, test.id, test.step)
		}
		if ok && cell.RaisesException != (test.id == "d" && test.metadata == "{}") {
			t.Errorf("%s: raises exception %v", test.name, cell.RaisesException)
		}
	}
}

// A page has cells that nobody has saved yet: they belong where it has them.
func TestACellThatOnlyAPageHas(t *testing.T) {
	page := []notebook.Cell{{ID: "top", Source: "import os"}, {ID: "a", Source: "x = 1", Tags: []string{"step:one"}}, {ID: "new", Source: "y"},
		{ID: "b", Source: "x", Tags: []string{"step:more"}}, {ID: "newer", Source: "x"}, {ID: "blank"}, {ID: "d", Source: "x", Tags: []string{"step:two"}}}
	strange := []notebook.Cell{{ID: "other", Source: "import os"}, {ID: "newer", Source: "x"}}
	for _, test := range []struct {
		name, id, step string
		page           []notebook.Cell
	}{
		{"InTheStepAbove", "new", "one", page},
		{"InAStepThatIsNotSavedEither", "newer", "more", page},
		{"OfAPageThatHasNothingOfTheFile", "newer", "", strange},
	} {
		f := newFile(write(t, document))
		source := map[string]string{"new": "y", "newer": "x"}[test.id]
		if test.step == "" {
			source = "unknown"
		}
		a, _ := ask(request("execute_request", source, `{"cellId":"`+test.id+`"}`))
		cell, outline, ok := f.find(a, test.page)
		if ok != (test.step != "") || cell.Step != test.step || cell.ID != test.id || cell.Source != source {
			t.Errorf("%s: %s of step %q, %v", test.name, cell.ID, cell.Step, ok)
		}
		if !ok {
			continue
		}
		ids := ""
		for _, c := range outline.Cells {
			ids += c.ID + " "
		}
		if ids != "top a new b newer c d " {
			t.Errorf("%s: the notebook has %s", test.name, ids)
		}
		if again, _, _ := f.find(a, nil); again.ID != test.id || again.Step != test.step || f.doc.CodeCells()[f.place(test.id)].Index != again.Index {
			t.Errorf("%s: then %s of step %q", test.name, again.ID, again.Step)
		}
	}
}

func TestFindsTheNotebook(t *testing.T) {
	path := write(t, document)
	env := func(values map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	}
	cmd := exec.Command("/bin/sh", "-c", "echo; read -r _", "execute", "--flag", filepath.Base(path))
	cmd.Dir = filepath.Dir(path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil { // until then its command line may be that of nothing
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env    map[string]string
		parent int
		want   string
	}{
		"Named":           {map[string]string{"KEDGE_NOTEBOOK": path, "JPY_SESSION_NAME": "/other.ipynb"}, 0, path},
		"Session":         {map[string]string{"JPY_SESSION_NAME": path}, 0, path},
		"Console":         {map[string]string{"JPY_SESSION_NAME": filepath.Join(filepath.Dir(path), "Console 1")}, cmd.Process.Pid, ""},
		"CommandLine":     {nil, cmd.Process.Pid, path},
		"NoCommandLine":   {nil, 1, ""},
		"FileThatIsGone":  {map[string]string{"JPY_SESSION_NAME": path + "x.ipynb"}, 0, ""},
		"EmptyIsNotNamed": {map[string]string{"KEDGE_NOTEBOOK": "", "JPY_SESSION_NAME": path}, 0, path},
	} {
		if got := Find(env(test.env), test.parent); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if got := inURI("vscode-notebook-cell:" + filepath.Dir(path) + "/my%20nb.ipynb#W0sZmlsZQ%3D%3D"); got != path {
		t.Errorf("in VS Code's id: %q", got)
	}
}

func noOpen(context.Context, string) (session.Config, func() error, error) {
	return session.Config{}, nil, errors.New("not here")
}

func TestWantsOnlyWhatANotebookWithStepsRuns(t *testing.T) {
	plain := `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}`
	auto := `{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kedge": {"auto": true}}, "cells": [
{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": null, "source": "x = 1"}]}`
	for name, test := range map[string]struct {
		path  string
		first *kernel.ShellRequest
		want  bool
		comm  bool
	}{
		"Steps":           {path: write(t, document), first: request("execute_request", "x", "{}"), want: true, comm: true},
		"Auto":            {path: write(t, auto), first: request("execute_request", "x = 1", "{}"), want: true, comm: true},
		"NoSteps":         {path: write(t, plain), first: request("execute_request", "x", "{}")},
		"TagsOfTheCell":   {path: write(t, plain), first: request("execute_request", "x", `{"tags":["step:a"]}`), want: true, comm: true},
		"Magic":           {path: write(t, plain), first: request("execute_request", "%kedge status", "{}"), want: true},
		"NoMagic":         {path: write(t, plain), first: request("execute_request", "%kedgex", "{}")},
		"NoNotebook":      {first: request("execute_request", "x", `{"tags":["step:a"]}`)},
		"BrokenNotebook":  {path: write(t, "{"), first: request("execute_request", "x", "{}")},
		"BeforeAnyCell":   {path: write(t, document), first: request("comm_msg", "", "{}")},
		"OtherMessages":   {path: write(t, document), first: request("complete_request", "x", "{}")},
		"MalformedIsNone": {path: write(t, document), first: &kernel.ShellRequest{Header: wire.Header{MsgType: "execute_request"}, Content: []byte("[]")}},
	} {
		n := New(Config{Path: test.path, Ring: &observe.Ring{}, Open: noOpen})
		if got := n.Wants(test.first); got != test.want {
			t.Errorf("%s: wants %v", name, got)
		}
		if got := n.Wants(request("comm_msg", "", "{}")); got != test.comm {
			t.Errorf("%s: wants widgets' messages: %v", name, got)
		}
	}
}

func TestACellThatIsBeingSavedIsNotStale(t *testing.T) {
	cell := notebook.CodeCell{Cell: notebook.Cell{ID: "a", Source: "x = 1"}, Step: "s"}
	look := session.Outlook{Cells: map[string]session.Prospect{"a": {Runs: true, Why: "never run"}}}
	o := outcome{id: "a", source: "x = 1", answer: session.Answer{Status: session.Ran}, saving: true}
	for want, known := range map[string]outcome{"running": o, "stale": {id: "a", source: "x = 1", answer: o.answer}} {
		if got := state(cell, look, standing{outcomes: map[string]outcome{"a": known}}); got.State != want {
			t.Errorf("saving %v: %s (%s), want %s", known.saving, got.State, got.Why, want)
		}
	}
	cell.Source = "x = 2"
	if got := state(cell, look, standing{outcomes: map[string]outcome{"a": o}}); got.State != "stale" {
		t.Errorf("edited while it is saved: %s", got.State)
	}
}
