package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"path"
	"sync"
	"time"

	"kedge/share"
)

const (
	challengeTime = time.Minute // that a challenge is good
	maxProven     = 1 << 16     // challenges that were used and are still good
)

// errSpent says that a proof is good but for its challenge, which was used, is
// too old, or is another server's.
var errSpent = fmt.Errorf("its challenge is not good any more: %w", share.ErrAudience)

// challenges gives out what proofs have to hold. Only those with which somebody
// has proved that she has the key are remembered, until they are too old.
type challenges struct {
	key [32]byte

	mu   sync.Mutex // guards used
	used map[string]time.Time
}

func newChallenges() *challenges {
	c := &challenges{used: map[string]time.Time{}}
	rand.Read(c.key[:])
	return c
}

// next is a challenge for one share.
func (c *challenges) next(id string, now time.Time) string {
	text := make([]byte, 8+16, 8+16+sha256.Size)
	binary.LittleEndian.PutUint64(text, uint64(now.UnixNano()))
	rand.Read(text[8:])
	return base64.RawURLEncoding.EncodeToString(append(text, c.sum(id, text)...))
}

func (c *challenges) sum(id string, text []byte) []byte {
	h := hmac.New(sha256.New, c.key[:])
	h.Write(text)
	h.Write([]byte(id))
	return h.Sum(nil)
}

// spend uses a challenge, which is good once: errSpent.
func (c *challenges) spend(id, challenge string, now time.Time) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if err != nil || len(text) != 8+16+sha256.Size || !hmac.Equal(text[24:], c.sum(id, text[:24])) {
		return errSpent
	}
	ends := time.Unix(0, int64(binary.LittleEndian.Uint64(text))).Add(challengeTime)
	if now.After(ends) {
		return errSpent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.used[challenge]; ok {
		return errSpent
	}
	if len(c.used) >= maxProven {
		for one, ends := range c.used {
			if now.After(ends) {
				delete(c.used, one)
			}
		}
		if len(c.used) >= maxProven {
			return errSpent
		}
	}
	c.used[challenge] = ends
	return nil
}

// proven looks whether who asks for a share that is for one key has proved
// that she has it: [share.ErrAudience]. The next challenge is in the answer.
func (s *Server) proven(w http.ResponseWriter, q *http.Request, one share.Shared) error {
	if one.For == "" {
		return nil
	}
	now := s.cfg.Now()
	w.Header().Set(share.HeaderChallenge, s.challenges.next(one.ID, now))
	audience, err := share.ParseKey(one.For)
	if err != nil {
		return errors.Join(share.ErrAudience, err)
	}
	want := share.Proof{Base: s.cfg.Base, Share: one.ID, Token: share.TokenDigest(bearer(q)), What: path.Base(q.URL.Path), Range: q.Header.Get("Range")}
	challenge, err := share.ReadProof(q.Header.Get(share.HeaderProof), audience, want)
	if err != nil {
		return err
	}
	return s.challenges.spend(one.ID, challenge, now)
}
