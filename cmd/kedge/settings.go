package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"kedge/snapshotter"
)

// settings are what a user says once for all notebooks.
type settings struct {
	Stateless []string `json:"stateless"` // packages that hold no state of their own
	Quota     string   `json:"quota"`     // the most that the store should take, such as "20GB", or "none"
	Network   bool     `json:"network"`   // the store may lie on a network file system
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
		return s, fmt.Errorf("%w: settings in %s: %w; it holds {\"stateless\": [\"PACKAGE\", …], \"quota\": \"20GB\", \"network\": false}", errUnusable, path, err)
	}
	if s.Quota != "" {
		if _, err := parseQuota(s.Quota); err != nil {
			return s, fmt.Errorf("%w: settings in %s: quota: %w", errUnusable, path, err)
		}
	}
	return s, nil
}

// storeConfig is how the user wants the store: by the environment
// ($KEDGE_QUOTA, $KEDGE_NETWORK), else by the settings.
func storeConfig(dir string) (snapshotter.Config, error) {
	cfg := snapshotter.Config{Dir: dir, Trusts: trustOf(dir).Has}
	set, err := readSettings()
	if err != nil {
		return cfg, err
	}
	cfg.AnyFileSystem = set.Network
	if text := os.Getenv("KEDGE_NETWORK"); text != "" {
		if cfg.AnyFileSystem, err = strconv.ParseBool(text); err != nil {
			return cfg, fmt.Errorf("%w: KEDGE_NETWORK is %q; set it to 1 or 0", errUnusable, text)
		}
	}
	quota := cmp.Or(os.Getenv("KEDGE_QUOTA"), set.Quota)
	if quota == "" {
		return cfg, nil
	}
	if cfg.Quota, err = parseQuota(quota); err != nil {
		return cfg, fmt.Errorf("%w: KEDGE_QUOTA: %w", errUnusable, err)
	}
	if cfg.Quota == 0 {
		cfg.Quota = 1 // 0 stands for the default
	}
	return cfg, nil
}
