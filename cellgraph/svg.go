package cellgraph

import (
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf8"
)

// How SVG draws, in pixels.
const (
	boxHeight = 34
	rowGap    = 46 // between the boxes of a column
	columnGap = 150
	letter    = 7.4 // width of a letter, about
	margin    = 20
	maxLabel  = 26 // letters of what an edge carries; all of it is in its title
)

// box is where a step is drawn.
type box struct{ x, y, width float64 }

// SVG draws g from left to right: each step in the column after those that it
// depends on. Declared edges without data are dashed. It needs no other file.
func (g Graph) SVG() string {
	boxes, width, height := g.place()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="13">`+"\n", width, height, width, height)
	b.WriteString(`<title>Steps and what flows between them</title>
<style>
.step rect { fill: #f3f6fb; stroke: #4a6fa5; } .step text { fill: #1c2733; } .edge path { fill: none; stroke: #7a8794; }
.edge text { fill: #55606b; font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
@media (prefers-color-scheme: dark) { .step rect { fill: #22303f; stroke: #8fb0dd; } .step text { fill: #e8eef5; }
.edge path { stroke: #9aa7b4; } .edge text { fill: #c3ccd6; stroke: #111; } }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#7a8794"/></marker></defs>
`)
	for _, e := range g.Edges {
		if from, ok := boxes[e.From]; ok {
			drawEdge(&b, e, from, boxes[e.To])
		}
	}
	for _, step := range g.Steps {
		p := boxes[step]
		fmt.Fprintf(&b, `<g class="step"><rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="7"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text></g>`+"\n",
			p.x, p.y, p.width, boxHeight, p.x+p.width/2, p.y+boxHeight/2+4.5, escape(step))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// place puts every step in a column, and gives the size of the whole.
func (g Graph) place() (boxes map[string]box, width, height float64) {
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
	boxes = map[string]box{}
	x := float64(margin)
	for _, steps := range columns {
		widest := 0.0
		for row, step := range steps {
			w := max(60, letter*float64(utf8.RuneCountInString(step))+24)
			boxes[step] = box{x, float64(margin + row*(boxHeight+rowGap)), w}
			widest = max(widest, w)
			height = max(height, boxes[step].y+boxHeight+margin)
		}
		x += widest + columnGap
	}
	return boxes, max(x-columnGap+margin, 2*margin), max(height, 2*margin)
}

func drawEdge(b *strings.Builder, e Edge, from, to box) {
	x1, y1, x2, y2 := from.x+from.width, from.y+boxHeight/2, to.x, to.y+boxHeight/2
	bend := max(40, (x2-x1)/2)
	if x2 < x1 { // back to an earlier column
		bend = columnGap
	}
	dash := ""
	if len(e.Observed) == 0 {
		dash = ` stroke-dasharray="5 4"`
	}
	all := strings.Join(e.Observed, ", ")
	label := all
	if r := []rune(label); len(r) > maxLabel {
		label = string(r[:maxLabel-1]) + "…"
	}
	why := all
	if why == "" {
		why = "declared"
	}
	fmt.Fprintf(b, `<g class="edge"><title>%s → %s: %s</title><path d="M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f"%s marker-end="url(#tip)"/>`,
		escape(e.From), escape(e.To), escape(why), x1, y1, x1+bend, y1, x2-bend, y2, x2, y2, dash)
	if label != "" {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, (x1+x2)/2, (y1+y2)/2-5, escape(label))
	}
	b.WriteString("</g>\n")
}

// escape makes text safe inside of an element.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
