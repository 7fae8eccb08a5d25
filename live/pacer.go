package live

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	free  = 5 << 19   // bytes of one cell's streams that are not paced
	burst = 512 << 10 // bytes that go at once where they are
	piece = 128 << 10 // bytes of a message there
)

// pacer spreads the text of one cell's streams over time. A server that sees
// more than a rate drops what comes then.
type pacer struct {
	rate  int // bytes per second; 0: no pacing
	sent  int
	began time.Time
}

// newPacer returns a pacer for total bytes of text.
func newPacer(rate, total int) *pacer {
	if total <= free {
		rate = 0
	}
	return &pacer{rate: rate, began: time.Now()}
}

// each calls send with the pieces of text, each when it is due. When ctx ends the rest is due at once.
func (p *pacer) each(ctx context.Context, text string, send func(part string)) {
	if p.rate == 0 {
		send(text)
		return
	}
	for len(text) > 0 {
		n := min(piece, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		p.sent += n + strings.Count(text[:n], "\n") // which is two bytes in a message
		p.wait(ctx)
		send(text[:n])
		text = text[n:]
	}
}

// wait waits until what was sent is due.
func (p *pacer) wait(ctx context.Context) {
	over := max(0, p.sent-burst)
	due := p.began.Add(time.Duration(float64(over) / float64(p.rate) * float64(time.Second)))
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
