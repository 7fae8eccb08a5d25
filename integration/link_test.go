package integration

import (
	"encoding/json"
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

	// What a link needs, gc leaves, and takes when it is revoked.
	ada.must(nil, "store", "gc", "--quota", "0")
	bob.must(&got, "open", second.Link, "--into", filepath.Join(bob.dir, "kept"), "--json")
}
