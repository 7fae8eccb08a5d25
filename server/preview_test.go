package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"net/url"
	"strings"
	"testing"
	"time"

	"kedge/cellgraph"
	"kedge/share"
)

// added shares a manifest that has other files than that of the site, and
// returns what a request to it is made with.
func (w *site) added(t *testing.T, change func(m *share.Manifest), files map[string]string) (prefix string, bearer []string) {
	t.Helper()
	ctx := context.Background()
	m := &share.Manifest{Format: 2, Snapshot: cellgraph.Sum([]byte(t.Name())), Notebook: "nb.ipynb", Created: time.Now(), Expires: time.Now().Add(time.Hour)}
	known := map[cellgraph.Digest]bool{}
	numbers := map[cellgraph.Digest]int{}
	for path, text := range files {
		id, err := w.store.PutBlob(ctx, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, share.File{Path: path, Type: "file", Content: id, Size: int64(len(text))})
		size, pieces, err := w.store.Extents(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if known[id] {
			continue
		}
		known[id] = true
		b := share.Blob{ID: id, Size: size}
		for _, p := range pieces {
			if _, ok := numbers[p.ID]; !ok {
				numbers[p.ID] = len(m.Pieces)
				m.Pieces = append(m.Pieces, share.Piece{ID: p.ID, Length: p.Length})
			}
			b.Pieces = append(b.Pieces, numbers[p.ID])
		}
		m.Blobs = append(m.Blobs, b)
	}
	change(m)
	sealed, err := w.signer.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	one, err := w.registry.Add(ctx, w.store, sealed, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.signer.Token(one.Capability())
	if err != nil {
		t.Fatal(err)
	}
	return "/api/v1/shares/" + one.ID + "/", []string{"Authorization", "Bearer " + token}
}

const emptyNotebook = `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}`

// pngOf is a picture that says of itself that it is that large.
func pngOf(t *testing.T, width, height uint32) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	for i := range 4 {
		data[16+i], data[20+i] = byte(width>>(24-8*i)), byte(height>>(24-8*i))
	}
	sum := crc32.ChecksumIEEE(data[12:29])
	for i := range 4 {
		data[29+i] = byte(sum >> (24 - 8*i))
	}
	return string(data)
}

// previews shares files; look asks for what is shown of one.
func (w *site) previews(t *testing.T, files map[string]string) (look func(path string) (preview, string), prefix string, bearer []string) {
	t.Helper()
	prefix, bearer = w.added(t, func(*share.Manifest) {}, files)
	return func(path string) (p preview, body string) {
		t.Helper()
		status, h, body := w.ask(t, "GET", prefix+"preview?path="+url.QueryEscape(path), bearer...)
		if err := json.Unmarshal([]byte(body), &p); err != nil || status != 200 || h.Get("Content-Type") != "application/json" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatal(path, status, err, body)
		}
		if len(body) > 400_000 {
			t.Error(path, len(body))
		}
		return p, body
	}, prefix, bearer
}

func TestFilesAreShownAsWhatTheyAre(t *testing.T) {
	w := newSite(t, 10, "")
	svg := `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`
	files := map[string]string{
		"nb.ipynb": emptyNotebook, "a.csv": "x,y\n1,\"two\nlines\"\n3\n", "semi.csv": "a;b\n1,5;2\n", "t.tsv": "a\tb\n1\t2\n", "long.csv": "n\n" + strings.Repeat("1\n", 60_000),
		"wide.csv": strings.Repeat("x,", 5000) + "\n" + strings.Repeat("y", 5000) + "\n", "odd.csv": "a\"b,c\n\"open", "empty.csv": "",
		"p.png": pngOf(t, 3, 2), "large.png": pngOf(t, 100_000, 100_000), "wide.png": pngOf(t, 30_000, 1), "bad.png": "\x89PNG\r\n\x1a\nnot", "s.svg": svg, "bomb.svg": `<!DOCTYPE x [<!ENTITY a "b">]><svg/>`,
		"text.txt": "hé<script>", "cut.txt": strings.Repeat("é", 50_000), "code.html": "<script>alert(1)</script>", "b.pkl": "cposix\nsystem\n(S'x'\ntR.\x00", "p.pkl": "cposix\nsystem\n(S'x'\ntR.",
		"a.npy": "\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }   \n\x00\x00", "short.npy": "\x93NUMPY", "bom.csv": "\ufeffa,b\n1,2\n", "picture.csv": pngOf(t, 3, 2), "nul.txt": "a\x00b",
	}
	look, prefix, bearer := w.previews(t, files)
	for path, want := range map[string]string{
		"a.csv": "table [[x y] [1 two\nlines] [3]] true", "semi.csv": "table [[a b] [1,5 2]] true", "t.tsv": "table [[a b] [1 2]] true", "bom.csv": "table [[a b] [1 2]] true",
		"empty.csv": "text [] true", "p.png": "picture [] true", "picture.csv": "picture [] true", "large.png": "none [] false", "wide.png": "none [] false", "bad.png": "none [] false",
		"s.svg": "picture [] true", "bomb.svg": "text [] true", "text.txt": "text [] true", "cut.txt": "text [] false", "code.html": "text [] true", "b.pkl": "none [] false", "p.pkl": "text [] true",
		"nul.txt": "none [] false", "a.npy": "text [] false", "short.npy": "text [] false", "odd.csv": "table [[a\"b c] [open]] true",
	} {
		p, body := look(path)
		if said := fmt.Sprint(p.Kind, " ", p.Rows, " ", p.Whole); said != want {
			t.Errorf("%s: %s, want %s", path, said, want)
		}
		if p.Kind == "picture" && (string(p.Data) != files[path] || !strings.HasPrefix(p.Type, "image/")) {
			t.Error(path, p.Type, len(p.Data))
		}
		if p.Kind == "none" && p.Why == "" || strings.Contains(body, "<script>") {
			t.Error(path, body)
		}
	}
	if p, _ := look("long.csv"); len(p.Rows) != maxTable+1 || p.Whole {
		t.Error(len(p.Rows))
	}
	if p, _ := look("wide.csv"); len(p.Rows[0]) != maxFields || len(p.Rows[1][0]) > maxField+3 {
		t.Error(len(p.Rows[0]))
	}
	if p, _ := look("a.npy"); p.Text != "numpy array: {'descr': '<f8', 'fortran_order': False, 'shape': (3,), }" {
		t.Error(p.Text)
	}
	for _, path := range []string{"none", "../nb.ipynb", "/etc/passwd", ""} {
		if status, _, _ := w.ask(t, "GET", prefix+"preview?path="+url.QueryEscape(path), bearer...); status != 404 {
			t.Error(path, status)
		}
	}
	if status, _, body := w.ask(t, "GET", prefix+"content", bearer...); status != 200 || body != emptyNotebook {
		t.Error(status, body)
	}
}

func TestAShareIsComparedWithWhatItsTokensOpen(t *testing.T) {
	w := newSite(t, 10, "")
	cell := func(source string) string {
		return `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"id": "a", "cell_type": "code", "metadata": {}, "source": "` + source + `", "outputs": []}]}`
	}
	number := func(what string) share.Variable {
		return share.Variable{Variable: cellgraph.Variable{Name: "x", Type: "int"}, Digest: cellgraph.Sum([]byte(what))}
	}
	old, oldBearer := w.added(t, func(m *share.Manifest) { m.Variables = []share.Variable{number("1")} }, map[string]string{"nb.ipynb": cell("x = 1"), "same": "same", "t.txt": "one"})
	now, bearer := w.added(t, func(m *share.Manifest) {
		m.Variables = []share.Variable{number("2")}
		m.Cells = []share.Cell{{ID: "a", Step: "one", Changed: &share.Changed{Variables: []share.Variable{number("1")}}}, {ID: "b", Step: "two", Changed: &share.Changed{Variables: []share.Variable{number("2")}}}}
	}, map[string]string{"nb.ipynb": cell("x = 2"), "same": "same", "t.txt": "two"})
	id := strings.Split(old, "/")[4]
	token := strings.TrimPrefix(oldBearer[1], "Bearer ")

	status, _, body := w.ask(t, "GET", now+"diff?with="+id, append(bearer, "Kedge-With", token)...)
	var d difference
	if err := json.Unmarshal([]byte(body), &d); err != nil || status != 200 {
		t.Fatal(status, err, body)
	}
	if len(d.Diff.Cells) != 1 || len(d.Diff.Files) != 1 || len(d.Diff.Files[0].Lines) != 2 || d.Bytes.Both != 4 || d.Bytes.Is == 0 || d.Values || len(d.Diff.Variables) != 0 {
		t.Errorf("%s", body)
	}
	status, _, body = w.ask(t, "GET", now+"diff?after=0", bearer...)
	if err := json.Unmarshal([]byte(body), &d); err != nil || status != 200 || len(d.Diff.Variables) != 1 || d.Was.Step != "one" {
		t.Fatal(status, err, body)
	}
	// The token of one share opens no other.
	for name, tt := range map[string]struct {
		query  string
		with   string
		status int
	}{
		"no token": {"with=" + id, "", 401}, "its own token": {"with=" + id, strings.TrimPrefix(bearer[1], "Bearer "), 401}, "none such": {"with=0123456789abcdef", token, 401},
		"a path": {"with=../../x", token, 401}, "nothing": {"", "", 400}, "no number": {"after=x", "", 400}, "before all": {"after=-1", "", 404}, "beyond": {"after=2", "", 404}, "empty": {"with=", token, 401},
	} {
		if status, _, body := w.ask(t, "GET", now+"diff?"+tt.query, append(bearer, "Kedge-With", tt.with)...); status != tt.status || len(body) > 200 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if _, err := w.registry.Revoke(context.Background(), w.store, id, time.Now()); err != nil {
		t.Fatal(err)
	}
	if status, h, _ := w.ask(t, "GET", now+"diff?with="+id, append(bearer, "Kedge-With", token)...); status != 410 || h.Get("Kedge-Error") != "revoked" {
		t.Error(status)
	}
}

// What cannot be read of files that the manifest names is not read for a comparison either.
func TestAComparisonReadsOnlyWhatIsShared(t *testing.T) {
	w := newSite(t, 10, "")
	secret, err := w.store.PutBlob(context.Background(), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	file := func(id cellgraph.Digest, size int64) []share.File {
		return []share.File{{Path: "t.txt", Type: "file", Content: id, Size: size}}
	}
	prefix, bearer := w.added(t, func(m *share.Manifest) {
		m.Cells = []share.Cell{{ID: "a", Changed: &share.Changed{Files: file(secret, 6)}}, {ID: "b", Changed: &share.Changed{Files: file(cellgraph.Sum([]byte("public")), 6)}}}
	}, map[string]string{"nb.ipynb": emptyNotebook, "t.txt": "public"})
	if status, _, body := w.ask(t, "GET", prefix+"diff?after=0", bearer...); status != 200 || strings.Contains(body, "secret") || !strings.Contains(body, "t.txt") {
		t.Error(status, body)
	}
}
