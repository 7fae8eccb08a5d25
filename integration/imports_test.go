// Package integration holds the checks that look at the project from outside.
package integration

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "kedge"

// mayImport says which of our packages each of our packages may import. A
// package missing here fails the check: a new one is added on purpose.
var mayImport = map[string][]string{
	"notebook":       {},
	"cellgraph":      {"notebook"},
	"snapshotter":    {"notebook", "cellgraph"},
	"kernel/wire":    {},
	"kernel/zmtp":    {},
	"kernel/agent":   {"cellgraph"},
	"kernel/observe": {"cellgraph"},
	"kernel":         {"kernel/wire", "kernel/zmtp", "kernel/agent", "kernel/observe", "notebook"},
	"session": {"notebook", "cellgraph", "snapshotter", "kernel/wire", "kernel/agent",
		"kernel/observe", "kernel"},
	"live":                     {"notebook", "kernel", "kernel/wire", "kernel/agent", "kernel/observe", "session"},
	"share":                    {"snapshotter", "cellgraph", "notebook", "kernel/agent"},
	"server":                   {"snapshotter", "cellgraph", "notebook", "share", "web"},
	"web":                      {},
	"cmd/kedge":                {anything},
	"integration":              {},
	"integration/oracle":       {anything},
	"integration/oracle/shell": {anything},
	"integration/oracle/fuzz":  {anything},
}

// anything in a list allows every import of ours.
const anything = "*"

// owner names the one package that imports a third-party module. A module not
// named here may be imported by one package only, whichever that is.
var owner = map[string]string{
	"github.com/mattn/go-sqlite3":   "snapshotter",
	"github.com/zeebo/blake3":       "cellgraph",
	"github.com/klauspost/compress": "snapshotter",
	"golang.org/x/sys":              anything,
	"golang.org/x/sync":             anything,
	"github.com/google/uuid":        anything, // a value, not a technology
}

func TestImports(t *testing.T) {
	problems, files, err := check(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go file found")
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// check parses every Go file in tree and returns what breaks the table, sorted
// by file, and how many files it read.
func check(tree fs.FS) (problems []string, files int, err error) {
	importers := map[string][]string{}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			// A folder that another test makes and removes meanwhile.
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "testdata" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		imports, err := importsOf(tree, name)
		if err != nil {
			return err
		}
		pkg := path.Dir(name)
		for _, imported := range imports {
			if p := judge(pkg, imported, importers); p != "" {
				problems = append(problems, fmt.Sprintf("%s: %s", name, p))
			}
		}
		return nil
	})
	if err != nil {
		return nil, files, fmt.Errorf("walk the sources: %w", err)
	}
	for lib, pkgs := range importers {
		if len(pkgs) > 1 {
			slices.Sort(pkgs)
			problems = append(problems, fmt.Sprintf("%s has more than one importing package: %s", lib, strings.Join(pkgs, ", ")))
		}
	}
	slices.Sort(problems)
	return problems, files, nil
}

func importsOf(tree fs.FS, name string) ([]string, error) {
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(name), src, parser.ImportsOnly)
	if err != nil {
		return nil, fmt.Errorf("parse imports: %w", err)
	}
	var imports []string
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		imports = append(imports, p)
	}
	return imports, nil
}

// judge says what is wrong with pkg importing imported, or "". Third-party
// libraries without a named owner are noted in importers for the caller.
func judge(pkg, imported string, importers map[string][]string) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		allowed, known := mayImport[pkg]
		switch {
		case !known:
			return fmt.Sprintf("package %s is not in the table of imports", pkg)
		case ours == pkg: // its own external test
			return ""
		case slices.Contains(allowed, anything), slices.Contains(allowed, ours):
			return ""
		}
		return fmt.Sprintf("%s may not import %s", pkg, ours)
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return "" // the standard library
	}
	lib := library(imported)
	switch want := owner[lib]; want {
	case anything, pkg:
		return ""
	case "":
		if !slices.Contains(importers[lib], pkg) {
			importers[lib] = append(importers[lib], pkg)
		}
		return ""
	default:
		return fmt.Sprintf("%s may not import %s: only %s does", pkg, lib, want)
	}
}

// library is the module of an import path: host and two more elements on a
// code host, two elements on golang.org. A major version is not part of it.
func library(imported string) string {
	parts := strings.Split(imported, "/")
	return strings.Join(parts[:min(3, len(parts))], "/")
}
