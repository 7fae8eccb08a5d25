package cellgraph

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// How SVG draws, in pixels.
const (
	boxHeight   = 34
	rowGap      = 46 // between the boxes of a column
	columnGap   = 150
	letter      = 7.4 // width of a letter, about
	smallLetter = 6.2 // of a label
	margin      = 20
	maxLabel    = 26 // letters of what an edge carries; all of it is in its title
)

// Drawing is where everything of a graph goes, in pixels.
type Drawing struct {
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
	Boxes  []Box   `json:"boxes"` // in the order of the steps
	Arrows []Arrow `json:"arrows"`
}

// Box is where a step is drawn.
type Box struct {
	Step   string  `json:"step"`
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

// Arrow is where an edge is drawn: a cubic curve, and what it says there.
type Arrow struct {
	From   string     `json:"from"`
	To     string     `json:"to"`
	Curve  [8]float64 `json:"curve"`  // x and y of the start, of two controls, and of the end
	Dashed bool       `json:"dashed"` // declared only
	Label  string     `json:"label"`  // cut to what fits; "" if there is nothing, or no place
	LabelX float64    `json:"label_x"`
	LabelY float64    `json:"label_y"` // of its baseline, above the curve
	Title  string     `json:"title"`
}

// Draw lays g out from left to right: each step in the column after those that
// it depends on.
func (g Graph) Draw() Drawing {
	boxes, width, height := g.place()
	d := Drawing{width, height, []Box{}, []Arrow{}}
	for _, e := range g.Edges {
		if from, ok := boxes[e.From]; ok {
			a := arrow(e, from, boxes[e.To], sagOf(from, boxes[e.To], boxes))
			a.label(boxes, d.Arrows)
			d.Height = max(d.Height, (a.Curve[1]+a.Curve[7])/8+(a.Curve[3]+a.Curve[5])*3/8+margin)
			d.Arrows = append(d.Arrows, a)
		}
	}
	for _, step := range g.Steps {
		d.Boxes = append(d.Boxes, boxes[step])
	}
	return d
}

// SVG draws g. Declared edges without data are dashed. It needs no other file.
func (g Graph) SVG() string {
	d := g.Draw()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="13">`+"\n", d.Width, d.Height, d.Width, d.Height)
	b.WriteString(`<title>Steps and what flows between them</title>
<style>
.step rect { fill: #f3f6fb; stroke: #4a6fa5; } .step text { fill: #1c2733; } .edge path { fill: none; stroke: #7a8794; }
.edge text { fill: #55606b; font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
@media (prefers-color-scheme: dark) { .step rect { fill: #22303f; stroke: #8fb0dd; } .step text { fill: #e8eef5; }
.edge path { stroke: #9aa7b4; } .edge text { fill: #c3ccd6; stroke: #111; } }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#7a8794"/></marker></defs>
`)
	for _, a := range d.Arrows {
		drawArrow(&b, a)
	}
	for _, p := range d.Boxes {
		fmt.Fprintf(&b, `<g class="step"><rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" rx="7"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text></g>`+"\n",
			p.X, p.Y, p.Width, p.Height, p.X+p.Width/2, p.Y+p.Height/2+4.5, escape(p.Step))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// place puts every step in a column, and gives the size of the whole.
func (g Graph) place() (boxes map[string]Box, width, height float64) {
	column := map[string]int{}
	var columns [][]string
	for _, step := range g.Steps {
		at := 0
		for _, e := range g.Edges {
			if from, placed := column[e.From]; e.To == step && placed {
				at = max(at, from+1)
			}
		}
		column[step] = at
		for len(columns) <= at {
			columns = append(columns, nil)
		}
		columns[at] = append(columns[at], step)
	}
	boxes = map[string]Box{}
	x := float64(margin)
	for _, steps := range columns {
		widest := 0.0
		for row, step := range steps {
			w := max(60, letter*float64(utf8.RuneCountInString(step))+24)
			boxes[step] = Box{step, x, float64(margin + row*(boxHeight+rowGap)), w, boxHeight}
			widest = max(widest, w)
			height = max(height, boxes[step].Y+boxHeight+margin)
		}
		x += widest + columnGap
	}
	return boxes, max(x-columnGap+margin, 2*margin), max(height, 2*margin)
}

// sagOf is how far below its ends an edge has its middle: it passes below the
// boxes that stand between them, the lower the longer it is.
func sagOf(from, to Box, boxes map[string]Box) float64 {
	if from.Y != to.Y {
		return 0
	}
	between := 0
	for _, b := range boxes {
		if b.Y == from.Y && min(from.X, to.X) < b.X && b.X < max(from.X, to.X) {
			between++
		}
	}
	if between == 0 {
		return 0
	}
	return boxHeight/2 + 10 + 9*float64(min(between, 4)-1)
}

func arrow(e Edge, from, to Box, sag float64) Arrow {
	x1, y1, x2, y2 := from.X+from.Width, from.Y+boxHeight/2, to.X, to.Y+boxHeight/2
	bend := max(40, (x2-x1)/2)
	if x2 < x1 { // back to an earlier column
		bend = columnGap
	}
	all := strings.Join(e.Observed, ", ")
	label := all
	if r := []rune(label); len(r) > maxLabel {
		label = string(r[:maxLabel-1]) + "…"
	}
	if all == "" {
		all = "declared"
	}
	return Arrow{From: e.From, To: e.To, Curve: [8]float64{x1, y1, x1 + bend, y1 + sag*4/3, x2 - bend, y2 + sag*4/3, x2, y2}, Dashed: len(e.Observed) == 0,
		Label: label, Title: fmt.Sprintf("%s → %s: %s", e.From, e.To, all)}
}

// label puts a's label where it covers no box and no other label; where there
// is no such place a has none, but its title says it.
func (a *Arrow) label(boxes map[string]Box, others []Arrow) {
	for _, t := range []float64{0.5, 0.38, 0.62, 0.26, 0.74} {
		u, c := 1-t, a.Curve
		w0, w1, w2, w3 := u*u*u, 3*u*u*t, 3*u*t*t, t*t*t
		a.LabelX, a.LabelY = w0*c[0]+w1*c[2]+w2*c[4]+w3*c[6], w0*c[1]+w1*c[3]+w2*c[5]+w3*c[7]-5
		if !a.covers(boxes, others) {
			return
		}
	}
	a.Label, a.LabelX, a.LabelY = "", 0, 0
}

func (a *Arrow) covers(boxes map[string]Box, others []Arrow) bool {
	half := smallLetter * float64(utf8.RuneCountInString(a.Label)) / 2
	for _, b := range boxes {
		if a.LabelX+half > b.X && a.LabelX-half < b.X+b.Width && a.LabelY+3 > b.Y && a.LabelY-9 < b.Y+b.Height {
			return true
		}
	}
	for _, o := range others {
		reach := half + smallLetter*float64(utf8.RuneCountInString(o.Label))/2 + 4
		if o.Label != "" && math.Abs(a.LabelX-o.LabelX) < reach && math.Abs(a.LabelY-o.LabelY) < 12 {
			return true
		}
	}
	return false
}

func drawArrow(b *strings.Builder, a Arrow) {
	dash := ""
	if a.Dashed {
		dash = ` stroke-dasharray="5 4"`
	}
	c := a.Curve
	fmt.Fprintf(b, `<g class="edge"><title>%s</title><path d="M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f"%s marker-end="url(#tip)"/>`,
		escape(a.Title), c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], dash)
	if a.Label != "" {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, a.LabelX, a.LabelY, escape(a.Label))
	}
	b.WriteString("</g>\n")
}

// escape makes text safe inside of an element.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
