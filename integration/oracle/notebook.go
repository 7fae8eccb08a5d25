// Package oracle compares `kedge run` with a straight run of the same notebook.
package oracle

import (
	"encoding/json"
	"fmt"

	"kedge/notebook"
)

// Cell is a cell of a notebook under test, a step of its own.
type Cell struct {
	ID     string   `json:"id"`
	Source string   `json:"source"`
	Raises bool     `json:"raises,omitempty"` // raises-exception: the run goes on if it fails
	Tags   []string `json:"tags,omitempty"`   // more tags
	// Foreign code is no cell of a step: a console's, say. Only in live steps.
	Foreign bool `json:"foreign,omitempty"`
	// Past code is foreign code that ran before the notebook had steps. It comes first.
	Past bool `json:"past,omitempty"`
}

// tail is a cell that is never restored: it has the kernel hold the whole
// state that the notebook left.
var tail = Cell{ID: "tail", Source: "pass", Tags: []string{"cache:disabled"}}

// document is the notebook of cells with parameters injected, and its outline.
func document(cells []Cell, parameters map[string]string) (*notebook.Document, *notebook.Outline, error) {
	list := []map[string]any{}
	for _, c := range cells {
		tags := append([]string{"step:" + c.ID}, c.Tags...)
		if c.Raises {
			tags = append(tags, "raises-exception")
		}
		list = append(list, map[string]any{"cell_type": "code", "id": c.ID, "source": c.Source, "outputs": []any{},
			"execution_count": nil, "metadata": map[string]any{"tags": tags}})
	}
	data, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": list})
	if err != nil {
		return nil, nil, err
	}
	doc, err := notebook.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("make a notebook: %w", err)
	}
	var injected []notebook.Parameter
	for name, value := range parameters {
		p, err := notebook.ParseParameter(name + "=" + value)
		if err != nil {
			return nil, nil, err
		}
		injected = append(injected, p)
	}
	if err := doc.Inject(injected); err != nil {
		return nil, nil, fmt.Errorf("make a notebook: %w", err)
	}
	outline, err := doc.Outline(false)
	return doc, outline, err
}
