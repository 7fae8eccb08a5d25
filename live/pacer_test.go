package live

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestAServerGetsNoMoreThanItLetsThrough(t *testing.T) {
	const rate = 20 << 20
	text := strings.Repeat("ä€", (8<<20)/5)
	p, began := newPacer(rate, len(text)), time.Now()
	var got strings.Builder
	p.each(t.Context(), text, func(part string) {
		got.WriteString(part)
		if !utf8.ValidString(part) {
			t.Fatal("a piece ends within a character")
		}
		if allowed := burst + int(time.Since(began).Seconds()*rate); got.Len() > allowed {
			t.Fatalf("%d bytes after %v", got.Len(), time.Since(began))
		}
	})
	if got.String() != text {
		t.Error("not what was sent")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	began, rest := time.Now(), 0
	newPacer(1, len(text)).each(ended, text, func(part string) { rest += len(part) })
	if rest != len(text) || time.Since(began) > 10*time.Second {
		t.Errorf("after the end %d bytes in %v", rest, time.Since(began))
	}
	calls := 0
	newPacer(0, len(text)).each(t.Context(), text, func(string) { calls++ })
	newPacer(1, free).each(t.Context(), text[:free], func(string) { calls++ })
	if calls != 2 {
		t.Errorf("without a rate, and of a little text, %d pieces", calls)
	}
}
