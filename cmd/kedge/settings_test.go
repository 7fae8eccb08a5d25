package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReadSettings(t *testing.T) {
	for _, test := range []struct {
		name, content string
		stateless     []string
		err           error
	}{
		{"None", "", nil, nil},
		{"Stateless", `{"stateless": ["fastlib"]}`, []string{"fastlib"}, nil},
		{"UnknownKey", `{"stateles": []}`, nil, errUnusable},
		{"NotJSON", `stateless: x`, nil, errUnusable},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("XDG_CONFIG_HOME", dir)
			if test.content != "" {
				if err := os.MkdirAll(filepath.Join(dir, "kedge"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "kedge", "config.json"), []byte(test.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := readSettings()
			if !errors.Is(err, test.err) || !slices.Equal(s.Stateless, test.stateless) {
				t.Errorf("%v, %v; want %v, %v", s.Stateless, err, test.stateless, test.err)
			}
		})
	}
}
