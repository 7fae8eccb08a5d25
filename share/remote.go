package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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
func (r *Remote) get(ctx context.Context, what, spans string, status int) (*http.Response, error) {
	response, err := r.ask(ctx, what, spans, status)
	if r.prover != nil && errors.Is(err, ErrAudience) { // with the challenge that came with the refusal
		response, err = r.ask(ctx, what, spans, status)
	}
	return response, err
}

func (r *Remote) ask(ctx context.Context, what, spans string, status int) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.link.Base+"/api/v1/shares/"+r.link.Share+"/"+what, nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Authorization", "Bearer "+r.link.Token)
	q.Header.Set("User-Agent", "kedge")
	if spans != "" {
		q.Header.Set("Range", spans)
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
	err = fmt.Errorf("%s: %w", response.Status, ErrPeer)
	if response.StatusCode/100 == 3 { // followed it would take the token elsewhere
		err = fmt.Errorf("%s: what stands in front of it wants a login, or it has moved: open the link in a browser that is logged in, or ask its author for a file (kedge share --file): %w", response.Status, ErrPeer)
	}
	if c := response.StatusCode; c < http.StatusInternalServerError && c != http.StatusTooManyRequests && c != http.StatusRequestTimeout {
		err = &final{err} // it does not know what is asked for
	}
	return nil, err
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
	return together(ctx, r.runs(wanted), func(ctx context.Context, one *run) (done int, left bool, err error) {
		done, err = r.pieces(ctx, one.pieces, got)
		one.pieces = one.pieces[done:]
		return done, len(one.pieces) > 0, err
	})
}

// together does requests, several at a time, and each again while something is
// left of it, unless an error says that it is no use.
func together[T any](ctx context.Context, all []T, ask func(ctx context.Context, one *T) (done int, left bool, err error)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, one := range all {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			for tries := 0; ; tries++ {
				done, left, err := ask(ctx, &one)
				if !left {
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
		})
	}
	return g.Wait()
}

// final is an error after which nothing is asked for again: what came is wrong, or cannot be kept.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// pieces asks once for pieces that lie side by side, and says how many came.
func (r *Remote) pieces(ctx context.Context, wanted []int, got func(n int, data []byte) error) (done int, err error) {
	last := wanted[len(wanted)-1]
	from, to := r.at[wanted[0]], r.at[last]+r.Manifest.Pieces[last].Length
	lengths := make([]int64, len(wanted))
	for i, n := range wanted {
		lengths[i] = r.Manifest.Pieces[n].Length
	}
	return r.read(ctx, "pieces", fmt.Sprintf("bytes=%d-%d", from, to-1), lengths, func(i int, data []byte) error { return got(wanted[i], data) })
}

// read asks once for something that has pieces of these lengths, each at most
// maxPiece, one behind the other, and says how many came.
func (r *Remote) read(ctx context.Context, what, spans string, lengths []int64, got func(i int, data []byte) error) (done int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(r.patience, func() { cancel(fmt.Errorf("it is too slow: %w", ErrPeer)) })
	defer timer.Stop()
	response, err := r.get(ctx, what, spans, http.StatusPartialContent)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var total, most int64
	for _, n := range lengths {
		total, most = total+n, max(most, n)
	}
	if response.ContentLength != total {
		return 0, &final{fmt.Errorf("it sends %d bytes for %d: %w", response.ContentLength, total, ErrPeer)}
	}
	buffer := make([]byte, 0, most)
	for i, n := range lengths {
		timer.Reset(r.patience)
		buffer = buffer[:n]
		if _, err := io.ReadFull(response.Body, buffer); err != nil {
			return done, cause(ctx, fmt.Errorf("the connection ended early: %w", err))
		}
		if err := got(i, buffer); err != nil {
			return done, &final{err}
		}
		done++
	}
	return done, nil
}

// Blocks asks for the digests of blocks; see [patcher].
func (r *Remote) Blocks(ctx context.Context, wanted []int, got func(n int, sums []byte)) error {
	groups := slices.Collect(slices.Chunk(wanted, MaxLooked))
	return together(ctx, groups, func(ctx context.Context, group *[]int) (done int, left bool, err error) {
		var spans []Span
		lengths := make([]int64, len(*group))
		for i, n := range *group {
			lengths[i] = BlockSumsLength(r.Manifest.Pieces[n].Length)
			spans = joined(spans, Span{int64(n), int64(n) + 1})
		}
		asked := *group
		done, err = r.read(ctx, "blocks", WriteSpans(UnitPieces, spans), lengths, func(i int, sums []byte) error {
			got(asked[i], sums)
			return nil
		})
		*group = asked[done:]
		return done, len(*group) > 0, err
	})
}

// Parts asks for parts of pieces; see [patcher].
func (r *Remote) Parts(ctx context.Context, wanted []partial, got func(i int, data []byte) error) error {
	type group struct{ first, end int } // of wanted
	var groups []group
	var parts, bytes int64
	for i, p := range wanted {
		last := len(groups) - 1
		if parts, bytes = parts+int64(len(p.parts)), bytes+p.bytes(); last < 0 || i-groups[last].first >= MaxLooked || parts > maxParts || bytes > runBytes {
			groups, parts, bytes = append(groups, group{i, i}), int64(len(p.parts)), p.bytes()
			last++
		}
		groups[last].end = i + 1
	}
	return together(ctx, groups, func(ctx context.Context, one *group) (done int, left bool, err error) {
		var spans []Span
		var lengths []int64
		for _, p := range wanted[one.first:one.end] {
			for _, s := range p.parts {
				spans = joined(spans, Span{r.at[p.n] + s.From, r.at[p.n] + s.To})
			}
			lengths = append(lengths, p.bytes())
		}
		first := one.first
		if len(spans) == 0 { // all of them is here
			for ; one.first < one.end && err == nil; one.first++ {
				if err = got(one.first, nil); err != nil {
					err = &final{err}
				}
			}
			return 0, err != nil, err
		}
		done, err = r.read(ctx, "pieces", WriteSpans(UnitParts, spans), lengths, func(i int, data []byte) error { return got(first+i, data) })
		one.first += done
		return done, one.first < one.end, err
	})
}

// joined adds a span, which lies behind the others, and may touch the last.
func joined(spans []Span, one Span) []Span {
	if last := len(spans) - 1; last >= 0 && spans[last].To == one.From {
		spans[last].To = one.To
		return spans
	}
	return append(spans, one)
}

// Close gives connections back.
func (r *Remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}
