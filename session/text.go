package session

import (
	"regexp"
	"slices"

	"kedge/cellgraph"
	"kedge/notebook"
)

// compiled is how the file is named that a cell is compiled as: the number is a hash of its text.
var compiled = regexp.MustCompile(`ipykernel_\d+/\d+\.py|ipykernel/\d+\.py|<ipython-input-\d+-`)

// text is the digest of a cell's source if one of its outputs names its compiled file, else zero.
func text(o *seen) cellgraph.Digest {
	for _, raw := range o.result.Outputs {
		if compiled.Match(raw) {
			return cellgraph.Sum([]byte(o.cell.Source))
		}
	}
	return cellgraph.Digest{}
}

// fitting leaves out the traces whose outputs name another text of the cell.
func fitting(traces []cellgraph.Trace, cell notebook.CodeCell) []cellgraph.Trace {
	now := cellgraph.Sum([]byte(cell.Source))
	return slices.DeleteFunc(slices.Clone(traces), func(t cellgraph.Trace) bool { return !t.Text.IsZero() && t.Text != now })
}
