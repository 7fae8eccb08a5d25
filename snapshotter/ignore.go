package snapshotter

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// IgnoreFile is the file in a notebook's folder that says what is no part of snapshots.
const IgnoreFile = ".kedgeignore"

// Ignore are patterns, as [filepath.Match] has them, of what is no part of
// snapshots: of a path below a folder, or of any element of it.
type Ignore []string

// ReadIgnore reads the patterns of a notebook's folder, one a line. Without the file there are none.
func ReadIgnore(folder string) (list Ignore, err error) {
	f, err := os.Open(filepath.Join(folder, IgnoreFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is ignored: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSuffix(strings.TrimSpace(lines.Text()), "/")
		if line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what is ignored: %w", err)
	}
	return list, nil
}

// Has reports whether a path, below a folder, is left out.
func (list Ignore) Has(rel string) bool {
	for _, pattern := range list {
		if ok, _ := filepath.Match(pattern, rel); ok {
			return true
		}
		for part := range strings.SplitSeq(rel, "/") {
			if ok, _ := filepath.Match(pattern, part); ok {
				return true
			}
		}
	}
	return false
}
