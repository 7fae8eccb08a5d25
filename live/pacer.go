package live

import (
	"context"
	"time"
	"unicode/utf8"
)

const (
	burst = 2 << 20   // bytes of streams that go at once
	piece = 256 << 10 // bytes of a message, where they are paced
)

// pacer spreads the text of one cell's streams over time. A server that sees
// more than a rate drops what comes then.
type pacer struct {
	rate  int // bytes per second; 0: no pacing
	sent  int
	began time.Time
}

func newPacer(rate int) *pacer { return &pacer{rate: rate, began: time.Now()} }

// each calls send with the pieces of text, each when it is due. When ctx ends the rest is due at once.
func (p *pacer) each(ctx context.Context, text string, send func(part string)) {
	if p.rate == 0 || p.sent+len(text) <= burst {
		p.sent += len(text)
		send(text)
		return
	}
	for len(text) > 0 {
		n := min(piece, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		p.sent += n
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
