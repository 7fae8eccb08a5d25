package kernel

import (
	"context"
	"errors"
	"sync"
	"time"

	"kedge/kernel/zmtp"
)

const (
	maxQueuedPackets = 1 << 16
	writeBatch       = 256 << 10 // bytes handed to the system at once
)

var errEnded = errors.New("the connection ends")

// queue holds what a peer has not read yet, at most limit bytes, or one packet of any size.
type queue struct {
	limit  int
	filled chan struct{} // there is something to take, or the end
	room   chan struct{} // something was taken

	mu      sync.Mutex
	packets []zmtp.Packet
	bytes   int
	taken   time.Time // when the reader last took something, or the queue was last empty
	unseen  bool      // the reader was not told of some of it
	ended   bool
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, filled: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds p, or reports false if there is no room for it or the queue has ended.
func (q *queue) put(p zmtp.Packet) bool {
	added := q.add(p)
	if added {
		signal(q.filled)
	}
	return added
}

// flush lets the reader have what was added.
func (q *queue) flush() {
	q.mu.Lock()
	some := q.unseen
	q.unseen = false
	q.mu.Unlock()
	if some {
		signal(q.filled)
	}
}

// add is put whose packet the reader may get only after the next flush, or once much is there.
func (q *queue) add(p zmtp.Packet) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended || q.bytes > 0 && q.bytes+p.Size() > q.limit || len(q.packets) == maxQueuedPackets {
		return false
	}
	if q.bytes == 0 {
		q.taken = time.Now()
	}
	q.packets, q.bytes, q.unseen = append(q.packets, p), q.bytes+p.Size(), true
	if q.bytes >= writeBatch {
		signal(q.filled)
	}
	return true
}

// wait adds p as soon as there is room. Only one goroutine may wait.
func (q *queue) wait(ctx context.Context, p zmtp.Packet) error {
	for !q.put(p) {
		if q.over() {
			return errEnded
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// take waits for the next packets; none are left once it returns none.
func (q *queue) take() []zmtp.Packet {
	for {
		q.mu.Lock()
		size, n := 0, 0
		for n < len(q.packets) && (n == 0 || size < writeBatch) {
			size += q.packets[n].Size()
			n++
		}
		batch := append([]zmtp.Packet(nil), q.packets[:n]...)
		clear(q.packets[:n])
		q.packets, q.bytes = q.packets[n:], q.bytes-size
		if len(q.packets) == 0 {
			q.packets = nil
		}
		q.taken = time.Now()
		ended := q.ended
		q.mu.Unlock()
		signal(q.room)
		if n > 0 || ended {
			return batch
		}
		<-q.filled
	}
}

// stalled says whether more than size bytes wait and nothing was taken for so long.
func (q *queue) stalled(size int, since time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes > size && time.Since(q.taken) > since
}

// drop ends the queue and forgets what waits in it.
func (q *queue) drop() {
	q.mu.Lock()
	q.packets, q.bytes = nil, 0
	q.mu.Unlock()
	q.end()
}

// end lets nothing more in.
func (q *queue) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	signal(q.filled)
	signal(q.room)
}

func (q *queue) over() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
