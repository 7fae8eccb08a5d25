package integration

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestJupyterLabAndNotebookInABrowser(t *testing.T) {
	needsBrowser(t)
	f := newFront(t)
	f.install("--python", f.python, "--as", "python3")
	f.with(t).browse("browser.py")
}

// TestTheExtensionInABrowser has a kernel that says what reaches it.
func TestTheExtensionInABrowser(t *testing.T) {
	needsBrowser(t)
	f := newFront(t)
	heard, err := filepath.Abs(filepath.Join("testdata", "browser", "heard"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.home, "share", "jupyter", "kernels", "heard")
	spec, err := json.Marshal(map[string]any{"argv": []string{f.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"},
		"display_name": "heard", "language": "python", "env": map[string]string{"PYTHONPATH": heard}})
	if err == nil {
		err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "kernel.json"), spec, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	f.install("--kernel", "heard", "--as", "python3")
	f.with(t).browse("extension.py")
}

// TestOddNotebooksInABrowser is what may come in a person's way.
func TestOddNotebooksInABrowser(t *testing.T) {
	needsBrowser(t)
	f := newFront(t)
	f.install("--python", f.python, "--as", "python3")
	f.with(t).browse("odd.py")
}

// needsBrowser skips t where there is no Chromium and none could be installed.
func needsBrowser(t *testing.T) {
	t.Helper()
	browsers := []string{os.Getenv("KEDGE_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"}
	if !slices.ContainsFunc(browsers, found) {
		if os.Getenv("CI") != "" || os.Geteuid() == 0 && found("apt-get") {
			t.Fatal("there is no Chromium: tools/setup.sh --browser, which `make test` runs, should have installed it")
		}
		t.Skip("there is no Chromium: install the package chromium, or name a browser in KEDGE_TEST_CHROMIUM")
	}
}

// browse runs a program of testdata/browser, which exits 0 if all is well.
func (f *front) browse(program string) {
	f.t.Helper()
	f.browseIn(program, filepath.Join(f.t.TempDir(), "lab"))
}

// browseIn is browse with a folder of the caller's, which the program makes.
func (f *front) browseIn(program, folder string) {
	f.t.Helper()
	args := []string{filepath.Join("testdata", "browser", program), folder}
	if shots := os.Getenv("KEDGE_TEST_SHOTS"); shots != "" { // make screenshot
		args = append(args, shots)
	}
	out, err := f.command(5*time.Minute, f.python, args...)
	if err != nil {
		f.t.Errorf("%v\n%s", err, out[max(0, len(out)-6000):])
	}
}

func found(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
