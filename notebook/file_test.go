package notebook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const small = `{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}`

// A file that is being saved is read when it is whole.
func TestASaveIsWaitedFor(t *testing.T) {
	for _, begun := range []string{"", small[:20]} {
		path := filepath.Join(t.TempDir(), "n.ipynb")
		if err := os.WriteFile(path, []byte(begun), 0o600); err != nil {
			t.Fatal(err)
		}
		impatient, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := ReadFile(impatient, path); !errors.Is(err, context.Canceled) {
			t.Fatalf("begun with %q: %v", begun, err)
		}
		read := make(chan error, 1)
		go func() {
			_, data, err := ReadFile(t.Context(), path)
			if err == nil && string(data) != small {
				err = errors.New("read " + string(data))
			}
			read <- err
		}()
		if err := os.WriteFile(path, []byte(small), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Errorf("begun with %q: %v", begun, err)
		}
	}
}

// What nobody writes is not waited for.
func TestABrokenFileIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.ipynb")
	if err := os.WriteFile(path, []byte(small[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, _, err := ReadFile(t.Context(), path); !errors.Is(err, ErrNotNotebook) {
		t.Error(err)
	}
	if took := time.Since(began); took > settled/2 {
		t.Errorf("it took %v", took)
	}
	if _, _, err := ReadFile(t.Context(), path+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
