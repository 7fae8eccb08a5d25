package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kedge/notebook"
)

// progress is one line on a terminal that says which step runs and for how long.
type progress struct {
	out   *os.File
	steps map[string]string // cell id → step
	began time.Time
	stop  chan struct{}
	done  chan struct{}

	mu   sync.Mutex
	line string
}

// newProgress draws on out, each second anew, until close.
func newProgress(out *os.File, cells []notebook.CodeCell) *progress {
	p := &progress{out: out, steps: map[string]string{}, began: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	for _, c := range cells {
		p.steps[c.ID] = c.Step
	}
	go p.tick()
	return p
}

func (p *progress) tick() {
	defer close(p.done)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.draw()
		}
	}
}

// update is a session's Progress.
func (p *progress) update(done, total int, cell, status string) {
	name := "cell " + cell
	if step := p.steps[cell]; step != "" {
		name = step
	}
	p.mu.Lock()
	p.line = fmt.Sprintf("%d/%d %s %s", done, total, name, status)
	p.mu.Unlock()
	p.draw()
}

func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == "" {
		return
	}
	text := []rune(fmt.Sprintf("%s %s", p.line, time.Since(p.began).Truncate(time.Second)))
	if size, err := unix.IoctlGetWinsize(int(p.out.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
		text = text[:min(len(text), int(size.Col)-1)]
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", string(text))
}

// close removes the line and waits until nothing more is drawn.
func (p *progress) close() {
	close(p.stop)
	<-p.done
	fmt.Fprint(p.out, "\r\x1b[K")
}

// bar is a progress bar on a terminal, for work that takes longer than a moment.
type bar struct {
	out   *os.File // nil if there is no terminal
	what  string
	began time.Time
	drawn time.Time
}

func newBar(out io.Writer, what string) *bar {
	b := &bar{what: what, began: time.Now()}
	if file, ok := out.(*os.File); ok && isTerminal(file) {
		b.out = file
	}
	return b
}

// update draws the bar anew, at most ten times a second.
func (b *bar) update(done, total int) {
	const patience, pause = 300 * time.Millisecond, 100 * time.Millisecond
	if b.out == nil || total <= 0 || time.Since(b.began) < patience || time.Since(b.drawn) < pause {
		return
	}
	b.drawn = time.Now()
	const width = 30
	full := min(width, done*width/total)
	fmt.Fprintf(b.out, "\r\x1b[K%s [%s%s] %d%%", b.what, strings.Repeat("#", full), strings.Repeat(".", width-full), min(100, done*100/total))
}

// close removes the bar.
func (b *bar) close() {
	if b.out != nil && !b.drawn.IsZero() {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
