package oracle

import (
	"context"

	"kedge/cellgraph"
	"kedge/snapshotter"
)

// mutantStore gives traces back as the mutant wants them.
type mutantStore struct {
	*snapshotter.Store
	mutant Mutant
}

func (s mutantStore) Traces(ctx context.Context, code cellgraph.Digest) ([]cellgraph.Trace, error) {
	traces, err := s.Store.Traces(ctx, code)
	if s.mutant.Trace != nil {
		for i := range traces {
			s.mutant.Trace(&traces[i])
		}
	}
	return traces, err
}
