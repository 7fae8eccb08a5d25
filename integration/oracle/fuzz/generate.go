package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"kedge/integration/oracle"
)

// written is a cell and what it was made of.
type written struct {
	oracle.Cell
	features []string
}

var slot = regexp.MustCompile(`\{(\+?)(n|int|list|dict|set|arr|df|fun|cls|obj|gen|str|rng|clo|mix)\}`)

// library is code that needs numpy or pandas.
var library = regexp.MustCompile(`\bnp\.|\bpd\.|\{\+?(arr|df|rng)\}`)

type exclusion struct {
	why              string
	code, difference *regexp.Regexp // nil for none
	gaveUp           bool           // of runs in which restoring was given up
	leftovers        bool           // the folder is cleaned before every run
}

// exclusions are faults that are known and not mended yet: no cell whose code
// matches is generated, and no difference that matches counts. The list is
// printed, and has to become empty.
var exclusions = []exclusion{}

// writer makes cells. Equal seeds make equal cells.
type writer struct {
	dice *rand.Rand
	bare bool // no libraries
	made int
	left map[string]bool // the features that this notebook does without: notebooks differ in what they are about
}

// ofLibraries are the features that need libraries.
var ofLibraries = []string{"numpy random", "arrays", "views", "frames"}

// leave chooses what a notebook does without.
func (w *writer) leave() {
	w.left = map[string]bool{}
	for _, f := range fragments {
		if _, decided := w.left[f.feature]; !decided {
			without := 3 // in five
			if !w.bare && slices.Contains(ofLibraries, f.feature) {
				without = 1 // half of the notebooks cannot have them
			}
			w.left[f.feature] = f.feature != "shows" && w.dice.IntN(5) < without
		}
	}
}

// pick is a member of list.
func pick[T any](dice *rand.Rand, list []T) T { return list[dice.IntN(len(list))] }

// names are the names of a kind that cells bind.
func names(kind string, cells []written) []string {
	letter := kinds[kind]
	found := regexp.MustCompile(`\b` + letter + `[1-4]\b`)
	var list []string
	for _, c := range cells {
		for _, name := range found.FindAllString(c.Source, -1) {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// cell makes a cell that stands below others.
func (w *writer) cell(above []written) written {
	w.made++
	c := written{Cell: oracle.Cell{ID: fmt.Sprintf("c%d", w.made), Raises: w.dice.IntN(12) > 0}}
	w.fill(&c, above)
	return c
}

// fill gives a cell new code of one to three fragments.
func (w *writer) fill(c *written, above []written) {
	for {
		c.features = nil
		var lines []string
		for range 1 + w.dice.IntN(3) {
			f := w.fragment(above)
			lines = append(lines, w.expand(f.code, append(slices.Clip(above), written{Cell: oracle.Cell{Source: strings.Join(lines, "\n")}})))
			c.features = append(c.features, f.feature)
			if strings.HasPrefix(f.code, "%") { // a magic ends its cell
				break
			}
		}
		if w.dice.IntN(3) == 0 {
			f := pick(w.dice, shows)
			lines = append(lines, w.expand(f.code, above))
			c.features = append(c.features, f.feature)
		}
		c.Source = strings.Join(lines, "\n")
		if excluded(c.Source) == "" {
			return
		}
	}
}

// shows are the fragments that show plain values.
var shows = func() []fragment {
	var list []fragment
	for _, f := range fragments {
		if f.feature == "shows" {
			list = append(list, f)
		}
	}
	return list
}()

func excluded(code string) string {
	for _, e := range exclusions {
		if e.code != nil && e.code.MatchString(code) {
			return e.why
		}
	}
	return ""
}

// unknown are the differences of an outcome that are not excluded.
func unknown(o oracle.Outcome) []string {
	if o.Leftovers { // a mixture of restored cells and such that saw leftovers
		return nil
	}
	var list []string
	for i := 0; i+2 < len(o.Differences); i += 3 {
		if !slices.ContainsFunc(exclusions, func(e exclusion) bool {
			return e.difference != nil && e.difference.MatchString(o.Differences[i]) && (!e.gaveUp || o.Kedge.GaveUp != "")
		}) {
			list = append(list, o.Differences[i:i+3]...)
		}
	}
	return list
}

// fragment picks one, mostly one whose names exist.
func (w *writer) fragment(above []written) fragment {
	for try := 0; ; try++ {
		f := pick(w.dice, fragments)
		if w.bare && library.MatchString(f.code) || w.left[f.feature] {
			continue
		}
		if try > 60 || w.fits(f, above) {
			return f
		}
	}
}

func (w *writer) fits(f fragment, above []written) bool {
	for _, m := range slot.FindAllStringSubmatch(f.code, -1) {
		if m[1] == "" && m[2] != "n" && len(names(m[2], above)) == 0 {
			return false
		}
	}
	return true
}

// expand fills the slots of a fragment.
func (w *writer) expand(code string, above []written) string {
	n := 1 + w.dice.IntN(9)
	return slot.ReplaceAllStringFunc(code, func(text string) string {
		m := slot.FindStringSubmatch(text)
		if m[2] == "n" {
			return fmt.Sprint(n)
		}
		known := names(m[2], above)
		if m[1] == "" && len(known) > 0 && w.dice.IntN(40) > 0 {
			if w.dice.IntN(2) == 0 { // the newest, so that cells stand on each other
				return known[len(known)-1]
			}
			return pick(w.dice, known)
		}
		return fmt.Sprint(kinds[m[2]], 1+w.dice.IntN(3))
	})
}

// world is a notebook and what is around it, as the generator sees it.
type world struct {
	cells  []written
	knob   int // the parameter; 0 if none is given
	files  map[string]string
	env    map[string]string
	folder string
	clean  bool
	asked  []written // of a live kernel: what it is asked for
	queued bool      // all at once
}

// step is the world in the oracle's words.
func (w world) step() oracle.Step {
	s := oracle.Step{Files: w.files, Env: w.env, Folder: w.folder, Clean: w.clean, Live: w.asked != nil, Queued: w.queued}
	if s.Live {
		for _, c := range w.asked {
			s.Cells = append(s.Cells, c.Cell)
		}
		return s
	}
	for _, c := range w.cells {
		s.Cells = append(s.Cells, c.Cell)
	}
	if w.knob > 0 {
		s.Parameters = map[string]string{"knob": fmt.Sprint(w.knob)}
	}
	return s
}
