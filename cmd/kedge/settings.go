package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// settings are what a user says once for all notebooks.
type settings struct {
	Stateless []string `json:"stateless"` // packages that hold no state of their own
}

// settingsPath is $XDG_CONFIG_HOME/kedge/config.json, by default ~/.config/kedge/config.json.
func settingsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "kedge", "config.json"), nil
}

// readSettings reads the user's settings; a missing file says nothing. A file
// that cannot be read as settings is an error: what it declares would be lost.
func readSettings() (settings, error) {
	var s settings
	path, err := settingsPath()
	if err != nil {
		return s, nil // no home, so no settings
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("%w: settings: %w", errUnusable, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: settings in %s: %w; it holds {\"stateless\": [\"PACKAGE\", …]}", errUnusable, path, err)
	}
	return s, nil
}
