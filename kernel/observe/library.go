// Package observe records which files a process tree reads, looks for, lists,
// writes and connects to, by a small preloaded library and a ring that it
// shares with kedge.
package observe

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed lib
var embedded embed.FS

const libraryName = "libkedge_observe.so"

// ErrNotBuilt says that kedge was built without the preloaded library.
var ErrNotBuilt = errors.New("the observing library is not built: run `make build`")

// Library writes the embedded library into dir, which it creates with mode
// 0700, and returns its path. It replaces an older copy atomically.
func Library(dir string) (string, error) {
	data, err := embedded.ReadFile("lib/" + libraryName)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotBuilt
	}
	if err != nil {
		return "", fmt.Errorf("read embedded library: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("create library folder: %w", err)
	}
	path := filepath.Join(dir, libraryName)
	tmp, err := os.CreateTemp(dir, ".lib-*")
	if err != nil {
		return "", fmt.Errorf("write library: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone already after the rename
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o700), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("write library: %w", err)
	}
	return path, nil
}
