package zmtp

import (
	"io"
	"sync"
)

const (
	largeTail = 1 << 20   // from this size on a last frame is handed on as it comes; more than aside
	tailStep  = 256 << 10 // bytes after which those who wait are told
)

// Tail is the last frame of a message while it comes. One goroutine fills it, any may wait for it.
type Tail struct {
	body []byte

	mu    sync.Mutex
	moved sync.Cond
	n     int // bytes that have come
	err   error
}

func newTail(body []byte) *Tail {
	t := &Tail{body: body}
	t.moved.L = &t.mu
	return t
}

// fill reads the frame from r.
func (t *Tail) fill(r io.Reader) error {
	for n := 0; n < len(t.body); {
		got, err := io.ReadFull(r, t.body[n:min(n+tailStep, len(t.body))])
		n += got
		err = truncated(err)
		t.mu.Lock()
		t.n, t.err = n, err
		t.mu.Unlock()
		t.moved.Broadcast()
		if err != nil {
			return err
		}
	}
	return nil
}

// Whole waits until the frame has come, or returns why it never will.
func (t *Tail) Whole() error {
	_, err := t.past(len(t.body) - 1)
	return err
}

// past waits until more than n bytes have come, and returns how many.
func (t *Tail) past(n int) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.n <= n && t.err == nil {
		t.moved.Wait()
	}
	if t.n <= n {
		return t.n, t.err
	}
	return t.n, nil
}

func (t *Tail) writeTo(w io.Writer) error {
	for sent := 0; sent < len(t.body); {
		n, err := t.past(sent)
		if err != nil {
			return err
		}
		if _, err := w.Write(t.body[sent:n]); err != nil {
			return err
		}
		sent = n
	}
	return nil
}
