package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// storeWith is a store with one snapshot, whose files may be changed by edit.
func storeWith(t *testing.T, edit func(*snapshotter.Snapshot)) (*snapshotter.Store, snapshotter.Snapshot, string) {
	t.Helper()
	dir := t.TempDir()
	store, err := snapshotter.Open(t.Context(), snapshotter.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	put := func(text string) cellgraph.Digest {
		id, err := store.PutBlob(t.Context(), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	length := 3
	payload := put(`{"stream":"` + put("stream").String() + `","buffers":[]}`)
	s := snapshotter.Snapshot{
		Notebook: "/work/a.ipynb", Step: "train", Cell: "c1", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Seconds: 1.5, Status: "ran", Document: put(`{"cells": []}`), LogicalBytes: 100,
		Groups: []cellgraph.Group{{Names: []string{"z"}, ID: put("group"), Payload: payload,
			Vars: []cellgraph.Variable{{Name: "z", Type: "list", Size: 88, Length: &length}}}},
		Opaque: []cellgraph.Uncaptured{{Name: "b", Reason: "an open socket"}},
		Files: []cellgraph.FileChange{
			{Path: "d", Dir: true, Mode: 0o755}, {Path: "d/x.csv", Content: put("1,2\n"), Size: 4, Mode: 0o640},
			{Path: "gone", Deleted: true}, {Path: "l", Link: "d/x.csv"},
		},
		Outputs: map[string]cellgraph.Digest{"c1": put("[]")},
	}
	if edit != nil {
		edit(&s)
	}
	if err := store.PutTrace(t.Context(), cellgraph.Trace{Code: put("code"), Cell: "c1"}, s); err != nil {
		t.Fatal(err)
	}
	if s, err = store.LatestSnapshot(t.Context(), s.Notebook, s.Step); err != nil {
		t.Fatal(err)
	}
	return store, s, dir
}

func TestFindSnapshot(t *testing.T) {
	store, s, _ := storeWith(t, nil)
	for _, arg := range []string{s.ID.String()[:8], strings.ToUpper(s.ID.String()), "/work/a.ipynb@train"} {
		if got, err := findSnapshot(t.Context(), store, arg); err != nil || got.ID != s.ID {
			t.Errorf("%s: %v, %v", arg, got.ID, err)
		}
	}
	for arg, want := range map[string]error{
		"abc": errUsage, "nothexadecimal": errUsage, "@train": errUsage, "a@": errUsage,
		"/work/a.ipynb@other": snapshotter.ErrNotFound, strings.Repeat("0", 64): snapshotter.ErrNotFound,
	} {
		if _, err := findSnapshot(t.Context(), store, arg); !errors.Is(err, want) {
			t.Errorf("%s: error is %v, want %v", arg, err, want)
		}
	}
}

func TestDescribeSortsVariablesAndGivesReasons(t *testing.T) {
	store, s, _ := storeWith(t, nil)
	d := detailsOf(t.Context(), store, s)
	if len(d.Variables) != 2 || d.Variables[0].Name != "b" || d.Variables[0].Captured || d.Variables[0].Reason != "an open socket" ||
		d.Variables[1].Name != "z" || !d.Variables[1].Captured || *d.Variables[1].Length != 3 {
		t.Errorf("variables are %+v", d.Variables)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"parent":null`, `"created":"2026-01-02T03:04:05Z"`, `"type":"deleted"`, `"environment":{}`, `"captured":false`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	var out bytes.Buffer
	if err := writeDetails(&out, d); err != nil || !strings.Contains(out.String(), "not captured: an open socket") {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestLogEntriesHaveEveryField(t *testing.T) {
	_, s, _ := storeWith(t, nil)
	text, err := json.Marshal(logEntries([]snapshotter.Snapshot{s}))
	if err != nil || !strings.Contains(string(text), `"logical_bytes":100`) || !strings.Contains(string(text), s.ID.String()) {
		t.Errorf("%v: %s", err, text)
	}
	if text, _ := json.Marshal(logEntries(nil)); string(text) != "[]" {
		t.Errorf("no snapshots are %s", text)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	store, _, dir := storeWith(t, nil)
	var out bytes.Buffer
	if err := storeVerify(t.Context(), &out, store, "", storeFlags{json: true}); err != nil || !strings.Contains(out.String(), `"problems"`) {
		t.Fatalf("sound store: %v: %s", err, &out)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segments", err)
	}
	if err := os.Truncate(segments[0], 10); err != nil {
		t.Fatal(err)
	}
	if err := storeVerify(t.Context(), &out, store, "", storeFlags{}); !errors.Is(err, errDamaged) {
		t.Errorf("damaged store: %v", err)
	}
}

func TestDoctorChecks(t *testing.T) {
	for _, f := range checkStore(t.Context(), t.TempDir()) {
		if f.Status == "problem" {
			t.Errorf("%+v", f)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := checkStore(t.Context(), file)[0]; f.Status != "problem" || f.Fix == "" {
		t.Errorf("a file as store: %+v", f)
	}
	if f := checkSharedMemory(file); f.Status != "warning" {
		t.Errorf("a file as shared memory: %+v", f)
	}
}
