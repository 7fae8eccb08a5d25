package main

import (
	"regexp"
	"slices"
	"strings"

	"kedge/integration/oracle"
)

// The fuzzer's own idea, from the text of the cells alone, of which cells must
// be restored: those that share no word, directly or through cells in between,
// with anything that has changed since the last run. It knows nothing of the
// rule, and it errs on the side of expecting less.

var word = regexp.MustCompile(`[A-Za-z_]\w*`)

// common are words that say nothing of what a cell reads.
var common = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range word.FindAllString(`print import from as def return class for in if else try except lambda is not and or None True False del global
		nonlocal with raise assert os sys np pd json self x k open write read str int list dict set sorted range len isinstance callable getattr type sum
		tuple NameError OSError ZeroDivisionError ValueError Exception Warning err Error path exists append default f s n m w d kv key map zip reverse
		functools wraps display IPython HTML Path pathlib glob no gone a b e z y q st fh iter next arange zeros DataFrame astype`, -1) {
		set[w] = true
	}
	return set
}()

// wide are words of code whose effect or sight cannot be told from its words.
var wide = regexp.MustCompile(`chdir|set_option|printoptions|display\.|simplefilter|getcontext|precision|seterr|setLevel|environ|getenv|%|eval|exec|globals|query|\bOut\b|\bIn\b|\b_\b|len = |del len|sum = |random|shuffle|myattr|helper|warn`)

// never are cells that are rightly never restored: what they make or touch has
// no captured form, or is refused with a reason.
var never = regexp.MustCompile(`\bg[1-4]\b|myattr|helper\.(add|k =|total)|update_display|\biter\(|add\(`)

func words(code string) []string {
	var list []string
	for _, w := range word.FindAllString(code, -1) {
		if !common[w] {
			list = append(list, w)
		}
	}
	return list
}

// tainted is what the pass from top to bottom knows to have changed.
type tainted struct {
	words map[string]bool
	all   bool       // something changed that cannot be told from words
	above [][]string // the words of each cell so far, but for what it only shows
}

// spoil adds the words of code that has changed, and all that the cells above
// tie to them: aliases, and functions that look at them when they are called.
func (t *tainted) spoil(code string) {
	t.all = t.all || wide.MatchString(code)
	for _, w := range words(code) {
		t.words[w] = true
	}
	for size := -1; size != len(t.words); {
		size = len(t.words)
		for _, cell := range t.above {
			if t.touches(cell) {
				for _, w := range cell {
					t.words[w] = true
				}
			}
		}
	}
}

func (t *tainted) touches(list []string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return t.words[w] })
}

var shown = regexp.MustCompile(`(?m)^(print\(.*|# \d)$`)

// expected are the ids of the cells of now that have to be restored after a
// run of before.
func expected(before, now oracle.Step) map[string]bool {
	t := &tainted{words: map[string]bool{}}
	old := map[string]string{}
	for _, c := range before.Cells {
		old[c.ID] = c.Source
	}
	surroundings(before, now, t.words)
	order := same(before, now)
	expect := map[string]bool{}
	left := before.Cells
	for _, c := range now.Cells {
		// Cells that stood above this one and are gone.
		if i := slices.IndexFunc(left, func(b oracle.Cell) bool { return b.ID == c.ID }); i >= 0 && order[c.ID] {
			for _, gone := range left[:i] {
				t.spoil(gone.Source)
			}
			left = left[i+1:]
		}
		code, was := old[c.ID]
		switch {
		case !was || bare(code) != bare(c.Source) || !order[c.ID]:
			t.spoil(c.Source + "\n" + code)
		case t.touches(words(c.Source)), (t.all || len(t.words) > 0) && wide.MatchString(c.Source), never.MatchString(c.Source):
			t.spoil(c.Source)
		case !t.all:
			expect[c.ID] = true
		}
		t.above = append(t.above, words(shown.ReplaceAllString(c.Source, "")))
	}
	return expect
}

var comment = regexp.MustCompile(`(?m)^# \d$`)

// bare is code without the comments that the fuzzer adds.
func bare(code string) string { return strings.TrimSpace(comment.ReplaceAllString(code, "")) }

// surroundings taints the words under which cells know what has changed around them.
func surroundings(before, now oracle.Step, taint map[string]bool) {
	for name, words := range map[string][]string{"alpha.txt": {"alpha", "glob", "iterdir", "listdir"}, "beta.txt": {"beta", "glob", "iterdir", "listdir"}, "gamma.csv": {"gamma", "listdir"}, "helper.py": {"helper", "listdir"}} {
		if before.Files[name] != now.Files[name] {
			for _, w := range words {
				taint[w] = true
			}
		}
	}
	for name := range now.Env {
		if before.Env[name] != now.Env[name] {
			taint[name], taint["environ"] = true, true
		}
	}
	if before.Parameters["knob"] != now.Parameters["knob"] {
		taint["knob"] = true
	}
	if before.Folder != now.Folder {
		taint["getcwd"], taint["pwd"], taint["cd"], taint["abspath"] = true, true, true, true
	}
}

// same reports for each cell of now whether it stands where it stood, relative to the others.
func same(before, now oracle.Step) map[string]bool {
	place := map[string]int{}
	for i, c := range before.Cells {
		place[c.ID] = i
	}
	kept, last := map[string]bool{}, -1
	for _, c := range now.Cells {
		if at, was := place[c.ID]; was && at > last {
			kept[c.ID], last = true, at
		}
	}
	return kept
}
