package share

import "sync"

// prover signs proofs for one link. Its methods may be called from any goroutine.
type prover struct {
	signer Signer
	link   Link

	mu         sync.Mutex
	challenges []string // that no proof has used
}

// heard keeps a challenge for the next request.
func (p *prover) heard(challenge string) {
	const most = 2 * parallel
	if challenge == "" || len(challenge) > maxProof/2 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.challenges = append(p.challenges, challenge); len(p.challenges) > most {
		p.challenges = p.challenges[1:]
	}
}

// proof is one for a request; "" while no challenge is known.
func (p *prover) proof(what, bytes string) (string, error) {
	p.mu.Lock()
	challenge := ""
	if n := len(p.challenges); n > 0 {
		challenge, p.challenges = p.challenges[n-1], p.challenges[:n-1]
	}
	p.mu.Unlock()
	if challenge == "" {
		return "", nil
	}
	return p.signer.Prove(Proof{Base: p.link.Base, Share: p.link.Share, Token: TokenDigest(p.link.Token), What: what, Range: bytes, Challenge: challenge})
}
