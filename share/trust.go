package share

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Trusted is an author whose state the user lets restore.
type Trusted struct {
	Key   string    `json:"key"`
	Name  string    `json:"name,omitempty"` // as the author had called herself
	Since time.Time `json:"since"`
}

// Trust is the list of a home, in one file.
type Trust struct{ Path string }

// List are the authors on the list. A missing file has none.
func (t Trust) List() ([]Trusted, error) {
	data, err := os.ReadFile(t.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return []Trusted{}, nil
	}
	var list []Trusted
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read who is trusted: %w", err)
	}
	return list, nil
}

// Has reports whether an author is on the list; one that cannot be read has nobody.
func (t Trust) Has(k Key) bool {
	list, err := t.List()
	return err == nil && slices.ContainsFunc(list, func(one Trusted) bool { return one.Key == KeyText(k) })
}

// Add puts an author on the list.
func (t Trust) Add(k Key, name string, now time.Time) error {
	list, err := t.List()
	if err != nil || t.Has(k) {
		return err
	}
	return t.write(append(list, Trusted{KeyText(k), name, now.UTC()}))
}

// Remove takes an author off the list, and reports whether she was on it.
func (t Trust) Remove(k Key) (bool, error) {
	list, err := t.List()
	if err != nil {
		return false, err
	}
	left := slices.DeleteFunc(slices.Clone(list), func(one Trusted) bool { return one.Key == KeyText(k) })
	if len(left) == len(list) {
		return false, nil
	}
	return true, t.write(left)
}

func (t Trust) write(list []Trusted) error {
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	if err := writeWhole(t.Path, append(data, '\n')); err != nil {
		return fmt.Errorf("note who is trusted: %w", err)
	}
	return nil
}
