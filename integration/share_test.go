package integration

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sharer is a person with a home of her own on this machine.
type sharer struct {
	*lab
	data string // $XDG_DATA_HOME
}

func newSharer(t *testing.T, l *lab) sharer { return sharer{l, t.TempDir()} }

// do runs kedge and returns what it prints, and its status.
func (s sharer) do(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	return s.exec(append([]string{s.kedge}, args...)...)
}

func (s sharer) exec(argv ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KEDGE_HOME=") }), "XDG_DATA_HOME="+s.data)
	cmd.Dir = s.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code
}

// must is do for what has to succeed; into gets its JSON.
func (s sharer) must(into any, args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.do(args...)
	if code != 0 {
		s.t.Fatalf("kedge %v: status %d\n%s%s", args, code, stdout, stderr)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(stdout), into); err != nil {
			s.t.Fatalf("kedge %v: %v\n%s", args, err, stdout)
		}
	}
	return stderr
}

// runs a notebook and returns each cell's status.
func (s sharer) runs(path string) (map[string]string, report) {
	s.t.Helper()
	var r report
	s.must(&r, "run", path, "--json", "--python", s.python)
	status := map[string]string{}
	for _, c := range r.Cells {
		status[c.ID] = c.Status
		if c.Status != "restored" {
			s.t.Logf("%s %s: %s", c.ID, c.Status, c.Why)
		}
	}
	return status, r
}

type sharedJSON struct {
	Link, Snapshot string
	Expires        *string
	Bytes          int64
	Left           []struct{ Path, Why string }
}

type openedJSON struct {
	Dir, Notebook, Snapshot string
	Total                   int64 `json:"bytes_total"`
	Transferred             int64 `json:"bytes_transferred"`
	Trusted, State          bool
}

// shareNotebook has a local module, an input, a large value, a class, a file
// that is written, and a cell that goes on from all of them.
func shareNotebook(seed string) string {
	cell := func(id, tag string, source ...string) string {
		text, _ := json.Marshal(strings.Join(source, "\n"))
		return fmt.Sprintf(`{"cell_type": "code", "id": %q, "metadata": {"tags": [%q]}, "execution_count": null, "outputs": [], "source": %s}`, id, "step:"+tag, text)
	}
	return `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [` + strings.Join([]string{
		cell("imports", "imports", "import csv, hashlib, os, random", "import helper", "print(os.environ['HOME'])"),
		cell("read", "read", "rows = [r for r in csv.reader(open('in.csv'))]", "rows"),
		cell("large", "large", "random.seed(7)", "large = bytearray(random.randbytes(8 << 20))"),
		cell("fit", "fit", "class Model:", "    def __init__(self, seed):", "        self.seed, self.rows = seed, rows", "    def score(self):", "        return helper.twice(self.seed) + len(self.rows)",
			"model = Model("+seed+")", "os.makedirs('out', exist_ok=True)", "with open('out/model.txt', 'w') as f:", "    f.write(str(model.score()))"),
		cell("use", "use", "print(hashlib.sha256(large).hexdigest()[:8], model.score(), model.rows is rows, open('out/model.txt').read(), random.random())"),
	}, ",") + `]}`
}

func TestASnapshotInAFileGoesOnInAnotherHome(t *testing.T) {
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(shareNotebook("20"))
	ada.file("in.csv", "a,1\nb,2\n")
	ada.file("helper.py", "def twice(x):\n    return 2 * x\n")
	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	first, _ := ada.runs(ada.path)
	if !all(first, "ran") {
		t.Fatal(first)
	}
	bundle := filepath.Join(t.TempDir(), "one.kedge")
	var sent sharedJSON
	said := ada.must(&sent, "share", ada.path, "--file", bundle, "--yes", "--json")
	if info, err := os.Stat(bundle); err != nil || info.Size() != sent.Bytes || sent.Link != bundle || sent.Expires != nil || len(sent.Left) > 0 {
		t.Fatal(sent, err)
	}
	for _, word := range []string{"large", "helper.py", "in.csv", "out/model.txt"} {
		if !strings.Contains(said, word) {
			t.Errorf("share does not say that %s leaves the machine:\n%s", word, said)
		}
	}

	var got openedJSON
	into := filepath.Join(bob.dir, "one")
	bob.must(&got, "open", bundle, "--into", into, "--dry-run", "--json")
	if got.Trusted || got.Transferred != got.Total || got.Total < 8<<20 {
		t.Fatal(got)
	}
	stdout, stderr, code := bob.do("open", bundle, "--into", into, "--yes", "--json")
	var doctor struct{ Key string }
	out, _, _ := ada.do("doctor", "--json")
	if err := json.Unmarshal([]byte(out), &doctor); err != nil || len(doctor.Key) != 64 {
		t.Fatal(doctor, err)
	}
	if code != 5 || stdout != "" || !strings.Contains(stderr, doctor.Key) || !strings.Contains(stderr, "kedge_agent.classes.make_class") {
		t.Fatalf("status %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(into); err == nil {
		t.Fatal("the folder was made")
	}

	// The notebook and the files can be looked at, and run anew.
	anew := filepath.Join(bob.dir, "anew")
	bob.must(&got, "open", bundle, "--into", anew, "--no-state", "--json")
	if got.State || got.Total > 1<<20 {
		t.Fatal(got)
	}
	if status, _ := bob.runs(got.Notebook); !all(status, "ran") {
		t.Fatal("restored without trust", status)
	}

	// With trust all is restored, in a home where nothing of it had run.
	carol := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	into = filepath.Join(carol.dir, "one")
	carol.must(nil, "trust", doctor.Key, "--yes")
	carol.must(&got, "open", bundle, "--into", into, "--json", "--yes")
	if !got.Trusted || !got.State || got.Snapshot != sent.Snapshot || got.Dir != into || got.Transferred != got.Total {
		t.Fatal(got)
	}
	status, _ := carol.runs(got.Notebook)
	if !all(status, "restored") {
		t.Fatal(status)
	}
	carol.must(nil, "show", sent.Snapshot)
	printed := outputOf(t, ada.path, "use")
	if other := outputOf(t, got.Notebook, "use"); other != printed || !strings.Contains(printed, "42 True 42") {
		t.Fatalf("%q, %q", printed, other)
	}
	// The next cell goes on from there as it does where it came from.
	next := `, {"cell_type": "code", "id": "next", "metadata": {"tags": ["step:next"]}, "execution_count": null, "outputs": [], "source": "model.rows.append(large[:3])\nprint(model.score(), rows[-1], random.random(), type(model) is Model)"}]`
	for _, who := range []struct {
		sharer
		path string
	}{{ada, ada.path}, {carol, got.Notebook}} {
		appendCell(t, who.path, next)
		if status, _ := who.runs(who.path); status["next"] != "ran" || status["use"] != "restored" {
			t.Fatal(status)
		}
	}
	if a, c := outputOf(t, ada.path, "next"), outputOf(t, got.Notebook, "next"); a != c || !strings.Contains(a, "True") {
		t.Fatalf("%q, %q", a, c)
	}

	// Another version moves what is new in it.
	ada.write(shareNotebook("30"))
	ada.runs(ada.path)
	second := filepath.Join(t.TempDir(), "two.kedge")
	ada.must(nil, "share", ada.path+"@use", "--file", second, "--yes", "--json")
	carol.must(&got, "open", second, "--into", filepath.Join(carol.dir, "two"), "--json")
	if got.Transferred > 64<<10 || got.Total < 8<<20 {
		t.Errorf("%d of %d bytes moved", got.Transferred, got.Total)
	}
	if status, _ := carol.runs(got.Notebook); !all(status, "restored") {
		t.Fatal(status)
	}

	// Who is trusted no longer is not restored any more.
	carol.must(nil, "trust", doctor.Key, "--remove")
	if status, _ := carol.runs(got.Notebook); status["fit"] != "ran" || status["large"] != "ran" {
		t.Fatal(status)
	}
	if _, _, code := carol.do("open", second, "--into", filepath.Join(carol.dir, "three")); code != 5 {
		t.Fatal(code)
	}
}

// outputOf is the text that a cell of a notebook printed.
func outputOf(t *testing.T, path, cell string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Cells []struct {
			ID      string
			Outputs []struct{ Text any }
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range doc.Cells {
		if c.ID == cell && len(c.Outputs) > 0 {
			return fmt.Sprint(c.Outputs[0].Text)
		}
	}
	t.Fatalf("cell %s of %s has no output", cell, path)
	return ""
}

// appendCell adds a cell at the end of a notebook.
func appendCell(t *testing.T, path, cell string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	cells := bytes.TrimSpace(doc["cells"])
	doc["cells"] = append(bytes.TrimSuffix(cells, []byte("]")), cell...)
	if data, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// forge takes a bundle apart by share/FORMAT.md, changes its manifest, and
// signs that with another key.
func forge(t *testing.T, bundle []byte, change func(m map[string]any)) []byte {
	t.Helper()
	length := binary.LittleEndian.Uint32(bundle[12:])
	z, err := zlib.NewReader(bytes.NewReader(bundle[112 : 112+length]))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	w.Write(text)
	w.Close()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	const kind = "application/vnd.kedge.snapshot+json"
	signature := ed25519.Sign(private, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, packed.Len(), packed.Bytes()))
	forged := binary.LittleEndian.AppendUint32(bytes.Clone(bundle[:12]), uint32(packed.Len()))
	return slices.Concat(forged, public, signature, packed.Bytes(), bundle[112+length:])
}

// What is hostile is refused without anything being run, or written outside of
// the home and the folder, as the system calls of the process show.
func TestWhatIsHostileWritesAndRunsNothing(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(shareNotebook("20"))
	ada.file("in.csv", "a,1\n")
	ada.file("helper.py", "def twice(x):\n    return 2 * x\n")
	ada.runs(ada.path)
	good := filepath.Join(t.TempDir(), "good.kedge")
	ada.must(nil, "share", ada.path, "--file", good, "--yes")
	late := filepath.Join(t.TempDir(), "late.kedge")
	ada.must(nil, "share", ada.path, "--file", late, "--yes", "--expires", "1ms")
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	expired, err := os.ReadFile(late)
	if err != nil {
		t.Fatal(err)
	}
	file := func(m map[string]any, n int) map[string]any { return m["files"].([]any)[n].(map[string]any) }
	flipped := bytes.Clone(whole)
	pieces := 0
	forge(t, whole, func(m map[string]any) { pieces = len(m["pieces"].([]any)) })
	flipped[112+int(binary.LittleEndian.Uint32(whole[12:]))+4*pieces+9] ^= 1 // in the first piece, which is of the notebook
	outside := t.TempDir()
	for name, tt := range map[string]struct {
		bundle []byte
		code   int
		args   []string
	}{
		"untrusted":             {whole, 5, nil},
		"expired":               {expired, 6, nil},
		"tampered piece":        {flipped, 7, []string{"--no-state"}},
		"cut off":               {whole[:len(whole)/2], 7, nil},
		"climbing path":         {forge(t, whole, func(m map[string]any) { file(m, 0)["path"] = "../../escaped" }), 7, nil},
		"absolute path":         {forge(t, whole, func(m map[string]any) { file(m, 0)["path"] = outside + "/escaped" }), 7, nil},
		"link out":              {forge(t, whole, func(m map[string]any) { file(m, 0)["type"], file(m, 0)["target"] = "link", outside }), 7, nil},
		"device":                {forge(t, whole, func(m map[string]any) { file(m, 0)["type"] = "device" }), 7, nil},
		"case":                  {forge(t, whole, func(m map[string]any) { file(m, 0)["path"] = strings.ToUpper(file(m, 1)["path"].(string)) }), 7, nil},
		"bomb":                  {forge(t, whole, func(m map[string]any) { m["author"] = strings.Repeat("a", 65<<20) }), 7, nil},
		"author of her choice":  {forge(t, whole, func(m map[string]any) { m["author"] = "\x1b]0;owned\x07" }), 5, nil},
		"foreign and looked at": {forge(t, whole, func(m map[string]any) {}), 0, []string{"--no-state"}},
	} {
		t.Run(name, func(t *testing.T) {
			bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
			bundle, log := filepath.Join(t.TempDir(), "x.kedge"), filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(bundle, tt.bundle, 0o600); err != nil {
				t.Fatal(err)
			}
			into := filepath.Join(bob.dir, "into")
			argv := []string{strace, "-f", "-y", "-o", log, "-e", "trace=execve,execveat,openat,open,creat,mkdir,mkdirat,symlink,symlinkat,link,linkat,rename,renameat,renameat2,unlink,unlinkat,chmod,fchmodat,mknod,mknodat,connect",
				bob.kedge, "open", bundle, "--into", into, "--yes"}
			_, stderr, code := bob.exec(append(argv, tt.args...)...)
			if strings.Contains(stderr, "ptrace") || strings.Contains(stderr, "Operation not permitted") {
				t.Skip("processes cannot be traced here")
			}
			if code != tt.code {
				t.Errorf("status %d, want %d: %s", code, tt.code, stderr)
			}
			if strings.Contains(stderr, "\x1b") {
				t.Errorf("%q reaches the terminal", stderr)
			}
			if _, err := os.Stat(into); err == nil && code != 0 {
				t.Error("the folder was made")
			}
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			checkCalls(t, string(text), bob.data, into)
		})
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Error("written outside", left)
	}
}

// checkCalls fails the test if a process has run another program, connected,
// or changed what does not lie in one of the folders.
func checkCalls(t *testing.T, log string, folders ...string) {
	t.Helper()
	call := regexp.MustCompile(`^\d+ +(\w+)\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"(.*)`)
	runs, seen := 0, 0
	for line := range strings.Lines(log) {
		m := call.FindStringSubmatch(line)
		if m == nil {
			if strings.Contains(line, "connect(") {
				t.Error("it connects: ", line)
			}
			continue
		}
		seen++
		path := m[3]
		if !filepath.IsAbs(path) {
			path = filepath.Join(m[2], path)
		}
		switch {
		case strings.HasPrefix(m[1], "exec"):
			if runs++; runs > 1 {
				t.Error("it runs a program: ", line)
			}
			continue
		case strings.HasPrefix(m[1], "open") && !regexp.MustCompile(`O_(WRONLY|RDWR|CREAT)`).MatchString(m[4]):
			continue
		}
		inside := path == "/dev/null" || slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
		if !inside && !strings.Contains(line, "EEXIST") {
			t.Error("it changes what lies outside: ", line)
		}
	}
	if runs != 1 || seen < 10 {
		t.Errorf("%d calls were seen, %d programs", seen, runs)
	}
}
