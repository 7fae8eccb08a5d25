package server

import (
	"strings"
	"testing"
)

func TestMarkdownOfACell(t *testing.T) {
	doc := `{"cells": [{"cell_type": "markdown", "source": ["# Two *models*\n", "\n", "| a | b |\n", "|---|---|\n", "| 1 | 2 |\n"]},
		{"cell_type": "code", "source": "x"},
		{"cell_type": "markdown", "source": "[go](javascript:alert(1)) <script>alert(2)</script> <img src=x onerror=alert(3)> ` + "`code`" + `"},
		{"cell_type": "markdown", "source": "` + strings.Repeat("x", maxProse+1) + `"},
		{"cell_type": "markdown", "source": 7}]}`
	got := proseOf([]byte(doc))
	if len(got) != 4 || got[2] != nil {
		t.Fatalf("%d cells", len(got))
	}
	for _, part := range []string{"<h1>Two <em>models</em></h1>", "<td>1</td>"} {
		if !strings.Contains(*got[0], part) {
			t.Errorf("%s has no %s", *got[0], part)
		}
	}
	if !strings.Contains(*got[1], "<code>code</code>") {
		t.Errorf("got %s", *got[1])
	}
	for _, part := range []string{"script", "onerror"} {
		if strings.Contains(*got[1], part) {
			t.Errorf("%s has %s", *got[1], part)
		}
	}
	if *got[3] != "" {
		t.Errorf("a text that is a number: %q", *got[3])
	}
	for _, bad := range []string{"", "[]", "null", `{"cells": 7}`} {
		if got := proseOf([]byte(bad)); len(got) != 0 {
			t.Errorf("%q: %d cells", bad, len(got))
		}
	}
}
