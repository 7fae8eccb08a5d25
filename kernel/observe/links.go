package observe

import (
	"os"
	"path/filepath"
	"strings"
)

// links finds out what paths lead to, as the folder now is.
type links struct {
	known map[string]place
}

// place is where a path leads, and the links that lie on the way.
type place struct {
	path   string
	passed []string
}

func newLinks() *links { return &links{known: map[string]place{}} }

// forget is to be called when a folder or a link has got another place.
func (l *links) forget() { clear(l.known) }

// follow resolves every link of an absolute path, which need not exist.
func (l *links) follow(path string) place { return l.walk(path, 0) }

// parent resolves all but the last component.
func (l *links) parent(path string) place {
	path = strings.TrimRight(path, "/")
	dir, base := filepath.Split(path)
	if base == "" || base == "." || base == ".." {
		return l.follow(path)
	}
	p := l.follow(dir)
	return place{join(p.path, base), p.passed}
}

func (l *links) walk(path string, depth int) place {
	const most = 40 // links in a row, as the kernel has it
	path = strings.TrimRight(path, "/")
	if path == "" {
		return place{path: "/"}
	}
	if p, ok := l.known[path]; ok {
		return p
	}
	dir, base := filepath.Split(path)
	p := l.walk(dir, depth)
	switch base {
	case ".":
	case "..":
		p = place{filepath.Dir(p.path), p.passed}
	default:
		p.path = join(p.path, base)
		if target, err := os.Readlink(p.path); err == nil && depth < most {
			link := p.path
			if !filepath.IsAbs(target) {
				target = filepath.Dir(link) + "/" + target
			}
			end := l.walk(target, depth+1)
			passed := append(append([]string{}, p.passed...), link)
			p = place{end.path, append(passed, end.passed...)}
		}
	}
	l.known[path] = p
	return p
}

func join(dir, base string) string { return strings.TrimSuffix(dir, "/") + "/" + base }
