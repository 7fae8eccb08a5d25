package live

import (
	"encoding/json"
	"fmt"

	"kedge/kernel"
)

// A front end opens a comm of this target to be told of its cells. We answer
// it: the kernel never hears of it, and nothing runs in it.
//
// The messages are JSON objects with a type. From a page: "hello", with the
// versions of this protocol that it speaks, in the comm_open; "cells", what has
// changed of its cells since its last message; "look", that files or the store
// may have changed; and errands, which wait until the kernel has done what it was
// asked before: "back", "again", "branch" and "copy"; and "log", "show" and "delete",
// which are about what is recorded, and "offer" and "publish", by which it is shared, and do not wait. To a page: "hello", which may say up to which cell to restore at once; "states",
// whenever they may have changed; "became", as soon as a cell has begun or ended;
// "output" and "done", which answer an errand, or what was asked, by its number.
const target = "kedge"

// The versions of the protocol that we speak. A page and we speak the newest that both know.
const (
	newest = 1
	oldest = 1
)

const (
	maxPages = 16
	maxCells = 10_000   // of a page
	maxText  = 64 << 20 // bytes of their code
)

// said is what a page says.
type said struct {
	Type string `json:"type"`
	// Of a hello.
	Protocol int    `json:"protocol"`
	Oldest   int    `json:"oldest"`
	Version  string `json:"version"` // for people
	// Of cells. Order is null if it is as before; Cells are those that are new or differ.
	Seq   int        `json:"seq"`
	Order []string   `json:"order"`
	Cells []pageCell `json:"cells"`
	Auto  bool       `json:"auto"` // the notebook's metadata kedge.auto
	// Of an errand.
	ID   int    `json:"id"`
	Cell string `json:"cell"` // "" in a "back": as far as nothing has changed
	// Of a show, a copy, a delete and an offer.
	Snapshot string `json:"snapshot"`
	NoState  bool   `json:"no_state"` // of an offer
	// Of a publish.
	Offer   int    `json:"offer"`
	Expires string `json:"expires"`
	Reader  string `json:"reader"`
}

// pageCell is a code cell as a page has it, saved or not.
type pageCell struct {
	ID     string   `json:"id"`
	Source string   `json:"source"`
	Tags   []string `json:"tags"`
}

// errands are the types of what waits until the kernel has done what it was asked before.
var errands = map[string]bool{"back": true, "again": true, "branch": true, "copy": true}

// Hear implements [kernel.Comms].
func (n *Notebook) Hear(r *kernel.ShellRequest, say kernel.Say) kernel.Fate {
	kind := r.Header.MsgType
	if kind != "comm_open" && !n.desk.open() {
		return kernel.Passes
	}
	var m struct {
		ID     string          `json:"comm_id"`
		Target string          `json:"target_name"`
		Data   json.RawMessage `json:"data"`
	}
	if json.Unmarshal(r.Content, &m) != nil || kind == "comm_open" && m.Target != target {
		return kernel.Passes
	}
	var s said
	_ = json.Unmarshal(m.Data, &s) // what is not of this shape says nothing
	switch kind {
	case "comm_open":
		n.desk.enter(m.ID, s, say)
		n.greet.Do(func() { n.writing.Go(func() error { n.desk.run(n.quiet); return nil }) })
	case "comm_close":
		return n.desk.leave(m.ID)
	default:
		return n.desk.hear(m.ID, s)
	}
	return kernel.Taken
}

// errand is what a page asks for in its turn, if a request is that, and by which comm.
func errand(r *kernel.ShellRequest) (comm string, s said, ok bool) {
	if r.Header.MsgType != "comm_msg" {
		return "", s, false
	}
	var m struct {
		ID   string `json:"comm_id"`
		Data said   `json:"data"`
	}
	return m.ID, m.Data, json.Unmarshal(r.Content, &m) == nil && errands[m.Data.Type]
}

// refusal says why a page that speaks these versions is not answered, "" if it is.
func (s said) refusal() string {
	switch {
	case s.Protocol < oldest:
		return fmt.Sprintf("the page's Kedge extension %s is older than this kedge: run `kedge install` and reload the page", s.Version)
	case s.Oldest > newest:
		return fmt.Sprintf("the page's Kedge extension %s is newer than the kedge of this kernel: run `kedge install` with that kedge and restart the kernel", s.Version)
	}
	return ""
}
