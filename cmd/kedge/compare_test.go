package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"kedge/share"
)

func TestEnvironmentsAreCompared(t *testing.T) {
	there := map[string]string{"numpy": "2.4.0", "python": "3.11.2 Linux", "pandas": "3.1", "same": "1", "odd": "1 2\x1b[31m"}
	got := compareEnvironment(there, map[string]string{"numpy": "2.3.1", "python": "3.12.0 Linux", "same": "1", "odd": "2", "other": "5"})
	want := []difference{{"python", "3.11.2 Linux", "3.12.0 Linux"}, {"numpy", "2.4.0", "2.3.1"}, {"odd", "1 2\x1b[31m", "2"}, {"pandas", "3.1", ""}}
	if !slices.Equal(got, want) {
		t.Fatal(got)
	}
	var out bytes.Buffer
	warnOf(&out, &share.Manifest{Notebook: "nb.ipynb", Environment: there}, opened{Differs: got, Notebook: "/a b/nb.ipynb", Lock: "/a b/nb.requirements.txt"})
	for _, words := range []string{"python was 3.11.2 Linux, here it is 3.12.0 Linux: no step is restored", "numpy was 2.4.0, here it is 2.3.1: steps that use it run",
		"pandas was 3.1, here it is missing", "cd '/a b' && uv venv --python 3.11.2 env && uv pip install --python env/bin/python -r 'nb.requirements.txt' && kedge run 'nb.ipynb' --python env/bin/python"} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("no %q in\n%s", words, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("what the manifest says steers the terminal")
	}
	out.Reset()
	warnOf(&out, &share.Manifest{}, opened{Differs: got, Notebook: "/a/x'; touch owned; '.ipynb", Lock: "/a/x'; touch owned; '.requirements.txt"})
	if text := out.String(); !strings.Contains(text, `kedge run 'x'\''; touch owned; '\''.ipynb' --python`) || strings.Contains(text, `run '/a/x';`) || strings.Contains(text, `-r 'x';`) {
		t.Error("what the author has named the notebook is a command: " + text)
	}
	out.Reset()
	if warnOf(&out, &share.Manifest{}, opened{}); out.Len() > 0 {
		t.Error(out.String())
	}
}
