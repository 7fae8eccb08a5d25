package session

import (
	"slices"
	"testing"
	"time"

	"kedge/notebook"
)

func codeCell(t *testing.T, metadata string) notebook.CodeCell {
	t.Helper()
	doc, err := notebook.Parse([]byte(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kedge": {"stateless": ["b", "a"]}}, "cells": [
		{"cell_type": "code", "id": "c", "metadata": ` + metadata + `, "source": "1", "outputs": [], "execution_count": null}]}`))
	if err != nil {
		t.Fatal(err)
	}
	outline, err := doc.Outline(false)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := stateless(doc, []string{"a", "z"}); err != nil || !slices.Equal(names, []string{"a", "b", "z"}) {
		t.Fatalf("stateless: %v, %v", names, err)
	}
	return outline.Cells[0]
}

func TestATraceExpires(t *testing.T) {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		metadata, why string
		age           time.Duration
	}{
		{`{}`, "", 1000 * time.Hour},
		{`{"kedge": {"ttl": 60}}`, "", time.Minute},
		{`{"kedge": {"ttl": 60}}`, "older than its kedge.ttl of 60", 61 * time.Second},
		{`{"kedge": {"ttl": "12h"}}`, "older than its kedge.ttl of 12h", 13 * time.Hour},
		{`{"kedge": {"ttl": "7d"}}`, "", 167 * time.Hour},
		{`{"kedge": {"ttl": "7d"}}`, "older than its kedge.ttl of 7d", 169 * time.Hour},
		{`{"kedge": {"ttl": "soon"}}`, `kedge.ttl of the cell is no time (want seconds, or a text such as "12h" or "7d"): not cached`, 0},
	} {
		if why := expired(codeCell(t, test.metadata), created, created.Add(test.age)); why != test.why {
			t.Errorf("%s after %s: %q, want %q", test.metadata, test.age, why, test.why)
		}
	}
}
