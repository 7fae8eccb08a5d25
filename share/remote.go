package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	parallel  = 4       // requests at a time
	runBytes  = 8 << 20 // of one request
	attempts  = 4       // without anything new
	patience  = 2 * time.Minute
	headTimes = 30 * time.Second
)

// ErrPeer says that the other side does not answer as it should.
var ErrPeer = errors.New("the other side does not answer as it should")

// Remote is a shared snapshot behind a link.
type Remote struct {
	Sealed   Sealed
	Manifest *Manifest
	link     Link
	client   *http.Client
	at       []int64       // where each piece begins in all of them
	patience time.Duration // for a piece, and for the manifest
	prover   *prover       // nil if the link is for whoever has it
}

// OpenLink asks for the manifest of a link and checks it: [ErrRefused],
// [ErrExpired], [ErrDamaged], [ErrHostile], [ErrNewer], [ErrPeer]. A link that
// is for one key opens only to its signer: [ErrAudience].
func OpenLink(ctx context.Context, link Link, signer Signer) (*Remote, error) {
	r := newRemote(link)
	if audience, ok := link.Audience(); ok {
		if audience != signer.Public() {
			return nil, fmt.Errorf("the key %s may open it, yours is %s: %w", KeyText(audience), KeyText(signer.Public()), ErrAudience)
		}
		r.prover = &prover{signer: signer, link: link}
	}
	if err := r.open(ctx); err != nil {
		return nil, fmt.Errorf("open the link to %s: %w", link.Base, err)
	}
	return r, nil
}

func newRemote(link Link) *Remote {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression, transport.ResponseHeaderTimeout, transport.MaxIdleConnsPerHost = true, headTimes, parallel
	return &Remote{link: link, patience: patience, client: &http.Client{Transport: transport,
		// The token goes to nobody but the server that the link names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (r *Remote) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.patience, fmt.Errorf("the manifest does not come: %w", ErrPeer))
	defer cancel()
	response, err := r.get(ctx, "manifest", "", http.StatusOK)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if r.Sealed, err = ReadHead(response.Body); err != nil {
		return cause(ctx, err)
	}
	if r.Manifest, err = r.Sealed.Open(); err != nil {
		return err
	}
	var end int64
	for _, p := range r.Manifest.Pieces {
		r.at = append(r.at, end)
		end += p.Length
	}
	return nil
}

// cause is why a request was given up, if it was, and else err.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && errors.Is(c, ErrPeer) {
		return c
	}
	return err
}

// get asks for something of the share. The body of what it returns is the caller's to close.
func (r *Remote) get(ctx context.Context, what, bytes string, status int) (*http.Response, error) {
	response, err := r.ask(ctx, what, bytes, status)
	if r.prover != nil && errors.Is(err, ErrAudience) { // with the challenge that came with the refusal
		response, err = r.ask(ctx, what, bytes, status)
	}
	return response, err
}

func (r *Remote) ask(ctx context.Context, what, bytes string, status int) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.link.Base+"/api/v1/shares/"+r.link.Share+"/"+what, nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Authorization", "Bearer "+r.link.Token)
	q.Header.Set("User-Agent", "kedge")
	if bytes != "" {
		q.Header.Set("Range", "bytes="+bytes)
	}
	if r.prover != nil {
		proof, err := r.prover.proof(what, q.Header.Get("Range"))
		if err != nil {
			return nil, err
		}
		if proof != "" {
			q.Header.Set(HeaderProof, proof)
		}
	}
	response, err := r.client.Do(q)
	if err != nil {
		return nil, cause(ctx, err)
	}
	if r.prover != nil {
		r.prover.heard(response.Header.Get(HeaderChallenge))
	}
	if response.StatusCode == status {
		return response, nil
	}
	response.Body.Close()
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		if response.Header.Get(HeaderError) == "audience" {
			return nil, ErrAudience
		}
		return nil, ErrRefused
	case http.StatusGone:
		if response.Header.Get(HeaderError) == "expired" {
			return nil, ErrExpired
		}
		return nil, fmt.Errorf("it was revoked: %w", ErrRefused)
	}
	return nil, fmt.Errorf("%s: %w", response.Status, ErrPeer)
}

// run is pieces that lie side by side.
type run struct{ pieces []int }

// runs joins pieces, whose numbers ascend, to requests.
func (r *Remote) runs(wanted []int) (all []run) {
	var size int64
	for i, n := range wanted {
		if i == 0 || wanted[i-1] != n-1 || size+r.Manifest.Pieces[n].Length > runBytes {
			all, size = append(all, run{}), 0
		}
		last := &all[len(all)-1]
		last.pieces = append(last.pieces, n)
		size += r.Manifest.Pieces[n].Length
	}
	return all
}

// Fetch reads pieces, several at a time; see [Source]. What fails in the middle
// is asked for again from there.
func (r *Remote) Fetch(ctx context.Context, wanted []int, got func(n int, data []byte) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, one := range r.runs(wanted) {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			for tries := 0; len(one.pieces) > 0; tries++ {
				done, err := r.pieces(ctx, one.pieces, got)
				if one.pieces = one.pieces[done:]; len(one.pieces) == 0 {
					return nil
				}
				if done > 0 {
					tries = 0
				}
				var stop *final
				if errors.As(err, &stop) {
					return stop.error
				}
				if final := errors.Is(err, ErrRefused) || errors.Is(err, ErrExpired) || ctx.Err() != nil; final || tries+1 >= attempts {
					return err
				}
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(time.Duration(tries+1) * 250 * time.Millisecond):
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// final is an error after which nothing is asked for again: what came is wrong, or cannot be kept.
type final struct{ error }

// pieces asks once for pieces that lie side by side, and says how many came.
func (r *Remote) pieces(ctx context.Context, wanted []int, got func(n int, data []byte) error) (done int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(r.patience, func() { cancel(fmt.Errorf("it is too slow: %w", ErrPeer)) })
	defer timer.Stop()
	last := wanted[len(wanted)-1]
	from, to := r.at[wanted[0]], r.at[last]+r.Manifest.Pieces[last].Length
	response, err := r.get(ctx, "pieces", fmt.Sprintf("%d-%d", from, to-1), http.StatusPartialContent)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.ContentLength != to-from {
		return 0, &final{fmt.Errorf("it sends %d bytes for %d: %w", response.ContentLength, to-from, ErrPeer)}
	}
	buffer := make([]byte, 0, maxPiece)
	for _, n := range wanted {
		timer.Reset(r.patience)
		buffer = buffer[:r.Manifest.Pieces[n].Length]
		if _, err := io.ReadFull(response.Body, buffer); err != nil {
			return done, cause(ctx, fmt.Errorf("the connection ended early: %w", err))
		}
		if err := got(n, buffer); err != nil {
			return done, &final{err}
		}
		done++
	}
	return done, nil
}

// Close gives connections back.
func (r *Remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}
