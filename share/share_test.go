package share

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// bare is an environment without variables.
type bare struct{}

func (bare) Keyed(string) cellgraph.Digest { return cellgraph.Digest{} }
func (bare) Value(string) string           { return "" }

// homeOf is a home in a test.
type homeOf struct {
	store  *snapshotter.Store
	signer Signer
	trust  Trust
}

func newHome(t *testing.T) homeOf {
	t.Helper()
	dir := t.TempDir()
	signer, err := LoadSigner(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	trust := Trust{filepath.Join(dir, "trusted")}
	store, err := snapshotter.Open(context.Background(), snapshotter.Config{Dir: dir, Trusts: trust.Has})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return homeOf{store, signer, trust}
}

// recorded is a snapshot of a cell that read in.csv, bound x, and wrote out/big.bin.
func (h homeOf) recorded(t *testing.T, folder string) snapshotter.Snapshot {
	t.Helper()
	ctx := context.Background()
	put := func(data []byte) cellgraph.Digest {
		id, err := h.store.PutBlob(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 3<<19) // two pieces
	random.Read(noise)
	if err := os.WriteFile(filepath.Join(folder, "in.csv"), []byte("a,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stream := put([]byte("cposix\nsystem\n(S'true'\ntR."))
	manifest := put(fmt.Appendf(nil, "{\"stream\":%q,\"buffers\":[{\"blob\":%q,\"length\":%d,\"readonly\":false}]}", stream.String(), put(noise).String(), len(noise)))
	group := cellgraph.Group{Names: []string{"x"}, ID: cellgraph.Sum([]byte("x")), Payload: manifest, Bytes: 4, Vars: []cellgraph.Variable{{Name: "x", Type: "int", Shown: "3"}}}
	files := []cellgraph.FileChange{{Path: "out", Dir: true, Mode: 0o750}, {Path: "out/big.bin", Content: put(noise), Size: int64(len(noise)), Mode: 0o640}, {Path: "latest", Link: "out/big.bin"}}
	trace := cellgraph.Trace{Code: cellgraph.Sum([]byte("code")), Cell: "a", Step: "one", Created: time.Now().UTC(),
		Observed: []cellgraph.Observation{{Kind: cellgraph.KindFile, Name: "in.csv", ID: cellgraph.Sum([]byte("a,b\n"))}},
		Effect:   cellgraph.Effect{Groups: []cellgraph.Group{group}, Files: files, Outputs: put([]byte("[]"))}}
	snap := snapshotter.Snapshot{Notebook: filepath.Join(folder, "nb.ipynb"), Step: "one", Cell: "a", Status: "ran", Created: time.Now().UTC(),
		Groups: trace.Effect.Groups, Files: files, Document: put([]byte(`{"cells": []}`)), Environment: map[string]string{"python": "3.11"}}
	if err := h.store.PutTrace(ctx, trace, snap); err != nil {
		t.Fatal(err)
	}
	id, err := snapshotter.SnapshotID(snap)
	if err != nil {
		t.Fatal(err)
	}
	if snap, err = h.store.Snapshot(ctx, id); err != nil {
		t.Fatal(err)
	}
	return snap
}

func (h homeOf) bundle(t *testing.T, noState bool) (string, *Manifest) {
	t.Helper()
	m, left, err := Collect(context.Background(), Offer{Store: h.store, Snapshot: h.recorded(t, t.TempDir()), NoState: noState, Created: time.Now(), Env: bare{}})
	if err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	sealed, err := h.signer.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.kedge")
	if _, err := WriteBundle(context.Background(), h.store, sealed, m, path, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	return path, m
}

// receive opens a bundle as kedge open does, and reports the bytes that moved.
func (h homeOf) receive(path, into string) (int64, error) {
	ctx := context.Background()
	b, err := OpenBundle(path)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	here, err := Here(ctx, h.store, b.Manifest)
	if err != nil {
		return 0, err
	}
	moved, err := Fetch(ctx, h.store, b.Manifest, b, nil, func(int64, int64) {})
	if err != nil {
		return moved, err
	}
	if err := Place(ctx, h.store, b.Sealed, b.Manifest, into); err != nil {
		return moved, err
	}
	return moved, Adopt(ctx, h.store, b.Sealed.Author, false, b.Manifest, here, bare{})
}

func TestABundleMovesASnapshot(t *testing.T) {
	ctx := context.Background()
	ada, bob := newHome(t), newHome(t)
	path, m := ada.bundle(t, false)
	if !slices.Equal(m.State.Imports, []string{"posix.system"}) {
		t.Fatal(m.State.Imports)
	}
	into := filepath.Join(t.TempDir(), "new")
	moved, err := bob.receive(path, into)
	if err != nil || moved != m.Bytes() {
		t.Fatal(moved, m.Bytes(), err)
	}
	for name, want := range map[string]string{"in.csv": "a,b\n", "nb.ipynb": `{"cells": []}`} {
		if got, err := os.ReadFile(filepath.Join(into, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(into, "latest")); err != nil || info.Size() != 3<<19 || info.Mode() != 0o640 {
		t.Error(info, err)
	}
	entries, _ := os.ReadDir(into)
	if len(entries) != 4 {
		t.Error(entries)
	}
	code := cellgraph.Sum([]byte("code"))
	if found, err := bob.store.Traces(ctx, code); err != nil || len(found) != 0 {
		t.Fatal("it hits without trust", found, err)
	}
	if err := bob.trust.Add(ada.signer.Public(), "Ada", time.Now()); err != nil {
		t.Fatal(err)
	}
	if found, err := bob.store.Traces(ctx, code); err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if snap, err := bob.store.Snapshot(ctx, m.Snapshot); err != nil || snap.Cell != "a" {
		t.Fatal(snap, err)
	}
	if moved, err := bob.receive(path, filepath.Join(t.TempDir(), "again")); err != nil || moved != 0 {
		t.Fatal(moved, err)
	}
	if _, err := bob.receive(path, into); !errors.Is(err, ErrFolder) {
		t.Fatal(err)
	}
}

func TestWithoutStateNoValueLeaves(t *testing.T) {
	ada := newHome(t)
	path, m := ada.bundle(t, true)
	if m.State != nil || len(m.Variables) != 0 {
		t.Fatal(m)
	}
	for _, b := range m.Blobs {
		if data, err := ada.store.Blob(context.Background(), b.ID); err != nil || bytes.Contains(data, []byte("posix")) || bytes.Contains(data, []byte(`"stream"`)) {
			t.Fatal(err, b)
		}
	}
	if _, err := newHome(t).receive(path, filepath.Join(t.TempDir(), "n")); err != nil {
		t.Fatal(err)
	}
}

// A bundle that is changed at any byte, or ends at any, is refused; nothing is
// written into the folder and nothing can be restored.
func TestADamagedBundleIsRefused(t *testing.T) {
	ada := newHome(t)
	path, _ := ada.bundle(t, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.kedge")
	try := func(what string, at int, data []byte) {
		t.Helper()
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		bob, into := newHome(t), filepath.Join(t.TempDir(), "into")
		_, err := bob.receive(bad, into)
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
		if _, err := os.Stat(into); err == nil {
			t.Errorf("%s at %d: the folder was made", what, at)
		}
		bob.store.Close()
	}
	places := []int{}
	for i := 0; i < 200; i += 3 { // the header and the beginning of the manifest
		places = append(places, i)
	}
	for i := 200; i < len(whole); i += len(whole) / 60 {
		places = append(places, i)
	}
	for _, i := range append(places, len(whole)-1) {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x40
		try("changed", i, changed)
		if i%2 == 0 {
			try("cut", i, whole[:i])
		}
	}
	try("longer", len(whole), append(bytes.Clone(whole), 0))
}

func TestAHostileManifestIsRefused(t *testing.T) {
	mallory := newHome(t)
	link := func(path, target string) File { return File{Path: path, Type: typeLink, Target: target} }
	for name, change := range map[string]func(m *Manifest){
		"climbs":             func(m *Manifest) { m.Files[0].Path = "../nb.ipynb" },
		"climbs inside":      func(m *Manifest) { m.Files[0].Path = "a/../../nb.ipynb" },
		"absolute":           func(m *Manifest) { m.Files[0].Path = "/tmp/in.csv" },
		"not plain":          func(m *Manifest) { m.Files[0].Path = "a//b" },
		"dot":                func(m *Manifest) { m.Files[0].Path = "." },
		"nul":                func(m *Manifest) { m.Files[0].Path = "a\x00b" },
		"newline":            func(m *Manifest) { m.Files[0].Path = "a\nb" },
		"backslash":          func(m *Manifest) { m.Files[0].Path = `a\b` },
		"long name":          func(m *Manifest) { m.Files[0].Path = strings.Repeat("a", 300) },
		"hook of git":        func(m *Manifest) { m.Files[0].Path = ".git/hooks/post-checkout" },
		"hook of GIT":        func(m *Manifest) { m.Files[0].Path = "sub/.GIT/config" },
		"interpreter":        func(m *Manifest) { m.Files[0].Path = ".venv/bin/python" },
		"compiled code":      func(m *Manifest) { m.Files[0].Path = "__pycache__/json.pyc" },
		"our own":            func(m *Manifest) { m.Files[0].Path = ".kedge-open" },
		"device":             func(m *Manifest) { m.Files[0].Type = "device" },
		"pipe":               func(m *Manifest) { m.Files[0].Type = "fifo" },
		"setuid":             func(m *Manifest) { m.Files[0].Mode = 0o4755 },
		"twice":              func(m *Manifest) { m.Files = append(m.Files, m.Files[0]) },
		"twice but for case": func(m *Manifest) { f := m.Files[0]; f.Path = "IN.csv"; m.Files = append(m.Files, f) },
		"below a file":       func(m *Manifest) { f := m.Files[0]; f.Path = "in.csv/x"; m.Files = append(m.Files, f) },
		"below a link":       func(m *Manifest) { f := m.Files[0]; f.Path = "Latest/x"; m.Files = append(m.Files, f) },
		"absolute link":      func(m *Manifest) { m.Files = append(m.Files, link("l", "/etc/passwd")) },
		"link out":           func(m *Manifest) { m.Files = append(m.Files, link("out/l", "../../x")) },
		"link out by a link": func(m *Manifest) { m.Files = append(m.Files, link("out/l", ".."), link("k", "out/l/../x")) },
		"link to nothing":    func(m *Manifest) { m.Files = append(m.Files, link("l", "")) },
		"size of a file":     func(m *Manifest) { m.Files[0].Size++ },
		"size of a blob":     func(m *Manifest) { m.Blobs[0].Size++ },
		"huge piece":         func(m *Manifest) { m.Pieces[0].Length = 1 << 40 },
		"negative piece":     func(m *Manifest) { m.Pieces[0].Length = -1 },
		"piece out of range": func(m *Manifest) { m.Blobs[0].Pieces[0] = 1 << 30 },
		"negative number":    func(m *Manifest) { m.Blobs[0].Pieces[0] = -1 },
		"no notebook":        func(m *Manifest) { m.Notebook = "other.ipynb" },
		"notebook is a link": func(m *Manifest) { m.Notebook = "latest" },
		"another snapshot":   func(m *Manifest) { m.Snapshot = cellgraph.Sum([]byte("else")) },
		"trace out of range": func(m *Manifest) { m.State.Of = 7 },
		"trace is no trace":  func(m *Manifest) { m.State.Traces[0] = "[]" },
		"effect climbs": func(m *Manifest) {
			m.State.Traces[0] = swap(m.State.Traces[0], `"out/big.bin","content"`, `"../big.bin","content"`)
		},
		"effect is absolute": func(m *Manifest) {
			m.State.Traces[0] = swap(m.State.Traces[0], `"out/big.bin","content"`, `"/etc/cron.d/x","content"`)
		},
		"effect links out": func(m *Manifest) {
			m.State.Traces[0] = swap(m.State.Traces[0], `"link":"out/big.bin"`, `"link":"/etc"`)
		},
		"effect is in home": func(m *Manifest) {
			m.State.Traces[0] = swap(m.State.Traces[0], `"out/big.bin","content"`, `"~/.bashrc","content"`)
		},
		"effect in a git dir": func(m *Manifest) {
			m.State.Traces[0] = swap(m.State.Traces[0], `"out/big.bin","content"`, `".git/config","content"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, m := mallory.bundle(t, false)
			change(m)
			sealed, err := mallory.signer.Seal(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sealed.Open(); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrHostile) {
				t.Errorf("it opens: %v", err)
			}
			into := filepath.Join(t.TempDir(), "into")
			if err := Place(context.Background(), mallory.store, sealed, m, into); err == nil && errors.Is(checkFiles(m.Files), ErrHostile) {
				t.Error("it was written")
			}
		})
	}
}

func swap(text, old, replacement string) string {
	if !strings.Contains(text, old) {
		panic("no " + old + " in " + text)
	}
	return strings.Replace(text, old, replacement, 1)
}

// lying gives something else than it was asked for.
type lying struct {
	Source
	lie func(n int, data []byte) (int, []byte)
}

func (l lying) Fetch(ctx context.Context, wanted []int, got func(int, []byte) error) error {
	return l.Source.Fetch(ctx, wanted, func(n int, data []byte) error { return got(l.lie(n, data)) })
}

func TestAPeerThatLiesIsRefused(t *testing.T) {
	ada := newHome(t)
	path, _ := ada.bundle(t, false)
	b, err := OpenBundle(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for name, lie := range map[string]func(int, []byte) (int, []byte){
		"shorter": func(n int, d []byte) (int, []byte) { return n, d[:len(d)-1] },
		"longer":  func(n int, d []byte) (int, []byte) { return n, append(bytes.Clone(d), 0) },
		"other":   func(n int, d []byte) (int, []byte) { return n, make([]byte, len(d)) },
		"swapped": func(n int, d []byte) (int, []byte) { return (n + 1) % len(b.Manifest.Pieces), d },
	} {
		if _, err := Fetch(context.Background(), newHome(t).store, b.Manifest, lying{b, lie}, nil, func(int64, int64) {}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// cut ends after some pieces.
type cut struct {
	Source
	after int
}

func (c *cut) Fetch(ctx context.Context, wanted []int, got func(int, []byte) error) error {
	return c.Source.Fetch(ctx, wanted, func(n int, data []byte) error {
		if c.after--; c.after < 0 {
			return errors.New("connection reset")
		}
		return got(n, data)
	})
}

func TestWhatWasCutOffGoesOn(t *testing.T) {
	ctx := context.Background()
	ada, bob := newHome(t), newHome(t)
	path, m := ada.bundle(t, false)
	b, err := OpenBundle(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var sum int64
	for after := 1; ; after++ {
		moved, err := Fetch(ctx, bob.store, m, &cut{b, after}, nil, func(int64, int64) {})
		if sum += moved; err == nil {
			break
		}
	}
	if sum != m.Bytes() {
		t.Fatalf("%d bytes moved of %d", sum, m.Bytes())
	}

	// A folder that was left half written is finished, and nothing else is.
	into := t.TempDir()
	mark := cellgraph.Sum(b.Sealed.Packed).String()
	for name, text := range map[string]string{unfinished: mark, "in.csv": "a,b\n", reserved + "stray": "half"} {
		if err := os.WriteFile(filepath.Join(into, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Place(ctx, bob.store, b.Sealed, m, into); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(into, reserved+"*")); len(left) > 0 {
		t.Error(left)
	}
	other := t.TempDir()
	for name, text := range map[string]string{unfinished: mark, "in.csv": "mine"} {
		if err := os.WriteFile(filepath.Join(other, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Place(ctx, bob.store, b.Sealed, m, other); !errors.Is(err, ErrFolder) {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(other, "in.csv")); string(text) != "mine" {
		t.Fatalf("%q", text)
	}
}

func TestWhatChangedSinceIsLeftOut(t *testing.T) {
	ada, folder := newHome(t), t.TempDir()
	snap := ada.recorded(t, folder)
	if err := os.WriteFile(filepath.Join(folder, "in.csv"), []byte("a,c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, left, err := Collect(context.Background(), Offer{Store: ada.store, Snapshot: snap, Created: time.Now(), Env: bare{}})
	if err != nil || len(left) != 1 || left[0].Path != "in.csv" || slices.ContainsFunc(m.Files, func(f File) bool { return f.Path == "in.csv" }) {
		t.Fatal(left, err)
	}
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, err := LoadSigner(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadSigner(path)
	if err != nil || again.Public() != first.Public() {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	if k, err := ParseKey(KeyText(first.Public())); err != nil || k != first.Public() {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSigner(path); !errors.Is(err, ErrKey) {
		t.Fatal(err)
	}
	if _, err := ParseKey("12"); !errors.Is(err, ErrKey) {
		t.Fatal(err)
	}
	// What was signed as one thing is not taken for another.
	if verify(first.Public(), "link", []byte("m"), first.sign(manifestType, []byte("m"))) {
		t.Fatal("a signature of another type")
	}
}

// variables digests values as a home with its own secret does.
type variables struct {
	secret string
	values map[string]string
}

func (v variables) Keyed(name string) cellgraph.Digest {
	if _, ok := v.values[name]; !ok {
		return cellgraph.Digest{}
	}
	return cellgraph.Combine(v.secret, name, v.values[name])
}
func (v variables) Value(name string) string { return v.values[name] }

func TestVariablesAreComparedBetweenHomes(t *testing.T) {
	ada := variables{"ada", map[string]string{"LANG": "C", "TZ": "UTC", "TOKEN": "s3cret", "TMPDIR": "/tmp"}}
	bob := variables{"bob", map[string]string{"LANG": "C", "TZ": "CET", "TOKEN": "s3cret"}}
	trace := cellgraph.Trace{}
	for name := range ada.values {
		trace.Observed = append(trace.Observed, cellgraph.Observation{Kind: cellgraph.KindEnv, Name: name, ID: ada.Keyed(name)})
	}
	trace.Observed = append(trace.Observed, cellgraph.Observation{Kind: cellgraph.KindEnv, Name: "OMP_NUM_THREADS"})
	s := &State{Salt: []byte("salt")}
	s.Read = publish([]cellgraph.Trace{trace}, ada, s.Salt)
	if _, ok := s.Read["TOKEN"]; ok || len(s.Read) != 3 {
		t.Fatal(s.Read)
	}
	traces := []cellgraph.Trace{trace}
	settle(traces, s, bob)
	for _, o := range traces[0].Observed {
		holds := o.ID == bob.Keyed(o.Name)
		if want := o.Name == "LANG" || o.Name == "OMP_NUM_THREADS"; holds != want {
			t.Errorf("%s holds: %t", o.Name, holds)
		}
	}
}

func FuzzManifest(f *testing.F) {
	text, err := json.Marshal(&Manifest{Format: 1, Notebook: "a.ipynb", Files: []File{{Path: "a.ipynb", Type: typeFile}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		m := &Manifest{}
		if json.Unmarshal(text, m) != nil || m.check() != nil {
			return
		}
		for _, file := range m.Files { // what passes lies in the folder
			if !filepath.IsLocal(file.Path) || file.Type == typeLink && !filepath.IsLocal(filepath.Join(filepath.Dir(file.Path), file.Target)) {
				t.Fatal(file)
			}
		}
	})
}
