package integration

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestImportsChecker(t *testing.T) {
	const (
		sqlite = "github.com/mattn/go-sqlite3"
		blake  = "github.com/zeebo/blake3"
	)
	tests := []struct {
		name    string
		files   map[string]string // file name to the path it imports
		problem string            // a part of the only problem; empty for none
	}{
		{"downward import passes", map[string]string{"session/a.go": "kedge/kernel"}, ""},
		{"command may import all", map[string]string{"cmd/kedge/a.go": "kedge/session"}, ""},
		{"external test imports its own package", map[string]string{"notebook/a_test.go": "kedge/notebook"}, ""},
		{"standard library passes", map[string]string{"notebook/a.go": "encoding/json"}, ""},
		{"upward import fails", map[string]string{"notebook/a.go": "kedge/cellgraph"}, "notebook may not import cellgraph"},
		{"sideways import fails", map[string]string{"kernel/agent/a.go": "kedge/kernel/wire"}, "may not import kernel/wire"},
		{"import in a test fails", map[string]string{"snapshotter/a_test.go": "kedge/session"}, "may not import session"},
		{"unknown package fails", map[string]string{"util/a.go": "kedge/notebook"}, "not in the table"},
		{"owner imports its library", map[string]string{"snapshotter/a.go": sqlite, "cellgraph/a.go": blake}, ""},
		{"stranger imports an owned library", map[string]string{"session/a.go": sqlite}, "only snapshotter does"},
		{"subpackage of the owner is a stranger", map[string]string{"snapshotter/inner/a.go": sqlite}, "only snapshotter does"},
		{"part of an owned library is owned", map[string]string{"session/a.go": blake + "/internal"}, "only cellgraph does"},
		{"two packages share a system library", map[string]string{"kernel/a.go": "golang.org/x/sys/unix", "session/a.go": "golang.org/x/sys/unix"}, ""},
		{"two packages share another library", map[string]string{"kernel/a.go": "example.org/x/y", "session/a.go": "example.org/x/y/z"}, "more than one importing package: kernel, session"},
		{"hidden and vendored folders are skipped", map[string]string{".venv/a.go": "kedge/notebook", "web/node_modules/a.go": "kedge/session", "notebook/testdata/a.go": "kedge/session"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, imported := range tt.files {
				tree[name] = &fstest.MapFile{Data: []byte("package p\n\nimport _ \"" + imported + "\"\n")}
			}
			problems, _, err := check(tree)
			if err != nil {
				t.Fatal(err)
			}
			if tt.problem == "" {
				if len(problems) != 0 {
					t.Fatalf("problems = %q, want none", problems)
				}
				return
			}
			if len(problems) != 1 || !strings.Contains(problems[0], tt.problem) {
				t.Fatalf("problems = %q, want one with %q", problems, tt.problem)
			}
		})
	}
}

func TestImportsCheckerRefusesBrokenFile(t *testing.T) {
	tree := fstest.MapFS{"notebook/a.go": &fstest.MapFile{Data: []byte("not go")}}
	if _, _, err := check(tree); err == nil {
		t.Fatal("a file that does not parse passed")
	}
}
