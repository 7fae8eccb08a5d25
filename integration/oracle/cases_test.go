package oracle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// example is a notebook whose every cell is a step s0, s1, …, and what is done to it between two runs.
type example struct {
	Name   string
	Core   bool   // runs also in real kernels, without KEDGE_ORACLE=all
	Kernel bool   // needs a real kernel: comms
	Known  string // the fault that the case shows, if it is not mended yet
	Cells  []string
	Files  map[string]*string
	Env    map[string]string
	Change *change
	Runs   []string // the steps that may really run the second time, fewer are welcome; nil if that does not matter
}

// change is what is done to a notebook and its folder; with none, the last cell gets one more statement, so that it
// really runs on what was restored.
type change struct {
	Edit   [][2]json.RawMessage // index and source
	Insert []json.RawMessage    // index and source
	Delete *int
	Move   []int              // from, to
	Files  map[string]*string // nil deletes
	Env    map[string]string
	Rename string // of the folder
}

type cell struct{ id, source string }

// TestRestoredStepsCannotBeTold runs each notebook cold, changes it, and runs it again with its store and straight.
func TestRestoredStepsCannotBeTold(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	kedge := cmp.Or(os.Getenv("KEDGE_TEST_BINARY"), filepath.Join(root, "bin", "kedge"))
	python := cmp.Or(os.Getenv("KEDGE_TEST_PYTHON"), filepath.Join(root, ".venv", "bin", "python"))
	for _, path := range []string{kedge, python} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is missing: run `make test`, which builds it", path)
		}
	}
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var table []example
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	for _, e := range table {
		if !e.Core && os.Getenv("KEDGE_ORACLE") != "all" {
			continue // `KEDGE_ORACLE=all go test` runs them: several minutes
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			e.check(t, kedge, python)
		})
	}
}

func (e example) check(t *testing.T, kedge, python string) {
	base := t.TempDir()
	warm, straight := filepath.Join(base, "a", "lab"), filepath.Join(base, "b", "lab")
	before, after := e.notebooks(t)
	env := []string{"ORACLE=1"}
	for k, v := range e.Env {
		env = append(env, k+"="+v)
	}
	lay(t, warm, e.Files)
	lay(t, straight, e.Files)
	write(t, warm, before)
	run(t, kedge, python, warm, env, filepath.Join(base, "home")) // cold
	if c := e.Change; c != nil {
		for k, v := range c.Env {
			env = append(env, k+"="+v)
		}
		lay(t, warm, c.Files)
		lay(t, straight, c.Files)
		if c.Rename != "" {
			to := filepath.Join(filepath.Dir(warm), c.Rename)
			if err := os.Rename(warm, to); err != nil {
				t.Fatal(err)
			}
			warm = to
		}
	}
	write(t, warm, after)
	write(t, straight, after)
	left := filepath.Join(base, "left")
	if out, err := exec.Command("cp", "-a", warm, left).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v %s", err, out)
	}
	got, ran := run(t, kedge, python, warm, env, filepath.Join(base, "home"))
	files := treeOf(t, warm)
	var differs string
	for i, folder := range []string{straight, left} { // at the same path, for programs tell it
		if err := os.Rename(warm, filepath.Join(base, "done"+strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(folder, warm); err != nil {
			t.Fatal(err)
		}
		want, _ := run(t, kedge, python, warm, env, filepath.Join(base, "other"), "--no-cache")
		if got == want && files == treeOf(t, warm) {
			differs = ""
			break // what an earlier run left is there for all cells, or for none
		}
		differs += fmt.Sprintf("%s, straight in %s:\n%s%s\n", e.Name, filepath.Base(folder), want, treeOf(t, warm))
	}
	if differs != "" {
		t.Errorf("restored:\n%s%s\n%s", got, files, differs)
	}
	for _, step := range ran {
		if e.Runs != nil && !slices.Contains(e.Runs, step) {
			t.Errorf("step %s ran; at most %v should", step, e.Runs)
		}
	}
}

// notebooks are the cells before and after the change.
func (e example) notebooks(t *testing.T) (before, after []cell) {
	for i, source := range e.Cells {
		before = append(before, cell{"s" + string(rune('0'+i)), source})
	}
	after = slices.Clone(before)
	c := e.Change
	if c == nil {
		after[len(after)-1].source += "\n_again = 1"
		return before, after
	}
	for _, edit := range c.Edit {
		i := decode[int](t, edit[0])
		after[i].source = decode[string](t, edit[1])
	}
	if c.Insert != nil {
		after = slices.Insert(after, decode[int](t, c.Insert[0]), cell{"new", decode[string](t, c.Insert[1])})
	}
	if c.Delete != nil {
		after = slices.Delete(after, *c.Delete, *c.Delete+1)
	}
	if c.Move != nil {
		moved := after[c.Move[0]]
		after = slices.Insert(slices.Delete(after, c.Move[0], c.Move[0]+1), c.Move[1], moved)
	}
	return before, after
}

func decode[T any](t *testing.T, data json.RawMessage) T {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// lay writes files into dir; nil deletes one.
func lay(t *testing.T, dir string, files map[string]*string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if text == nil {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(*text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, dir string, cells []cell) {
	list := []map[string]any{}
	for _, c := range cells {
		tags := []string{"step:" + c.id}
		if strings.Contains(c.source, "#raises") {
			tags = append(tags, "raises-exception")
		}
		list = append(list, map[string]any{"cell_type": "code", "id": c.id, "source": c.source, "outputs": []any{},
			"execution_count": nil, "metadata": map[string]any{"tags": tags}})
	}
	data, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": list})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nb.ipynb"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run gives the counts and outputs that a reader of the executed notebook sees, and the steps that ran.
func run(t *testing.T, kedge, python, dir string, env []string, home string, args ...string) (string, []string) {
	cmd := exec.Command(kedge, append([]string{"run", "nb.ipynb", "-o", "out.ipynb", "--json", "--python", python}, args...)...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), env...), "KEDGE_HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, _ := cmd.Output() // a cell that fails on purpose ends with a status of 1
	var report struct {
		Cells []struct{ ID, Status string }
	}
	if err := json.Unmarshal(stdout, &report); err != nil {
		t.Fatalf("no report: %v\n%s%s", err, stdout, stderr.String())
	}
	var ran []string
	for _, c := range report.Cells {
		if c.Status == "ran" {
			ran = append(ran, c.ID)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "out.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Cells []struct {
			Count   *int `json:"execution_count"`
			Outputs []map[string]any
		}
		Metadata map[string]any `json:"metadata"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range doc.Cells {
		for _, o := range c.Outputs {
			delete(o, "metadata")
			delete(o, "traceback") // holds addresses
			showWidgets(o, doc.Metadata)
		}
	}
	doc.Metadata = nil
	shown, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return steady(string(shown)), ran
}

// showWidgets puts what a reader sees of widgets in place of their ids, which are others each time.
func showWidgets(output, metadata map[string]any) {
	widgets, _ := metadata["widgets"].(map[string]any)
	all, _ := widgets["application/vnd.jupyter.widget-state+json"].(map[string]any)
	models, _ := all["state"].(map[string]any)
	const view = "application/vnd.jupyter.widget-view+json"
	if data, ok := output["data"].(map[string]any); ok && data[view] != nil {
		data[view] = shownOf(models, data[view])
	}
}

// shownOf is a value of a widget's state with the states of widgets in place of their ids.
func shownOf(models map[string]any, value any) any {
	switch v := value.(type) {
	case string:
		if id, ok := strings.CutPrefix(v, "IPY_MODEL_"); ok {
			if model, ok := models[id].(map[string]any); ok {
				return map[string]any{"state": shownOf(models, model["state"]), "buffers": model["buffers"]}
			}
			return "no model"
		}
	case []any:
		items := []any{}
		for _, item := range v {
			items = append(items, shownOf(models, item))
		}
		return items
	case map[string]any:
		fields := map[string]any{}
		for key, field := range v {
			if id, ok := field.(string); ok && key == "model_id" {
				field = "IPY_MODEL_" + id
			}
			fields[key] = shownOf(models, field)
		}
		return fields
	}
	return value
}

// treeOf lists what lies in dir, notebooks and caches apart, with mode and content.
func treeOf(t *testing.T, dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, ".ipynb") || strings.Contains(path, "__pycache__") || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(strings.TrimPrefix(path, dir) + " " + info.Mode().String() + " ")
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			b.WriteString(target)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.Write(data)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
