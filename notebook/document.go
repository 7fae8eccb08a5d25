// Package notebook holds Kedge's words for a notebook: documents in nbformat 4.0 to 4.5, their cells, the
// tag grammar that groups cells into steps, and parameters.
//
// A Document changes only through its methods; what they do not touch is written back as it was read.
// Documents are not safe for concurrent use while one goroutine changes them.
package notebook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// newest minor version of nbformat 4 that this package reads.
const maxMinor = 5

var (
	// ErrNotNotebook means that the data is not JSON, or is JSON that is no notebook.
	ErrNotNotebook = errors.New("not a notebook")
	// ErrFormat means a notebook in a version of nbformat that Kedge does not read; the message says
	// how to convert it.
	ErrFormat = errors.New("unsupported notebook format")
	// ErrNoCell means an index at which the notebook has no code cell.
	ErrNoCell = errors.New("no code cell")
	// ErrJSON means that JSON handed in to be written is broken.
	ErrJSON = errors.New("not valid JSON for a notebook")
)

// Document is one notebook file.
type Document struct {
	root    *value
	minor   int
	indent  string
	newline bool // the file ended with a newline
}

// Parse reads a notebook. The error wraps ErrNotNotebook or ErrFormat.
func Parse(data []byte) (*Document, error) {
	root, err := parseJSON(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; repair it in a text editor, or bring back an earlier copy of the file", ErrNotNotebook, err)
	}
	major, err := version(root, "nbformat")
	if err != nil {
		return nil, err
	}
	minor := 0
	if root.get("nbformat_minor") != nil {
		if minor, err = version(root, "nbformat_minor"); err != nil {
			return nil, err
		}
	}
	switch {
	case major < 4:
		return nil, fmt.Errorf("%w: nbformat %d.%d, need 4.0 to 4.%d; convert it with `jupyter nbconvert --to notebook --inplace FILE`",
			ErrFormat, major, minor, maxMinor)
	case major > 4 || minor > maxMinor:
		return nil, fmt.Errorf("%w: nbformat %d.%d, need 4.0 to 4.%d; get a newer kedge, or save the notebook in an older format",
			ErrFormat, major, minor, maxMinor)
	}
	cells := root.get("cells")
	if cells == nil || cells.kind != kindArray {
		return nil, fmt.Errorf("%w: it has no list of cells; name a file that Jupyter has saved", ErrNotNotebook)
	}
	for i, cell := range cells.items {
		if _, ok := cell.get("cell_type").text(); !ok {
			return nil, fmt.Errorf("%w: cell %d has no cell_type", ErrNotNotebook, i)
		}
		if _, ok := joined(cell.get("source")); !ok {
			return nil, fmt.Errorf("%w: cell %d has no source", ErrNotNotebook, i)
		}
	}
	return &Document{root: root, minor: minor, indent: indentOf(data), newline: bytes.HasSuffix(data, []byte("\n"))}, nil
}

// indentOf is the white space before the first key, nbformat's one space if the file is on one line.
func indentOf(data []byte) string {
	_, rest, _ := bytes.Cut(bytes.TrimSpace(data), []byte("{"))
	space := rest[:len(rest)-len(bytes.TrimLeft(rest, " \t\r\n"))]
	if at := bytes.LastIndexByte(space, '\n'); at >= 0 && at+1 < len(space) {
		return string(space[at+1:])
	}
	return " "
}

func version(root *value, key string) (int, error) {
	v := root.get(key)
	if v == nil || v.kind != kindNumber {
		return 0, fmt.Errorf("%w: it has no %s; name a file that Jupyter has saved", ErrNotNotebook, key)
	}
	n, err := strconv.Atoi(v.raw)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %s is %s", ErrNotNotebook, key, v.raw)
	}
	return n, nil
}

// Bytes writes the document as nbformat does, nothing escaped that need not be, with the indent of the file
// that was read and a final newline if that had one. For a file that nbformat wrote, Parse then Bytes gives the
// same bytes.
func (d *Document) Bytes() ([]byte, error) {
	b := d.root.appendIndented(nil, d.indent, 0)
	if d.newline {
		b = append(b, '\n')
	}
	return b, nil
}

// Clone returns a copy that shares nothing that can change.
func (d *Document) Clone() *Document {
	return &Document{root: d.root.clone(), minor: d.minor, indent: d.indent, newline: d.newline}
}

// Metadata returns the notebook's metadata at a path, e.g. Metadata("kedge", "volumes"), as compact JSON,
// and whether it is there. It may hold Python's NaN and Infinity.
func (d *Document) Metadata(path ...string) (json.RawMessage, bool) {
	return metadata(d.root, path)
}

func metadata(of *value, path []string) (json.RawMessage, bool) {
	v := of.get("metadata").at(path...)
	if v == nil {
		return nil, false
	}
	return v.appendCompact(nil), true
}

// KernelName is the kernelspec the notebook asks for, "" if none.
func (d *Document) KernelName() string {
	name, _ := d.root.at("metadata", "kernelspec", "name").text()
	return name
}

// SetLanguageInfo records the language_info of a kernel_info_reply. The error wraps ErrJSON.
func (d *Document) SetLanguageInfo(info json.RawMessage) error {
	v, err := parseJSON(info)
	if err != nil || v.kind != kindObject {
		return fmt.Errorf("set language_info: %w", ErrJSON)
	}
	d.root.object("metadata").set("language_info", v)
	return nil
}

// SetWidgets records the state of the notebook's Jupyter widgets under metadata.widgets. The error wraps ErrJSON.
func (d *Document) SetWidgets(state json.RawMessage) error {
	v, err := parseJSON(state)
	if err != nil || v.kind != kindObject {
		return fmt.Errorf("set widgets: %w", ErrJSON)
	}
	d.root.object("metadata").set("widgets", v)
	return nil
}

func (d *Document) cells() []*value { return d.root.get("cells").items }
