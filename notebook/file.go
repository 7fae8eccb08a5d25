package notebook

import (
	"context"
	"errors"
	"os"
	"time"
)

const (
	// settled is how long a file must not have changed to count as no longer being written.
	settled = 2 * time.Second
	// lookAgain is the time between two looks at a file that is being written.
	lookAgain = 20 * time.Millisecond
)

// ReadFile reads a notebook's file, and returns its bytes too. Jupyter saves in place: for a moment the file is empty or
// cut off. That is waited for, unless the file has not changed for two seconds or ctx ends. The error wraps what Parse
// returns, or is the operating system's.
func ReadFile(ctx context.Context, path string) (*Document, []byte, error) {
	var last os.FileInfo
	var changed time.Time
	for {
		before, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		after, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		doc, err := Parse(data)
		if err == nil && unchanged(before, after) {
			return doc, data, nil
		}
		if last == nil || !unchanged(last, after) {
			last, changed = after, earlier(after.ModTime(), time.Now())
		}
		if errors.Is(err, ErrFormat) || err != nil && time.Since(changed) > settled {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// unchanged says whether a file looks as it did: another is there, or it was written, if not.
func unchanged(was, is os.FileInfo) bool {
	return os.SameFile(was, is) && was.Size() == is.Size() && was.ModTime().Equal(is.ModTime())
}

// earlier of two times: by the clock of a file's server it may have changed in the future.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
