package share

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"

	"kedge/cellgraph"
	"kedge/kernel/agent"
	"kedge/notebook"
	"kedge/snapshotter"
)

const (
	maxLooked   = 16 << 20 // bytes of previews in a manifest
	maxOutlined = 24 << 20 // with those that say what cells changed
)

// Described lists what people can see of the values of a snapshot, by name.
// Nothing is unpickled. blob reads one; what it cannot read has no preview.
func Described(s snapshotter.Snapshot, blob func(cellgraph.Digest) ([]byte, error)) []Variable {
	all, opaque := []Variable{}, map[string]bool{}
	for _, u := range s.Opaque {
		opaque[u.Name] = true
		all = append(all, Variable{Variable: cellgraph.Variable{Name: u.Name}, Reason: u.Reason})
	}
	for _, g := range s.Groups {
		var previews map[string]agent.Preview
		if data, err := blob(g.Payload); err == nil {
			if p, err := agent.DecodePayload(data); err == nil {
				previews = p.Previews
			}
		}
		for _, v := range g.Vars {
			if opaque[v.Name] { // bound anew since the group was captured
				continue
			}
			one := Variable{Variable: v, Digest: g.ID, Bytes: g.Bytes}
			if p, ok := previews[v.Name]; ok && sane(&p) {
				one.Preview = &p
			}
			all = append(all, one)
		}
	}
	slices.SortStableFunc(all, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// blobUpTo reads blobs until the previews in them are as many bytes as that.
func (c *collection) blobUpTo(ctx context.Context, most int) func(cellgraph.Digest) ([]byte, error) {
	return func(id cellgraph.Digest) ([]byte, error) {
		if c.looked > most {
			return nil, snapshotter.ErrNotFound
		}
		data, err := c.Store.Blob(ctx, id)
		c.looked += len(data)
		return data, err
	}
}

func (c *collection) variables(ctx context.Context) {
	c.m.Variables = Described(c.Snapshot, c.blobUpTo(ctx, maxLooked))
}

// changes says of each cell what it left otherwise than it was. Some of it, of
// runs that were superseded, does not travel with the state: of that it tells
// that values differ, and not what they were.
func (c *collection) changes(ctx context.Context, line []snapshotter.Passed, traces []cellgraph.Trace) {
	v := veil{key: make([]byte, 16), plain: map[string]bool{}}
	rand.Read(v.key)
	for i := range traces {
		for _, g := range traces[i].Effect.Groups {
			v.plain[g.ID.String()] = true
		}
		for _, u := range traces[i].Effect.Opaque {
			v.plain[u.Reason] = true
		}
	}
	for _, f := range c.m.Files {
		v.plain[f.Content.String()] = true
	}
	var before snapshotter.Snapshot
	for i, p := range line {
		now := p.Snapshot
		c.m.Cells[i].Changed = c.changed(ctx, before, now)
		v.over(c.m.Cells[i].Changed)
		before = now
	}
}

// veil replaces digests by some of which nobody can tell what they are of, and
// that are equal where those are: it forgets its key.
type veil struct {
	key   []byte
	plain map[string]bool // digests and reasons that travel anyway
}

func (v veil) over(c *Changed) {
	for i := range c.Variables {
		one := &c.Variables[i]
		if one.Digest.IsZero() && !v.plain[one.Reason] {
			one.Reason = "it is not captured"
		}
		if one.Preview != nil {
			for n, s := range one.Preview.Sketches {
				if s.Sum != "" {
					one.Preview.Sketches[n].Sum = s.Sum[:strings.LastIndexByte(s.Sum, '~')+1] + v.of(s.Sum).String()[:16]
				}
			}
		}
		if one.Digest.IsZero() || v.plain[one.Digest.String()] {
			continue
		}
		one.Digest, one.Shown = v.of(one.Digest.String()), ""
	}
	for i, f := range c.Files {
		if f.Type == typeFile && !v.plain[f.Content.String()] {
			c.Files[i].Content = v.of(f.Content.String())
		}
	}
}

func (v veil) of(what string) cellgraph.Digest { return cellgraph.Combine(string(v.key), what) }

func (c *collection) changed(ctx context.Context, before, now snapshotter.Snapshot) *Changed {
	was, is := before.Values(), now.Values()
	part := snapshotter.Snapshot{Opaque: now.Opaque}
	for _, g := range now.Groups {
		if slices.ContainsFunc(g.Names, func(name string) bool { return was[name] != is[name] }) {
			part.Groups = append(part.Groups, g)
		}
	}
	one := &Changed{}
	for _, v := range Described(part, c.blobUpTo(ctx, maxOutlined)) {
		if was[v.Name] != is[v.Name] {
			v.Preview = outline(v.Preview)
			one.Variables = append(one.Variables, v)
		}
	}
	for name := range was {
		if _, there := is[name]; !there {
			one.Deleted = append(one.Deleted, name)
		}
	}
	old := map[string]File{}
	for _, f := range before.Files {
		old[f.Path] = DescribeFile(c.home, f, false)
	}
	for _, f := range now.Files {
		file, known := DescribeFile(c.home, f, false), old[f.Path] != File{}
		switch {
		case checkFiles([]File{file}) != nil:
		case f.Deleted && known:
			one.Removed = append(one.Removed, file.Path)
		case !f.Deleted && old[f.Path] != file:
			one.Files = append(one.Files, file)
		}
	}
	slices.Sort(one.Deleted)
	return one
}

// graph joins what the cells that led here declare with what they were seen to
// read. A graph that nobody can look at is left out.
func (c *collection) graph(ctx context.Context, line []snapshotter.Passed) {
	prev := map[string][]string{}
	if data, err := c.Store.Blob(ctx, c.Snapshot.Document); err == nil {
		prev = declared(data)
	}
	last := map[string]int{}
	for i, p := range line {
		last[p.Snapshot.Cell] = i
	}
	var runs []cellgraph.StepRun
	for i, p := range line {
		if last[p.Snapshot.Cell] != i {
			continue
		}
		run := cellgraph.StepRun{Step: p.Snapshot.Step, Prev: prev[p.Snapshot.Step]}
		var t cellgraph.Trace
		if p.Trace != nil && json.Unmarshal(p.Trace, &t) == nil {
			run.Trace = &t
		}
		runs = append(runs, run)
	}
	g := cellgraph.NewGraph(runs)
	if checkGraph(&g) == nil && len(g.Steps) > 0 {
		c.m.Graph = &g
	}
}

// declared are the steps that each step of a notebook names as those before it.
func declared(document []byte) map[string][]string {
	prev := map[string][]string{}
	doc, err := notebook.Parse(document)
	if err != nil {
		return prev
	}
	outline, err := doc.Outline(false)
	if err != nil {
		return prev
	}
	for _, s := range outline.Steps {
		prev[s.Name] = s.Prev
	}
	return prev
}

// sizes counts what the snapshot needs, and what of it the one before does not.
func (c *collection) sizes(ctx context.Context, line []snapshotter.Passed) {
	known := map[cellgraph.Digest]bool{}
	if len(line) > 1 {
		before := line[len(line)-2].Snapshot
		for _, g := range before.Groups {
			c.count(ctx, c.inGroup(ctx, g), known)
		}
		c.count(ctx, c.Store.SnapshotNeeds(before), known)
	}
	s, own := &Sizes{}, map[cellgraph.Digest]int64{}
	add := func(ids []cellgraph.Digest) {
		logical, fresh := c.count(ctx, ids, known)
		s.Logical, s.Own = s.Logical+logical, s.Own+fresh
	}
	if !c.NoState {
		for _, g := range c.Snapshot.Groups {
			before := s.Own
			add(c.inGroup(ctx, g))
			own[g.ID] = s.Own - before
		}
	}
	add(c.Store.SnapshotNeeds(c.Snapshot))
	for i, v := range c.m.Variables {
		c.m.Variables[i].Own = min(own[v.Digest], v.Bytes)
	}
	c.m.Sizes = s
}

// inGroup are the blobs of a group's saved form.
func (c *collection) inGroup(ctx context.Context, g cellgraph.Group) []cellgraph.Digest {
	data, err := c.Store.Blob(ctx, g.Payload)
	if err != nil {
		return nil
	}
	p, err := agent.DecodePayload(data)
	if err != nil {
		return nil
	}
	ids := []cellgraph.Digest{p.Stream}
	for _, b := range p.Buffers {
		ids = append(ids, b.Blob)
	}
	return ids
}

// count is the size of blobs, and of those of their pieces that are not known
// yet; then they are. What is gone counts nothing.
func (c *collection) count(ctx context.Context, ids []cellgraph.Digest, known map[cellgraph.Digest]bool) (logical, fresh int64) {
	for _, id := range ids {
		size, pieces, err := c.Store.Extents(ctx, id)
		if err != nil {
			continue
		}
		logical += size
		for _, p := range pieces {
			if !known[p.ID] {
				known[p.ID] = true
				fresh += p.Length
			}
		}
	}
	return logical, fresh
}
