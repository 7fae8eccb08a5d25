package session

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kedge/notebook"
)

func document(t *testing.T, metadata string) *notebook.Document {
	t.Helper()
	doc, err := notebook.Parse([]byte(`{"cells":[],"metadata":` + metadata + `,"nbformat":4,"nbformat_minor":5}`))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// tree makes files below a new folder; a name that ends in / is a folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		put(t, root, name, "content of "+name)
	}
	return root
}

func put(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, root, metadata string) *volume {
	t.Helper()
	v, err := openVolume(root, document(t, metadata))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVolumeNames(t *testing.T) {
	root := tree(t, "a.txt", "sub/b.txt", "__pycache__/c.pyc", "nb.ipynb", "secret.key", "sub/deep.tmp")
	put(t, root, ".kedgeignore", "# keys\n*.key\nsub/*.tmp\n")
	t.Setenv("HOME", "/home/somebody")
	v := open(t, root, `{}`)
	for path, want := range map[string]string{
		root + "/a.txt":                "a.txt",
		root:                           ".",
		"/home/somebody/.config/x":     "~/.config/x",
		"/home/somebodyelse/x":         "/home/somebodyelse/x",
		filepath.Dir(root) + "/x":      filepath.Dir(root) + "/x",
		root + "/sub/b.txt":            "sub/b.txt",
		"/usr/share/something/else.gz": "/usr/share/something/else.gz",
	} {
		if got := v.name(path); got != want || v.path(got) != path {
			t.Errorf("name(%q) = %q, back %q; want %q", path, got, v.path(got), want)
		}
	}
	found, err := v.scan()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range found {
		names = append(names, name)
		if !v.holds(name) {
			t.Errorf("%s was found and is not held", name)
		}
	}
	slices.Sort(names)
	if want := []string{"a.txt", "sub", "sub/b.txt"}; !slices.Equal(names, want) {
		t.Errorf("scan found %v, want %v", names, want)
	}
	for _, name := range []string{"secret.key", "nb.ipynb", "../x", "/etc/passwd", "~/x", "sub/deep.tmp"} {
		if v.holds(name) {
			t.Errorf("the volume holds %s", name)
		}
	}
}

func TestVolumesOfTheMetadata(t *testing.T) {
	parent := tree(t, "nb/a.txt", "nb/data/b.txt", "shared/c.txt")
	base := filepath.Join(parent, "nb")
	v := open(t, base, `{"kedge":{"volumes":["data","../shared"]}}`)
	for name, want := range map[string]bool{"data/b.txt": true, "../shared/c.txt": true, "a.txt": false, "../other": false} {
		if v.holds(name) != want {
			t.Errorf("holds(%q) is not %v", name, want)
		}
	}
	if name := v.name(filepath.Join(parent, "shared/c.txt")); name != "../shared/c.txt" {
		t.Errorf("got %q", name)
	}
	if _, err := openVolume(base, document(t, `{"kedge":{"volumes":["nowhere"]}}`)); err == nil {
		t.Error("a volume that does not exist is no error")
	}
}

func TestChangedSeesAWriteWithinOneTick(t *testing.T) {
	root := tree(t, "same", "gone", "kept")
	v := open(t, root, `{}`)
	before, err := v.scan()
	if err != nil {
		t.Fatal(err)
	}
	// The same size and the same modification time: only the change time tells.
	info, err := os.Stat(filepath.Join(root, "same"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, root, "same", "CONTENT OF same")
	if err := os.Chtimes(filepath.Join(root, "same"), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, "gone")); err != nil {
		t.Fatal(err)
	}
	put(t, root, "new/file", "x")
	after, err := v.scan()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := changed(before, after), []string{"gone", "new", "new/file", "same"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
