package agent

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kedge/cellgraph"
)

var classTable = flag.Bool("classes", false, "write the table of classes into docs/soundness.md")

// corpus is the folder of corpus.py, which says what its modes do.
const corpus = "../../integration/classes"

// sample is a part of each case's name, for those that are tried unless KEDGE_CLASSES says other parts, or all.
const sample = "collections,enum,class,numpy.ndarray,DataFrame,matplotlib Axes,text file"

// leastEqual is the share of the classes that have to be captured equal.
const leastEqual = 0.85

// classCapture is one capture by corpus.py.
type classCapture struct {
	Spool      string                 `json:"spool"`
	Groups     []Group                `json:"groups"`
	Uncaptured []cellgraph.Uncaptured `json:"uncaptured"`
}

// classEntry is what one process of corpus.py found of a case.
type classEntry struct {
	Name      string        `json:"name"`
	Refuse    bool          `json:"refuse"`
	Installed bool          `json:"installed"`
	Failed    string        `json:"failed"`
	Error     string        `json:"error"`
	Look      string        `json:"look"`
	Saved     classCapture  `json:"saved"`
	Changed   *classCapture `json:"changed"`
}

// TestClasses captures an object of every class of the corpus, in two processes, and restores it in a third. None
// may come back as something else, and few may not come back at all.
func TestClasses(t *testing.T) {
	python := cmp.Or(os.Getenv("KEDGE_TEST_PYTHON"), filepath.Join("..", "..", ".venv", "bin", "python"))
	if _, err := os.Stat(python); err != nil {
		t.Skipf("%s is missing: run `make test`, which installs it", python)
	}
	dir := t.TempDir()
	captured, control, restored := runCorpus(t, python, "capture", dir), runCorpus(t, python, "control", dir), runCorpus(t, python, "restore", dir)
	counts := map[string]int{}
	rows := map[string][]string{}
	for i, c := range captured {
		if !c.Installed {
			t.Logf("%s: its library is not installed", c.Name)
			continue
		}
		verdict, why := judge(t, dir, c, control[i], restored[i])
		counts[verdict]++
		rows[verdict] = append(rows[verdict], c.Name+why)
		if verdict == "inexact" || verdict == "refused" && !c.Refuse {
			t.Logf("%s: %s%s", verdict, c.Name, why)
		}
	}
	tried := counts["equal"] + counts["refused"] + counts["inexact"] + counts["WRONG"]
	for _, wrong := range rows["WRONG"] {
		t.Errorf("silently changed: %s", wrong)
	}
	t.Logf("%d classes: %v", tried, counts)
	if os.Getenv("KEDGE_CLASSES") == "all" && (tried < 120 || float64(counts["equal"]) < leastEqual*float64(tried)) {
		t.Errorf("only %d of %d classes are captured equal", counts["equal"], tried)
	}
	if *classTable {
		writeTable(t, counts, rows)
	}
}

func runCorpus(t *testing.T, python, mode, dir string) []classEntry {
	t.Helper()
	args := []string{filepath.Join(corpus, "corpus.py"), "python", mode, dir}
	if part := cmp.Or(os.Getenv("KEDGE_CLASSES"), sample); part != "all" {
		args = append(args, strings.Split(part, ",")...)
	}
	cmd := exec.Command(python, args...)
	cmd.Env = append(os.Environ(), "PYTHONHASHSEED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("corpus.py %s: %v\n%s", mode, err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, mode+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var entries []classEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

// judge says what became of a case: "equal", "refused", "inexact" (it comes back equal, but is taken for another
// value, which costs a run) or "WRONG", and why.
func judge(t *testing.T, dir string, captured, control, restored classEntry) (verdict, why string) {
	t.Helper()
	for _, e := range []classEntry{captured, control, restored} {
		if e.Failed != "" {
			return "WRONG", ": the case fails: " + e.Failed
		}
	}
	if len(captured.Saved.Uncaptured) > 0 {
		return "refused", ": " + captured.Saved.Uncaptured[0].Reason
	}
	digest := captured.Saved.identify(t, dir)
	switch {
	case captured.Refuse:
		return "WRONG", ": it is captured, and cannot live in two processes"
	case restored.Error != "":
		return "WRONG", ": it is not restored: " + restored.Error
	case captured.Look != control.Look:
		return "WRONG", ": capturing changes it: " + captured.Look + " for " + control.Look
	case captured.Look != restored.Look:
		return "WRONG", ": it comes back as " + restored.Look + " for " + captured.Look
	case digest != control.Saved.identify(t, dir):
		return "inexact", ": its digest differs between two processes"
	case digest != restored.Saved.identify(t, dir):
		return "inexact", ": its digest differs after a restore"
	case len(captured.Changed.Uncaptured) == 0 && digest == captured.Changed.identify(t, dir):
		return "WRONG", ": its digest is the same after a change"
	}
	return "equal", ""
}

// identify digests all that was captured, by name.
func (c classCapture) identify(t *testing.T, dir string) cellgraph.Digest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, c.Spool))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, g := range c.Groups {
		var buffers []HashedBuffer
		for _, b := range g.Buffers {
			buffers = append(buffers, HashedBuffer{Digest: cellgraph.Sum(data[b.Offset : b.Offset+b.Length]), Length: b.Length, ReadOnly: b.ReadOnly})
		}
		d, err := Identity(data[g.Stream[0]:g.Stream[0]+g.Stream[1]], buffers)
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(g.Names, ", "), err)
		}
		parts = append(parts, strings.Join(g.Names, " ")+" "+d.String())
	}
	slices.Sort(parts)
	return cellgraph.Combine(parts...)
}

const tableBegin, tableEnd = "<!-- classes -->\n", "<!-- end of classes -->\n"

// writeTable replaces what stands between the marks of docs/soundness.md.
func writeTable(t *testing.T, counts map[string]int, rows map[string][]string) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", "soundness.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), tableBegin)
	_, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s", path, tableBegin)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d captured equal, %d refused with a reason, %d equal but with a digest that is not stable, %d silently changed.\n\n", counts["equal"], counts["refused"], counts["inexact"], counts["WRONG"])
	b.WriteString("| class | what becomes of it |\n| --- | --- |\n")
	for _, name := range rows["equal"] {
		fmt.Fprintf(&b, "| %s | equal |\n", name)
	}
	for _, verdict := range []string{"refused", "inexact"} {
		for _, row := range rows[verdict] {
			name, why, _ := strings.Cut(row, ": ")
			fmt.Fprintf(&b, "| %s | %s: %s |\n", name, verdict, strings.ReplaceAll(why, "|", "\\|"))
		}
	}
	if err := os.WriteFile(path, []byte(head+tableBegin+b.String()+tableEnd+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
