package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestJupyterLabAndNotebookInABrowser(t *testing.T) {
	browsers := []string{os.Getenv("KEDGE_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"}
	if !slices.ContainsFunc(browsers, found) {
		if os.Getenv("CI") != "" || os.Geteuid() == 0 && found("apt-get") {
			t.Fatal("there is no Chromium: tools/setup.sh --browser, which `make test` runs, should have installed it")
		}
		t.Skip("there is no Chromium: install the package chromium, or name a browser in KEDGE_TEST_CHROMIUM")
	}
	f := newFront(t)
	f.install("--python", f.python, "--as", "python3")
	g := f.with(t)
	out, err := g.command(3*time.Minute, g.python, filepath.Join("testdata", "browser", "browser.py"), filepath.Join(t.TempDir(), "lab"))
	if err != nil {
		t.Errorf("%v\n%s", err, out[max(0, len(out)-6000):])
	}
}

func found(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
