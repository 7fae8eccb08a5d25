package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kedge/kernel/wire"
	"kedge/kernel/zmtp"
)

const (
	maxTopics = 1024 // of one subscriber
	maxTopic  = 4 << 10
)

// publisher sends to subscribers. One that reads slowly is waited for, up to subscriberLimit; one that has not read
// for a while, and lets more than stalledLimit wait, is disconnected. Neither delays others.
type publisher struct {
	log      *slog.Logger
	patience time.Duration

	mu      sync.Mutex
	peers   map[*peer]*subscriber
	welcome *wire.Frames // the kernel's iopub_welcome to us; nil if it sends none
	signer  wire.Signer
}

type subscriber struct {
	topics  map[string]bool // value: whether it has been welcomed
	missing int             // messages not sent since it stopped reading
}

// serve reads the subscriptions of one peer until it or ctx ends.
func (s *publisher) serve(_ context.Context, p *peer) {
	sub := &subscriber{topics: map[string]bool{}}
	s.mu.Lock()
	s.peers[p] = sub
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.peers, p)
		s.mu.Unlock()
	}()
	for {
		m, err := p.conn.Read()
		if err != nil {
			return
		}
		if len(m) != 1 || len(m[0]) == 0 || len(m[0]) > maxTopic || !s.subscribe(p, sub, m[0][0], string(m[0][1:])) {
			s.log.Warn("subscriber ended", "error", "not a subscription, or too many")
			return
		}
	}
}

func (s *publisher) subscribe(p *peer, sub *subscriber, what byte, topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case what == 0:
		delete(sub.topics, topic)
	case what != 1 || len(sub.topics) >= maxTopics:
		return false
	case !sub.topics[topic]:
		sub.topics[topic] = s.greet(p, topic)
	}
	return true
}

// greet tells a subscriber that its subscription is known, in the kernel's own words, if those are known.
func (s *publisher) greet(p *peer, topic string) bool {
	if s.welcome == nil {
		return false
	}
	if !utf8.ValidString(topic) {
		return true
	}
	f := *s.welcome
	f.Header = fresh(f.Header)
	f.Content = encode(map[string]string{"subscription": topic})
	if f.Idents = nil; topic != "" {
		f.Idents = [][]byte{[]byte(topic)}
	}
	p.out.put(zmtp.Encode(s.signer.Join(f)))
	return true
}

// fresh is a message header with an id and a date of its own.
func fresh(header []byte) []byte {
	for key, value := range map[string]string{"msg_id": uuid.NewString(), "date": now()} {
		if edited, err := wire.Set(header, key, encode(value)); err == nil {
			header = edited
		}
	}
	return header
}

// welcomed takes the kernel's welcome to us, and passes it to those who subscribed before.
func (s *publisher) welcomed(f wire.Frames) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.welcome = &f
	for p, sub := range s.peers {
		for topic, done := range sub.topics {
			if !done {
				sub.topics[topic] = s.greet(p, topic)
			}
		}
	}
}

// publish sends a message to all who have subscribed to its topic. It never waits.
func (s *publisher) publish(frames [][]byte) {
	s.stage(letter{frames: frames})
	s.flush()
}

// flush sends what was staged.
func (s *publisher) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.peers {
		p.out.flush()
	}
}

// stage is publish that may send only with the next flush: one wake for many messages.
func (s *publisher) stage(l letter) {
	packet := zmtp.EncodeComing(l.frames, l.tail)
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, sub := range s.peers {
		if !sub.wants(l.frames[0]) {
			continue
		}
		if p.out.stalled(stalledLimit, s.patience) {
			s.log.Warn("a client does not read; it is disconnected", "client", p.raw.RemoteAddr())
			p.out.drop()
			_ = p.raw.Close()
			continue
		}
		if p.out.add(packet) {
			sub.missing = 0
			continue
		}
		if sub.missing++; sub.missing == 1 {
			s.log.Warn("a client does not read; it misses messages", "client", p.raw.RemoteAddr())
		}
	}
}

func (s *subscriber) wants(topic []byte) bool {
	if _, all := s.topics[""]; all {
		return true
	}
	for t := range s.topics {
		if bytes.HasPrefix(topic, []byte(t)) {
			return true
		}
	}
	return false
}

// finish ends all subscribers once they have read what is queued.
func (s *publisher) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.peers {
		p.finish()
	}
}

// messageType is the type in a header frame, empty if there is none.
func messageType(header []byte) string {
	var h struct {
		Type string `json:"msg_type"`
	}
	_ = json.Unmarshal(header, &h)
	return h.Type
}
