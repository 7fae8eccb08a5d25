package kernel

import (
	"sync"

	"kedge/kernel/zmtp"
)

// maxInbox is how many bytes may be read ahead of what becomes of them.
const maxInbox = 256 << 20

// letter is a message as it was read; tail is set if its last frame is still coming.
type letter struct {
	frames [][]byte
	tail   *zmtp.Tail
}

// whole waits until all of it has come, or returns why it never will.
func (l letter) whole() error {
	if l.tail == nil {
		return nil
	}
	return l.tail.Whole()
}

// inbox holds messages that were read and not handled yet. One goroutine puts, one takes.
type inbox struct {
	filled chan struct{}
	room   chan struct{}

	mu      sync.Mutex
	letters []letter
	bytes   int
	ended   bool
}

func newInbox() *inbox {
	return &inbox{filled: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a message; it waits while too much is there.
func (b *inbox) put(l letter) {
	size := 0
	for _, f := range l.frames {
		size += len(f)
	}
	for {
		b.mu.Lock()
		if b.bytes == 0 || b.bytes+size <= maxInbox {
			b.letters, b.bytes = append(b.letters, l), b.bytes+size
			b.mu.Unlock()
			signal(b.filled)
			return
		}
		b.mu.Unlock()
		<-b.room
	}
}

// take waits for messages and takes all; none are left once it returns none.
func (b *inbox) take() []letter {
	for {
		b.mu.Lock()
		batch, ended := b.letters, b.ended
		b.letters, b.bytes = nil, 0
		b.mu.Unlock()
		if len(batch) > 0 || ended {
			signal(b.room)
			return batch
		}
		<-b.filled
	}
}

// end lets the taker end once it has taken all.
func (b *inbox) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	signal(b.filled)
}
