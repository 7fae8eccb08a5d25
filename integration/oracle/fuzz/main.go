// Command fuzz runs random notebooks through random actions, each compared
// with a straight run, and shrinks what differs. See docs/soundness.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"kedge/integration/oracle"
	"kedge/integration/oracle/shell"
)

const (
	lifeLength = 30 // actions
	shortLife  = 12 // with a mutant: more notebooks in as many actions
)

type options struct {
	seed    uint64
	actions int
	workers int
	worker  int // this process's number; -1 for the one that starts the others
	mutant  int
	table   bool
	most    int // mismatches after which to stop
	tries   int // runs of a history spent on shrinking one mismatch
	first   uint64
	python  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.Uint64Var(&o.seed, "seed", 1, "`seed` of everything")
	flag.IntVar(&o.actions, "actions", 2000, "how many actions")
	flag.IntVar(&o.workers, "workers", 1, "processes")
	flag.IntVar(&o.worker, "worker", -1, "for internal use")
	flag.IntVar(&o.mutant, "mutant", 0, "switch off one clause of the rule, by its number in the table")
	flag.BoolVar(&o.table, "mutants", false, "run every mutant until it is caught, at most -actions each")
	flag.IntVar(&o.most, "most", 10, "stop after so many mismatches")
	flag.IntVar(&o.tries, "tries", 400, "runs spent on shrinking one mismatch")
	flag.Uint64Var(&o.first, "life", 0, "begin with this life")
	flag.StringVar(&o.python, "python", os.Getenv("KEDGE_TEST_PYTHON"), "interpreter")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

var errMismatch = errors.New("kedge and the straight run differ")

func run(ctx context.Context, o options) error {
	switch {
	case o.python == "":
		return errors.New("name an interpreter with -python or KEDGE_TEST_PYTHON")
	case o.mutant < 0 || o.mutant > len(mutants):
		return fmt.Errorf("there are %d mutants", len(mutants))
	case o.table:
		return mutantTable(ctx, o)
	case o.worker < 0 && o.workers > 1:
		return split(ctx, o)
	}
	total, err := work(ctx, o, os.Stdout)
	if err != nil {
		return err
	}
	if o.worker >= 0 {
		return json.NewEncoder(os.Stderr).Encode(total)
	}
	return total.conclude(os.Stdout, o)
}

// split shares the lives among processes: the environment is one per process.
func split(ctx context.Context, o options) error {
	began := time.Now()
	var total tally
	var failures []error
	var wg sync.WaitGroup
	var mu sync.Mutex
	for n := range o.workers {
		args := append(os.Args[1:len(os.Args):len(os.Args)], "-worker", fmt.Sprint(n))
		cmd := exec.CommandContext(ctx, os.Args[0], args...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = os.Stdout, &stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it still says what it has done
		wg.Go(func() {
			err := cmd.Run()
			var part tally
			if told := json.Unmarshal([]byte(stderr.String()), &part); err == nil || ctx.Err() != nil {
				err = told
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, fmt.Errorf("worker %d: %w: %s", n, err, stderr.String()))
			}
			total.add(part)
		})
	}
	wg.Wait()
	total.Seconds = time.Since(began).Seconds()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return total.conclude(os.Stdout, o)
}

// work plays lives until the actions are done.
func work(ctx context.Context, o options, out *os.File) (tally, error) {
	began := time.Now()
	total := tally{Features: map[string]int{}, Why: map[string]int{}}
	root, err := os.MkdirTemp(memory(), "kedge-fuzz-")
	if err != nil {
		return total, err
	}
	defer os.RemoveAll(root)
	servers, err := start(ctx, o.python, root)
	if err != nil {
		return total, err
	}
	defer servers.close()
	f := &fuzzer{options: o, servers: servers, root: root, out: out, total: &total, mutant: oracle.Mutant{}}
	if o.mutant > 0 {
		f.mutant = mutants[o.mutant-1]
	}
	share, step, number := o.actions, uint64(1), o.first
	if o.worker >= 0 {
		share, step = o.actions/o.workers, uint64(o.workers)
		number += uint64(o.worker)
	}
	for total.Actions < share && total.Mismatches < o.most && ctx.Err() == nil {
		if err := f.life(ctx, number, min(lifeLength, share-total.Actions)); err != nil && ctx.Err() == nil {
			return total, fmt.Errorf("life %d: %w", number, err)
		}
		number += step
	}
	total.Seconds = time.Since(began).Seconds()
	return total, nil
}

func memory() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}

// servers are the parents of the shells of notebooks without and with libraries.
type servers struct{ bare, full *shell.Server }

func start(ctx context.Context, python, root string) (s servers, err error) {
	for _, which := range []struct {
		name   string
		server **shell.Server
	}{{"bare", &s.bare}, {"full", &s.full}} {
		cfg := shell.Config{Python: python, Dir: filepath.Join(root, which.name), Libraries: which.name == "full"}
		if err := os.Mkdir(cfg.Dir, 0o700); err != nil {
			return s, err
		}
		if *which.server, err = shell.Start(context.WithoutCancel(ctx), cfg); err != nil {
			s.close()
			return s, err
		}
	}
	return s, nil
}

func (s servers) close() {
	for _, server := range []*shell.Server{s.bare, s.full} {
		if server != nil {
			_ = server.Close() // it only ends processes
		}
	}
}

// of is the parent for a history: that without libraries if its notebooks load none.
func (s servers) of(history ...oracle.Step) *shell.Server {
	for _, step := range history {
		for _, c := range step.Cells {
			if strings.Contains(c.Source, "import numpy") || strings.Contains(c.Source, "import pandas") {
				return s.full
			}
		}
	}
	return s.bare
}

// fuzzer plays lives one after the other.
type fuzzer struct {
	options
	servers
	root   string
	out    *os.File
	mutant oracle.Mutant
	total  *tally
}

// life plays one notebook's life, until a mismatch at most.
func (f *fuzzer) life(ctx context.Context, number uint64, length int) error {
	l := newLife(f.seed, number)
	l.live = number%4 == 3
	play, err := oracle.NewPlay(ctx, f.of(l.step()), filepath.Join(f.root, "life"), f.mutant)
	if err != nil {
		return err
	}
	defer play.Close()
	var history []oracle.Step
	var last oracle.Outcome
	what := "cold"
	for n := range length {
		if n > 0 {
			what = l.act()
		}
		if l.live {
			l.sit()
		}
		step := l.world.clone().step()
		got, err := play.Do(ctx, step)
		if err != nil {
			return fmt.Errorf("action %d (%s): %w", n, what, err)
		}
		if ctx.Err() != nil { // one side was cut off
			return nil
		}
		all := len(got.Differences)
		got.Differences = unknown(got)
		f.total.count(l.world, history, step, last, got)
		history, last = append(history, step), got
		if got.Kedge.GaveUp != "" && len(got.Differences) < all { // what was recorded is wrong from here on
			return nil
		}
		if len(got.Differences) > 0 {
			if f.mutant.Name == "" {
				f.total.Mismatches++
				return f.report(ctx, number, n, what, history, got)
			}
			if ok, err := f.sound(ctx, history); err != nil || !ok {
				return err // a fault that is there without the mutant
			}
			f.total.Mismatches++
			f.total.Caught = fmt.Sprintf("%s: %s", what, strings.Join(strings.Fields(strings.Join(got.Differences[:3], " ")), " "))
			return nil
		}
	}
	return nil
}
