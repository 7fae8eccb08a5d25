package share

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/cellgraph"
)

// A home's digests of environment values are keyed, so that nobody else can
// tell from a trace that a value is the same. For names whose values are no
// secrets a manifest has another digest, which the other home can compare.

// plain reports whether the value of a variable is no secret: by its name, or
// because it is the path of something that is there.
func plain(name, value string) bool {
	if filepath.IsAbs(value) {
		if _, err := os.Stat(value); err == nil {
			return true
		}
	}
	for _, prefix := range []string{"LC_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "NUMBA_", "BLIS_", "KMP_", "GOMP_", "MPL", "MALLOC_", "PYTHON", "TQDM_", "PYARROW_", "ARROW_", "POLARS_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"HOME", "LANG", "LANGUAGE", "TZ", "SHELL", "TMPDIR", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
		"CUDA_VISIBLE_DEVICES", "CONDA_DEFAULT_ENV", "SOURCE_DATE_EPOCH", "NO_COLOR"}, name)
}

// Environment is how a home digests the environment.
type Environment interface {
	// Keyed is the digest of a variable's value in the traces of this home, zero if it is not set.
	Keyed(name string) cellgraph.Digest
	// Value is a variable's value.
	Value(name string) string
}

func salted(salt []byte, name, value string) cellgraph.Digest {
	return cellgraph.Combine("shared environment", string(salt), name, value)
}

// publish digests the variables that traces have read, if they are as they were then.
func publish(traces []cellgraph.Trace, env Environment, salt []byte) map[string]cellgraph.Digest {
	read := map[string]cellgraph.Digest{}
	for _, t := range traces {
		for _, o := range t.Observed {
			if o.Kind == cellgraph.KindEnv && !o.ID.IsZero() && plain(o.Name, env.Value(o.Name)) && env.Keyed(o.Name) == o.ID {
				read[o.Name] = salted(salt, o.Name, env.Value(o.Name))
			}
		}
	}
	return read
}

// settle makes what traces say of variables that are the same here what this
// home says of them. What differs stays: it does not hold here.
func settle(traces []cellgraph.Trace, s *State, env Environment) {
	for i := range traces {
		for n, o := range traces[i].Observed {
			if o.Kind != cellgraph.KindEnv || o.ID.IsZero() {
				continue
			}
			here := env.Keyed(o.Name)
			if there, ok := s.Read[o.Name]; ok && !here.IsZero() && salted(s.Salt, o.Name, env.Value(o.Name)) == there {
				traces[i].Observed[n].ID = here
			}
		}
	}
}
