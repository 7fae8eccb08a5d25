package observe

import (
	"net"
	"os"
	"slices"
	"strings"
)

// peers tells connections inside the process tree from those that leave it: a
// socket that the tree bound itself may be connected to, and accept as often.
type peers struct {
	own   func(peer string) bool // the kernel's
	bound map[string]bool
	calls map[string]int // connections to each bound end less those it accepted
	out   set
}

func newPeers(own func(string) bool) *peers {
	return &peers{own: own, bound: map[string]bool{}, calls: map[string]int{}, out: set{}}
}

// add takes a record, and reports false if it is about something else.
func (p *peers) add(r Record) bool {
	if r.Op != OpConnect && r.Op != OpBind && r.Op != OpAccept {
		return false
	}
	if p.own != nil && p.own(r.Path) {
		return true
	}
	local, isLocal := localEnd(r.Path)
	switch r.Op {
	case OpBind:
		p.bound[local] = isLocal
	case OpConnect:
		if isLocal && p.bound[local] {
			p.calls[local]++
		} else if !localName(r.Path) {
			p.out[r.Path] = struct{}{}
		}
	case OpAccept:
		if p.calls[local]--; p.calls[local] < 0 {
			p.out["a client of "+r.Path] = struct{}{}
		}
	}
	return true
}

func (p *peers) outside() []string { return p.out.sorted() }

// localEnd names an end on this machine: the port of an address, or the path
// of a socket. ok is false for an address of another machine.
func localEnd(peer string) (end string, ok bool) {
	if strings.HasPrefix(peer, "unix:") {
		return peer, peer != "unix:"
	}
	address, isInet := strings.CutPrefix(peer, "inet:")
	if !isInet {
		if address, isInet = strings.CutPrefix(peer, "inet6:"); !isInet {
			return peer, false
		}
	}
	host, port, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return "port " + port, err == nil && ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// localName reports whether a look-up of a host was for this machine.
func localName(peer string) bool {
	name, ok := strings.CutPrefix(peer, "name:")
	if !ok {
		return false
	}
	host, _ := os.Hostname() // without one, no name is ours
	return slices.Contains([]string{"", "localhost", host}, name) || net.ParseIP(name).IsLoopback()
}
