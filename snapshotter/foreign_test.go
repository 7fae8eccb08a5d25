package snapshotter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"kedge/cellgraph"
)

// adoptable is a trace with one value, whose blobs are put.
func adoptable(t *testing.T, s *Store, stream string) cellgraph.Trace {
	t.Helper()
	ctx := context.Background()
	put := func(data []byte) cellgraph.Digest {
		id, err := s.PutBlob(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	manifest, err := json.Marshal(map[string]any{"stream": put([]byte(stream)), "buffers": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	return cellgraph.Trace{Code: cellgraph.Sum([]byte("code")), Cell: "a", Step: "one", Created: s.now(),
		Effect: cellgraph.Effect{Groups: []cellgraph.Group{{Names: []string{"x"}, ID: cellgraph.Sum([]byte(stream)), Payload: put(manifest)}}, Outputs: put([]byte("[]"))}}
}

func adopt(t *testing.T, s *Store, author Author, traces ...cellgraph.Trace) {
	t.Helper()
	document, err := s.PutBlob(context.Background(), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := Snapshot{Notebook: "/else/where.ipynb", Step: "one", Cell: "a", Created: s.now(), Document: document}.Body()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(context.Background(), Adopted{Author: author, Traces: traces, Snapshot: body}); err != nil {
		t.Fatal(err)
	}
}

func TestForeignTracesHitOnlyWhileTheirAuthorIsTrusted(t *testing.T) {
	ctx := context.Background()
	trusted := map[Author]bool{}
	cfg := Config{Dir: t.TempDir(), Trusts: func(a Author) bool { return trusted[a] }}
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	ada, bob := Author{1}, Author{2}
	trace := adoptable(t, s, "N.")
	adopt(t, s, ada, trace)
	hits := func() int {
		found, err := s.Traces(ctx, trace.Code)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := hits(); n != 0 {
		t.Fatalf("%d traces of somebody who is not trusted", n)
	}
	trusted[ada] = true
	if n := hits(); n != 1 {
		t.Fatalf("%d traces of somebody who is trusted", n)
	}
	// A hit in another cell is recorded anew: the value is whose it was.
	snap := Snapshot{Notebook: "/mine.ipynb", Created: s.now()}
	if err := s.PutTrace(ctx, *trace.In("b", "two"), snap); err != nil {
		t.Fatal(err)
	}
	if n := hits(); n != 2 {
		t.Fatalf("%d traces", n)
	}
	trusted[ada] = false
	if n := hits(); n != 0 {
		t.Fatalf("%d traces of somebody who is trusted no longer", n)
	}
	adopt(t, s, bob, trace)
	trusted[bob] = true
	if n := hits(); n != 2 {
		t.Fatalf("%d traces that another vouches for", n)
	}
	trusted[bob] = false

	// What was made here stays, whoever shares the same.
	own := adoptable(t, s, "K\x01.")
	own.Code = cellgraph.Sum([]byte("own"))
	if err := s.PutTrace(ctx, own, snap); err != nil {
		t.Fatal(err)
	}
	adopt(t, s, ada, own)
	if found, err := s.Traces(ctx, own.Code); err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}

	// The marks survive the loss of the catalog.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := removeCatalog(cfg.Dir + "/" + catalogFile); err != nil {
		t.Fatal(err)
	}
	if _, err := Rebuild(ctx, cfg, nil); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if n := hits(); n != 0 {
		t.Fatalf("%d traces after a rebuild", n)
	}
	trusted[ada] = true
	if n := hits(); n != 2 {
		t.Fatalf("%d traces after a rebuild, trusted", n)
	}
}

func TestAdoptingAnIncompleteTraceFails(t *testing.T) {
	s, err := Open(context.Background(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	trace := adoptable(t, s, "N.")
	trace.Effect.Files = []cellgraph.FileChange{{Path: "a", Content: cellgraph.Sum([]byte("nowhere"))}}
	err = s.Adopt(context.Background(), Adopted{Traces: []cellgraph.Trace{trace}, Snapshot: []byte("{}")})
	if !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
}

func TestPiecesFromElsewhereAreChecked(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := bytes.Repeat([]byte("kedge"), 1000)
	id := cellgraph.Sum(data)
	if err := s.PutExtent(ctx, id, data[1:], true); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if err := s.PutExtent(ctx, id, data, true); err != nil {
		t.Fatal(err)
	}
	there := func(int) error { return nil }
	twice := cellgraph.Sum(append(bytes.Clone(data), data...))
	piece := Extent{id, int64(len(data))}
	for name, err := range map[string]error{
		"another whole": s.PutAssembled(ctx, cellgraph.Sum([]byte("else")), 2*piece.Length, []Extent{piece, piece}, there),
		"another size":  s.PutAssembled(ctx, twice, piece.Length, []Extent{piece, piece}, there),
		"another piece": s.PutAssembled(ctx, twice, 2*piece.Length-1, []Extent{piece, {id, piece.Length - 1}}, there),
	} {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.PutAssembled(ctx, twice, 2*piece.Length, []Extent{piece, piece}, there); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("it does not come")
	if err := s.PutAssembled(ctx, cellgraph.Sum([]byte("other")), 1, []Extent{piece}, func(int) error { return gone }); !errors.Is(err, gone) {
		t.Fatal(err)
	}
	if got, err := s.Blob(ctx, twice); err != nil || len(got) != 2*len(data) {
		t.Fatal(len(got), err)
	}
	bomb, packed, err := Pack(make([]byte, extentBytes))
	if err != nil || !packed {
		t.Fatal(packed, err)
	}
	if _, err := Unpack(bomb, true, 4096); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if got, err := Unpack(bomb, true, extentBytes); err != nil || len(got) != extentBytes {
		t.Fatal(len(got), err)
	}
}
