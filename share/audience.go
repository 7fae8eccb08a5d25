package share

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"kedge/cellgraph"
)

// A link that is for one key lets in only who proves that she has it: each of
// her requests holds a proof, which is good for that request and that once.

const (
	proofType   = "application/vnd.kedge.proof+json"
	proofFormat = 1
	maxProof    = 4096 // bytes
)

// Headers of links that are for one key.
const (
	HeaderChallenge = "Kedge-Challenge" // of a response: what the next proof has to hold
	HeaderProof     = "Kedge-Proof"     // of a request
	HeaderError     = "Kedge-Error"     // of a response: why it is refused
)

// ErrAudience says that the link is for another key. It is an [ErrRefused].
var ErrAudience = fmt.Errorf("it is for somebody else: %w", ErrRefused)

// Proof is what is signed to ask for something once. Base is the URL of the
// server that the asking side means, so that no other can use it there.
type Proof struct {
	Format    int              `json:"format"`
	Base      string           `json:"base"`
	Share     string           `json:"share"`
	Token     cellgraph.Digest `json:"token"`
	What      string           `json:"what"`  // the last element of the path
	Range     string           `json:"range"` // the header, "" without one
	Challenge string           `json:"challenge"`
}

// Prove is a proof in text.
func (s Signer) Prove(p Proof) (string, error) {
	p.Format = proofFormat
	text, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	return s.signed(proofType, text), nil
}

// ReadProof checks that audience has signed a proof for what want says; its
// challenge is for the caller to look at.
func ReadProof(text string, audience Key, want Proof) (challenge string, err error) {
	refused := func(why string) (string, error) { return "", fmt.Errorf("%s: %w", why, ErrAudience) }
	if len(text) > maxProof {
		return refused("the proof is too long")
	}
	message, signature, ok := cutSigned(text)
	if !ok || !verify(audience, proofType, message, signature) {
		return refused("there is no proof by her key")
	}
	var p Proof
	d := json.NewDecoder(bytes.NewReader(message))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || p.Format != proofFormat {
		return refused("its proof is of another version")
	}
	want.Format, want.Challenge = p.Format, p.Challenge
	if p != want {
		return refused("its proof is for something else")
	}
	return p.Challenge, nil
}

// TokenDigest is what a proof says of a token.
func TokenDigest(token string) cellgraph.Digest { return cellgraph.Combine("token", token) }

// Audience is the key that a link says that it is for, and whether it does.
// Nothing of that is checked.
func (l Link) Audience() (k Key, ok bool) {
	body, _, _ := strings.Cut(l.Token, ".")
	text, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || len(l.Token) > maxToken {
		return k, false
	}
	var c Capability
	if json.Unmarshal(text, &c) != nil || c.For == "" {
		return k, false
	}
	k, err = ParseKey(c.For)
	return k, err == nil
}
