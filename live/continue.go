package live

import "path/filepath"

// Continue says that a page which opens the notebook restores up to a cell,
// once: Once is another text each time that a notebook is opened.
type Continue struct {
	Notebook string `json:"notebook"` // absolute path
	Cell     string `json:"cell"`
	Once     string `json:"once"`
}

// of is what c says of a notebook; nil if that is nothing.
func (c Continue) of(notebook string) map[string]string {
	if c.Cell == "" || notebook == "" {
		return nil
	}
	a, err := filepath.EvalSymlinks(c.Notebook)
	b, otherErr := filepath.EvalSymlinks(notebook)
	if err != nil || otherErr != nil || a != b {
		return nil
	}
	return map[string]string{"cell": c.Cell, "once": c.Once}
}
