package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

func TestRestoreWritesDocumentAndFiles(t *testing.T) {
	store, s, _ := storeWith(t, nil)
	dir := filepath.Join(t.TempDir(), "new", "dir")
	if n, err := restoreInto(t.Context(), store, s, dir, func(int, int) {}); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	for name, want := range map[string]string{"a.ipynb": `{"cells": []}`, "d/x.csv": "1,2\n", "l": "1,2\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "d/x.csv")); err != nil || info.Mode() != 0o640 {
		t.Error("mode", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Error(entries, err)
	}
	if _, err := restoreInto(t.Context(), store, s, dir, func(int, int) {}); !errors.Is(err, errUnusable) {
		t.Errorf("into a folder that is not empty: %v", err)
	}
}

func TestRestoreKeepsTheWayToOtherVolumes(t *testing.T) {
	store, s, _ := storeWith(t, func(s *snapshotter.Snapshot) {
		s.Notebook, s.Files = "/home/me/work/a.ipynb", append(s.Files, cellgraph.FileChange{Path: "../shared", Dir: true, Mode: 0o700})
	})
	dir := t.TempDir()
	if _, err := restoreInto(t.Context(), store, s, dir, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"work/a.ipynb", "work/d/x.csv", "shared"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestRestoreStaysInsideAndCleansUp(t *testing.T) {
	outside := t.TempDir()
	for name, files := range map[string][]cellgraph.FileChange{
		"dots":    {{Path: "../../../../x"}},
		"hidden":  {{Path: "d/../../../../../x"}},
		"rooted":  {{Path: "/etc/x"}},
		"link":    {{Path: "l", Link: outside}, {Path: "l/x", Content: cellgraph.Sum([]byte("stream"))}},
		"missing": {{Path: "ok/y", Content: cellgraph.Sum([]byte("no such blob"))}},
	} {
		t.Run(name, func(t *testing.T) {
			store, s, _ := storeWith(t, func(s *snapshotter.Snapshot) { s.Files = files })
			dir := t.TempDir()
			if _, err := restoreInto(t.Context(), store, s, dir, func(int, int) {}); err == nil {
				t.Error("no error")
			}
			for _, d := range []string{dir, outside} {
				if entries, err := os.ReadDir(d); err != nil || len(entries) > 0 {
					t.Error("left behind", entries, err)
				}
			}
		})
	}
}
