package shell

import (
	"context"
	"os"
	"testing"

	"kedge/kernel"
)

func BenchmarkFork(b *testing.B) {
	dir, _ := os.MkdirTemp("/dev/shm", "x")
	defer os.RemoveAll(dir)
	s, err := Start(context.Background(), Config{Python: os.Getenv("KEDGE_TEST_PYTHON"), Dir: dir, Libraries: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	run := func(b *testing.B, f func(sh *Shell)) {
		for b.Loop() {
			sh, err := s.Fork(Fork{Dir: dir, Env: map[string]string{"A": "1"}})
			if err != nil {
				b.Fatal(err)
			}
			f(sh)
			sh.Shutdown(context.Background())
		}
	}
	exec := func(sh *Shell, code string) {
		if _, err := sh.Execute(context.Background(), kernel.Request{Code: code}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("fork", func(b *testing.B) { run(b, func(*Shell) {}) })
	b.Run("info", func(b *testing.B) { run(b, func(sh *Shell) { sh.Info() }) })
	b.Run("one", func(b *testing.B) { run(b, func(sh *Shell) { exec(sh, "x = 1") }) })
	b.Run("ten", func(b *testing.B) {
		run(b, func(sh *Shell) {
			for range 10 {
				exec(sh, "x = 1")
			}
		})
	})
	b.Run("numpy", func(b *testing.B) { run(b, func(sh *Shell) { exec(sh, "import numpy as np, pandas as pd") }) })
	b.Run("look", func(b *testing.B) {
		run(b, func(sh *Shell) { exec(sh, "import numpy as np, pandas as pd"); sh.Look(context.Background()) })
	})
	b.Run("error", func(b *testing.B) { run(b, func(sh *Shell) { exec(sh, "1/0") }) })
	b.Run("frame", func(b *testing.B) {
		run(b, func(sh *Shell) { exec(sh, "import numpy as np, pandas as pd\nprint(pd.DataFrame({'a': [1]}))") })
	})
}
