package kernel

import "sync"

// signatures remembers the last seenSignatures signatures.
type signatures struct {
	mu    sync.Mutex
	known map[[32]byte]struct{}
	order [][32]byte
	next  int
}

// add reports false for a signature that it knows.
func (s *signatures) add(signature []byte) bool {
	var sum [32]byte // half of the hex digits are as good as all
	copy(sum[:], signature)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[sum]; ok {
		return false
	}
	if s.known == nil {
		s.known = map[[32]byte]struct{}{}
	}
	if len(s.order) < seenSignatures {
		s.order = append(s.order, sum)
	} else {
		delete(s.known, s.order[s.next])
		s.order[s.next] = sum
		s.next = (s.next + 1) % seenSignatures
	}
	s.known[sum] = struct{}{}
	return true
}
