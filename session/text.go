package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/notebook"
)

// compiled is how the file is named that a cell is compiled as: the number is a hash of its text.
var compiled = regexp.MustCompile(`ipykernel_\d+/\d+\.py|ipykernel/\d+\.py|<ipython-input-\d+-`)

// numbered is how a traceback names the cell that a line of it stands in.
var numbered = regexp.MustCompile(`In\[\d+\]`)

// text is the digest of a cell's source if something looked at it, or asked
// where code stands, or one of its outputs names its compiled file; else zero.
func text(o *seen) cellgraph.Digest {
	for _, raw := range o.result.Outputs {
		if compiled.Match(raw) {
			return cellgraph.Sum([]byte(o.cell.Source))
		}
	}
	if o.captured.Placed || slices.Contains(o.captured.Texts, o.cell.Source) {
		return cellgraph.Sum([]byte(o.cell.Source))
	}
	return cellgraph.Digest{}
}

// fitting leaves out the traces whose cell had another text that counts.
func fitting(traces []cellgraph.Trace, cell notebook.CodeCell) []cellgraph.Trace {
	now := cellgraph.Sum([]byte(cell.Source))
	return slices.DeleteFunc(slices.Clone(traces), func(t cellgraph.Trace) bool { return !t.Text.IsZero() && t.Text != now })
}

// texts observes the cells before this one whose text something looked at.
func (s *Session) texts(o *seen) []cellgraph.Observation {
	var list []cellgraph.Observation
	if slices.ContainsFunc(o.result.Outputs, func(raw json.RawMessage) bool { return numbered.Match(raw) }) {
		list = append(list, s.state.ObserveText(cellgraph.Numbers))
	}
	if o.captured.Placed {
		return append(list, s.state.ObserveText(cellgraph.Everything))
	}
	for _, source := range o.captured.Texts {
		if source == o.cell.Source {
			continue
		}
		name := cellgraph.Everything // of a cell that the state does not know
		for _, p := range s.past {
			if p.cell.Source == source {
				name = p.trace.Code.String()
			}
		}
		list = append(list, s.state.ObserveText(name))
	}
	return list
}

// entered is a cell as the state knows it.
func (s *Session) entered(cell notebook.CodeCell) cellgraph.Entered {
	normal := s.cfg.Sources[cell.ID].Normal
	defines := strings.Contains(normal, "FunctionDef") || strings.Contains(normal, "Lambda") || strings.Contains(normal, "get_ipython")
	return cellgraph.Entered{Code: s.code(cell), Source: cell.Source, Defines: defines}
}

// untold are the texts of the cells that were restored since the last call.
func (s *Session) untold() []agent.Text {
	var list []agent.Text
	for i := s.spoken; i < len(s.past); i++ {
		if p := s.past[i]; !s.executed[i] {
			normal := sha256.Sum256([]byte(s.cfg.Sources[p.cell.ID].Normal))
			list = append(list, agent.Text{Count: p.count, Code: p.cell.Source, Normal: hex.EncodeToString(normal[:])})
		}
	}
	return list
}
