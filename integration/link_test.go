package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shareByLink shares and ends the server that was started for it with the test.
func (s sharer) shareByLink(args ...string) sharedJSON {
	s.t.Helper()
	var sent sharedJSON
	said := s.must(&sent, append([]string{"share", "--yes", "--json"}, args...)...)
	if strings.Contains(said, "a server was started") {
		s.t.Cleanup(func() { s.do("serve", "--stop") })
	}
	if !strings.Contains(said, "this machine only") {
		s.t.Errorf("share does not say who can reach the link: %s", said)
	}
	return sent
}

func TestALinkGoesOnInAnotherHome(t *testing.T) {
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(shareNotebook("20"))
	ada.file("in.csv", "a,1\nb,2\n")
	ada.file("helper.py", "def twice(x):\n    return 2 * x\n")
	ada.runs(ada.path)
	sent := ada.shareByLink(ada.path)
	if expires, err := time.Parse(time.RFC3339, *sent.Expires); err != nil || time.Until(expires) < 6*24*time.Hour {
		t.Fatal(sent)
	}
	link := strings.SplitN(sent.Link, "#", 2)
	if len(link) != 2 || !strings.HasPrefix(link[0], "http://127.0.0.1:") {
		t.Fatal(sent.Link)
	}

	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	into := filepath.Join(bob.dir, "one")
	if _, stderr, code := bob.do("open", sent.Link, "--into", into); code != 5 || !strings.Contains(stderr, "kedge_agent.classes.make_class") {
		t.Fatal(code, stderr)
	}
	var doctor struct{ Key string }
	out, _, _ := ada.do("doctor", "--json")
	if err := json.Unmarshal([]byte(out), &doctor); err != nil {
		t.Fatal(err)
	}
	bob.must(nil, "trust", doctor.Key, "--yes")
	var got openedJSON
	bob.must(&got, "open", sent.Link, "--into", into, "--dry-run", "--json")
	lacks := got.Transferred
	bob.must(&got, "open", sent.Link, "--into", into, "--json")
	if got.Transferred != lacks || got.Total != sent.Bytes || got.Snapshot != sent.Snapshot || !got.Trusted {
		t.Fatal(got, lacks)
	}
	if status, _ := bob.runs(got.Notebook); !all(status, "restored") {
		t.Fatal(status)
	}
	if a, b := outputOf(t, ada.path, "use"), outputOf(t, got.Notebook, "use"); a != b {
		t.Fatalf("%q, %q", a, b)
	}

	// The same server answers for a second link; what is new in it moves.
	ada.write(shareNotebook("30"))
	ada.runs(ada.path)
	second := ada.shareByLink(ada.path + "@use")
	if !strings.HasPrefix(second.Link, link[0][:strings.LastIndex(link[0], "/")]) {
		t.Error(second.Link)
	}
	bob.must(&got, "open", second.Link, "--into", filepath.Join(bob.dir, "two"), "--json")
	if got.Transferred > 64<<10 || got.Total < 8<<20 {
		t.Errorf("%d of %d bytes moved", got.Transferred, got.Total)
	}

	// A link opens what it was made for, as long as it was made for.
	var shares []struct{ ID, Status, Link string }
	ada.must(&shares, "shares", "--json")
	if len(shares) != 2 || shares[1].Link != sent.Link || shares[0].Status != "open" {
		t.Fatal(shares)
	}
	first, other := strings.SplitN(sent.Link, "#", 2), strings.SplitN(second.Link, "#", 2)
	refused := map[string]string{
		"no token": first[0], "another's token": first[0] + "#" + other[1], "changed": sent.Link[:len(sent.Link)-6] + "AAAAAA",
		"no such share": strings.Replace(sent.Link, shares[1].ID, "0123456789abcdef", 1),
		"expired":       ada.shareByLink(ada.path, "--expires", "1ms").Link,
	}
	ada.must(nil, "revoke", sent.Link)
	refused["revoked"] = sent.Link
	for name, text := range refused {
		into := filepath.Join(bob.dir, name)
		if _, stderr, code := bob.do("open", text, "--into", into, "--yes"); code != 6 {
			t.Errorf("%s: %d %s", name, code, stderr)
		}
		if _, err := os.Stat(into); err == nil {
			t.Errorf("%s: the folder was made", name)
		}
	}
	ada.must(nil, "serve", "--stop")
	if _, err := http.Get(link[0]); err == nil {
		t.Error("it answers after it was stopped")
	}
	if _, _, code := bob.do("open", second.Link, "--into", filepath.Join(bob.dir, "off")); code != 3 {
		t.Error(code)
	}
	if _, _, code := ada.do("serve", "--stop"); code != 3 {
		t.Error("stopped twice", code)
	}
	// Started again it is where it was: links stay good.
	ada.shareByLink(ada.path)
	bob.must(&got, "open", second.Link, "--into", filepath.Join(bob.dir, "on"), "--json")

	// What looks like a secret is named before it leaves.
	ada.file("in.csv", "a,AKIA"+strings.Repeat("ABC2", 4)+"\n")
	ada.runs(ada.path)
	said := ada.must(nil, "share", ada.path, "--file", filepath.Join(t.TempDir(), "x.kedge"), "--yes")
	if !strings.Contains(said, "AWS access key in file in.csv") || !strings.Contains(said, "AWS access key in variable ") {
		t.Error(said)
	}

	// What a link needs, gc leaves, and takes when it is revoked.
	ada.must(nil, "store", "gc", "--quota", "0")
	bob.must(&got, "open", second.Link, "--into", filepath.Join(bob.dir, "kept"), "--json")
}

// key is this home's public key.
func (s sharer) key() string {
	s.t.Helper()
	var doctor struct{ Key string }
	out, _, _ := s.do("doctor", "--json")
	if err := json.Unmarshal([]byte(out), &doctor); err != nil || len(doctor.Key) != 64 {
		s.t.Fatal(err, out)
	}
	return doctor.Key
}

func TestALinkForOnePerson(t *testing.T) {
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(shareNotebook("20"))
	ada.file("in.csv", "a,1\n")
	ada.file("helper.py", "def twice(x):\n    return 2 * x\n")
	ada.runs(ada.path)
	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	eve := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	link := ada.shareByLink(ada.path, "--for", bob.key()).Link
	bob.must(nil, "trust", ada.key(), "--yes")
	eve.must(nil, "trust", ada.key(), "--yes")
	var got openedJSON
	bob.must(&got, "open", link, "--into", filepath.Join(bob.dir, "one"), "--json")
	if status, _ := bob.runs(got.Notebook); !all(status, "restored") {
		t.Error(status)
	}
	into := filepath.Join(eve.dir, "one")
	for _, who := range []sharer{eve, ada} {
		if _, stderr, code := who.do("open", link, "--into", into, "--no-state"); code != 6 || !strings.Contains(stderr, bob.key()) {
			t.Error(code, stderr)
		}
	}
	if _, err := os.Stat(into); err == nil {
		t.Error("the folder was made")
	}
	if out := ada.shown("shares"); !strings.Contains(out, bob.key()[:12]) {
		t.Error(out)
	}
	for _, args := range [][]string{{"--for", bob.key(), "--file", filepath.Join(ada.dir, "x.kedge")}, {"--for", "bob"}} {
		if _, stderr, code := ada.do(append([]string{"share", ada.path, "--yes"}, args...)...); code != 2 {
			t.Error(args, code, stderr)
		}
	}
}

// shown is what a command prints.
func (s sharer) shown(args ...string) string {
	s.t.Helper()
	out, stderr, code := s.do(args...)
	if code != 0 {
		s.t.Fatal(code, stderr)
	}
	return out
}

// JupyterLab starts where the snapshot was, with a kernel of Kedge's though none is installed.
func TestWhatWasOpenedGoesOnInJupyterLab(t *testing.T) {
	needsBrowser(t)
	ada := readySharer(t)
	appendCell(t, ada.path, `, {"cell_type": "code", "id": "next", "metadata": {}, "execution_count": null, "outputs": [], "source": ""}]`)
	ada.runs(ada.path)
	link := ada.shareByLink(ada.path + "@use").Link
	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	bob.must(nil, "trust", ada.key(), "--yes")
	t.Setenv("PATH", filepath.Dir(bob.python)+":"+os.Getenv("PATH"))
	t.Setenv("JUPYTER_DATA_DIR", filepath.Join(bob.dir, "data"))
	args := []string{bob.python, filepath.Join(repository(t), "integration", "testdata", "browser", "opened.py"), filepath.Join(bob.dir, "lab"), bob.kedge, link}
	if shots := os.Getenv("KEDGE_TEST_SHOTS"); shots != "" {
		args = append(args, shots)
	}
	if stdout, stderr, code := bob.exec(args...); code != 0 {
		t.Fatalf("%s\n%s", stdout, stderr)
	}
}

// Of an array in which 1 % changed a second pull moves that, wherever it lies.
func TestASecondPullMovesWhatChanged(t *testing.T) {
	const size, changed = 200 << 20, 2 << 20
	write := func(s sharer, at int) {
		s.write(fmt.Sprintf(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
			{"cell_type": "code", "id": "a", "metadata": {"tags": ["step:a"]}, "execution_count": null, "outputs": [], "source": "import numpy as np\nlarge = np.random.default_rng(7).integers(0, 255, %d, dtype='u1')"},
			{"cell_type": "code", "id": "b", "metadata": {"tags": ["step:b"]}, "execution_count": null, "outputs": [], "source": "large[%d:%d] = np.random.default_rng(%d).integers(0, 255, %d, dtype='u1')"}]}`, size, at, at+changed, at, changed))
		s.runs(s.path)
	}
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	bob.must(nil, "trust", ada.key(), "--yes")
	for n, tt := range []struct{ at, most int }{{50 << 20, size + 5*changed}, {90 << 20, changed + changed/20}, {77_777_777, changed + changed/20}} {
		write(ada, tt.at)
		var got, said openedJSON
		link := ada.shareByLink(ada.path).Link
		bob.must(&said, "open", link, "--into", filepath.Join(bob.dir, fmt.Sprint(n)), "--dry-run", "--json")
		bob.must(&got, "open", link, "--into", filepath.Join(bob.dir, fmt.Sprint(n)), "--json")
		if got.Transferred != said.Transferred {
			t.Errorf("%d bytes moved, %d were said to", got.Transferred, said.Transferred)
		}
		t.Logf("changed at %d: %d of %d bytes moved", tt.at, got.Transferred, got.Total)
		if got.Transferred > int64(tt.most) || got.Transferred < changed {
			t.Errorf("changed at %d: %d bytes moved, at most %d should", tt.at, got.Transferred, tt.most)
		}
		if status, _ := bob.runs(got.Notebook); !all(status, "restored") {
			t.Error(status)
		}
	}
}

// What .kedgeignore names is not shared, also if cells only read it.
func TestWhatIsIgnoredIsNotShared(t *testing.T) {
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "id": "a", "metadata": {"tags": ["step:a"]}, "execution_count": null, "outputs": [],
		"source": "for name in ('private.csv', 'sub/key.pem', 'sub/open.csv'):\n    print(open(name).read())"}]}`)
	if err := os.Mkdir(filepath.Join(ada.dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"private.csv": "the private one", "sub/key.pem": "the key", "sub/open.csv": "anyone", ".kedgeignore": "# mine\nprivate.csv\n*.pem\n"} {
		ada.file(name, text)
	}
	ada.runs(ada.path)
	var sent sharedJSON
	bundle := filepath.Join(t.TempDir(), "x.kedge")
	said := ada.must(&sent, "share", ada.path, "--no-state", "--file", bundle, "--yes", "--json")
	left := fmt.Sprint(sent.Left)
	if len(sent.Left) != 2 || !strings.Contains(left, "private.csv") || !strings.Contains(left, "sub/key.pem") || !strings.Contains(said, "left out: private.csv: .kedgeignore names it") {
		t.Error(left, said)
	}
	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	into := filepath.Join(bob.dir, "one")
	bob.must(nil, "open", bundle, "--into", into, "--no-state")
	for name, there := range map[string]bool{"private.csv": false, "sub/key.pem": false, "sub/open.csv": true, ".kedgeignore": false} {
		if _, err := os.Stat(filepath.Join(into, name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hostileCell shows what must not run where the notebook is looked at.
const hostileCell = `, {"cell_type": "markdown", "id": "text", "metadata": {}, "source": "# A heading\n\n<img src=x onerror='window.owned=1'> [link](javascript:owned=1) ![far](https://pictures.example.com/x.png)\n\n- *one* and [two](https://example.com/two)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<style>body{display:none}</style><form action='https://example.com'>"},
 {"cell_type": "code", "id": "hostile", "metadata": {"tags": ["step:</div><script>owned=1</script>"]}, "execution_count": 1, "source": "'</pre><script>window.owned=1</script>'", "outputs": [
  {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b id=bold>shown</b><script>parent.owned=1;console.log('owned')</script><img src='https://evil.example.com/x.png' onerror='parent.owned=1'><svg onload='alert(1)'></svg><a target=_top id=a href='https://evil.example.com'>x</a><form action='https://evil.example.com'><button>go</button></form><meta http-equiv=refresh content='0;url=https://evil.example.com'><iframe src='https://evil.example.com'></iframe><link rel=stylesheet href='https://evil.example.com/x.css'><style>@import url(https://evil.example.com/y.css)</style><base href='https://evil.example.com/'>"}},
  {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg' width='20' height='20'><script>parent.owned=1</script><image href='https://evil.example.com/z.png'/><rect width='20' height='20' fill='teal'/></svg>"}},
  {"output_type": "display_data", "metadata": {}, "data": {"application/javascript": "window.owned=1", "text/plain": "<script>owned=1</script>"}},
  {"output_type": "stream", "name": "stdout", "text": "</pre><script>window.owned=1</script>\u001b[31mred\u001b[0m"},
  {"output_type": "error", "ename": "E", "evalue": "<img src=x onerror=owned=1>", "traceback": []},
  {"output_type": 7}, {"output_type": "display_data", "data": {"image/png": "\" onerror=\"window.owned=1"}}]}`

// hostileFrame leaves names, columns, texts and files that must not run either.
const hostileFrame = `, {"cell_type": "code", "id": "frame", "metadata": {"tags": ["step:frame"]}, "execution_count": null, "outputs": [], "source": "import numpy as np, pandas as pd\nframe = pd.DataFrame({'<img src=x onerror=owned=1>': [1.5, 2.5, None], 'word': ['</td><script>owned=1</script>', 'b', 'b']})\nwaves = np.sin(np.arange(600) / 9).reshape(20, 30)\nglobals()['<script>owned=1</script>'] = 'x'\nwith open('evil.svg', 'w') as f:\n    f.write('<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"20\" height=\"20\" onload=\"parent.owned=1\"><script>parent.owned=1</script><image href=\"https://evil.example.com/z.png\"/><rect width=\"20\" height=\"20\" fill=\"teal\"/></svg>')\nwith open('evil.csv', 'w') as f:\n    f.write('<img src=x onerror=owned=1>,b\\n</td><script>owned=1</script>,2\\n')"}`

func TestThePageBehindALinkInABrowser(t *testing.T) {
	needsBrowser(t)
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(shareNotebook("20"))
	ada.file("in.csv", "a,1\nb,2\n")
	ada.file("helper.py", "def twice(x):\n    return 2 * x\n")
	ada.runs(ada.path)
	before := ada.shareByLink(ada.path)
	ada.write(shareNotebook("30"))
	more := hostileFrame + hostileCell
	for n := range 100 {
		more += fmt.Sprintf(`, {"cell_type": "code", "id": "c%d", "metadata": {"tags": ["skip"]}, "execution_count": null, "outputs": [], "source": "x = %d"}`, n, n)
	}
	appendCell(t, ada.path, more+"]")
	var r report
	ada.must(&r, "run", ada.path, "--to", "frame", "--json", "--python", ada.python)
	sent := ada.shareByLink(ada.path + "@frame")
	stdout, stderr, code := ada.exec(ada.python, filepath.Join(repository(t), "integration", "testdata", "browser", "share.py"), sent.Link, ada.kedge, before.Link)
	if code != 0 {
		t.Fatalf("%s\n%s", stdout, stderr)
	}
	t.Log(stderr)
}

// The pictures in the docs, for make screenshot.
func TestPicturesOfThePage(t *testing.T) {
	shots := os.Getenv("KEDGE_TEST_SHOTS")
	if shots == "" {
		t.Skip("KEDGE_TEST_SHOTS names no folder for them")
	}
	needsBrowser(t)
	ada := newSharer(t, newLab(t, "../examples/iris.ipynb"))
	ada.edit("TREES = 200", "TREES = 3")
	ada.runs(ada.path)
	other := ada.shareByLink(ada.path)
	ada.edit("TREES = 3", "TREES = 200")
	ada.runs(ada.path)
	sent := ada.shareByLink(ada.path)
	if stdout, stderr, code := ada.exec(ada.python, filepath.Join(repository(t), "integration", "testdata", "browser", "pictures.py"), sent.Link, other.Link, shots); code != 0 {
		t.Fatalf("%s\n%s", stdout, stderr)
	}
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// What is shared from a page is what kedge share shares.
func TestSharingFromJupyterLab(t *testing.T) {
	needsBrowser(t)
	f := newFront(t)
	f.install("--python", f.python, "--as", "python3")
	defer f.command(time.Minute, f.kedge, "serve", "--stop") // the context of commands ends before what is cleaned up
	bob := newSharer(t, &lab{t: t, kedge: f.kedge, python: f.python, dir: t.TempDir()})
	f.env = append(f.env, "KEDGE_TEST_READER="+bob.key())
	folder := filepath.Join(t.TempDir(), "lab")
	f.browseIn("sharing.py", folder)
	var links map[string]struct{ Whole, Stateless, Addressed string }
	data, err := os.ReadFile(filepath.Join(folder, "links.json"))
	if err == nil {
		err = json.Unmarshal(data, &links)
	}
	if err != nil {
		t.Fatal(err)
	}
	var doctor struct{ Key string }
	out, _ := f.command(time.Minute, f.kedge, "doctor", "--json")
	if err := json.Unmarshal([]byte(out), &doctor); err != nil {
		t.Fatal(err, out)
	}
	eve := newSharer(t, &lab{t: t, kedge: f.kedge, python: f.python, dir: t.TempDir()})
	bob.must(nil, "trust", doctor.Key, "--yes")
	for name, link := range links {
		var got openedJSON
		bob.must(&got, "open", link.Stateless, "--into", filepath.Join(bob.dir, name+"-stateless"), "--json")
		if got.State {
			t.Error("variables were shared", got)
		}
		bob.must(&got, "open", link.Whole, "--into", filepath.Join(bob.dir, name), "--json")
		if status, _ := bob.runs(got.Notebook); status["a"] != "restored" || status["b"] != "restored" {
			t.Error(name, status)
		}
		if text := outputOf(t, got.Notebook, "b"); !strings.Contains(text, "'total': 42") {
			t.Error(text)
		}
	}
	for name, link := range links {
		if _, stderr, code := eve.do("open", link.Addressed, "--no-state", "--into", filepath.Join(eve.dir, name)); code != 6 || !strings.Contains(stderr, bob.key()) {
			t.Error(code, stderr)
		}
		bob.must(nil, "open", link.Addressed, "--into", filepath.Join(bob.dir, name+"-addressed"))
	}
	if len(links) != 2 {
		t.Error(links)
	}
}
