package session

import (
	"context"
	"fmt"
)

// write is something to be made durable, and what it is for.
type write struct {
	doing string
	do    func(ctx context.Context) error
}

// writer makes records durable beside the run, in the order in which they were
// put: the user's next cell does not wait for the disk. One goroutine calls
// run; put and close belong to the session's.
type writer struct {
	queue  chan write
	faults []string // read only after run has returned
}

// newWriter returns a writer that holds at most a few records before put blocks.
func newWriter() *writer {
	const most = 16
	return &writer{queue: make(chan write, most)}
}

// run performs the writes until close, also those put before an interrupt: a
// record that is lost is a miss in the next run, and an error of one is a fault.
func (w *writer) run(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for op := range w.queue {
		if err := op.do(ctx); err != nil {
			w.faults = append(w.faults, fmt.Sprintf("%s: %v", op.doing, err))
		}
	}
}

func (w *writer) put(doing string, do func(ctx context.Context) error) { w.queue <- write{doing, do} }

func (w *writer) close() { close(w.queue) }
