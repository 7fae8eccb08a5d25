package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"kedge/integration/oracle"
)

// life is one notebook from its first run on.
type life struct {
	writer
	world
	past []world
	live bool // in a live kernel
}

func helper(n int) string {
	return fmt.Sprintf("k = %d\nitems = []\ndef add(x): items.append(x)\ndef total(): return len(items)\ndef double(x): return x * 2 + k + %d\n", n, n)
}

func newLife(seed, number uint64) *life {
	l := &life{writer: writer{dice: rand.New(rand.NewPCG(seed, number))}}
	l.bare = l.dice.IntN(2) == 0
	l.leave()
	top := head
	if l.bare {
		top = bareHead
	}
	l.files = map[string]string{"alpha.txt": "3", "gamma.csv": "x,y\n1,2\n3,4\n", "helper.py": helper(1)}
	l.env = map[string]string{"ORACLE_A": "1", "ORACLE_B": "", "ORACLE_Q": ""}
	l.folder, l.clean = "lab", true
	l.cells = []written{{Cell: oracle.Cell{ID: "head", Source: top}, features: []string{"imports"}}}
	for range 6 + l.dice.IntN(7) {
		l.cells = append(l.cells, l.cell(l.cells))
	}
	return l
}

// clone shares nothing that an action changes.
func (w world) clone() world {
	w.cells, w.files, w.env = slices.Clone(w.cells), maps.Clone(w.files), maps.Clone(w.env)
	return w
}

// sit decides what a person asks a kernel for who goes through the notebook
// from its top, and goes back now and then, tries something, or leaves a cell out.
func (l *life) sit() {
	l.asked, l.queued = []written{}, l.dice.IntN(2) == 0
	for i := range l.cells {
		switch c := l.cells[i]; l.dice.IntN(40) {
		case 0:
			continue
		case 1, 2:
			l.asked = append(l.asked, l.cells[l.dice.IntN(i+1)], c)
		case 3:
			l.asked = append(l.asked, c, c)
		case 4:
			foreign := l.cell(l.cells[:i])
			foreign.Foreign = true
			l.asked = append(l.asked, foreign, c)
		case 5:
			l.asked = append(l.asked, c)
			if i > 0 {
				l.fill(&l.cells[i], l.cells[:i])
				l.asked = append(l.asked, l.cells[i])
			}
		default:
			l.asked = append(l.asked, c)
		}
	}
}

// act changes the world; returns what was done.
func (l *life) act() string {
	l.past = append(l.past, l.clone())
	l.clean = l.dice.IntN(3) > 0 || l.live || // there a cell that was restored cannot be run after all
		slices.ContainsFunc(exclusions, func(e exclusion) bool { return e.leftovers })
	what := l.change()
	if l.dice.IntN(4) == 0 {
		what += ", " + l.change()
	}
	return what
}

func (l *life) change() string {
	n := len(l.cells)
	i := 1 + l.dice.IntN(n-1)
	what := pick(l.dice, []string{"tweak", "tweak", "tweak", "tweak", "tweak", "tweak", "edit", "edit", "edit", "edit", "extend", "shorten", "comment", "revert", "revert", "undo", "delete", "insert", "insert", "move", "values", "values",
		"copy", "again", "again", "parameter", "data", "helper", "variable", "folder"})
	if about, named := surroundingsOf[what]; named && !slices.ContainsFunc(l.cells, func(c written) bool { return about.MatchString(c.Source) }) {
		what = "tweak" // nobody would notice
	}
	switch what {
	case "tweak":
		l.tweak()
	case "edit":
		l.fill(&l.cells[i], l.cells[:i])
	case "values":
		l.values()
	case "extend":
		f := l.fragment(l.cells[:i+1])
		if code := l.cells[i].Source + "\n" + l.expand(f.code, l.cells[:i+1]); excluded(code) == "" {
			l.cells[i].Source = code
			l.cells[i].features = append(slices.Clone(l.cells[i].features), f.feature)
		}
	case "shorten":
		l.fill(&l.cells[i], l.cells[:i])
	case "comment":
		l.cells[i].Source += "\n# " + fmt.Sprint(l.dice.IntN(9))
	case "revert":
		cells := pick(l.dice, l.past).cells
		l.cells = slices.Clone(cells)
	case "undo":
		l.world = l.past[max(0, len(l.past)-2)].clone()
	case "delete":
		if n > 4 {
			l.cells = slices.Delete(l.cells, i, i+1)
		}
	case "insert":
		if n < 16 {
			l.cells = slices.Insert(l.cells, i, l.cell(l.cells[:i]))
		}
	case "move":
		c := l.cells[i]
		l.cells = slices.Insert(slices.Delete(l.cells, i, i+1), 1+l.dice.IntN(n-1), c)
	case "copy":
		if n < 16 {
			l.made++
			c := l.cells[i]
			c.ID = fmt.Sprintf("c%d", l.made)
			l.cells = slices.Insert(l.cells, 1+l.dice.IntN(n-1), c)
		}
	case "parameter":
		l.knob = l.dice.IntN(5)
	case "data":
		l.data()
	case "helper":
		l.files["helper.py"] = helper(1 + l.dice.IntN(5))
	case "variable":
		name := pick(l.dice, []string{"ORACLE_A", "ORACLE_B"})
		l.env[name] = pick(l.dice, []string{"1", "2", ""})
	case "folder":
		l.folder = pick(l.dice, []string{"lab", "other", "lab2"})
	}
	return what
}

// surroundingsOf says which cells may notice an action on what is around the notebook.
var surroundingsOf = map[string]*regexp.Regexp{"data": regexp.MustCompile(`alpha|beta|gamma|glob|iterdir`), "helper": regexp.MustCompile(`helper`),
	"variable": regexp.MustCompile(`ORACLE_|environ`), "parameter": regexp.MustCompile(`knob`)}

var (
	number = regexp.MustCompile(`\b\d\b`)
	bound  = regexp.MustCompile(`\b[a-zK][1-4]\b`)
)

// tweak changes one number, if there is one: mostly in a cell whose names
// stand in others too, which so get another value.
func (l *life) tweak() {
	var all, shared []int
	for i, c := range l.cells {
		if !number.MatchString(c.Source) {
			continue
		}
		all = append(all, i)
		if i == 0 || slices.ContainsFunc(bound.FindAllString(c.Source, -1), func(name string) bool {
			return slices.ContainsFunc(l.cells[i+1:], func(later written) bool { return strings.Contains(later.Source, name) })
		}) {
			shared = append(shared, i)
		}
	}
	if len(shared) > 0 && l.dice.IntN(4) > 0 {
		all = shared
	}
	if len(all) == 0 {
		return
	}
	c := &l.cells[pick(l.dice, all)]
	at := pick(l.dice, number.FindAllStringIndex(c.Source, -1))
	c.Source = c.Source[:at[0]] + fmt.Sprint(1+l.dice.IntN(9)) + c.Source[at[1]:]
}

// values changes one of those that the head binds.
func (l *life) values() {
	top := &l.cells[0]
	was := top.Source
	for top.Source == was {
		n := l.dice.IntN(9)
		now := pick(l.dice, []string{fmt.Sprintf("%d, [1, 2], {'k': [0]}, 'abc'", n), fmt.Sprintf("3, [%d, 2], {'k': [0]}, 'abc'", n),
			fmt.Sprintf("3, [1, 2], {'k': [%d]}, 'abc'", n), fmt.Sprintf("3, [1, 2], {'k': [0]}, 'ab%d'", n)})
		top.Source = bindings.ReplaceAllString(was, "i1, l1, d1, w1 = "+now+"\n")
	}
}

var bindings = regexp.MustCompile(`i1, l1, d1, w1 = .*\n`)

func (l *life) data() {
	switch l.dice.IntN(4) {
	case 0, 1:
		l.files["alpha.txt"] = fmt.Sprint(1 + l.dice.IntN(9))
	case 2:
		if _, there := l.files["beta.txt"]; there {
			delete(l.files, "beta.txt")
		} else {
			l.files["beta.txt"] = fmt.Sprint(l.dice.IntN(9))
		}
	case 3:
		l.files["gamma.csv"] = fmt.Sprintf("x,y\n1,%d\n3,4\n", l.dice.IntN(9))
	}
}
