package corpus

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cell is one cell of a corpus notebook.
type cell struct {
	id     string // "" of a markdown cell
	tags   []string
	source string
}

// marker begins a cell: "# %% NAME" is a code cell with that id in the step of
// that name; "tag=T" after the name gives it the one tag T instead ("tag=":
// none); "[markdown]" stands for a name.
const marker = "# %% "

// readNotebook reads the percent format of notebooks/*/*.ipy.
func readNotebook(path string) ([]cell, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var cells []cell
	for part := range strings.SplitSeq("\n"+string(data), "\n"+marker) {
		head, source, _ := strings.Cut(part, "\n")
		if head == "" {
			continue // before the first marker
		}
		c := cell{source: strings.Trim(source, "\n")}
		name, tag, tagged := strings.Cut(head, " tag=")
		if name != "[markdown]" {
			c.id, c.tags = name, []string{"step:" + name}
		}
		if tagged {
			c.tags = slices.DeleteFunc([]string{tag}, func(s string) bool { return s == "" })
		}
		cells = append(cells, c)
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("%s has no cells", path)
	}
	return cells, nil
}

// readExample reads one of the project's own examples.
func readExample(path string) ([]cell, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Cells []struct {
			Type     string `json:"cell_type"`
			ID       string
			Metadata struct{ Tags []string }
			Source   []string
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	var cells []cell
	for _, c := range doc.Cells {
		one := cell{source: strings.Join(c.Source, "")}
		if c.Type == "code" {
			one.id, one.tags = c.ID, c.Metadata.Tags
		}
		cells = append(cells, one)
	}
	return cells, nil
}

// writeNotebook writes cells as nbformat 4.5.
func writeNotebook(path string, cells []cell) error {
	list := []map[string]any{}
	for i, c := range cells {
		one := map[string]any{"cell_type": "markdown", "id": fmt.Sprintf("text-%d", i), "metadata": map[string]any{}, "source": c.source}
		if c.id != "" {
			one["cell_type"], one["id"], one["metadata"] = "code", c.id, map[string]any{"tags": c.tags}
			one["execution_count"], one["outputs"] = nil, []any{}
		}
		list = append(list, one)
	}
	data, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": list})
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// edit is one named change to a notebook and what surrounds it; each starts
// from the notebook as it is in the corpus.
type edit struct {
	Name string
	Do   []change
	Runs []string // the cells that must run, by id; a cell that injects parameters is "injected"
	// Wider are cells that need not run as a person sees it, and do, for the rule observes more: docs/soundness.md has each.
	Wider []string
}

// change is one step of an edit; exactly one of the groups of fields is set.
type change struct {
	Cell, Old, New string // replace Old, which must be there, in a cell ...
	File           string // ... or in a file; or give the file this Text, or Remove it
	Text           string // also the source of an inserted cell
	Remove         bool
	Touch          string // a file whose time changes, and nothing else
	Move, After    string // put a cell after another
	Insert         string // a new cell after After
	Delete         string
	Env, Value     string
	Param          string // as for kedge run -p
}

// readEdits reads edits.json: edits by notebook.
func readEdits() (map[string][]edit, error) {
	data, err := os.ReadFile("edits.json")
	if err != nil {
		return nil, err
	}
	edits := map[string][]edit{}
	return edits, json.Unmarshal(data, &edits)
}

// variant is a notebook with an edit applied.
type variant struct {
	cells  []cell
	env    []string
	params []string
}

// apply changes the files in dir and returns the notebook after an edit.
func (e edit) apply(cells []cell, dir string) (variant, error) {
	v := variant{cells: slices.Clone(cells)}
	for _, c := range e.Do {
		if err := v.change(c, dir); err != nil {
			return v, fmt.Errorf("edit %q: %w", e.Name, err)
		}
	}
	return v, nil
}

func (v *variant) change(c change, dir string) error {
	switch {
	case c.Cell != "":
		i := v.find(c.Cell)
		if i < 0 || !strings.Contains(v.cells[i].source+"\n", c.Old) {
			return fmt.Errorf("cell %s does not contain %q", c.Cell, c.Old)
		}
		v.cells[i].source = strings.TrimSuffix(strings.Replace(v.cells[i].source+"\n", c.Old, c.New, 1), "\n")
	case c.File != "":
		return c.file(filepath.Join(dir, c.File))
	case c.Touch != "":
		path := filepath.Join(dir, c.Touch)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	case c.Move != "":
		i := v.find(c.Move)
		if i < 0 {
			return fmt.Errorf("no cell %s", c.Move)
		}
		moved := v.cells[i]
		v.cells = slices.Delete(v.cells, i, i+1)
		return v.insert(moved, c.After)
	case c.Insert != "":
		return v.insert(cell{id: c.Insert, tags: []string{"step:" + c.Insert}, source: c.Text}, c.After)
	case c.Delete != "":
		i := v.find(c.Delete)
		if i < 0 {
			return fmt.Errorf("no cell %s", c.Delete)
		}
		v.cells = slices.Delete(v.cells, i, i+1)
	case c.Env != "":
		v.env = append(v.env, c.Env+"="+c.Value)
	case c.Param != "":
		v.params = append(v.params, "-p", c.Param)
	default:
		return fmt.Errorf("an empty change")
	}
	return nil
}

func (c change) file(path string) error {
	if c.Remove {
		return os.RemoveAll(path)
	}
	text := c.Text
	if c.Old != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(string(data), c.Old) {
			return fmt.Errorf("%s does not contain %q", path, c.Old)
		}
		text = strings.Replace(string(data), c.Old, c.New, 1)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
}

func (v *variant) find(id string) int {
	return slices.IndexFunc(v.cells, func(c cell) bool { return c.id == id })
}

func (v *variant) insert(c cell, after string) error {
	i := v.find(after)
	if i < 0 {
		return fmt.Errorf("no cell %s", after)
	}
	v.cells = slices.Insert(v.cells, i+1, c)
	return nil
}
