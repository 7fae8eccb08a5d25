package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheBundleIsOfTheSources does what build.mjs does: bytes of the bundle differ from folder to folder.
func TestTheBundleIsOfTheSources(t *testing.T) {
	names := []string{"build.mjs", "package-lock.json", "package.json", "tsconfig.json"}
	for _, dir := range []string{"schema", "src", "style"} {
		entries, err := os.ReadDir(filepath.Join("labextension", dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, dir+"/"+e.Name())
		}
	}
	slices.Sort(names)
	digest := sha256.New()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join("labextension", name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(digest, "%s %d\n", name, len(data))
		digest.Write(data)
	}
	recorded, err := fs.ReadFile(Labextension(), "sources.sha256")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(recorded)) != hex.EncodeToString(digest.Sum(nil)) {
		t.Error("web/labextension/dist was built of other sources: run `make labextension` and commit what it makes")
	}
}
